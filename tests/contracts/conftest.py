"""The npm tools of deploy/contracts, installed once per lock file."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "deploy" / "contracts"
_STAMP = TOOLS / "node_modules" / ".installed"

Node: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def node() -> Node:
    """Runs a script of deploy/contracts: `node(script, *arguments, input=...)`."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    _install()

    def run(script: str, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return _run("node", str(TOOLS / script), *arguments, input=input)

    return run


def git(*arguments: str) -> bytes:
    """The output of a git command on the repository; skips if its history is not available."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("the history of the repository is not available")
    # the folder may be owned by another user
    command = ("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments)
    return subprocess.run(command, capture_output=True, timeout=60, check=True).stdout


def _install() -> None:
    """Run `npm ci`, unless this lock file is already installed."""
    lock = hashlib.sha256((TOOLS / "package-lock.json").read_bytes()).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == lock:
        return
    done = _run("npm", "ci", "--prefix", str(TOOLS))
    if done.returncode and _run("npm", "ping", "--fetch-retries=0", "--fetch-timeout=10000").returncode:
        pytest.skip(f"the npm registry cannot be reached: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr
    _STAMP.write_text(lock)


def _run(*command: str, input: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NO_UPDATE_NOTIFIER": "1"}
    return subprocess.run(
        command, input=input, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
