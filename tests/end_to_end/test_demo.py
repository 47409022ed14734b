"""`make demo` on a running system, ended in the ways a user ends it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.end_to_end.conftest import ROOT, System
from tests.end_to_end.shop import staff
from tests.servers import eventually

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif("ENDPOINTS" in os.environ, reason="the demo needs the folder of `make up`"),
]


@contextmanager
def demo(system: System) -> Iterator["subprocess.Popen[str]"]:
    """The demo in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.local.demo"],
        cwd=ROOT,
        env={**os.environ, "LOCAL_DIR": str(system.logs)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


async def ordering(system: System, http: httpx.AsyncClient) -> None:
    """Wait until the demo is in full swing: a page of new orders."""
    seller = staff(system, http)

    async def newest() -> set[str]:
        page = (await seller.get("/orders?limit=30")).json()["data"]
        return {order["id"] for order in page}

    before = await newest()

    async def replaced() -> bool:
        found = await newest()
        return len(found) == 30 and before.isdisjoint(found)

    await eventually(replaced, "the demo places orders", 30)


async def test_the_demo_ends_quietly_when_interrupted(system: System, http: httpx.AsyncClient) -> None:
    with demo(system) as running:
        await ordering(system, http)
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=20)
    assert (running.returncode, errors) == (0, "")
    assert "placed" in output


async def test_the_demo_says_in_one_line_that_the_system_is_gone(
    system: System, http: httpx.AsyncClient
) -> None:
    with demo(system) as running:
        await ordering(system, http)
        os.kill(system.processes()["command"], signal.SIGKILL)
        _, errors = running.communicate(timeout=20)

    async def ready() -> bool:
        try:
            answer = await http.get(f"{system.command_url}/health/ready")
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    await eventually(ready, "the system that other tests share is back", 40)
    assert (running.returncode, errors) == (1, "The system does not respond: is it still up?\n")
