"""What comes down a live stream, before a protocol spells it."""

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
    """To be ended when it is sent; None when nobody traces."""


def sent(messages: Sequence[Sent]) -> None:
    """They have left the process."""
    for message in messages:
        if message.span is not None:
            message.span.end()


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the stream begins: after the given cursor, or anew because that could not be used."""

    cursor: str
    reset: bool


Part = Beginning | Sequence[Sent]
"""What comes down a stream; no messages at all are a sign of life."""


def span_of(message: Message) -> Span | None:
    """The span of sending it, from now on."""
    trace = message.event.trace
    if trace is None:
        return None
    attributes = {"orders.event": message.event.type, "orders.stream": f"orders/{message.event.order_id}"}
    return start_span(f"push {message.event.type}", trace, SpanKind.PRODUCER, attributes)
