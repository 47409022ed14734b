"""The interface of a topic's projection, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bson.raw_bson import RawBSONDocument

from services.projection.read_models.additions import Additions
from services.projection.read_models.incoming import Document, Incoming

Encoded = Document | RawBSONDocument
"""A document, possibly encoded already."""
Documents = Mapping[str, Document]
"""By id."""


@dataclass(slots=True)
class Writes:
    """A batch's changes, by read model."""

    inserted: dict[str, list[Encoded]] = field(default_factory=dict)
    replaced: dict[str, dict[str, Encoded]] = field(default_factory=dict)
    added: dict[str, Additions] = field(default_factory=dict)
    feed: list[Encoded] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    """Customers whose names must be removed from all generations."""


class TopicProjection(Protocol):
    """Holds the documents of a batch's aggregates."""

    def version_of(self, subject: str) -> int:
        """The version of the aggregate's document; 0 if there is none."""

    def apply(self, incoming: Incoming[Any]) -> None:
        """Apply the aggregate's next event. If this raises anything, nothing has changed."""

    def writes(self) -> Writes:
        """All changes."""
