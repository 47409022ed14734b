"""Turns a request's `Authorization` header into a principal."""

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from starlette.types import Scope

from shared.auth.keys import JwksFile, JwksUrl, KeySource, KeysUnavailableError, SharedSecret
from shared.auth.principal import Principal
from shared.auth.settings import AuthSettings
from shared.auth.tokens import SKEW_SECONDS, InvalidTokenError, header_of, principal_of, verified
from shared.problems import UNAUTHENTICATED, Problem, unavailable

_CACHED_TOKENS: Final = 10_000
_LONGEST_TOKEN: Final = 16_384
_CHALLENGE: Final = b'Bearer realm="orders"'


class Authenticator:
    """Verifies bearer tokens. Verified ones are cached, byte for byte, until they expire or keys change.

    Enter it (`async with`) to follow the rotation of a JWKS file or URL.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._known: dict[bytes, Principal] = {}
        self._known_changes = keys.changes
        self._following: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: AuthSettings) -> Self:
        """An authenticator as configured by the settings."""
        keys: KeySource
        if settings.jwks_file is not None:
            keys = JwksFile(settings.jwks_file)
        elif settings.jwks_url is not None:
            keys = JwksUrl(str(settings.jwks_url))
        elif settings.jwt_secret is not None:
            keys = SharedSecret(settings.jwt_secret.get_secret_value())
        else:
            raise ValueError("the settings name no way to verify tokens")
        return cls(keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience)

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._keys.run(), name="jwks")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    def missing(self) -> str | None:
        """Why no token can be verified now (for `/health/ready`), or None."""
        return self._keys.missing()

    async def authenticate(self, scope: Scope) -> Principal:
        """The caller of an HTTP or WebSocket request, by its `Authorization` header.

        Raises `Problem`: 401, or 503 while no key has been read from the JWKS source.
        """
        found: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if found is not None:
                    _refuse("there are several Authorization headers", _CHALLENGE)
                found = value
        if found is None:
            _refuse("there is no Authorization header", _CHALLENGE)
        return await self.authenticate_header(found)

    async def authenticate_header(self, value: bytes) -> Principal:
        """The caller by an `Authorization` header's value; raises as `authenticate` does."""
        if self._known_changes != self._keys.changes:
            self._known.clear()
            self._known_changes = self._keys.changes
        principal = self._known.get(value)
        if principal is not None and principal.expires_at + SKEW_SECONDS > self._clock():
            return principal
        scheme, _, rest = value.partition(b" ")
        token = rest.strip()
        if scheme.lower() != b"bearer" or not token:
            _refuse("the Authorization header holds no bearer token", _CHALLENGE)
        principal = await self.authenticate_token(token)
        if token == rest:  # padded in ever other ways, one token would fill the cache
            self._remember(value, principal)
        return principal

    def _remember(self, value: bytes, principal: Principal) -> None:
        if len(self._known) >= _CACHED_TOKENS:
            self._known.clear()
        self._known[value] = principal

    async def authenticate_token(self, token: bytes) -> Principal:
        """The principal of a bare token (a WebSocket subprotocol); raises as `authenticate` does."""
        try:
            if len(token) > _LONGEST_TOKEN:
                raise InvalidTokenError("it is too long")
            header = header_of(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if not isinstance(algorithm, str) or algorithm not in self._keys.algorithms:
                raise InvalidTokenError("its algorithm is not accepted")
            if kid is not None and not isinstance(kid, str):
                raise InvalidTokenError("its kid is not a string")
            claims = await self._verified(token, algorithm, kid)
            return principal_of(claims, now=self._clock(), issuer=self._issuer, audience=self._audience)
        except InvalidTokenError as error:
            _refuse(f"the token is not accepted: {error}", _CHALLENGE + b', error="invalid_token"')
        except KeysUnavailableError:
            raise unavailable("The keys for verifying tokens are unavailable.", 5) from None

    async def _verified(self, token: bytes, algorithm: str, kid: str | None) -> Mapping[str, Any]:
        keys = await self._keys.find(algorithm, kid)
        if not keys:
            raise InvalidTokenError("no key with that kid is known")
        changes = self._keys.changes
        try:
            return verified(token, keys, algorithm)
        except InvalidTokenError:
            await self._keys.renew()  # a key without a kid may have been replaced by another
            if self._keys.changes == changes:
                raise
        return verified(token, await self._keys.find(algorithm, kid), algorithm)


def _refuse(why: str, challenge: bytes) -> NoReturn:
    detail = why[0].upper() + why[1:] + "."
    raise Problem(UNAUTHENTICATED, detail, headers=[(b"www-authenticate", challenge)])
