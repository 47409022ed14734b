"""Serves HTTP with uvicorn inside a process that owns its event loop and signals."""

import asyncio
import contextlib
import logging
import os
import re
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Generator
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast
from urllib.parse import unquote

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from shared.problems import BAD_REQUEST, HEAD_TOO_LARGE, MEDIA_TYPE, Kind, problem_body
from shared.process.one_write import GatheringTransport, OneWriteProtocol
from shared.telemetry.tracing import stop_tracing

T = TypeVar("T")
_GRACE_SECONDS: Final = 10
_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than clients keep an idle connection, so that they rarely send on one just closed."""
_NO_HTTP: Final = "Invalid HTTP request received."
_LARGEST_HEAD: Final = 1 << 16
"""The parser rescans an unfinished head with every byte that arrives, and keeps it all."""
_UNHEARD: Final = logging.Logger("unheard", logging.CRITICAL + 1)
_KEPT: Final = re.compile(rb"%(?=2[Ff]|0[Aa])")
"""The percent signs of an encoded slash or line feed."""


class _Server(uvicorn.Server):
    """uvicorn, but signals are left to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none."""
        yield


class _Protocol(OneWriteProtocol):
    """Reports even invalid HTTP in the form of all other problems.

    A request to upgrade to an unsupported protocol (HTTP/2, as in the first request of Java's client, or
    WebSocket without a proper handshake) is answered in HTTP/1.1 (RFC 9110, 7.8).
    """

    _unfinished = 0
    _running: RequestResponseCycle | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the request being answered, too: uvicorn notifies only the last one received."""
        super().connection_lost(exc)
        unanswered = self._being_answered()
        if unanswered is not None:
            unanswered.disconnected = True
            unanswered.message_event.set()

    def _should_upgrade(self) -> bool:
        """Leave each upgrade request to `data_received`: its body has not been read yet."""
        return True

    def on_headers_complete(self) -> None:
        """Start to respond, with header values stripped of trailing whitespace, and without trailer fields.

        RFC 9110, 5.5 and 6.5; the parser leaves both to us. A slash or line feed encoded in the path stays
        encoded: decoded, it would count as one of the route's own (RFC 3986, 2.2).
        """
        for place, (name, value) in enumerate(self.headers):
            if value.endswith((b" ", b"\t")):
                self.headers[place] = (name, value.rstrip(b" \t"))
        super().on_headers_complete()
        if "path" in self.scope:  # the head of an upgrade request is still needed
            self.headers = []
            if b"%" in self.scope["raw_path"]:
                self.scope["path"] = unquote(_KEPT.sub(b"%25", self.scope["raw_path"]).decode("ascii"))

    def data_received(self, data: bytes) -> None:
        """Parse what was received."""
        self._unset_keepalive_if_required()
        unread: bytes | memoryview = data
        try:
            while unread:
                unread = self._read(unread)
        except httptools.HttpParserError:
            self.logger.warning(_NO_HTTP)
            self.send_400_response(_NO_HTTP)
        else:
            has_unfinished_head = self.scope is not None and "method" not in self.scope
            self._unfinished = self._unfinished + len(data) if has_unfinished_head else 0
            if self._unfinished > _LARGEST_HEAD:
                self._refuse(HEAD_TOO_LARGE, "The request line and headers may have at most 64 KiB.")

    def _read(self, data: bytes | memoryview) -> bytes | memoryview:
        """Parse up to the next upgrade request; returns what is still to be parsed."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            if self._should_upgrade_to_ws() and self._is_handshake() and not self._being_answered():
                self.handle_websocket_upgrade()
                return b""
            head = self._asking_for_nothing_else()
            # a parser reads nothing more after a request that closes the connection
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(head)
            return memoryview(data)[asked.args[0] :]
        return b""

    def _being_answered(self) -> RequestResponseCycle | None:
        """The request being answered, if any; while there is one the connection cannot be upgraded."""
        running = self._running
        return None if running is None or running.response_complete else running

    def _is_handshake(self) -> bool:
        """Whether the WebSocket library will accept this handshake. Some it refuses without a response."""
        from websockets.server import ServerProtocol  # only services with WebSockets have it

        if self.parser.get_http_version() != "1.1":
            return False
        trial = ServerProtocol(logger=_UNHEARD)
        trial.receive_data(self._head())
        return any(
            trial.accept(cast("Any", request)).status_code == HTTPStatus.SWITCHING_PROTOCOLS
            for request in trial.events_received()
        )

    def _asking_for_nothing_else(self) -> bytes:
        """The request's head without its `Upgrade` header."""
        if self.parser.get_method() == b"CONNECT":
            raise httptools.HttpParserError("this is not a proxy")
        return self._head(without=b"upgrade")

    def _head(self, without: bytes = b"") -> bytes:
        """The request line and headers, except those of one name."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != without]
        return b"\r\n".join([*lines, b"", b""])

    def send_400_response(self, msg: str) -> None:
        """Report invalid HTTP."""
        self._refuse(BAD_REQUEST, msg)

    def _refuse(self, kind: Kind, detail: str) -> None:
        """Respond without the application: there is no request to pass to it."""
        body = problem_body(kind, detail, "/")
        headers = [
            *self.server_state.default_headers,
            (b"content-type", MEDIA_TYPE),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", secrets.token_hex(16).encode()),
            (b"connection", b"close"),
        ]
        lines = [STATUS_LINE[kind.status].rstrip(), *(b"%s: %s" % header for header in headers), b"", body]
        self.transport.write(b"\r\n".join(lines))
        cast("GatheringTransport", self.transport).linger()


def _is_news(record: logging.LogRecord) -> bool:
    """uvicorn 0.54 logs each WebSocket refused with a response as an error; the access log has those."""
    return record.getMessage() != "ASGI callable returned without completing handshake."


@contextlib.asynccontextmanager
async def serve(app: ASGIApp, host: str, port: int, **options: Any) -> AsyncIterator[int]:
    """Serve `app` while entered; yields the port. On exit, finishes requests in flight for up to 10 s.

    `options` are further uvicorn settings; `ws="auto"` enables WebSockets.

    Raises `OSError` if the port is taken.
    """
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    # read at the library's import; its default limits for token and cursor are lower than those of HTTP
    os.environ.setdefault("WEBSOCKETS_MAX_LINE_LENGTH", str(_LARGEST_HEAD))
    os.environ.setdefault("WEBSOCKETS_MAX_NUM_HEADERS", str(_LARGEST_HEAD))
    listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # inherited by accepted sockets: asyncio would not set it, and each response would wait for an ACK
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    options = {"ws": "none", **options}
    config = uvicorn.Config(
        app,
        http=_Protocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        **options,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]), name="http")
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listening.close()


def run(process: Coroutine[Any, Any, T]) -> T:
    """Run a whole process, to its result, on uvicorn's choice of event loop: uvloop if available."""
    try:
        with asyncio.Runner(
            loop_factory=uvicorn.Config(app="", log_config=None).get_loop_factory()
        ) as runner:
            return runner.run(process)
    finally:
        stop_tracing()


def stop_signal() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    return stopping
