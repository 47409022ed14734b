"""How far documents may be behind the committed events, proven from end to end.

Twice a second each shard of the relay publishes a time t and, for every partition, an end offset below which
everything committed before t is stored. Once the live checkpoints have passed those offsets, the documents
contain everything of that shard that was committed before t.

    lag_ms(now, fresh_as_of(credible(heartbeats, now), checkpoints))
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

NEVER: Final = 2_147_483_647
"""The lag in milliseconds when nothing is known."""
SKEW: Final = timedelta(seconds=5)
"""How far the clocks of two machines may differ."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a partition has been read: the offset of the last record passed (-1: none)."""

    incarnation: str
    offset: int

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """From a document of `checkpoints`."""
        return cls(document.get("incarnation") or "", document["offset"])


Checkpoints = Mapping[tuple[str, int], Checkpoint]
"""By topic and partition, of one generation."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One heartbeat of a shard. `t` is aware; `end_offsets` by topic, one per partition in order."""

    shards: int
    shard: int
    t: datetime
    end_offsets: Mapping[str, Sequence[int]]
    incarnations: Mapping[str, str]

    @classmethod
    def of(cls, document: Mapping[str, Any], t: datetime) -> Self:
        """From a document of `heartbeats`; `t` is its time made aware."""
        return cls(document["shards"], document["shard"], t, document["endOffsets"], document["incarnations"])

    def passed(self, checkpoints: Checkpoints) -> bool:
        """Whether every partition has been read up to its end offset, in the topic's incarnation."""
        return all(
            end == 0 or self._reached(topic, end, checkpoints.get((topic, partition)))
            for topic, ends in self.end_offsets.items()
            for partition, end in enumerate(ends)
        )

    def _reached(self, topic: str, end: int, checkpoint: Checkpoint | None) -> bool:
        return (
            checkpoint is not None
            and checkpoint.offset + 1 >= end
            # offsets of a topic that has since been re-created mean nothing
            and checkpoint.incarnation == self.incarnations.get(topic)
        )


def credible(heartbeats: Iterable[Heartbeat], now: datetime) -> list[Heartbeat]:
    """Those not from the future, which would count as fresh for too long after a clock was set back."""
    return [beat for beat in heartbeats if beat.t <= now + SKEW]


def fresh_as_of(heartbeats: Iterable[Heartbeat], checkpoints: Checkpoints) -> datetime | None:
    """The moment before which all committed events are in the documents; None when none is known.

    The smallest, over all shards of the newest shard count, of the newest t that has been passed.
    """
    newest_first = sorted(heartbeats, key=lambda beat: beat.t, reverse=True)
    if not newest_first:
        return None
    missing = set(range(newest_first[0].shards))
    oldest = newest_first[0].t
    for beat in newest_first:
        if beat.shards != newest_first[0].shards or beat.shard not in missing:
            continue
        if beat.passed(checkpoints):
            missing.discard(beat.shard)
            oldest = beat.t
            if not missing:
                return oldest
    return None


def lag_ms(now: datetime, as_of: datetime | None) -> int:
    """Milliseconds from `as_of` to `now`, never negative; `NEVER` when nothing is known."""
    if as_of is None:
        return NEVER
    return min(NEVER, max(0, round((now - as_of).total_seconds() * 1000)))
