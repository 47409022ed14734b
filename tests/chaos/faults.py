"""Random faults in the processes, reproducible by seed."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

from tests.end_to_end.conftest import System

_VICTIMS: Final = ("command", "relay", "projection", "query", "mongodb", "kafka", "postgres")
_MOMENT: Final = (0.5, 4.0)
_LONG: Final = (6.0, 18.0)
"""Most beyond the consumer group's session (10 s), all beyond the relay's in PostgreSQL (5 s)."""


async def inject_faults(system: System, random: Random, is_over: Callable[[], bool]) -> None:
    """Kill and freeze processes, possibly several at a time, until the run is over and all are thawed."""
    killed: set[int] = set()
    async with asyncio.TaskGroup() as freezes:
        while not is_over():
            await asyncio.sleep(random.uniform(0.2, 4.0))  # random by design
            victim = random.choice(_VICTIMS)
            kind = random.choice(("kill", "kill", "moment", "long"))
            seconds = random.uniform(*(_LONG if kind == "long" else _MOMENT))
            pid = system.processes()[victim]
            if pid in killed:
                _log(f"{victim} is not back yet")
            elif kind == "kill":
                _log(f"kill {victim} ({pid})")
                killed.add(pid)
                _send(pid, signal.SIGKILL)
            else:
                _log(f"freeze {victim} ({pid}) for {seconds:.1f} s")
                freezes.create_task(_freeze(pid, seconds, killed))


async def _freeze(pid: int, seconds: float, killed: set[int]) -> None:
    _send(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)  # random by design
    finally:
        if pid not in killed:
            _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _log(what: str) -> None:
    print(time.strftime("%H:%M:%S"), what, flush=True)
