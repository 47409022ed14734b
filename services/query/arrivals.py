"""Requests that wait for a document to change. The change stream wakes them; they never poll."""

import asyncio
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from services.query.documents.feed import FeedEvent

Kind = Literal["orders", "customers", "products"]


class Expectation:
    """`changed` is set whenever the document may have changed; `event` is the newest one reported, if any."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.event: FeedEvent | None = None


class Arrivals:
    """Wakes the requests that wait for a document to change."""

    def __init__(self) -> None:
        self._expecting: defaultdict[tuple[Kind, str], set[Expectation]] = defaultdict(set)
        self.stopped = False

    @contextmanager
    def expecting(self, kind: Kind, document_id: str) -> Generator[Expectation, None, None]:
        """Expect changes to the document. Enter before reading it, so that none is missed."""
        key = (kind, document_id)
        expectation = Expectation()
        self._expecting[key].add(expectation)
        try:
            yield expectation
        finally:
            self._expecting[key].discard(expectation)
            if not self._expecting[key]:
                del self._expecting[key]

    def __len__(self) -> int:
        return sum(len(expectations) for expectations in self._expecting.values())

    def __bool__(self) -> bool:
        return bool(self._expecting)

    def changed(self, kind: Kind, document_id: str, event: FeedEvent | None = None) -> None:
        """Report that the document changed; for an order, `event` is the change."""
        for expectation in self._expecting.get((kind, document_id), ()):
            expectation.event = event
            expectation.changed.set()

    def stop(self) -> None:
        """Release all waiting requests: the process is about to stop."""
        self.stopped = True
        self.anything_may_have_changed()

    def anything_may_have_changed(self) -> None:
        """Have all waiting requests check again: changes may have been missed."""
        for expectations in self._expecting.values():
            for expectation in expectations:
                expectation.changed.set()
