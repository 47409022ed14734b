"""What is kept from one start of the system to the next: ports and secrets."""

import json
import os
import random
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

INTERNAL_PORTS: Final = ("postgres", "mongodb", "kafka", "kafkaController", "relay", "projection")

_PORTS: Final = range(10_000, 32_000)
"""Outgoing connections use ports from 32,768 on Linux, from 49,152 elsewhere."""


def write_atomically(path: Path, content: object, mode: int = 0o600) -> None:
    """Replace `path` with `content` as JSON; readers see the old or the new content, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; empty when there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return content


def port_is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Distinct ports of 127.0.0.1 that nothing listens on now.

    Ports for outgoing connections are excluded: one could be taken before a server has started.
    """
    free: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(free) == count:
            break
        if port_is_free(port):
            free.append(port)
    return free


@dataclass(frozen=True, slots=True)
class Remembered:
    """Ports of the internal processes, the database password and the secret that signs tokens."""

    ports: dict[str, int]
    postgres_password: str
    jwt_secret: str


def remember(folder: Path, jwt_secret: str | None) -> Remembered:
    """Read what an earlier start chose, choose what is missing, and keep it (0600).

    A port that has been taken meanwhile is replaced; nothing outside depends on these numbers.
    """
    path = folder / "state.json"
    old = read(path)
    ports = {name: port for name, port in old.get("ports", {}).items() if port_is_free(port)}
    missing = [name for name in INTERNAL_PORTS if name not in ports]
    ports |= dict(zip(missing, free_ports(len(missing)), strict=True))
    password = str(old.get("postgresPassword") or secrets.token_urlsafe(24))
    secret = str(jwt_secret or old.get("jwtSecret") or secrets.token_urlsafe(48))
    write_atomically(path, {"ports": ports, "postgresPassword": password, "jwtSecret": secret})
    return Remembered(ports, password, secret)
