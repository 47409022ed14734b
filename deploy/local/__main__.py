"""`python -m deploy.local up|down|clean`, called by the Makefile."""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from deploy.local.settings import LocalSettings
from deploy.local.up import ENDPOINTS, LOCK, WELCOME, CannotStartError, run

_LOG: Final = "log"
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 60.0


def _holder(folder: Path) -> int | None:
    """The id of the process that runs the system in `folder`, if any."""
    try:
        with (folder / LOCK).open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0) or None
    except FileNotFoundError:
        return None
    return None


def up(settings: LocalSettings) -> int:
    """Run in the foreground, or start in the background and wait until ready."""
    if not settings.detach:
        return asyncio.run(run(settings))
    folder = settings.local_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if _holder(folder) is not None:
        raise CannotStartError(f"it is already running in {folder}; `make down` stops it")
    (folder / ENDPOINTS).unlink(missing_ok=True)
    with (folder / _LOG).open("wb") as log:
        (folder / _LOG).chmod(0o600)  # it contains tokens, as the endpoints file does
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "up"],
            env={**os.environ, "DETACH": ""},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    welcome = ""
    # interrupted, it is ended like one that takes too long
    with suppress(KeyboardInterrupt):
        while process.poll() is None and not welcome and time.monotonic() < deadline:
            time.sleep(0.1)
            _, _, welcome = (folder / _LOG).read_text(errors="replace").partition(WELCOME)
    if welcome:
        print(f"{WELCOME}{welcome}")
        print(f"running in the background; log: {folder / _LOG}, endpoints: {folder / ENDPOINTS}")
        return 0
    if process.poll() is None:
        process.terminate()
        process.wait(_STOP_SECONDS)
    print((folder / _LOG).read_text(errors="replace")[-8000:])
    return 1


def down(settings: LocalSettings) -> int:
    """Stop the system running in the background."""
    folder = settings.local_dir.absolute()
    holder = _holder(folder)
    if holder is None:
        print("nothing is running")
        return 0
    os.kill(holder, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _holder(folder) is not None:
        if time.monotonic() > deadline:
            print(f"process {holder} is still stopping", file=sys.stderr)
            return 1
        time.sleep(0.1)
    print("stopped")
    return 0


def clean(settings: LocalSettings) -> int:
    """Delete all data."""
    folder = settings.local_dir.absolute()
    if _holder(folder) is not None:
        raise CannotStartError("it is running; run `make down` first")
    elsewhere = folder / "postgres" / "elsewhere"
    if elsewhere.is_symlink():
        shutil.rmtree(elsewhere.resolve(), ignore_errors=True)
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        print(f"not everything could be deleted: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """Run the action named by the first argument."""
    actions = {"up": up, "down": down, "clean": clean}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        print("usage: python -m deploy.local up|down|clean", file=sys.stderr)
        return 2
    try:
        return actions[sys.argv[1]](LocalSettings())
    except CannotStartError as error:
        print(error, file=sys.stderr)
        return 1
    except ValidationError as error:
        for problem in error.errors():
            print(f"{str(problem['loc'][0]).upper()}: {problem['msg']}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
