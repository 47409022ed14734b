"""Records as published by the relay, and an in-memory store for documents folded from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

import bson
from bson.codec_options import CodecOptions

from services.projection.folding.topic_projection import Writes
from services.projection.read_models import customer_summaries, daily_sales, product_sales
from services.projection.read_models.incoming import Document
from shared.documents import CUSTOMER_SUMMARIES, DAILY_SALES, PRODUCT_SALES, part_id
from shared.envelope import dump_data, encode, schema_url
from shared.events import Event
from shared.topics import CLOUDEVENTS_JSON, COMMITTED_AT, CONTENT_TYPE, INCARNATION, RECEIVED_AT

T: Final = datetime(2026, 11, 23, 10, tzinfo=UTC)
TRACE: Final = "00-a9e343f14a291b6325639b9d8cea366f-1e496cf898a246ad-01"


@dataclass(slots=True)
class Rec:
    """A record as returned by aiokafka."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def headers(incarnation: str = "a") -> list[tuple[str, bytes]]:
    """The headers that the relay adds to every record."""
    return [
        (CONTENT_TYPE, CLOUDEVENTS_JSON),
        (INCARNATION, incarnation.encode()),
        (RECEIVED_AT, b"2026-11-23T10:00:00.001Z"),
        (COMMITTED_AT, b"2026-11-23T10:00:00.002Z"),
    ]


def value(subject: str, version: int, event: Event, at: datetime = T) -> bytes:
    """The envelope of an event."""
    name = type(event).__name__
    return encode(
        event_id=str(uuid5(NAMESPACE_OID, f"{subject}/{version}")),
        event_type=name,
        subject=subject,
        time=at + timedelta(seconds=version),
        dataschema=schema_url("http://127.0.0.1:8001", name, event.schema_version),
        version=version,
        position=version,
        actor="ada",
        traceparent=TRACE,
        data=dump_data(event),
    )


def record(
    topic: str, subject: str, version: int, event: Event, *, offset: int = 0, incarnation: str = "a"
) -> Rec:
    """The record of an event."""
    content = value(subject, version, event)
    return Rec(topic, 0, offset, 1_790_000_000_000, subject.encode(), content, headers(incarnation))


_COUNTS: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    CUSTOMER_SUMMARIES: (customer_summaries.KEY, customer_summaries.AMOUNTS),
    PRODUCT_SALES: (product_sales.KEY, product_sales.AMOUNTS),
    DAILY_SALES: (daily_sales.KEY, daily_sales.AMOUNTS),
}


@dataclass(slots=True)
class Memory:
    """Documents by read model and id, written as the store writes them."""

    documents: dict[str, dict[str, Document]] = field(default_factory=dict)
    feed: list[Document] = field(default_factory=list)

    def of(self, read_model: str) -> dict[str, Document]:
        """A read model's documents by id."""
        return self.documents.setdefault(read_model, {})

    def write(self, writes: Writes, partition: int = 0) -> None:
        """Apply a batch's changes."""
        for read_model, inserted in writes.inserted.items():
            for new in inserted:
                document = plain(new)
                assert document["_id"] not in self.of(read_model), "a document was inserted twice"
                self.of(read_model)[document["_id"]] = document
        for read_model, replaced in writes.replaced.items():
            for key, changed in replaced.items():
                self.of(read_model)[key] = plain(changed)
        for read_model, additions in writes.added.items():
            name, fields = _COUNTS[read_model]
            for key, sums in additions.sums.items():
                blank = {name: key, **dict.fromkeys(fields, 0)}
                count = self.of(read_model).setdefault(part_id(key, partition), blank)
                for field_name, amount in zip(fields, sums, strict=True):
                    count[field_name] += amount
                if key in additions.latest:
                    latest = count.get(customer_summaries.LATEST)
                    moment = additions.latest[key]
                    count[customer_summaries.LATEST] = moment if latest is None else max(latest, moment)
        self.feed += [plain(entry) for entry in writes.feed]


def plain(document: Any) -> Document:
    """The document as read back from the store."""
    options: CodecOptions[Document] = CodecOptions(tz_aware=True)
    return bson.decode(bson.encode(document), options)
