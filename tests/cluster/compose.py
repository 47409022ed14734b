"""The compose cluster, with its own project name and free ports, removed with its data."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from deploy.environment import completed
from deploy.local.state import free_ports

ROOT: Final = Path(__file__).parents[2]
LOGS: Final = ROOT / ".local" / "cluster-logs"
STANDIN: Final = ROOT.parent / "shared" / "standin"
IMAGES: Final = (
    *("python:3.13-slim", "postgres:18", "mongo:8.0", "apache/kafka:4.3.1", "haproxy:3.2"),
    "prom/prometheus:v3.5.0",
)
PORTS: Final = ("COMMAND_PORT", "QUERY_PORT", "KAFKA_PORT", "KAFKA_PORT_2", "KAFKA_PORT_3", "GRAFANA_PORT")
IMAGES_OF_OURS: Final = {
    **{f"orders-{target}": ("deploy/Dockerfile", target) for target in ("command", "projection", "query")},
    "orders-tests": ("tests/cluster/Dockerfile", ""),
}
"""The Dockerfile and target of each image, by name."""
TESTS: Final = "tests/cluster/compose.tests.yml"
"""The overlay that runs the end-to-end tests on the cluster's networks."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running project."""

    project: str
    environment: dict[str, str]

    def compose(self, *arguments: str, seconds: float = 300, check: bool = True) -> str:
        """Run `docker compose ...` and return its output; a failure fails the test with the output."""
        done = subprocess.run(
            ["docker", "compose", "-p", self.project, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout[-4000:]}"
        return done.stdout

    def up(self, **scale: int) -> None:
        """Start everything with the given number of replicas, and wait until it is healthy."""
        wanted = [part for name, count in scale.items() for part in ("--scale", f"{name}={count}")]
        self.compose("up", "--no-build", "--wait", *wanted)

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "-q", service).split()

    def inspected(self) -> list[dict[str, Any]]:
        """`docker inspect` of all containers of the project, including finished jobs."""
        found: list[dict[str, Any]] = json.loads(docker("inspect", *self.compose("ps", "-aq").split()))
        return found

    def samples(self, container: str) -> list[Sample]:
        """The metrics of one of our processes; the edge does not forward `/metrics`."""
        ask = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8000/metrics').read().decode())"
        families = text_string_to_metric_families(docker("exec", container, "python", "-c", ask))
        return [sample for family in families for sample in family.samples]

    def kill(self, container: str) -> None:
        """Kill its process from outside, because `docker kill` would suppress the restart policy."""
        pid = docker("inspect", "--format", "{{.State.Pid}}", container).strip()
        os.kill(int(pid), 9)

    def endpoints(self, folder: Path) -> Path:
        """A file like the one of `make up`, for the end-to-end tests."""
        path = folder / "endpoints.json"
        urls = {
            f"{name}Url": f"http://127.0.0.1:{self.environment[f'{name.upper()}_PORT']}"
            for name in ("command", "query")
        }
        path.write_text(json.dumps(urls))
        return path


def docker(*arguments: str, seconds: float = 600) -> str:
    """Run `docker ...` and return its output."""
    done = subprocess.run(
        ["docker", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stderr[-4000:]}"
    return done.stdout


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def require_engine() -> None:
    """Skip the test unless an engine and the base images are available."""
    if not (_answers("docker", "info") and _answers("docker", "compose", "version")):
        if not STANDIN.exists():
            pytest.skip("no Docker engine is running here")
        if subprocess.run([str(STANDIN / "engine")], timeout=600, check=False).returncode != 0:
            pytest.skip("no Docker engine is running here, and none can be started")
    if not _answers("docker", "image", "inspect", *IMAGES):
        if all(_answers("docker", "pull", "-q", image) for image in IMAGES):
            return
        if not STANDIN.exists():
            pytest.skip("the base images cannot be pulled here")
        subprocess.run([str(STANDIN / "images"), *IMAGES], check=True, timeout=900)


def build_images() -> None:
    """Build our images. Calls BuildKit directly, since compose needs a plugin that not every engine has."""
    for name, (dockerfile, target) in IMAGES_OF_OURS.items():
        done = subprocess.run(
            [
                *("docker", "build", "-q", "--network", "host", "-f", dockerfile),
                *("--target", target, "-t", name, "."),
            ],
            cwd=ROOT,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"building {name}:\n{done.stderr[-4000:]}"


@contextmanager
def running(session: pytest.Session, *overlays: str, **settings: str) -> Iterator[Cluster]:
    """A cluster of `docker-compose.yml` and `overlays` with these additional settings.

    Its logs are saved if a test fails.
    """
    files = {"COMPOSE_FILE": os.pathsep.join(["docker-compose.yml", *overlays])}
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    cluster = Cluster(f"orders-{uuid4().hex[:8]}", {**completed({}), **ports, **files, **settings})
    failed_before = session.testsfailed
    well = False
    try:
        cluster.up()
        yield cluster
        well = session.testsfailed == failed_before
    finally:
        try:
            if not well:
                LOGS.mkdir(parents=True, exist_ok=True)
                logs = cluster.compose("logs", "--no-color", "--timestamps", check=False)
                (LOGS / f"{cluster.project}.log").write_text(logs)
        finally:
            cluster.compose("--profile", "*", "down", "--volumes", "--remove-orphans")
