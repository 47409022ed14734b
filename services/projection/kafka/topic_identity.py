"""Detects that a topic was deleted and re-created."""

from collections.abc import Sequence

from services.projection.records import Record, digest, incarnation
from services.projection.store.checkpoints import Checkpoint


class TopicIdentity:
    """Remembers the incarnations that a partition needs no further restart for."""

    def __init__(self) -> None:
        self._handled: set[str] = set()

    def continues(self, base: Checkpoint, records: Sequence[Record]) -> bool:
        """False if records of another incarnation may have been skipped: restart, once per incarnation."""
        known = base.incarnation
        for record in records:
            found = incarnation(record)
            if found is None or found == known:
                continue
            if known and found not in self._handled:
                self._handled |= {known, found}
                return False
            self._handled.add(found)
            known = found
        return True

    def is_new_topic(self, base: Checkpoint, incarnation: str) -> bool:
        """Whether the reported incarnation differs from the one read; True only once per incarnation."""
        if base.offset < 0 or incarnation == base.incarnation or incarnation in self._handled:
            return False
        self._handled |= {base.incarnation, incarnation}
        return True

    @staticmethod
    def matches(base: Checkpoint, record: Record) -> bool:
        """Whether this is the last record that the checkpoint passed."""
        return record.offset == base.offset and digest(record) == base.digest
