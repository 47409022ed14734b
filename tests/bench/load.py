"""A cheap load generator for HTTP/1.1: one protocol object per connection, on uvloop."""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """The number of answers by status, the duration, and each latency in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """A quantile of the latencies, in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


class _Caller(asyncio.Protocol):
    """Sends the request again as soon as its answer arrives (closed loop), or on demand (open loop)."""

    def __init__(self, request: bytes, outcome: Outcome, until: float) -> None:
        self._request = request
        self._outcome = outcome
        self._until = until
        self._buffer = b""
        self._sent = 0.0
        self.busy = False
        self.closed_loop = True
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self) -> None:
        assert self._transport is not None
        self.busy = True
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self._buffer[:head].lower()
        start = lower.index(b"content-length: ") + 16
        end = lower.find(b"\r\n", start)
        length = int(lower[start : end if end > 0 else head])
        if len(self._buffer) < head + 4 + length:
            return
        now = time.perf_counter()
        self._outcome.latencies.append(now - self._sent)
        self._outcome.statuses[int(self._buffer[9:12])] += 1
        self._buffer = b""
        self.busy = False
        if now >= self._until:
            self.finish()
        elif self.closed_loop:
            self.send()

    async def last_answer(self) -> None:
        """Wait for the pending answer, if any."""
        self._until = 0.0
        if self.busy:
            await self.done

    def finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        self.finish()
        if self._transport is not None:
            self._transport.close()


async def closed_loop(port: int, request: bytes, connections: int, seconds: float) -> Outcome:
    """As fast as possible: each connection sends its next request when it has its answer."""
    outcome = Outcome()
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    callers = []
    for _ in range(connections):
        _, caller = await loop.create_connection(
            lambda: _Caller(request, outcome, started + seconds), "127.0.0.1", port
        )
        callers.append(caller)
    for caller in callers:
        caller.send()
    await asyncio.gather(*(caller.done for caller in callers))
    outcome.seconds = time.perf_counter() - started
    for caller in callers:
        caller.close()
    return outcome


async def open_loop(port: int, request: bytes, rate: float, seconds: float, connections: int = 64) -> Outcome:
    """At a steady rate, independent of the answers; waiting for a free connection counts as latency."""
    outcome = Outcome()
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    callers: deque[_Caller] = deque()
    for _ in range(connections):
        _, caller = await loop.create_connection(
            lambda: _Caller(request, outcome, float("inf")), "127.0.0.1", port
        )
        caller.closed_loop = False
        callers.append(caller)
    sent = 0
    while (now := time.perf_counter()) < started + seconds:
        due = int((now - started) * rate)
        for _ in range(connections):
            if sent >= due:
                break
            callers.rotate()  # use all of them, since the server closes idle ones
            if not callers[0].busy:
                callers[0].send()
                sent += 1
        await asyncio.sleep(0.001)  # the pacing of the rate, not a wait for a condition
    outcome.seconds = time.perf_counter() - started
    await asyncio.gather(*(caller.last_answer() for caller in callers))
    for caller in callers:
        caller.close()
    return outcome


def post(path: str, body: bytes, **headers: str) -> bytes:
    """A POST as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(path: str, **headers: str) -> bytes:
    """A GET as bytes."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


class Client:
    """Keeps connections to one port; costs a tenth of a full HTTP client."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        if not self._free:
            self._free.append(await asyncio.open_connection("127.0.0.1", self._port))
        reader, writer = self._free.pop()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        start = head.index(b"content-length: ") + 16
        body = await reader.readexactly(int(head[start : head.index(b"\r\n", start)]))
        self._free.append((reader, writer))
        return int(head[9:12]), body

    def close(self) -> None:
        """Close them."""
        for _, writer in self._free:
            writer.close()
