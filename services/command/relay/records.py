"""Encodes stored events as Kafka records."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Final, NamedTuple

import orjson
from opentelemetry.trace import Span, SpanKind

from services.command.relay.partitions import partition_of
from shared.envelope import encode, schema_url
from shared.events import CURRENT
from shared.events.upcasting import UnknownEventError, upcast
from shared.telemetry.tracing import start_span, traceparent_of
from shared.topics import (
    CLOUDEVENTS_JSON,
    COMMITTED_AT,
    CONTENT_TYPE,
    INCARNATION,
    RECEIVED_AT,
    TRACEPARENT,
)

_CONTENT_TYPE: Final = (CONTENT_TYPE, CLOUDEVENTS_JSON)
Headers = list[tuple[str, bytes]]


class RefusedError(Exception):
    """An event cannot be published, no matter how often it is retried."""

    def __init__(self, stream_id: str, position: int, reason: str) -> None:
        super().__init__(f"event {position} of {stream_id}: {reason}")
        self.stream_id = stream_id
        self.position = position
        self.reason = reason


class EventRow(NamedTuple):
    """A stored event: the columns of `load_oldest.sql` and `history_page.sql`, in their order."""

    position: int
    event_id: str
    category: str
    subject: str
    version: int
    type: str
    schema_version: int
    data: str
    actor: str
    traceparent: str | None
    received_at: str | None
    occurred_at: str
    recorded_at: str

    @property
    def stream_id(self) -> str:
        """The stream of the event."""
        return f"{self.category}/{self.subject}"


def without_set_aside(rows: Sequence[EventRow], set_aside: Mapping[str, int]) -> Sequence[EventRow]:
    """Drop the events of each stream in `set_aside` from its position on.

    Earlier events of the stream may still be waiting; they are kept.
    """
    if not set_aside:
        return rows
    return [row for row in rows if row.position < set_aside.get(row.stream_id, row.position + 1)]


class Record(NamedTuple):
    """An encoded event, ready to be sent."""

    position: int
    topic: str
    subject: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers
    committed_at: str
    span: Span | None = None
    """Ended once Kafka has acknowledged the record; None if the event is not traced."""

    @property
    def stream_id(self) -> str:
        """The stream of the event."""
        return f"{self.topic}/{self.subject}"


class Encoder:
    """Encodes rows as records. History is republished without being `traced`."""

    def __init__(
        self,
        schema_base: str,
        partitions: dict[str, int],
        incarnations: dict[str, str],
        *,
        traced: bool = False,
    ) -> None:
        self._traced = traced
        self._schema_url = cache(partial(schema_url, schema_base))
        self._partitions = partitions
        self._incarnations = {
            topic: (INCARNATION, incarnation.encode()) for topic, incarnation in incarnations.items()
        }

    def __call__(self, row: EventRow) -> Record:
        """Encode an event, upcasting its data to the newest schema version that this release knows.

        Raises `RefusedError` if the row cannot be encoded.
        """
        try:
            return self._record(row)
        except (KeyError, TypeError, ValueError, UnknownEventError) as error:
            reason = f"cannot be encoded: {type(error).__name__}"
            raise RefusedError(row.stream_id, row.position, reason) from error

    def _record(self, row: EventRow) -> Record:
        topic, subject, schema = row.category, row.subject, row.schema_version
        known = CURRENT.get(row.type)
        if known is not None and schema < known.schema_version:
            content: object = upcast(row.type, schema, orjson.loads(row.data))
            schema = known.schema_version
        else:
            # PostgreSQL returns JSON text: parsing and serializing it again took half of the relay's time
            content = orjson.Fragment(row.data)
        key = subject.encode()
        value = encode(
            event_id=row.event_id,
            event_type=row.type,
            subject=subject,
            time=row.occurred_at,
            dataschema=self._schema_url(row.type, schema),
            version=row.version,
            position=row.position,
            actor=row.actor,
            traceparent=row.traceparent,
            data=content,
        )
        headers = [_CONTENT_TYPE, self._incarnations[topic], (COMMITTED_AT, row.recorded_at.encode())]
        if row.received_at is not None:
            headers.append((RECEIVED_AT, row.received_at.encode()))
        partition = partition_of(key, self._partitions[topic])
        span = None
        if self._traced and row.traceparent:
            span = _span(topic, subject, partition, row.traceparent)
        if span is not None:
            headers.append((TRACEPARENT, traceparent_of(span).encode()))
        return Record(row.position, topic, subject, partition, key, value, headers, row.recorded_at, span)


def _span(topic: str, subject: str, partition: int, traceparent: str) -> Span | None:
    attributes = {
        "messaging.system": "kafka",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.message.key": subject,
    }
    return start_span(f"send {topic}", traceparent, SpanKind.PRODUCER, attributes)
