"""`make up`: start everything in order, keep it running, stop it in order."""

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from deploy.local.plan import ROOT, Plan, curl_lines
from deploy.local.program import Program
from deploy.local.servers.jars import JarMismatchError
from deploy.local.settings import LocalSettings
from deploy.local.state import port_is_free, remember, write_atomically
from deploy.local.supervisor import GaveUpError, Supervised, say, show

ENDPOINTS: Final = "endpoints.json"
LOCK: Final = "lock"
WELCOME: Final = "commands    "
"""Start of the first line that shows the user where everything is."""
_PUBLIC_NAMES: Final = ("command", "relay", "projection", "query", "postgres", "mongodb", "kafka")


class CannotStartError(Exception):
    """The system cannot be started; the message is shown to the user of `make up`."""


class System:
    """The running system: supervised servers first, then the services."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._supervised: dict[str, Supervised] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._complete = False
        self.gave_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Start servers, jobs and services; returns when all are ready and endpoints.json is written."""
        try:
            servers = await self.plan.servers()
        except (OSError, RuntimeError, JarMismatchError) as error:
            raise CannotStartError(f"the servers cannot be prepared: {error}") from error
        await self._launch(servers)
        for job in self.plan.jobs():
            await self._job(job)
        await self._launch(self.plan.services())
        self._complete = True
        self._publish()

    async def stop(self) -> None:
        """Stop services first, so that none loses its servers while it runs."""
        self._complete = False
        (self.plan.folder / ENDPOINTS).unlink(missing_ok=True)
        names = list(self._supervised)
        for group in (["query", "projection", "relay", "command"], names):
            await asyncio.gather(
                *(self._supervised[name].stop() for name in group if name in self._supervised)
            )
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _launch(self, programs: Sequence[Program]) -> None:
        for program in programs:
            supervised = Supervised(program, self._publish)
            self._supervised[program.name] = supervised
            task = asyncio.create_task(supervised.run(), name=program.name)
            task.add_done_callback(self._ended)
            self._running.add(task)
        for program in programs:
            await self._supervised[program.name].is_ready.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None or self.gave_up.done():
            return
        reason = str(error) if isinstance(error, GaveUpError) else f"{task.get_name()}: {error!r}"
        self.gave_up.set_result(reason)

    async def _job(self, command: Sequence[str]) -> None:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, **self.plan.environment()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        for line in output.decode(errors="replace").splitlines():
            say(command[-1], line)
        if process.returncode:
            raise CannotStartError(f"{command[-1]} failed (status {process.returncode})")

    def _publish(self) -> None:
        if not self._complete:
            return
        pids = {name: self._supervised[name].pid for name in _PUBLIC_NAMES if name in self._supervised}
        write_atomically(self.plan.folder / ENDPOINTS, {**self.plan.endpoints(), "processes": pids})


def _hold(folder: Path) -> int:
    """Take the lock of a running system; the open file holds it until this process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotStartError(f"it is already running in {folder}; `make down` stops it") from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _check_ports(settings: LocalSettings) -> None:
    for name, port in (("COMMAND_PORT", settings.command_port), ("QUERY_PORT", settings.query_port)):
        if not port_is_free(port):
            raise CannotStartError(f"port {port} is taken; choose another with {name}=...")


async def run(settings: LocalSettings) -> int:
    """Run the system until a signal or until a program is given up on; returns the exit status."""
    started = time.monotonic()
    folder = settings.local_dir.absolute()
    _hold(folder)
    _check_ports(settings)
    (folder / ENDPOINTS).unlink(missing_ok=True)
    plan = Plan(settings=settings, remembered=remember(folder, settings.jwt_secret), folder=folder)
    system = System(plan)
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    starting = asyncio.create_task(system.start())
    asking = asyncio.create_task(asked.wait())
    status = 0
    try:
        await _first(starting, asking, system.gave_up)
        if starting.done():
            starting.result()
            say("make up", f"ready after {time.monotonic() - started:.1f} s")
            show(_welcome(plan))
            await _first(asking, system.gave_up)
        if system.gave_up.done():
            say("make up", f"giving up: {system.gave_up.result()}")
            status = 1
    except CannotStartError as error:
        say("make up", str(error))
        status = 1
    finally:
        for task in (starting, asking):
            task.cancel()
        await asyncio.gather(starting, asking, return_exceptions=True)
        say("make up", "stopping")
        await system.stop()
        say("make up", "stopped; the data is kept for the next start")
    return status


async def _first(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _welcome(plan: Plan) -> str:
    endpoints = plan.endpoints()
    lines = (
        "",
        f"{WELCOME}{endpoints['commandUrl']}   (API: {endpoints['commandUrl']}/docs)",
        f"queries     {endpoints['queryUrl']}   (API: {endpoints['queryUrl']}/docs)",
        f"topics      {endpoints['kafka']}   ({endpoints['commandUrl']}/asyncapi.json)",
        "",
        "A first order; paste this:",
    )
    return "\n".join(lines) + curl_lines(endpoints) + "\n"
