"""A program that `make up` runs: how it is started, when it is ready, how it is stopped."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)  # looked up before any fork

Probe = Callable[[], Awaitable[str | None]]
"""Returns None when the program is ready, else what is missing."""


class RemainsError(Exception):
    """Remains of a dead predecessor prevent the start; this does not count as a death."""


async def _nothing() -> None:
    return None


def _as_it_is(line: str) -> str | None:
    return line


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process of the system. `user` is another account to run it under, when we are root."""

    name: str
    command: Sequence[str]
    folder: Path
    ready: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    before_start: Callable[[], Awaitable[None]] = _nothing
    retold: Callable[[str], str | None] = _as_it_is
    """Rewrites a line of its log for display; None hides the line."""

    async def start(self, output: int | None = None) -> asyncio.subprocess.Process:
        """Start it in a session of its own, so that a terminal's Ctrl-C reaches only the supervisor.

        `output` is a file descriptor; without one, `stdout` of the process is a pipe.
        Raises `RemainsError` when remains of a predecessor are still there.
        """
        await self.before_start()
        return await asyncio.create_subprocess_exec(
            *self.command,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if output is None else output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            user=self.user,
            group=None if self.user is None else _group(self.user),
            extra_groups=None if self.user is None else [],
            preexec_fn=partial(_end_with_parent, self.stop_signal) if sys.platform == "linux" else None,
        )


def _end_with_parent(how: signal.Signals) -> None:
    """In the child: get a stop signal when the supervisor is killed (prctl(2), PR_SET_PDEATHSIG)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(how))


def _group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


async def stop(process: asyncio.subprocess.Process, how: signal.Signals, seconds: float = 15) -> None:
    """Stop a process gracefully; after `seconds`, kill it."""
    if process.returncode is not None:
        return
    process.send_signal(how)
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
