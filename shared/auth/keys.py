"""Sources of the keys that verify tokens: a secret, a JWKS file, a JWKS URL (RFC 7517)."""

import asyncio
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import httpx
import orjson
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, Key, OctKey, OKPKey, RSAKey

ASYMMETRIC: Final = ("RS256", "ES256", "EdDSA")
FILE_POLL_SECONDS: Final = 1.0
URL_POLL_SECONDS: Final = 300.0
URL_RETRY_SECONDS: Final = 5.0
_COOLDOWN_SECONDS: Final = 1.0
_LARGEST_DOCUMENT: Final = 1 << 20
_log = logging.getLogger(__name__)


class KeysUnavailableError(Exception):
    """No key has ever been read from the source."""


class KeySource(Protocol):
    """Keys by id. `changes` counts their changes: tokens verified before one must be verified again."""

    algorithms: Sequence[str]
    changes: int

    async def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The keys that may have signed a token; none for an unknown `kid`. Raises `KeysUnavailableError`."""

    async def renew(self) -> None:
        """Look for newer keys now, perhaps with the same `kid`: those found did not verify the token."""

    async def run(self) -> None:
        """Follow changes until cancelled."""

    def missing(self) -> str | None:
        """Why no token can be verified now, or None."""


class SharedSecret:
    """One secret for HS256."""

    algorithms: Sequence[str] = ("HS256",)
    changes = 0

    def __init__(self, secret: str) -> None:
        with warnings.catch_warnings():  # about a short secret, as in development
            warnings.simplefilter("ignore", SecurityWarning)
            self._keys = [OctKey.import_key(secret)]

    async def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The secret. It has no `kid`, so every `kid` is unknown."""
        return self._keys if kid is None else ()

    async def renew(self) -> None:
        """There are no newer keys."""

    async def run(self) -> None:
        """Nothing ever changes."""

    def missing(self) -> None:
        """Nothing is ever missing."""


@dataclass(slots=True)
class PublicKeys:
    """The keys of a JWKS document that can verify signatures."""

    keys: Sequence[Key] = ()

    @classmethod
    def parse(cls, document: bytes) -> "PublicKeys":
        """Parse a document; `ValueError` if it is not a JWKS document. Keys for other uses are left out."""
        try:
            listed = orjson.loads(document)["keys"]
            imported = [_imported(entry) for entry in listed]
        except (KeyError, TypeError) as error:
            raise ValueError("this is not a JWKS document") from error
        return cls([key for key in imported if key is not None])

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The matching keys. A token without a `kid` may be signed by any key for its algorithm."""
        return [key for key in self.keys if _fits(key, algorithm) and (kid is None or key.get("kid") == kid)]


def _imported(entry: object) -> Key | None:
    try:
        if not isinstance(entry, dict) or entry.get("kty") not in {"RSA", "EC", "OKP"}:
            return None
        if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
            return None
        return JWKRegistry.import_key(entry)
    except (JoseError, ValueError, TypeError, LookupError):  # LookupError: an unsupported curve
        _log.warning("a key in the JWKS document cannot be used and is left out")
        return None


def _fits(key: Key, algorithm: str) -> bool:
    if key.get("alg") not in {None, algorithm, "Ed25519" if algorithm == "EdDSA" else algorithm}:
        return False
    match key:
        case RSAKey():
            return algorithm == "RS256"
        case ECKey():
            return algorithm == "ES256" and key.curve_name == "P-256"
        case OKPKey():
            return algorithm == "EdDSA" and key.get("crv") == "Ed25519"
        case _:
            return False


class JwksFile:
    """A file, checked every second: keys rotate without a restart. If it is invalid, the old keys stay."""

    algorithms: Sequence[str] = ASYMMETRIC

    def __init__(self, path: Path) -> None:
        self.changes = 0
        self._path = path
        self._document = b""
        self._held: PublicKeys | None = None

    async def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The matching keys; the file is read again if there are none."""
        found = self._held.find(algorithm, kid) if self._held else ()
        if not found:
            await self._read()
            if self._held is None:
                raise KeysUnavailableError
            found = self._held.find(algorithm, kid)
        return found

    async def renew(self) -> None:
        """Read the file again."""
        await self._read()

    async def run(self) -> None:
        """Check the file every second."""
        while True:
            await self._read()
            await asyncio.sleep(FILE_POLL_SECONDS)

    def missing(self) -> str | None:
        """The reason while the file has never been readable, or None."""
        return "the JWKS file cannot be read" if self._held is None else None

    async def _read(self) -> None:
        try:
            document = await asyncio.to_thread(self._path.read_bytes)
            if document == self._document:
                return
            self._document = document
            self._held = PublicKeys.parse(document)
            self.changes += 1
        except (OSError, ValueError) as error:
            _log.warning("the JWKS file cannot be used: %s", type(error).__name__)


@dataclass(slots=True)
class JwksUrl:
    """An endpoint, polled every 5 minutes; and when its keys do not verify a token, at most once a second.

    While it is down, its last keys remain in use and it is polled every 5 seconds.
    """

    url: str
    algorithms: Sequence[str] = ASYMMETRIC
    changes: int = 0
    _document: bytes = b""
    _held: PublicKeys | None = None
    _asked: float = float("-inf")
    _answered: bool = False
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The matching keys; the endpoint is asked again if there are none."""
        found = self._held.find(algorithm, kid) if self._held else ()
        if not found:
            await self._ask()
            if self._held is None:
                raise KeysUnavailableError
            found = self._held.find(algorithm, kid)
        return found

    async def renew(self) -> None:
        """Ask the endpoint again."""
        await self._ask()

    async def run(self) -> None:
        """Ask every 5 minutes, or every 5 seconds while there is no answer."""
        while True:
            await self._ask()
            await asyncio.sleep(URL_POLL_SECONDS if self._answered else URL_RETRY_SECONDS)

    def missing(self) -> str | None:
        """The reason while the endpoint has never answered, or None."""
        return "the JWKS endpoint has not answered" if self._held is None else None

    async def _ask(self) -> None:
        # One request at a time, one per second: unknown kids must not flood the endpoint.
        async with self._asking:
            if time.monotonic() - self._asked < _COOLDOWN_SECONDS:
                return
            self._answered = False
            try:
                document = await self._fetch()
                if document != self._document:
                    self._held = PublicKeys.parse(document)
                    self._document = document
                    self.changes += 1
                self._answered = True
            except (httpx.HTTPError, ValueError) as error:
                _log.warning("the JWKS endpoint returned no keys: %s", type(error).__name__)
            finally:
                self._asked = time.monotonic()

    async def _fetch(self) -> bytes:
        async with httpx.AsyncClient(timeout=5) as client, client.stream("GET", self.url) as answer:
            answer.raise_for_status()
            document = b""
            async for chunk in answer.aiter_bytes():
                document += chunk
                if len(document) > _LARGEST_DOCUMENT:
                    raise ValueError("the JWKS document is too large")
            return document
