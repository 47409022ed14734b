"""The jars of the Kafka broker, resolved by `jgo` and verified against the checksums of a committed lock.

`python -m deploy.local.servers.jars` regenerates the lock after a change of WANTED.
"""

import hashlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jgo.maven import MavenContext

LOCK: Final = Path(__file__).parents[2] / "locks" / "kafka-jars.txt"
KAFKA_VERSION: Final = "4.3.1"
WANTED: Final = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # named explicitly, otherwise an older client is resolved
    f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.1",
)


class JarMismatchError(Exception):
    """A downloaded jar does not match the lock."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock: Maven coordinates and the SHA-256 of the file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.artifact}-{self.version}.jar"


def locked() -> Iterator[Jar]:
    """The jars of the lock."""
    for line in LOCK.read_text().splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            yield Jar(group, artifact, version, sha256)


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(folder: Path) -> Path:
    """Download every locked jar to `folder`, once; returns the folder for the class path.

    Raises `JarMismatchError` when a downloaded jar does not match.
    """
    done = folder / "complete"
    lock = LOCK.read_text()
    if done.exists() and done.read_text() == lock:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder.with_name(f"{folder.name}-download")
    context = MavenContext(repo_cache=cache, local_repos=[], timeout=60)
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda jar: _fetch(context, jar, folder), list(locked())):
            pass
    shutil.rmtree(cache, ignore_errors=True)
    done.write_text(lock)
    return folder


def _fetch(context: MavenContext, jar: Jar, folder: Path) -> None:
    target = folder / jar.name
    if target.exists() and _sum(target) == jar.sha256:
        return
    fetched = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    if _sum(fetched) != jar.sha256:
        raise JarMismatchError(f"{jar.name} does not match its checksum in {LOCK.name}")
    fetched.replace(target)


def _lock() -> None:
    cache = LOCK.parents[2] / ".local" / "jars-lock"
    context = MavenContext(repo_cache=cache, local_repos=[], timeout=60)
    inputs, transitive = context.resolver.resolve([context.create_dependency(name) for name in WANTED])
    found = {
        f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}": dependency.artifact.resolve()
        for dependency in (*inputs, *transitive)
        if dependency.type == "jar" and dependency.scope in (None, "compile", "runtime")
    }
    lines = [f"{name} {_sum(path)}" for name, path in sorted(found.items())]
    header = "# The Kafka broker's jars: coordinates and SHA-256. Made by python -m deploy.local.servers.jars"
    LOCK.write_text("\n".join([header, *lines, ""]))
    shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    _lock()
