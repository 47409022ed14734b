"""The edge in front of services that break off in the middle of a request."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from tests.cluster.compose import ROOT, build_images, docker, require_engine
from tests.servers import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

BREAKS_OFF: Final = """
import asyncio, struct, socket

async def served(reader, writer):
    head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode()
    first, *lines = head.split("\\r\\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    await reader.readexactly(int(headers.get("content-length", 0)))
    path = first.split()[1]
    if path == "/health/ready":
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    elif path == "/orders/answers":
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    else:
        print(headers["x-request-id"], flush=True)
    if path == "/orders/garbles":
        writer.write(b"what?\\r\\n\\r\\n")
    if path == "/orders/halts":
        writer.write(b"HTTP/1.1 202 Acc")
    if path == "/orders/resets":
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    else:
        await writer.drain()
    writer.close()

async def main():
    async with await asyncio.start_server(served, "0.0.0.0", 8000) as server:
        await server.serve_forever()

asyncio.run(main())
"""
"""A ready service that reads a whole request, logs its id, and ends the connection in some bad way."""


@dataclass(frozen=True, slots=True)
class Broken:
    """An edge and the services behind it."""

    url: str
    services: tuple[str, ...]

    def received(self, request_id: str) -> int:
        """How often a request reached any of the services."""
        return sum(docker("logs", service).split().count(request_id) for service in self.services)


@pytest_asyncio.fixture(scope="module")
async def broken() -> AsyncIterator[Broken]:
    """The cluster's edge in front of two command services that break off."""
    require_engine()
    build_images()
    name = f"orders-edge-{uuid4().hex[:8]}"
    docker("network", "create", name)
    started: list[str] = []
    try:
        for _ in range(2):
            run = ("run", "-d", "--network", name, "--network-alias", "command", "--entrypoint", "python")
            started.append(docker(*run, "orders-command", "-c", BREAKS_OFF).strip())
        run_edge = ("run", "-d", "--network", name, "-p", "127.0.0.1::8001")
        files = f"{ROOT}/deploy/edge:/usr/local/etc/haproxy:ro"
        started.append(docker(*run_edge, "-v", files, "haproxy:3.2").strip())
        port = docker("port", started[-1], "8001").rpartition(":")[2].strip()
        url = f"http://127.0.0.1:{port}"

        async with httpx.AsyncClient() as http:

            async def ready() -> bool:
                try:
                    return (await http.get(f"{url}/orders/answers")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, "the edge has found its services", 60, every=0.2)
        yield Broken(url, tuple(started[:2]))
    finally:
        docker("rm", "-f", "-v", *started)
        docker("network", "rm", name)


@pytest.mark.parametrize("way", ["closes", "resets", "garbles", "halts"])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_the_edge_never_retries_a_request(broken: Broken, method: str, way: str) -> None:
    async def sent(http: httpx.AsyncClient) -> str:
        """Send a connection's first request, check that its answer keeps the contract, and return its id."""
        request_id = uuid4().hex
        body = None if method == "GET" else b'{"items":[]}'
        headers = {"X-Request-Id": request_id, "Content-Type": "application/json"}
        answer = await http.request(method, f"/orders/{way}", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (502, "unavailable")
        assert answer.headers["x-request-id"] == request_id
        assert answer.headers["retry-after"] == "1"
        return request_id

    for _ in range(3):
        async with httpx.AsyncClient(base_url=broken.url, timeout=30) as http:
            assert broken.received(await sent(http)) == 1


@pytest.mark.parametrize("way", ["closes", "resets"])
async def test_the_edge_leaves_retries_on_a_reused_connection_to_the_caller(broken: Broken, way: str) -> None:
    """HAProxy closes as the service did, so the caller sees what it would see without an edge."""
    async with httpx.AsyncClient(base_url=broken.url, timeout=30) as http:
        assert (await http.get("/orders/answers")).status_code == 200
        request_id = uuid4().hex
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(f"/orders/{way}", json={}, headers={"X-Request-Id": request_id})
        assert broken.received(request_id) == 1
