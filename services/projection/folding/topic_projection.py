"""What folds the events of one topic, and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bson.raw_bson import RawBSONDocument

from services.projection.read_models.additions import Additions
from services.projection.read_models.incoming import Document, Incoming

Encoded = Document | RawBSONDocument
"""A document, or one that is encoded already."""
Documents = Mapping[str, Document]
"""By id."""


@dataclass(slots=True)
class Writes:
    """What a batch changes, by read model."""

    inserted: dict[str, list[Encoded]] = field(default_factory=dict)
    replaced: dict[str, dict[str, Encoded]] = field(default_factory=dict)
    added: dict[str, Additions] = field(default_factory=dict)
    feed: list[Encoded] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    """Customers whose names must not stand in any generation any more."""


class TopicProjection(Protocol):
    """Holds the documents of the aggregates in a batch."""

    def version_of(self, subject: str) -> int:
        """The version that the aggregate's document has; 0 for none."""

    def apply(self, incoming: Incoming[Any]) -> None:
        """Take in the aggregate's next event; whatever it raises, nothing has changed then."""

    def writes(self) -> Writes:
        """All that changed."""
