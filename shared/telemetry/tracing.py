"""OpenTelemetry spans, sent over OTLP/HTTP when OTEL_EXPORTER_OTLP_ENDPOINT is set; otherwise there are none.

A span's context travels as W3C `traceparent`: in the events' metadata, in the header of their records, in the
feed. Names and attributes are those of OpenTelemetry's semantic conventions; none holds personal data.
"""

import os
from collections.abc import Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_LAST_SPANS_SECONDS: Final = 2.0
_NO_PARENT: Final = Context()
_provider: "TracerProvider | None" = None
_tracer: Tracer | None = None


def configure_tracing(service: str) -> None:
    """Send this process's spans to the collector in the environment (`OTEL_*`). Call it once, at the start.

    If the collector is unavailable, spans are lost, and nothing else.
    """
    global _provider, _tracer
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    # imported only for tracing: they take a quarter of a second and ten megabytes
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {"service.name": f"orders-{service}", "service.namespace": "orders"}
    _provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("orders")


def stop_tracing() -> None:
    """Send the spans still queued, for at most two seconds."""
    global _provider, _tracer
    if _provider is not None:
        # if its collector is unavailable this takes half a minute, whatever timeout it is given
        last = Thread(target=_provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(_LAST_SPANS_SECONDS)
    _provider = _tracer = None


def is_tracing() -> bool:
    """Whether spans are sent anywhere."""
    return _tracer is not None


def start_span(
    name: str,
    parent: str | None,
    kind: SpanKind,
    attributes: Mapping[str, Any],
    began_ns: int | None = None,
) -> Span | None:
    """A span, to be ended, under the given `traceparent` or of a new trace. None if tracing is off."""
    if _tracer is None:
        return None
    context = _NO_PARENT if parent is None else _context(parent)
    return _tracer.start_span(name, context, kind, attributes, start_time=began_ns)


def traceparent_of(span: Span) -> str:
    """The `traceparent` for what happens under the span."""
    context = span.get_span_context()
    flags = int(context.trace_flags)
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{flags:02x}"


def _context(traceparent: str) -> Context:
    _, trace, parent, flags = traceparent.split("-")
    remote = SpanContext(
        int(trace, 16), int(parent, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return set_span_in_context(NonRecordingSpan(remote), _NO_PARENT)
