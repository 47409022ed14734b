"""Keeps programs running: restarts those that die, gives up on those that never get ready, shows one log."""

import asyncio
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from deploy.local.program import Program, RemainsError, stop

GIVE_UP_AFTER: Final = 5
"""Deaths in a row without having been ready."""
LONGEST_BACKOFF: Final = 5.0
_LAST_LINES: Final = 12
_STEADY: Final = 10.0
"""Seconds of readiness after which the next death counts as the first."""
_PROBE_INTERVAL: Final = 0.05
_LONGEST_LINE: Final = 1 << 20


class GaveUpError(Exception):
    """A program died too often before it was ready."""


def show(text: str) -> None:
    """Write to the terminal or pipe, or nowhere once that is closed: the system must still stop in order."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def say(name: str, line: str) -> None:
    """Write one line of the combined log, with the process that it comes from."""
    show(f"{name:<10} | {line}\n")


@dataclass(slots=True)
class Supervised:
    """A program and its current process, kept alive until stopped."""

    program: Program
    changed: Callable[[], None]
    pid: int | None = None
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None
    _deaths: int = 0
    _streak: int = 0
    _ready_since: float | None = None
    _last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    _stopping: bool = False

    async def run(self) -> None:
        """Start it and restart it until `stop`; raises `GaveUpError`."""
        while not self._stopping:
            try:
                self._process = await self.program.start()
            except RemainsError as remains:
                say(self.program.name, f"{remains}; starting again")
                await asyncio.sleep(0.2)
                continue
            if self._is_stopping():  # stop was requested while it started
                await stop(self._process, self.program.stop_signal)
            await self._watch(self._process)
            if self._is_stopping():
                return
            self._report(self._process.returncode)
            if self._deaths >= GIVE_UP_AFTER:
                raise GaveUpError(f"{self.program.name} died {self._deaths} times before it was ready")
            await asyncio.sleep(self._backoff())

    def _is_stopping(self) -> bool:
        return self._stopping

    async def stop(self) -> None:
        """Stop it gracefully and do not restart it."""
        self._stopping = True
        if self._process is not None:
            await stop(self._process, self.program.stop_signal)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        self.is_ready.clear()
        reading = asyncio.create_task(self._read(process))
        probing = asyncio.create_task(self._probe(process))
        try:
            await process.wait()
        finally:
            probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probing
            # a grandchild may hold the pipe open; its later output is not the program's
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await reading
            self._count_death()
            self.is_ready.clear()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        rest = b""
        while chunk := await process.stdout.read(1 << 16):
            *lines, rest = (rest + chunk)[-_LONGEST_LINE:].split(b"\n")
            for line in lines:
                self._show(line)
        if rest:
            self._show(rest)

    def _show(self, line: bytes) -> None:
        text = self.program.retold(line.decode(errors="replace").rstrip())
        if text is not None:
            self._last.append(text)
            say(self.program.name, text)

    async def _probe(self, process: asyncio.subprocess.Process) -> None:
        started, why, patience = time.monotonic(), None, 10.0
        while (why := await self.program.ready()) is not None:
            if time.monotonic() - started > patience:
                say(self.program.name, f"not ready after {patience:.0f} s: {why}")
                patience *= 2
            await asyncio.sleep(_PROBE_INTERVAL)
        if process.returncode is None:
            self.pid = process.pid
            self._ready_since = time.monotonic()
            self.is_ready.set()
            self.changed()

    def _backoff(self) -> float:
        """Zero after the first death, then doubling."""
        return 0.0 if self._streak <= 1 else min(0.25 * 2 ** min(self._streak - 2, 10), LONGEST_BACKOFF)

    def _count_death(self) -> None:
        lived = time.monotonic() - self._ready_since if self._ready_since is not None else 0.0
        self._deaths = 0 if self.is_ready.is_set() else self._deaths + 1
        self._streak = 1 if lived >= _STEADY else self._streak + 1
        self._ready_since = None

    def _report(self, status: int | None) -> None:
        say("make up", f"{self.program.name} died (status {status}); its last lines:")
        for line in self._last:
            say("make up", f"    {line}")
        self._last.clear()
