"""Request ids, traces, health checks and problems as callers see them."""

import asyncio
import gc
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from weakref import WeakSet

import httpx
import pytest
from opentelemetry.trace import SpanKind
from starlette.types import Receive, Scope, Send

from shared.problems import NOT_FOUND, Problem, ProblemResponses, send_bytes, unavailable
from shared.process import one_write, serve
from shared.telemetry import (
    Observed,
    Operations,
    Readiness,
    RequestMetrics,
    configure_tracing,
    name_route,
    new_registry,
    new_traceparent,
    parse_traceparent,
    request_id,
    traceparent,
)
from shared.telemetry.logs import JsonFormatter
from shared.telemetry.tracing import start_span, stop_tracing
from tests.servers import eventually

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Return what the middleware found, or raise what the path asks for."""
    name_route(scope, "/{what}")
    match scope["path"]:
        case path if path.startswith("/problem"):
            raise Problem(NOT_FOUND, "Not here.", hint="there")
        case "/away":
            raise unavailable("The store is unavailable.", 2.4)
        case "/broken":
            raise RuntimeError("SELECT secret FROM host")
        case _:
            body = json.dumps([request_id(scope), traceparent(scope)]).encode()
            await send_bytes(send, 200, body, head=scope["method"] == "HEAD")


def client(check: Callable[[], Awaitable[str | None]] | None = None) -> httpx.AsyncClient:
    registry = new_registry()
    readiness = Readiness({} if check is None else {"postgres": check})
    app = Observed(Operations(ProblemResponses(echo), readiness, registry), RequestMetrics(registry))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://service")


async def test_a_valid_request_id_is_returned() -> None:
    answer = await client().get("/", headers={"X-Request-Id": "mine-1"})
    assert (answer.headers["x-request-id"], answer.json()[0]) == ("mine-1", "mine-1")


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, '"', "<script>"])
async def test_an_invalid_request_id_is_replaced(given: str) -> None:
    answer = await client().get("/", headers={"X-Request-Id": given})
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize("path", ["/problem", "/broken", "/health/live", "/metrics"])
async def test_every_answer_has_a_request_id(path: str) -> None:
    assert (await client().get(path, headers={"X-Request-Id": "mine"})).headers["x-request-id"] == "mine"


async def test_a_valid_trace_is_continued_and_an_invalid_one_is_replaced() -> None:
    assert (await client().get("/", headers={"traceparent": TRACE})).json()[1] == TRACE
    started = (await client().get("/", headers={"traceparent": "00-0-0-00"})).json()[1]
    assert parse_traceparent(started.encode()) == started
    several = [("traceparent", TRACE), ("traceparent", TRACE)]
    assert (await client().get("/", headers=several)).json()[1] != TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACE.upper(),
        TRACE + "-more",
        "ff" + TRACE[2:],
        "00-" + "0" * 32 + TRACE[35:],
        TRACE[:36] + "0" * 16 + "-01",
    ],
)
def test_invalid_traceparents_are_not_parsed(header: str) -> None:
    assert parse_traceparent(header.encode()) is None


def test_a_later_traceparent_version_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent(b"01" + TRACE[2:].encode() + b"-more") == TRACE


def test_new_traces_are_valid_and_unique() -> None:
    traces = {new_traceparent() for _ in range(100)}
    assert len(traces) == 100
    assert all(parse_traceparent(trace.encode()) == trace for trace in traces)


async def test_a_problem_becomes_a_problem_response() -> None:
    answer = await client().get("/problem")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json() == {
        "type": "tag:orders.example,2026:problems/not-found",
        "title": "Not found",
        "status": 404,
        "detail": "Not here.",
        "instance": "/problem",
        "code": "not-found",
        "hint": "there",
    }


async def test_an_unavailable_response_has_a_retry_after() -> None:
    answer = await client().get("/away")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_internal_errors_are_logged_but_not_disclosed(caplog: pytest.LogCaptureFixture) -> None:
    answer = await client().get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "SELECT" not in answer.text
    assert "SELECT" in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"BREW /orders HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        "GET /\u00e9 HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Odd: a\0b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=repr,
)
async def test_invalid_http_is_answered_with_a_problem(sent: bytes) -> None:
    async with serve(ProblemResponses(echo), "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.lower().split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    assert status == b"http/1.1 400 bad request"
    assert headers[b"content-type"] == b"application/problem+json"
    assert len(headers[b"x-request-id"]) == 32
    assert int(headers[b"content-length"]) == len(body)
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (400, "bad-request")


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
async def test_an_endless_request_head_is_refused(begin: bytes) -> None:
    async with serve(ProblemResponses(echo), "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin + b"x" * (8 << 20))
        await asyncio.wait_for(writer.drain(), 10)
        head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["code"] == "head-too-large"


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await send_bytes(send, 200, b"%d" % size)


async def test_a_client_that_idles_after_an_early_answer_does_not_delay_shutdown() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await send_bytes(send, 401, b"")

    async with asyncio.timeout(5):
        async with serve(refuse, "127.0.0.1", 0) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo")
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"dy")
    writer.close()
    await writer.wait_closed()


async def headers_seen(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request's headers once the body has arrived."""
    while (await receive())["more_body"]:
        pass
    await send_bytes(send, 200, repr(scope["headers"]).encode())


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Late: a\r\n\r\n", [(b"transfer-encoding", b"chunked")]),
        (b"X-Request-Id: \t a b \t\r\n\r\n", [(b"x-request-id", b"a b")]),
    ],
)
async def test_headers_come_from_the_head_and_are_stripped(
    sent: bytes, seen: list[tuple[bytes, bytes]]
) -> None:
    async with serve(headers_seen, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PUT / HTTP/1.1\r\nConnection: close\r\n" + sent)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
    assert answer.endswith(repr([(b"connection", b"close"), *seen]).encode())


async def test_an_encoded_slash_does_not_split_a_path() -> None:
    async def path_seen(scope: Scope, receive: Receive, send: Send) -> None:
        await send_bytes(send, 200, scope["path"].encode())

    async with serve(path_seen, "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/a%2Fb%2fc%20d%0A")
    assert answer.text == "/a%2Fb%2fc d%0A"


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


@pytest.mark.parametrize(
    "asks",
    [
        H2C,
        WEBSOCKET + KEY,  # invalid because the method is PUT
        WEBSOCKET,
        WEBSOCKET.replace(b"13", b"8") + KEY,
        WEBSOCKET + KEY.replace(b"=", b""),
        WEBSOCKET + KEY + b"Sec-WebSocket-Protocol: bearer, =\r\n",
        WEBSOCKET + KEY + KEY,
    ],
    ids=repr,
)
@pytest.mark.parametrize("cut", [20, -5, -4, -1, 1000])
async def test_unsupported_upgrades_are_answered_in_http_1_1(asks: bytes, cut: int) -> None:
    request = b"PUT / HTTP/1.1\r\nHost: x\r\n%sContent-Length: 4\r\n\r\nbody" % asks
    second = b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nbo"
    async with serve(count, "127.0.0.1", 0, ws="auto") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request[:cut])
        await writer.drain()
        writer.write(request[cut:] + second)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
    first, _, other = answer.partition(b"\r\n\r\n4")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert other.startswith(b"HTTP/1.1 200 ")
    assert other.endswith(b"\r\n\r\n2")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_unsupported_upgrade_with_connection_close_is_answered(version: bytes) -> None:
    asks = b"Upgrade: h2c\r\nConnection: Upgrade, close\r\nContent-Length: 4\r\n"
    async with serve(count, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PUT / HTTP/%s\r\nHost: x\r\n%s\r\nbody" % (version, asks))
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n4")


async def test_a_handshake_pipelined_after_another_request_is_an_ordinary_request() -> None:
    one = b"GET / HTTP/1.1\r\nHost: x\r\n"
    async with serve(count, "127.0.0.1", 0, ws="auto") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(one + b"\r\n" + one + WEBSOCKET + KEY + b"\r\n" + one + b"Connection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
    assert answer.count(b"HTTP/1.1 200 ") == 3


async def test_many_pipelined_unsupported_upgrades_are_answered() -> None:
    one = b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with serve(count, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(one * 2000 + last)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
    assert answer.count(b"HTTP/1.1 200 ") == 2001


async def test_a_disconnect_is_noticed_despite_a_pipelined_request() -> None:
    gone = asyncio.Event()

    async def lasting(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async with serve(lasting, "127.0.0.1", 0) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        writer.close()
        await writer.wait_closed()
        await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.parametrize(
    "requests",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ],
    ids=["answered", "pipelined", "websocket"],
)
async def test_a_closed_connection_is_freed_without_garbage_collection(requests: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        while scope["path"] == "/waits" and (await receive())["type"] != "http.disconnect":
            pass
        await send_bytes(send, 200, b"")

    def connections() -> WeakSet[one_write.OneWriteProtocol]:
        return WeakSet(each for each in gc.get_objects() if isinstance(each, one_write.OneWriteProtocol))

    async def freed() -> bool:
        return connections() <= earlier

    earlier = connections()  # of other tests, whose garbage they leave to the collector
    gc.disable()
    try:
        async with serve(app, "127.0.0.1", 0, ws="auto") as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(requests)
            if b"/waits" not in requests:
                assert await reader.readline()
            writer.close()
            await writer.wait_closed()
            await eventually(freed, "the connection is freed", 5)
    finally:
        gc.enable()


@pytest.mark.parametrize("reads", [True, False])
async def test_a_closing_connection_waits_for_its_reader_while_it_reads(
    monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    monkeypatch.setattr(one_write, "_LONGEST_STUCK_SECONDS", 0.5)
    much = bytes(50_000_000)
    lost = asyncio.Event()

    class LastWords(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            gathering = one_write.GatheringTransport(transport, asyncio.get_running_loop(), lambda: False)
            gathering.write(much)
            gathering.close()

        def connection_lost(self, exc: Exception | None) -> None:
            lost.set()

    server = await asyncio.get_running_loop().create_server(LastWords, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        if not reads:
            await asyncio.wait_for(lost.wait(), 5)
        assert (len(await reader.read()) == len(much)) is reads
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "path", ["/problem", "/problem%22%20", "/problem%25", "/problem%3F%23", "/problem%5B", "/problem/%C3%A9"]
)
async def test_an_instance_is_a_uri_reference(path: str) -> None:
    assert (await client().get(f"{path}?limit=1")).json()["instance"] == path


async def test_a_service_is_ready_only_while_all_its_dependencies_are() -> None:
    async def away() -> str:
        return "it cannot be reached"

    assert (await client().get("/health/ready")).status_code == 200
    answer = await client(away).get("/health/ready")
    assert (answer.status_code, answer.json()["reasons"]) == (503, {"postgres": "it cannot be reached"})
    assert (await client(away).get("/health/live")).status_code == 200
    assert (await client().post("/health/ready")).status_code == 405


async def test_a_readiness_check_that_resists_cancellation_counts_as_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.telemetry.operations._CHECK_SECONDS", 0.05)
    let_go = asyncio.Event()

    async def frozen() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    async with asyncio.timeout(5):
        answer = await client(frozen).get("/health/ready")
    let_go.set()
    assert (answer.status_code, answer.json()["reasons"]) == (503, {"postgres": "it does not answer"})


async def test_metrics_count_by_route_and_status() -> None:
    http = client()
    await http.get("/x")
    await http.get("/problem")
    text = (await http.get("/metrics")).text
    assert 'http_request_duration_seconds_count{method="GET",route="/{what}",status="200"} 1.0' in text
    assert 'http_request_duration_seconds_count{method="GET",route="/{what}",status="404"} 1.0' in text


def test_a_log_line_is_a_single_json_object() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "a %s", ("b\n",), None)
    line = JsonFormatter("command").format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["message"], entry["level"], entry["service"]) == ("a b\n", "info", "command")


async def test_tracing_is_off_unless_an_endpoint_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    configure_tracing("test")
    assert start_span("nothing", TRACE, SpanKind.CLIENT, {}) is None
    assert (await client().get("/", headers={"traceparent": TRACE})).json()[1] == TRACE


async def test_requests_are_spans_and_an_unavailable_collector_blocks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    monkeypatch.setattr("shared.telemetry.tracing._LAST_SPANS_SECONDS", 0.2)
    configure_tracing("test")
    try:
        own = (await client().get("/", headers={"traceparent": TRACE})).json()[1]
        assert own[:36] == TRACE[:36]
        assert own[36:52] != TRACE[36:52]
        fresh = (await client().get("/")).json()[1]
        assert parse_traceparent(fresh.encode()) == fresh
        assert fresh[3:35] != own[3:35]
        began = time.monotonic()
    finally:
        stop_tracing()
    assert time.monotonic() - began < 1
    assert start_span("nothing", TRACE, SpanKind.CLIENT, {}) is None
    still_sending = [thread for thread in threading.enumerate() if thread.name == "last spans"]
    assert still_sending
    for thread in still_sending:
        thread.join()
