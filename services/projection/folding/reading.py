"""Parses a batch's records, before anything is folded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.projection.folding.parking import Marks, why
from services.projection.read_models.incoming import Incoming
from services.projection.records import Record, read, stream_of


@dataclass(slots=True)
class Reading:
    """A record and its event, or why it cannot be used."""

    record: Record
    subject: str
    incoming: Incoming[Any] | None
    reason: str = ""


def reading(record: Record) -> Reading:
    """Read a record, whatever its content."""
    try:
        incoming = read(record)
    except Exception as error:  # whatever the cause, this event cannot be used
        return Reading(record, stream_of(record), None, why(error))
    return Reading(record, incoming.subject, incoming)


def beginning(readings: Sequence[Reading], marks: Marks) -> frozenset[str]:
    """The streams that start in this batch, assuming that it contains no repeats."""
    first: dict[str, Reading] = {}
    for each in readings:
        first.setdefault(each.subject, each)
    return frozenset(
        subject
        for subject, each in first.items()
        if each.incoming is not None and each.incoming.version == 1 and subject not in marks
    )
