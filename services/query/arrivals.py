"""Those who wait for a document to change: woken by the change stream, they never ask by themselves."""

import asyncio
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from services.query.documents.feed import FeedEvent

Kind = Literal["orders", "customers", "products"]


class Expectation:
    """Of a change: `changed` is set whenever there may be one. `event` is the newest one told, if one was."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.event: FeedEvent | None = None


class Arrivals:
    """Wakes those who expect a change of one document."""

    def __init__(self) -> None:
        self._expecting: defaultdict[tuple[Kind, str], set[Expectation]] = defaultdict(set)
        self.stopped = False

    @contextmanager
    def expecting(self, kind: Kind, document_id: str) -> Generator[Expectation, None, None]:
        """Expect changes of the document. Enter before reading it."""
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
        """The document changed, by `event` if it is an order."""
        for expectation in self._expecting.get((kind, document_id), ()):
            expectation.event = event
            expectation.changed.set()

    def stop(self) -> None:
        """Let nobody wait any longer: the process is about to end."""
        self.stopped = True
        self.anything_may_have_changed()

    def anything_may_have_changed(self) -> None:
        """Changes may have gone unseen: everybody looks again."""
        for expectations in self._expecting.values():
            for expectation in expectations:
                expectation.changed.set()
