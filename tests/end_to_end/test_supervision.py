"""`make up` from the outside: ports in use, processes that die, a second start."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from deploy.local.servers.postgres import Postgres
from deploy.local.state import free_ports
from tests.end_to_end.conftest import HEALTHY_MS, ROOT, System
from tests.end_to_end.shop import customer, listed, staff
from tests.servers import eventually, started

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif("ENDPOINTS" in os.environ, reason="what ENDPOINTS names was not started by make up"),
]
PROCESSES = ("command", "relay", "projection", "query", "mongodb", "kafka", "postgres")


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.timeout(180)
async def test_a_killed_process_is_restarted_and_nothing_is_lost(
    system: System, http: httpx.AsyncClient, name: str
) -> None:
    assert system.logs is not None
    seller, buyer = staff(system, http), customer(system, http)
    lamp = await listed(seller)
    await buyer.register()
    before = [await buyer.order((lamp, 1)) for _ in range(5)]
    old = system.processes()[name]
    os.kill(old, signal.SIGKILL)

    async def started_again() -> bool:
        return system.processes()[name] != old

    await eventually(started_again, f"{name} is restarted", 40)

    async def accepts() -> bool:
        try:
            answer = await buyer.send(
                "PUT", f"/customers/{buyer.name}", {"name": "A", "email": "a@b.example"}
            )
        except httpx.TransportError:
            return False
        return answer.status_code == 202

    await eventually(accepts, "commands are accepted", 30)
    after = [await buyer.order((lamp, 1)) for _ in range(5)]

    async def all_readable() -> bool:
        try:
            page = await buyer.get("/orders")
        except httpx.TransportError:
            return False
        if page.status_code != 200:
            return False
        return [order["id"] for order in page.json()["data"]] == [*before, *after][::-1]

    await eventually(all_readable, "all orders are readable, once each", 40)

    async def all_fresh() -> bool:
        lag = (await http.get(f"{system.projection_url}/lag")).json()
        answer = await buyer.get("/orders")
        behind: list[int] = [partition["ms"] for partition in lag["partitions"]]
        return max(*behind, int(answer.headers["X-Read-Model-Lag-Ms"])) < HEALTHY_MS

    try:
        await eventually(all_fresh, "every partition is fresh", 40)
    except AssertionError:
        pytest.fail(f"a partition remains behind:\n{system.last_words()}")


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "LOCAL_DIR": str(folder), **more}


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            ["make", "up"],
            cwd=ROOT,
            env=environment(tmp_path, COMMAND_PORT=port),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode != 0
    assert f"port {port} is taken; choose another with COMMAND_PORT=" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_second_start_on_the_same_data_is_refused(system: System) -> None:
    assert system.logs is not None
    ended = subprocess.run(
        ["make", "up"],
        cwd=ROOT,
        env=environment(system.logs),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "it is already running" in ended.stdout + ended.stderr


def test_an_interrupted_start_in_the_background_leaves_nothing_running(tmp_path: Path) -> None:
    command_port, query_port = free_ports(2)
    ports = {"COMMAND_PORT": str(command_port), "QUERY_PORT": str(query_port)}
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.local", "up"],
        cwd=ROOT,
        env=environment(tmp_path, DETACH="1", **ports),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as starting:
        deadline = time.monotonic() + 20
        while not (tmp_path / "state.json").exists():
            assert time.monotonic() < deadline, "the start did not begin"
            time.sleep(0.05)
        starting.send_signal(signal.SIGINT)
        output, _ = starting.communicate(timeout=60)
    assert starting.returncode == 1
    assert "Traceback" not in output
    assert "stopped; the data is kept for the next start" in output


def test_files_with_tokens_are_readable_only_by_their_owner(system: System) -> None:
    assert system.logs is not None
    begins = system.endpoints["tokens"]["staff"].partition(".")[0]  # the common prefix of all tokens
    files = [file for file in system.logs.iterdir() if file.is_file() and begins in file.read_text()]
    assert {file.name: file.stat().st_mode & 0o777 for file in files} == {
        "endpoints.json": 0o600,
        "log": 0o600,
    }


class CutOffError(Exception):
    """Raised to end a first start in the middle, like a kill."""


async def test_an_interrupted_first_start_does_not_prevent_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*_: object) -> None:
        raise CutOffError

    postgres = Postgres(tmp_path / "server", free_ports(1)[0], "test")
    with monkeypatch.context() as patch:
        patch.setattr(Postgres, "_create_database", cut_off)
        with pytest.raises(CutOffError):
            await postgres.program()
    server = await started(await postgres.program(), tmp_path / "server", postgres.url)
    await server.stop()


@pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="cannot tell which processes are PostgreSQL's"
)
async def test_a_process_that_reuses_a_killed_postmasters_pid_does_not_prevent_a_start(
    tmp_path: Path,
) -> None:
    postgres = Postgres(tmp_path / "server", free_ports(1)[0], "test")
    server = await started(await postgres.program(), tmp_path / "server", postgres.url)
    await server.kill()
    stranger = await asyncio.create_subprocess_exec("sleep", "60", user=postgres.user, cwd="/")
    try:
        remains = postgres.data / "postmaster.pid"
        _, *rest = remains.read_text().splitlines(keepends=True)
        remains.write_text("".join([f"{stranger.pid}\n", *rest]))
        await server.start()
    finally:
        stranger.kill()
        await stranger.wait()
    await server.stop()
