"""Reads events and metadata from Kafka records."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, Protocol

import orjson

from services.projection.read_models.incoming import Incoming
from shared.envelope import CloudEvent, load_data
from shared.events import EVENTS
from shared.events.upcasting import Data, upcast
from shared.times import parse_rfc3339
from shared.topics import COMMITTED_AT, INCARNATION, RECEIVED_AT

_SUBJECT_FIELD: Final = {"orders": "order_id", "customers": "customer_id", "products": "product_id"}

_LARGEST: Final = 2 * 1024 * 1024
"""Bytes of JSON. BSON takes up to six times as many, and a document is limited to 16 MiB."""
_DEEPEST: Final = 90
"""Nesting levels; a document is limited to 100. https://www.mongodb.com/docs/manual/reference/limits/"""


class Record(Protocol):
    """A record as returned by aiokafka."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(slots=True)
class Undecodable:
    """Placeholder for a record of which only the position is known."""

    topic: str
    partition: int
    offset: int
    timestamp: int = -1
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def header(record: Record, name: str) -> str | None:
    """The first non-null header of that name; None if there is none or it is not valid UTF-8."""
    for found, value in record.headers:
        if found == name and value is not None:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
    return None


def incarnation(record: Record) -> str | None:
    """The incarnation of the topic that the record belongs to; None if the record does not state it."""
    return header(record, INCARNATION)


def digest(record: Record) -> str:
    """Distinguishes a record from a different one at the same offset."""
    if isinstance(record, Undecodable):
        return f"undecodable-{record.offset}"  # unique per offset
    hashed = blake2b(record.value or b"", digest_size=16, key=(record.key or b"")[:64])
    return hashed.hexdigest()


def sent_at(record: Record) -> datetime | None:
    """The record's timestamp, which its sender may set to anything; None if it is not a valid time."""
    if isinstance(record, Undecodable):
        return None
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def stream_of(record: Record) -> str:
    """The aggregate's id from the record's key, whatever bytes it contains."""
    return shown(record.key)


def shown(content: bytes | None) -> str:
    """Bytes as printable text on one line, so that they cannot forge log lines or control a terminal."""
    text = (content or b"").decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def read(record: Record) -> Incoming[Any]:
    """The event in a record, upcast to the newest schema of its type.

    Raises `ValueError` if it is not an event of this topic and key, or its data do not match its schema.
    """
    if isinstance(record, Undecodable):
        raise ValueError("a header name, in this record or an earlier one of its batch, is not UTF-8")
    # faster than pydantic's own parser, as most of the document is kept as is
    content = record.value or b""
    parsed = orjson.loads(content)
    _check_storable(content, parsed)
    envelope = CloudEvent.model_validate(parsed)
    if envelope.type not in EVENTS[record.topic]:
        raise ValueError(f"{envelope.type!r} is not an event type of this topic")
    data = _upcast(envelope)
    event = load_data(envelope.type, data)
    if not envelope.subject == stream_of(record) == getattr(event, _SUBJECT_FIELD[record.topic]):
        raise ValueError("key, subject and data name different aggregates")
    occurred = envelope.time.astimezone(UTC)
    if (published := sent_at(record)) is None:
        raise ValueError("the record's timestamp is not a valid time")
    headers = dict(record.headers)
    return Incoming(
        event=event,
        type=envelope.type,
        subject=envelope.subject,
        version=envelope.version,
        occurred_at=occurred,
        actor=envelope.actor,
        traceparent=envelope.traceparent,
        data=data,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        received_at=_time(headers.get(RECEIVED_AT), occurred),
        committed_at=_time(headers.get(COMMITTED_AT), occurred),
        published_at=published,
    )


def _upcast(envelope: CloudEvent) -> Data:
    try:
        return upcast(envelope.type, envelope.schema_version, envelope.data)
    except (KeyError, TypeError) as error:  # an upcaster met data that our services never write
        raise ValueError(f"the data do not match schema version {envelope.schema_version}") from error


def _check_storable(content: bytes, parsed: object) -> None:
    """Raise `ValueError` for content that no document can hold: the store would always reject its batch."""
    if len(content) > _LARGEST:
        raise ValueError("too large for a document")
    # the depth cannot exceed the number of brackets, and few events have that many
    if content.count(b"{") + content.count(b"[") > _DEEPEST and _depth(parsed) > _DEEPEST:
        raise ValueError("nested too deeply for a document")


def _depth(content: object) -> int:
    if isinstance(content, dict):
        return 1 + max(map(_depth, content.values()), default=0)
    if isinstance(content, list):
        return 1 + max(map(_depth, content), default=0)
    return 0


def _time(text: bytes | None, otherwise: datetime) -> datetime:
    return otherwise if text is None else parse_rfc3339(text.decode())
