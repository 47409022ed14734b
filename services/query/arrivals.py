"""Those who wait for a document to change: woken by the change stream, they never ask by themselves."""

import asyncio
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

Kind = Literal["orders", "customers", "products"]


class Arrivals:
    """Wakes those who expect a change of one document."""

    def __init__(self) -> None:
        self._expecting: defaultdict[tuple[Kind, str], set[asyncio.Event]] = defaultdict(set)
        self.stopped = False

    @contextmanager
    def expecting(self, kind: Kind, document_id: str) -> Generator[asyncio.Event, None, None]:
        """An event that is set whenever the document may have changed. Enter before reading the document."""
        key = (kind, document_id)
        changed = asyncio.Event()
        self._expecting[key].add(changed)
        try:
            yield changed
        finally:
            self._expecting[key].discard(changed)
            if not self._expecting[key]:
                del self._expecting[key]

    def __len__(self) -> int:
        return sum(len(events) for events in self._expecting.values())

    def __bool__(self) -> bool:
        return bool(self._expecting)

    def changed(self, kind: Kind, document_id: str) -> None:
        """The document changed."""
        for event in self._expecting.get((kind, document_id), ()):
            event.set()

    def stop(self) -> None:
        """Let nobody wait any longer: the process is about to end."""
        self.stopped = True
        self.anything_may_have_changed()

    def anything_may_have_changed(self) -> None:
        """Changes may have gone unseen: everybody looks again."""
        for events in self._expecting.values():
            for event in events:
                event.set()
