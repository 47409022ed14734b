"""Streams whose events wait among the dead letters."""

from collections.abc import Mapping
from dataclasses import dataclass

from bson.errors import BSONError
from pydantic import ValidationError

from services.projection.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """The mark of such a stream.

    A stream parked for a hole goes on by itself once the missing version comes; any other one is redriven.
    `unreadable` are digests of records that were parked without telling their version; they are kept when
    the stream is no longer parked (`open` is false), so that reading them again parks nothing.
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
    """A record that goes to the dead letters, and why."""

    record: Record
    reason: str


def why(error: Exception) -> str:
    """The reason in words that hold nothing of the record: what stands there may be personal."""
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False, include_input=False, include_context=False)
        told = ("/".join(map(str, detail["loc"])) + ": " + detail["msg"] for detail in details[:3])
        return "; ".join(told)
    if isinstance(error, BSONError) or not str(error):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"
