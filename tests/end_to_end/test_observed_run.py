"""A run with full tracing and logging: one trace per command, and no secrets in the logs."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
import websockets
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.end_to_end.conftest import System, started
from tests.end_to_end.shop import Person, customer, listed, staff
from tests.servers import eventually

pytestmark = pytest.mark.end_to_end
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
UNSAMPLED = "5cf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
WAY = {
    "POST /orders": "orders-command",
    "INSERT events": "orders-command",
    "send orders": "orders-relay",
    "process orders": "orders-projection",
    "bulkWrite orders": "orders-projection",
    "push OrderCreated": "orders-query",
}
"""The spans of an order, in the order in which they start, and the services that create them."""
SERVICES = ("command", "relay", "projection", "query")


@dataclass(frozen=True, slots=True)
class Span:
    """A span as received; ids in hexadecimal."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int


@dataclass(slots=True)
class Collector:
    """Collects what is sent over OTLP/HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp)."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {entry.key: entry.value.string_value for entry in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        service=named["service.name"],
                        name=span.name,
                        trace=span.trace_id.hex(),
                        id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        began=span.start_time_unix_nano,
                        ended=span.end_time_unix_nano,
                    )
                    for span in scope.spans
                ]

    def of(self, trace: str) -> dict[str, Span]:
        """The spans of one trace by name; each name occurs once."""
        found = [span for span in self.spans if span.trace == trace]
        named = {span.name: span for span in found}
        assert len(named) == len(found), sorted(span.name for span in found)
        return named


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collected = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                collected.take(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Do not log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    collected.url = f"http://127.0.0.1:{server.server_port}"
    yield collected
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def observed(collector: Collector) -> Iterator[System]:
    """A system with tracing and the most verbose logging."""
    if os.environ.get("ENDPOINTS"):
        pytest.skip("the system that ENDPOINTS names was not started here")
    with started(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_COMPRESSION="none",
        OTEL_BSP_SCHEDULE_DELAY="200",
        LOG_LEVEL="debug",
        LOG_FORMAT="json",
    ) as system:
        yield system


@pytest.mark.timeout(240)
async def test_one_trace_connects_the_command_to_the_socket(
    observed: System, collector: Collector, http: httpx.AsyncClient
) -> None:
    seller, buyer = staff(observed, http), customer(observed, http)
    lamp = await listed(seller)
    await buyer.register()
    url = observed.query_url.replace("http", "ws", 1) + "/ws"
    async with websockets.connect(url, additional_headers=buyer.headers) as socket:
        assert json.loads(await socket.recv())["type"] == "ready"
        # the first asks not to be traced
        await buyer.order((lamp, 1), traceparent=f"00-{UNSAMPLED}-{CALLER}-00")
        assert json.loads(await socket.recv())["traceparent"].startswith(f"00-{UNSAMPLED}-")
        order = await buyer.order((lamp, 1), traceparent=f"00-{TRACE}-{CALLER}-01")
        pushed = json.loads(await socket.recv())
    assert (pushed["type"], pushed["order"]["id"]) == ("OrderCreated", order)

    async def complete() -> bool:
        return set(collector.of(TRACE)) == set(WAY)

    await eventually(complete, "all spans of the command have arrived", 20)
    spans = collector.of(TRACE)
    assert {name: span.service for name, span in spans.items()} == WAY
    command, send, process = spans["POST /orders"], spans["send orders"], spans["process orders"]
    parents = {name: span.parent for name, span in spans.items()}
    assert parents == {
        "POST /orders": CALLER,
        "INSERT events": command.id,
        "send orders": command.id,
        "process orders": send.id,
        "bulkWrite orders": process.id,
        "push OrderCreated": process.id,
    }
    assert all(span.began <= span.ended for span in spans.values())
    assert [span.name for span in sorted(spans.values(), key=lambda span: span.began)] == list(WAY)
    assert pushed["traceparent"] == f"00-{TRACE}-{command.id}-01"
    assert (await buyer.see(f"/orders/{order}/history"))["data"][0]["traceparent"] == pushed["traceparent"]
    assert collector.of(UNSAMPLED) == {}


@pytest.mark.timeout(240)
async def test_logs_identify_requests_and_traces_without_secrets_or_personal_data(
    observed: System, http: httpx.AsyncClient
) -> None:
    seller, buyer = staff(observed, http), customer(observed, http)
    name, email = "Zebulon Quirkenstein", "zebulon.quirkenstein@example.com"
    personal = {"name": name, "email": email}
    await buyer.command("PUT", f"/customers/{buyer.name}", personal)
    lamp = await listed(seller)
    order = await buyer.order((lamp, 1), Idempotency_Key="a-key-of-zebulon")
    await buyer.see(f"/orders/{order}", 1)
    # refused requests are logged, but not their contents
    refused = [
        await buyer.send("PUT", f"/customers/{buyer.name}", personal | {"more": name}),
        await buyer.send("PUT", f"/customers/{buyer.name}", {"name": name, "email": f"{email}@"}),
        await buyer.send("PUT", f"/customers/{email}", personal),
        await buyer.get(f"/orders?customerId={email}&limit={name}"),
        await buyer.get(f"/orders/{order}x"),
        await http.get(f"{observed.query_url}/orders", headers={"Authorization": buyer_token(buyer) + "x"}),
    ]
    assert {answer.status_code // 100 for answer in refused} == {4}
    await buyer.command("DELETE", f"/customers/{buyer.name}")
    assert observed.logs is not None
    shown = [line.split(" | ", 1) for line in (observed.logs / "log").read_text().splitlines()]
    # the rest of the log is for the user of `make up`: a first order, with tokens
    lines = [(log[0].strip(), log[1]) for log in shown if len(log) == 2]
    entries = [json.loads(line) for log, line in lines if log in SERVICES]
    assert {entry["service"] for entry in entries} == set(SERVICES)
    assert all({"time", "level", "logger", "message"} <= set(entry) for entry in entries)
    by_request = {entry.get("requestId"): entry for entry in entries}
    for answer in refused:
        entry = by_request[answer.headers["x-request-id"]]
        assert entry["status"] == answer.status_code
        assert entry["traceId"] == entry["traceparent"].split("-")[1]
    secrets = {
        "a token": buyer_token(buyer).split(".")[2],
        "a token of the demo": observed.endpoints["tokens"]["staff"].split(".")[2],
        "the token secret": observed.jwt_secret,
        "PostgreSQL's password": str(httpx.URL(observed.endpoints["postgres"]).password),
        "an authorization header": "Bearer ey",
        "a name": name.split()[1],
        "an address": email,
        "an idempotency key": "a-key-of-zebulon",
    }
    found = [(what, log) for log, line in lines for what, secret in secrets.items() if secret in line]
    assert found == []


def buyer_token(person: Person) -> str:
    return person.headers["Authorization"]
