"""Authenticates callers: bearer tokens (JWT, RFC 7519), verified with a shared secret or public keys.

A service creates one `Authenticator` from its `AuthSettings` and enters it while it serves:

    async with Authenticator.of(settings) as authenticator:
        principal = await authenticator.authenticate(scope)     # raises Problem 401 or 503
        principal.require("staff")                              # raises Problem 403
"""

from shared.auth.authenticator import Authenticator
from shared.auth.principal import ID_PATTERN, ID_RULE, PERSONAL_DATA, STAFF, Principal, valid_id
from shared.auth.settings import AuthSettings

__all__ = [
    "ID_PATTERN",
    "ID_RULE",
    "PERSONAL_DATA",
    "STAFF",
    "AuthSettings",
    "Authenticator",
    "Principal",
    "valid_id",
]
