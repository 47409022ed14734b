"""Folds a batch's records in order: applies next versions, drops repeats, finds holes, parks the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.projection.folding.customers import CustomersProjection
from services.projection.folding.parking import Letter, Marks, Parked, why
from services.projection.folding.reading import Reading
from services.projection.folding.topic_projection import TopicProjection
from services.projection.read_models.incoming import Incoming
from services.projection.records import Record, digest, read, stream_of
from shared.events import CustomerErased

Refetched = Mapping[tuple[str, int], Record]
"""Records read again from the topic, by subject and version."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Missing versions of a stream, both ends included."""

    subject: str
    first: int
    last: int


@dataclass(slots=True)
class Fold:
    """Folds records into `projection`. Holes are only collected, or, given `refetched`, filled or parked."""

    projection: TopicProjection
    known: Marks
    refetched: Refetched | None = None
    marks: dict[str, Parked] = field(default_factory=dict)
    """Marks that changed."""
    letters: list[Letter] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    applied: int = 0
    repeats: int = 0

    def take(self, reading: Reading) -> None:
        """Fold the next record, whatever its content."""
        record, incoming = reading.record, reading.incoming
        if incoming is None:
            self._unreadable(record, reading.reason)
            return
        subject, version = incoming.subject, incoming.version
        stored = self.projection.version_of(subject)
        mark = self._mark(subject)
        if version <= stored:
            self.repeats += 1
        elif mark is not None and mark.open and not mark.hole:
            self._park(record, version, f"follows version {mark.first_version}, which could not be used")
        elif version == stored + 1:
            self._apply(record, incoming)
        elif mark is not None and mark.open:
            self._after_hole(record, version, mark)
        else:
            self._fill(record, incoming, stored)
        self._forget(incoming)

    def _forget(self, incoming: Incoming[Any]) -> None:
        """Erase a customer immediately, even if the event is parked."""
        if not isinstance(incoming.event, CustomerErased):
            return
        parked = self.projection.version_of(incoming.subject) < incoming.version
        if parked and isinstance(self.projection, CustomersProjection):
            self.projection.forget(incoming.subject)

    def _mark(self, subject: str) -> Parked | None:
        return self.marks.get(subject) or self.known.get(subject)

    def _apply(self, record: Record, incoming: Incoming[Any]) -> None:
        try:
            self.projection.apply(incoming)
        except Exception as error:  # whatever the cause, this event cannot be used
            self._park(record, incoming.version, why(error))
            return
        self.applied += 1
        mark = self._mark(incoming.subject)
        if mark is not None and mark.open and mark.hole:
            self._resume(incoming.subject, mark)

    def _after_hole(self, record: Record, version: int, mark: Parked) -> None:
        if version <= mark.last_version:
            self.repeats += 1
        else:
            self._park(record, version, f"version {mark.first_version - 1} is missing", hole=True)

    def _fill(self, record: Record, incoming: Incoming[Any], stored: int) -> None:
        """A version is missing: apply the refetched events, and park this one if that is not enough."""
        subject, version = incoming.subject, incoming.version
        if self.refetched is None:
            self.holes.append(Hole(subject, stored + 1, version - 1))
            return
        if self._apply_refetched(subject, version - 1) == version - 1:
            self._apply(record, incoming)
            return
        missing = self.projection.version_of(subject) + 1
        self._park(record, version, f"version {missing} is missing", hole=True)

    def _resume(self, subject: str, mark: Parked) -> None:
        """The missing version has arrived: reread from the topic those that were parked after it."""
        if self.projection.version_of(subject) < mark.last_version:
            if self.refetched is None:
                self.holes.append(Hole(subject, self.projection.version_of(subject) + 1, mark.last_version))
                return
            self._apply_refetched(subject, mark.last_version)
        if self.projection.version_of(subject) >= mark.last_version:
            self.marks[subject] = replace(mark, open=False)

    def _apply_refetched(self, subject: str, last: int) -> int:
        """Apply refetched events up to version `last`, and return the version reached."""
        assert self.refetched is not None
        while (version := self.projection.version_of(subject)) < last:
            record = self.refetched.get((subject, version + 1))
            if record is None:
                break
            try:
                self.projection.apply(read(record))
            except Exception as error:  # whatever the cause, this event cannot be used
                self._park(record, version + 1, why(error))
                break
            self.applied += 1
        return version

    def _unreadable(self, record: Record, reason: str) -> None:
        """Park a record of unknown version: it counts as the next one of its stream, once."""
        subject, found = stream_of(record), digest(record)
        mark = self._mark(subject)
        if mark is not None and found in mark.unreadable:
            self.repeats += 1
            return
        last = self.projection.version_of(subject)
        if mark is not None and mark.open:
            last = max(last, mark.last_version)
        self._park(record, last + 1, reason)
        parked = self.marks[subject]
        self.marks[subject] = replace(parked, unreadable=(*parked.unreadable, found))

    def _park(self, record: Record, version: int, reason: str, *, hole: bool = False) -> None:
        self.letters.append(Letter(record, reason))
        subject = stream_of(record)
        mark = self._mark(subject)
        if mark is None or not mark.open:
            unreadable = () if mark is None else mark.unreadable
            self.marks[subject] = Parked(
                subject=subject,
                first_version=version,
                last_version=version,
                reason=reason,
                hole=hole,
                unreadable=unreadable,
            )
        else:
            last = max(mark.last_version, version)
            # an unusable event is not unblocked by a missing version arriving
            self.marks[subject] = replace(mark, last_version=last, hole=mark.hole and hole)
