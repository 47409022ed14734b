"""Checks a token's claims (RFC 7519); `joserfc` checks its signature."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key
from joserfc.util import urlsafe_b64decode

from shared.auth.principal import Principal, valid_id

SKEW_SECONDS: Final = 30.0
"""How far the issuer's clock may differ from ours."""


class InvalidTokenError(Exception):
    """The token is not accepted; the message says why and contains nothing of the token."""


def header_of(token: bytes) -> Mapping[str, Any]:
    """The header, not yet verified; `InvalidTokenError` if there is none."""
    parts = token.split(b".")
    if len(parts) != 3:
        raise InvalidTokenError("it is not a signed token")
    try:
        header = orjson.loads(urlsafe_b64decode(parts[0]))
    except ValueError as error:
        raise InvalidTokenError("its header cannot be read") from error
    if not isinstance(header, dict):
        raise InvalidTokenError("its header cannot be read")
    return header


def verified(token: bytes, keys: Sequence[Key], algorithm: str) -> Mapping[str, Any]:
    """The claims of a token that one of `keys` signed with `algorithm`; else `InvalidTokenError`."""
    # unknown header parameters are ignored unless they are declared critical (RFC 7515, 4)
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    for key in keys:
        try:
            # RFC 9864 renames EdDSA, but issuers still use the old name: the library warns for each token
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)
                payload = jws.deserialize_compact(token, key, registry=registry).payload
        except (JoseError, ValueError, TypeError):  # TypeError: a `crit` that is not a list
            continue
        return _claims(payload or b"")
    raise InvalidTokenError("its signature is not valid")


def _claims(payload: bytes) -> Mapping[str, Any]:
    try:
        claims = orjson.loads(payload)
    except ValueError as error:
        raise InvalidTokenError("its claims cannot be read") from error
    if not isinstance(claims, dict):
        raise InvalidTokenError("its claims cannot be read")
    return claims


def principal_of(
    claims: Mapping[str, Any], *, now: float, issuer: str | None, audience: str | None
) -> Principal:
    """The user the claims represent at `now` (seconds since 1970); `InvalidTokenError` if none."""
    expires = _moment(claims, "exp")
    if expires is None or expires + SKEW_SECONDS <= now:
        raise InvalidTokenError("it has expired, or has no expiry")
    begins = _moment(claims, "nbf")
    if begins is not None and begins - SKEW_SECONDS > now:
        raise InvalidTokenError("it is not valid yet")
    if issuer is not None and claims.get("iss") != issuer:
        raise InvalidTokenError("it is from another issuer")
    named = claims.get("aud")
    if audience is not None and audience not in (named if isinstance(named, list) else [named]):
        raise InvalidTokenError("it is for another audience")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not valid_id(subject):
        raise InvalidTokenError("its subject cannot be a user's id")
    return Principal(subject, _roles(claims.get("roles")), expires)


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidTokenError(f"its {name} is not a time")
    return float(value)


def _roles(value: object) -> frozenset[str]:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(role, str) for role in value):
        raise InvalidTokenError("its roles are not a list of names")
    return frozenset(value)
