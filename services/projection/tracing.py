"""Tracing spans for events, from the record to the documents and the feed."""

import time
from collections.abc import Collection, Sequence
from typing import Final

from opentelemetry.trace import Span, SpanKind, StatusCode

from services.projection.folding.reading import Reading
from services.projection.records import Record
from services.projection.store.checkpoints import Place
from shared.telemetry.trace import parse_traceparent
from shared.telemetry.tracing import is_tracing, start_span, traceparent_of
from shared.topics import TRACEPARENT


class BatchTrace:
    """A batch's spans: one per event, a child of the span that published it, with a child for the write.

    Each event carries its span's `traceparent`, so that later work can continue the trace. There are no
    spans when tracing is off.
    """

    def __init__(self, place: Place, readings: Sequence[Reading]) -> None:
        self._writing: Final = {
            "db.system.name": "mongodb",
            "db.operation.name": "bulkWrite",
            "db.collection.name": place[0],
        }
        self._spans: Final[list[tuple[Record, Span]]] = []
        self._write_began_ns = 0
        for each in readings if is_tracing() else ():
            span = _span(place, each)
            if span is not None and each.incoming is not None:
                each.incoming.trace = traceparent_of(span)
                self._spans.append((each.record, span))

    def writing(self) -> None:
        """The write starts."""
        self._write_began_ns = time.time_ns()

    def written(self, unused: Collection[Record]) -> None:
        """The write is done; `unused` went to the dead letters."""
        for record, span in self._spans:
            if record in unused:
                span.set_status(StatusCode.ERROR)
            write = start_span(
                f"bulkWrite {record.topic}",
                traceparent_of(span),
                SpanKind.CLIENT,
                self._writing,
                self._write_began_ns,
            )
            if write is not None:
                write.end()
            span.end()


def _span(place: Place, reading: Reading) -> Span | None:
    topic, partition = place
    record, incoming = reading.record, reading.incoming
    if incoming is None:
        return None
    parent = next((value for name, value in record.headers if name == TRACEPARENT), None)
    if parent is None or (parent_of := parse_traceparent(parent)) is None:
        return None
    attributes = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": record.offset,
        "messaging.kafka.message.key": incoming.subject,
    }
    return start_span(f"process {topic}", parent_of, SpanKind.CONSUMER, attributes)
