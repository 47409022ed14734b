"""Tokens as an identity provider would issue them, for a local system."""

import time
import warnings
from typing import Final

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import OctKey

DAYS: Final = 30


def token(secret: str, subject: str, *roles: str, days: int = DAYS) -> str:
    """A bearer token (HS256) of `subject`."""
    claims = {"sub": subject, "roles": list(roles), "exp": int(time.time()) + days * 86_400}
    with warnings.catch_warnings():  # about short secrets, which are fine in development
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret))
