"""Customers' names and email addresses, cached while the change stream reports every change to them."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from services.query.documents.shapes import Customer

_ALIVE_SECONDS: Final = 2.5
"""The stream reports at least once a second, if only that nothing changed."""
_MOST_KNOWN: Final = 16_384

Read = Callable[[Sequence[str]], Awaitable[Mapping[str, Customer]]]


class Names:
    """Reads names, and reads them again only after they changed or while changes may be missed.

    The reader of the change stream calls `alive` whenever the stream reports, `changed` for each customer it
    names, before acting on anything else in that news, and `lost` when the stream ends.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[str, Customer] = {}
        self._alive_until = 0.0
        self._changes = 0

    def alive(self) -> None:
        """The stream reported: customers it did not name have not changed."""
        self._alive_until = time.monotonic() + _ALIVE_SECONDS

    def changed(self, customer_id: str) -> None:
        """The customer changed; a read in flight may return the old state."""
        self._changes += 1
        self._known.pop(customer_id, None)

    def lost(self) -> None:
        """Changes may be missed from now on."""
        self._changes += 1
        self._alive_until = 0.0
        self._known.clear()

    async def of(self, customer_ids: Sequence[str]) -> Mapping[str, Customer]:
        """Current names and email addresses, without unknown customers. Raises whatever the read raises."""
        alive = time.monotonic() < self._alive_until
        if not alive:
            self.lost()
        elif all(customer_id in self._known for customer_id in customer_ids):
            return self._known
        began = self._changes
        found = await self._read(customer_ids)
        if alive and began == self._changes:
            self._remember(found)
        return found

    def _remember(self, found: Mapping[str, Customer]) -> None:
        self._known |= found
        while len(self._known) > _MOST_KNOWN:
            # dictionaries keep insertion order: this drops the oldest
            del self._known[next(iter(self._known))]
