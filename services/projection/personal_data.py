"""Decrypts names and email addresses with keys fetched from the command service."""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from services.projection.faults import TransientError
from services.projection.read_models.customers import Reveal
from shared.auth import valid_id

_BATCH: Final = 1000
_TIMEOUT: Final = 5.0
_ALGORITHMS: Final = ["dir", "A256GCM"]


class Keys:
    """Fetches keys in batches. Keys are not cached: one may be deleted at any moment."""

    def __init__(self, url: str, read_token: Callable[[], str]) -> None:
        self._url = f"{url.rstrip('/')}/personal-data-keys"
        self._read_token = read_token
        self._token: str | None = None
        self._last_failed = False
        # never through a proxy: the service is internal
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def reveal(self, customer_ids: Iterable[str]) -> Reveal:
        """A function that decrypts those customers' texts; `TransientError` if the keys cannot be fetched."""
        keys: dict[str, Any] = {}
        # a record's key may be anything; an invalid customer id would fail the whole request
        for some in _batches(sorted(filter(valid_id, set(customer_ids)))):
            keys |= await self._fetch(some)
        return _revealing({customer: _imported(key) for customer, key in keys.items()})

    async def why_not_ready(self) -> str | None:
        """Why keys cannot be fetched, in words safe to publish; None unless the last attempt failed."""
        try:
            if self._last_failed:
                await self._fetch([])
        except TransientError as error:
            return str(error)
        return None

    async def _fetch(self, customer_ids: list[str]) -> Mapping[str, Any]:
        try:
            answer = await self._post(customer_ids)
            if answer.status_code == 401:
                # the token file may hold a newer one
                self._token = None
                answer = await self._post(customer_ids)
            answer.raise_for_status()
            keys: Mapping[str, Any] = answer.json()["keys"]
        except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
            self._last_failed = True
            self._token = None  # its file may have been read while it was being written
            raise TransientError(f"personal data keys: {type(error).__name__}") from error
        self._last_failed = False
        return keys

    async def _post(self, customer_ids: list[str]) -> httpx.Response:
        if self._token is None:
            self._token = self._read_token()
        headers = {"authorization": f"Bearer {self._token}"}
        return await self._client.post(self._url, json={"customerIds": customer_ids}, headers=headers)


def _batches(ids: list[str]) -> Iterable[list[str]]:
    return (ids[first : first + _BATCH] for first in range(0, len(ids), _BATCH))


def _imported(key: Any) -> OctKey | None:
    return None if key is None else OctKey.import_key(key)


def _revealing(keys: Mapping[str, OctKey | None]) -> Reveal:
    def reveal(customer_id: str, text: str) -> str | None:
        key = keys.get(customer_id)
        if key is None:
            return None
        try:
            return (jwe.decrypt_compact(text, key, algorithms=_ALGORITHMS).plaintext or b"").decode()
        except JoseError as error:
            # the library's message may contain parts of the text
            raise ValueError(f"cannot be decrypted: {type(error).__name__}") from None

    return reveal
