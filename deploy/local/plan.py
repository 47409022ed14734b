"""What to run, and in which order: the servers, the jobs that prepare them, the four processes."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.local.program import Probe, Program
from deploy.local.servers.kafka import KIND, Kafka
from deploy.local.servers.mongodb import MongoDB
from deploy.local.servers.postgres import Postgres
from deploy.local.settings import LocalSettings
from deploy.local.state import Remembered
from deploy.local.tokens import token

ROOT: Final = Path(__file__).parents[2]
CUSTOMER: Final = "ada"
STAFF: Final = "grace"


@dataclass(slots=True, kw_only=True)
class Plan:
    """All addresses, and how each process is started."""

    settings: LocalSettings
    remembered: Remembered
    folder: Path
    postgres: Postgres | None = field(init=False)
    mongodb: MongoDB | None = field(init=False)
    kafka: Kafka | None = field(init=False)

    def __post_init__(self) -> None:
        given, ports = self.settings, self.remembered.ports
        self.postgres = self.mongodb = self.kafka = None
        if given.postgres_url is None:
            password = self.remembered.postgres_password
            self.postgres = Postgres(self.folder / "postgres", ports["postgres"], password)
        if given.mongodb_url is None:
            self.mongodb = MongoDB(self.folder / "mongodb", ports["mongodb"])
        if given.kafka_bootstrap_servers is None:
            self.kafka = Kafka(
                self.folder / "kafka", ROOT / ".venv" / "kafka-jars", ports["kafka"], ports["kafkaController"]
            )

    @property
    def command_url(self) -> str:
        """Where commands go."""
        return f"http://127.0.0.1:{self.settings.command_port}"

    @property
    def query_url(self) -> str:
        """Where queries go."""
        return f"http://127.0.0.1:{self.settings.query_port}"

    def endpoints(self) -> dict[str, Any]:
        """The contract's endpoints.json, except for the processes."""
        given, ports = self.settings, self.remembered.ports
        secret = self.remembered.jwt_secret
        return {
            "commandUrl": self.command_url,
            "queryUrl": self.query_url,
            "projectionUrl": f"http://127.0.0.1:{ports['projection']}",
            "relayUrl": f"http://127.0.0.1:{ports['relay']}",
            "kafka": given.kafka_bootstrap_servers or f"127.0.0.1:{ports['kafka']}",
            "kafkaKind": KIND if self.kafka else "given",
            "postgres": given.postgres_url or (self.postgres.url if self.postgres else ""),
            "mongodb": given.mongodb_url or (self.mongodb.url if self.mongodb else ""),
            "tokens": {"customer": token(secret, CUSTOMER), "staff": token(secret, STAFF, "staff")},
        }

    async def servers(self) -> list[Program]:
        """The servers that we run ourselves, prepared."""
        return [await server.program() for server in (self.postgres, self.mongodb, self.kafka) if server]

    def jobs(self) -> list[list[str]]:
        """The jobs that prepare the servers before any service starts."""
        return [[sys.executable, "-m", "services.command", job] for job in ("migrate", "topics")]

    def environment(self) -> dict[str, str]:
        """The environment that every service gets."""
        endpoints = self.endpoints()
        return {
            "POSTGRES_URL": endpoints["postgres"],
            "MONGODB_URL": endpoints["mongodb"],
            "KAFKA_BOOTSTRAP_SERVERS": endpoints["kafka"],
            "JWT_SECRET": self.remembered.jwt_secret,
            "SCHEMA_BASE_URL": os.environ.get("SCHEMA_BASE_URL") or self.command_url,
            "HOST": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
        }

    def services(self) -> list[Program]:
        """The four processes, each with the common environment plus only what it needs."""
        ports = self.remembered.ports
        keys_token = token(self.remembered.jwt_secret, "projection", "personal-data")
        origins = os.environ.get("CORS_ORIGINS") or self.query_url
        return [
            self._service("command", self.settings.command_port, "command", "api", CORS_ORIGINS=origins),
            self._service("relay", ports["relay"], "command", "relay"),
            self._service(
                "projection",
                ports["projection"],
                "projection",
                PERSONAL_DATA_KEYS_URL=self.command_url,
                PERSONAL_DATA_TOKEN=keys_token,
            ),
            self._service("query", self.settings.query_port, "query"),
        ]

    def _service(self, name: str, port: int, package: str, *arguments: str, **extra: str) -> Program:
        return Program(
            name=name,
            command=[sys.executable, "-m", f"services.{package}", *arguments],
            folder=ROOT,
            environment={**self.environment(), **extra, "PORT": str(port)},
            ready=_answers(f"http://127.0.0.1:{port}/health/ready"),
        )


def _answers(url: str) -> Probe:
    async def ready() -> str | None:
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                answer = await client.get(url)
        except httpx.HTTPError as error:
            return type(error).__name__
        return None if answer.status_code == 200 else answer.text[:300]

    return ready


def curl_lines(endpoints: Mapping[str, Any]) -> str:
    """A first order, ready to paste into a shell."""
    command, query, tokens = endpoints["commandUrl"], endpoints["queryUrl"], endpoints["tokens"]
    return f"""
CUSTOMER={tokens["customer"]}
STAFF={tokens["staff"]}
JSON='Content-Type: application/json'

curl -sX PUT {command}/products/lamp -H "Authorization: Bearer $STAFF" -H "$JSON" -d '{{"name":"Lamp","price":"19.90"}}'
curl -sX PUT {command}/customers/{CUSTOMER} -H "Authorization: Bearer $CUSTOMER" -H "$JSON" -d '{{"name":"Ada","email":"ada@example.com"}}'
ORDER=$(curl -sX POST {command}/orders -H "Authorization: Bearer $CUSTOMER" -H "$JSON" -d '{{"items":[{{"productId":"lamp","quantity":2}}]}}' | cut -d'"' -f4); echo $ORDER
curl -s "{query}/orders/$ORDER?minVersion=1" -H "Authorization: Bearer $CUSTOMER" -H 'Prefer: wait=10'
curl -sX POST {command}/orders/$ORDER/ship -H "Authorization: Bearer $STAFF" -H "$JSON" -d '{{"trackingNumber":"TRACK-1"}}'
curl -s "{query}/orders/$ORDER?minVersion=2" -H "Authorization: Bearer $CUSTOMER" -H 'Prefer: wait=10'
"""  # noqa: E501 - a pasted line must stay one line
