"""What befalls the processes, by chance, but the same for the same seed."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

from tests.end_to_end.conftest import System

VICTIMS: Final = ("command", "relay", "projection", "query", "mongodb", "kafka", "postgres")
_MOMENT: Final = (0.5, 4.0)
_LONG: Final = (6.0, 18.0)
"""Most beyond the consumer group's session (10 s), all beyond the relay's in PostgreSQL (5 s)."""


class Faults:
    """Kills and freezes, several at the same time if it comes so."""

    def __init__(self, system: System, random: Random) -> None:
        self._system = system
        self._random = random
        self._killed: set[int] = set()
        self._began = time.monotonic()

    async def befall(self, is_over: Callable[[], bool]) -> None:
        """Go on until it is over and whoever was frozen goes on, too."""
        async with asyncio.TaskGroup() as freezes:
            while not is_over():
                await asyncio.sleep(self._random.uniform(0.2, 4.0))
                victim = self._random.choice(VICTIMS)
                kind = self._random.choice(("kill", "kill", "moment", "long"))
                seconds = self._random.uniform(*(_LONG if kind == "long" else _MOMENT))
                pid = self._system.processes()[victim]
                if pid in self._killed:
                    self._tell(f"{victim} is not back yet")
                elif kind == "kill":
                    self._killed.add(pid)
                    self._tell(f"kill {victim} ({pid})")
                    _signal(pid, signal.SIGKILL)
                else:
                    self._tell(f"freeze {victim} ({pid}) for {seconds:.1f} s")
                    freezes.create_task(self._freeze(victim, pid, seconds))

    async def _freeze(self, victim: str, pid: int, seconds: float) -> None:
        _signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if pid not in self._killed:
                _signal(pid, signal.SIGCONT)
                self._tell(f"{victim} ({pid}) goes on")

    def _tell(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {time.strftime('%H:%M:%S')}  {what}", flush=True)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
