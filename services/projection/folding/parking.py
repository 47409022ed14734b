"""Parked streams: those whose events wait in the dead-letter topics."""

from collections.abc import Mapping
from dataclasses import dataclass

from bson.errors import BSONError
from pydantic import ValidationError

from services.projection.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """The mark of a parked stream.

    A stream parked for a hole resumes by itself once the missing version arrives; any other has to be
    redriven. `unreadable` holds digests of parked records whose version is unknown. They are kept when the
    stream is no longer parked (`open` is false), so that reading those records again parks nothing.
    """

    subject: str
    first_version: int
    last_version: int
    reason: str
    hole: bool
    unreadable: tuple[str, ...] = ()
    open: bool = True


Marks = Mapping[str, Parked]
"""By subject."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A record for the dead letters, and the reason."""

    record: Record
    reason: str


def why(error: Exception) -> str:
    """The reason, without any content of the record, which may be personal data."""
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False, include_input=False, include_context=False)
        lines = ("/".join(map(str, detail["loc"])) + ": " + detail["msg"] for detail in details[:3])
        return "; ".join(lines)
    if isinstance(error, BSONError) or not str(error):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"
