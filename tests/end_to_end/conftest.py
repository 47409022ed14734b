"""The whole system, started with `make up`, or the one that ENDPOINTS names."""

import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.state import free_ports

ROOT = Path(__file__).parents[2]
HEALTHY_MS = 2000
"""The contract's limit for the lag of a healthy system."""


@dataclass(frozen=True, slots=True)
class System:
    """A running system: the contents of endpoints.json, and the secret that signs its tokens."""

    endpoints: dict[str, Any]
    jwt_secret: str
    logs: Path | None

    @property
    def command_url(self) -> str:
        return str(self.endpoints["commandUrl"])

    @property
    def query_url(self) -> str:
        return str(self.endpoints["queryUrl"])

    @property
    def projection_url(self) -> str:
        return str(self.endpoints["projectionUrl"])

    def processes(self) -> dict[str, int]:
        """The running processes; only for a system that was started here."""
        assert self.logs is not None
        found: dict[str, int] = json.loads((self.logs / "endpoints.json").read_text())["processes"]
        return found

    def last_words(self) -> str:
        """The end of the log without requests, and every partition's lag: what a failure left behind."""
        lag = httpx.get(f"{self.projection_url}/lag").text
        if self.logs is None:
            return lag
        lines = [line for line in (self.logs / "log").read_text().splitlines() if " access: " not in line]
        return "\n".join([*lines[-40:], lag])


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """One system for the whole session; its data is deleted at the end."""
    given = os.environ.get("ENDPOINTS")
    if given:
        endpoints = json.loads(Path(given).read_text())
        yield System(endpoints, os.environ["JWT_SECRET"], None)
        return
    with started() as fresh:
        yield fresh


@contextmanager
def started(**settings: str) -> Iterator[System]:
    """A separate system with these additional settings; its data is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="orders-", ignore_cleanup_errors=True) as folder:
        secret = "end-to-end-secret-of-thirty-two-bytes-and-more"
        local = Path(folder) / "local"
        Path(folder).chmod(0o755)
        command_port, query_port = free_ports(2)
        environment = os.environ | {
            "LOCAL_DIR": str(local),
            "COMMAND_PORT": str(command_port),
            "QUERY_PORT": str(query_port),
            "JWT_SECRET": secret,
            "DETACH": "1",
            **settings,
        }
        for server in ("POSTGRES_URL", "MONGODB_URL", "KAFKA_BOOTSTRAP_SERVERS"):
            environment.pop(server, None)
        started = subprocess.run(
            ["make", "up"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
            check=False,
        )
        try:
            assert started.returncode == 0, f"make up failed:\n{started.stdout[-8000:]}"
            yield System(json.loads((local / "endpoints.json").read_text()), secret, local)
        finally:
            subprocess.run(["make", "down"], cwd=ROOT, env=environment, check=True, timeout=60)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client whose timeout allows for the longest `Prefer: wait`."""
    async with httpx.AsyncClient(timeout=35) as client:
        yield client
