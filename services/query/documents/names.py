"""Customers' names and addresses, remembered while the change stream tells of every change to them."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from services.query.documents.shapes import Customer

_ALIVE_SECONDS: Final = 2.5
"""The stream says something at least once a second, if only that nothing changed."""
_MOST_KNOWN: Final = 16_384

Read = Callable[[Sequence[str]], Awaitable[Mapping[str, Customer]]]


class Names:
    """Reads names, and reads them again only after they changed, or when nobody can tell whether they did.

    Who follows the changes calls `alive` whenever the stream spoke, `changed` for each customer it named
    before anything else of that news is acted upon, and `lost` when it ends.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[str, Customer] = {}
        self._alive_until = 0.0
        self._changes = 0

    def alive(self) -> None:
        """The stream spoke: what it did not name has not changed."""
        self._alive_until = time.monotonic() + _ALIVE_SECONDS

    def changed(self, customer_id: str) -> None:
        """The customer changed; what is being read now may be from before."""
        self._changes += 1
        self._known.pop(customer_id, None)

    def lost(self) -> None:
        """Changes may go unseen from now on."""
        self._changes += 1
        self._alive_until = 0.0
        self._known.clear()

    async def of(self, customer_ids: Sequence[str]) -> Mapping[str, Customer]:
        """Names and addresses of now; unknown customers are left out. Raises what the read raises."""
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
            # dictionaries keep the order of insertion: the oldest goes
            del self._known[next(iter(self._known))]
