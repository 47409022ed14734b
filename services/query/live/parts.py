"""The parts of a live stream, before a protocol encodes them."""

from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.trace import Span, SpanKind

from services.query.live.messages import Message
from shared.telemetry.tracing import start_span


@dataclass(frozen=True, slots=True)
class Sent:
    """A message to be sent."""

    cursor: str
    json: bytes
    span: Span | None
    """Ended when the message is sent; None if it is not traced."""


def sent(messages: Sequence[Sent]) -> None:
    """Record that the messages have left the process."""
    for message in messages:
        if message.span is not None:
            message.span.end()


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the stream starts; `reset` if the given cursor could not be used."""

    cursor: str
    reset: bool


Part = Beginning | Sequence[Sent]
"""A part of a stream; no messages at all are a heartbeat."""


def span_of(message: Message) -> Span | None:
    """The span of sending the message, started now; None if it is not traced."""
    trace = message.event.trace
    if trace is None:
        return None
    attributes = {"orders.event": message.event.type, "orders.stream": f"orders/{message.event.order_id}"}
    return start_span(f"push {message.event.type}", trace, SpanKind.PRODUCER, attributes)
