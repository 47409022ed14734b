"""Processes of the system under load, each pinned to a core."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import httpx

from deploy.local.program import stop
from tests.servers import eventually

ROOT: Final = Path(__file__).parents[2]
SECRET: Final = "a-secret-of-the-benchmarks-that-is-long-enough"


@asynccontextmanager
async def running(
    *arguments: str,
    port: int | None = None,
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m arguments`, ready when its port answers; stopped on exit."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "LOG_LEVEL": "warning", **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
    )
    if core is not None:
        pin(process.pid, core)
    try:
        if port is not None:
            async with httpx.AsyncClient() as client:

                async def answers() -> bool:
                    assert process.returncode is None, f"{arguments[0]} ended"
                    try:
                        answer = await client.get(f"http://127.0.0.1:{port}/health/ready")
                    except httpx.HTTPError:
                        return False
                    return answer.status_code < 500

                await eventually(answers, f"{arguments[0]} is ready", 30, every=0.1)
        yield process
    finally:
        import signal

        await stop(process, signal.SIGTERM)


async def finished(*arguments: str, environment: Mapping[str, str]) -> None:
    """Run `python -m arguments` to completion; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, cwd=ROOT, env={**os.environ, **environment}
    )
    assert await process.wait() == 0, f"{' '.join(arguments)} failed"


async def output(*arguments: str) -> str:
    """What `python -m arguments` prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, f"{' '.join(arguments)} failed"
    return printed.decode()


def pin(pid: int, core: int) -> None:
    """Pin a process to one core, if the system supports it."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(pid, {core})


@contextmanager
def staying_on(core: int) -> Iterator[None]:
    """Pin this process to one core meanwhile. Processes that it starts then stay there permanently."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    pin(0, core)
    try:
        yield
    finally:
        if before is not None:
            os.sched_setaffinity(0, before)
