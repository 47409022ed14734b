"""Whether a topic is still the one that was read before."""

from collections.abc import Sequence

from services.projection.records import Record, digest, incarnation
from services.projection.store.checkpoints import Checkpoint


class TopicIdentity:
    """Remembers for which incarnations a partition was read from its beginning."""

    def __init__(self) -> None:
        self._swept: set[str] = set()

    def continues(self, base: Checkpoint, records: Sequence[Record]) -> bool:
        """False when records of another incarnation may have been skipped: begin again, once for each."""
        known = base.incarnation
        for record in records:
            found = incarnation(record)
            if found is None or found == known:
                continue
            if known and found not in self._swept:
                self._swept |= {known, found}
                return False
            self._swept.add(found)
            known = found
        return True

    def is_news(self, base: Checkpoint, incarnation: str) -> bool:
        """Whether it is another topic, by what its writer says, than the one that was read; once for each."""
        if base.offset < 0 or incarnation == base.incarnation or incarnation in self._swept:
            return False
        self._swept |= {base.incarnation, incarnation}
        return True

    @staticmethod
    def stands(base: Checkpoint, record: Record) -> bool:
        """Whether the record is the one that the checkpoint passed last."""
        return record.offset == base.offset and digest(record) == base.digest
