"""From a Kafka record to an event, and what else a record says."""

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
"""Bytes of JSON. As BSON they are up to six times as many, and a document holds 16 MiB."""
_DEEPEST: Final = 90
"""Levels; a document has a hundred. https://www.mongodb.com/docs/manual/reference/limits/"""


class Record(Protocol):
    """A record as aiokafka hands it out."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(slots=True)
class Undecodable:
    """Stands for a record of which only its place is known."""

    topic: str
    partition: int
    offset: int
    timestamp: int = -1
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def header(record: Record, name: str) -> str | None:
    """The first header of that name as text; None when there is none or it is no text."""
    for found, value in record.headers:
        if found == name and value is not None:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
    return None


def incarnation(record: Record) -> str | None:
    """Which making of its topic the record belongs to; None when it does not say so."""
    return header(record, INCARNATION)


def digest(record: Record) -> str:
    """What tells a record from a different one at the same offset."""
    if isinstance(record, Undecodable):
        return f"undecodable-{record.offset}"  # each of them is one of its own
    hashed = blake2b(record.value or b"", digest_size=16, key=(record.key or b"")[:64])
    return hashed.hexdigest()


def sent_at(record: Record) -> datetime | None:
    """When the record was sent, as its sender says, who may say anything; None when that is no time."""
    if isinstance(record, Undecodable):
        return None
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def stream_of(record: Record) -> str:
    """The aggregate's id by the record's key, whatever bytes that has."""
    return shown(record.key)


def shown(content: bytes | None) -> str:
    """Bytes as text on one line: whoever made them writes no line of a log and steers no terminal."""
    text = (content or b"").decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def read(record: Record) -> Incoming[Any]:
    """The event in a record, in the newest shape of its type.

    Raises `ValueError` when it is none that belongs there, or its data don't fit its schema.
    """
    if isinstance(record, Undecodable):
        raise ValueError("the name of a header, in it or before it in its batch, is not UTF-8")
    # faster than pydantic's own parser where most of a document is kept as it is
    content = record.value or b""
    told = orjson.loads(content)
    _check_storable(content, told)
    envelope = CloudEvent.model_validate(told)
    if envelope.type not in EVENTS[record.topic]:
        raise ValueError(f"{envelope.type!r} is no event of the topic")
    data = _upcast(envelope)
    event = load_data(envelope.type, data)
    if not envelope.subject == stream_of(record) == getattr(event, _SUBJECT_FIELD[record.topic]):
        raise ValueError("key, subject and data name different aggregates")
    occurred = envelope.time.astimezone(UTC)
    if (published := sent_at(record)) is None:
        raise ValueError("its timestamp is no time")
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
    except (KeyError, TypeError) as error:  # an upcaster met what no service of ours has written
        raise ValueError(f"its data are not of schema version {envelope.schema_version}") from error


def _check_storable(content: bytes, told: object) -> None:
    """Raise `ValueError` for what no document can hold: the store would refuse the whole batch, for ever."""
    if len(content) > _LARGEST:
        raise ValueError("it is too large for a document")
    # no deeper than it has brackets, which few events have so many of
    if content.count(b"{") + content.count(b"[") > _DEEPEST and _depth(told) > _DEEPEST:
        raise ValueError("it is nested too deeply for a document")


def _depth(content: object) -> int:
    if isinstance(content, dict):
        return 1 + max(map(_depth, content.values()), default=0)
    if isinstance(content, list):
        return 1 + max(map(_depth, content), default=0)
    return 0


def _time(text: bytes | None, otherwise: datetime) -> datetime:
    return otherwise if text is None else parse_rfc3339(text.decode())
