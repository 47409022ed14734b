"""An event on its way into the read models."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from shared.events import Event

E = TypeVar("E", bound=Event, covariant=True)
Document = dict[str, Any]


class UnusableEventError(Exception):
    """The event cannot be applied to the document of its aggregate."""


@dataclass(slots=True)
class Incoming(Generic[E]):
    """One event, its envelope's fields, and its record's position and times. Times are in UTC."""

    event: E
    type: str
    subject: str
    version: int
    occurred_at: datetime
    actor: str
    traceparent: str | None
    data: Mapping[str, Any]
    topic: str
    partition: int
    offset: int
    received_at: datetime
    committed_at: datetime
    published_at: datetime
    trace: str | None = None
    """The `traceparent` of the span that processes the event, when tracing is on."""
