"""A command service on a real PostgreSQL, as its callers meet it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx
import orjson
from pydantic import SecretStr

from deploy.local.tokens import token
from services.command.app import application
from services.command.settings import ApiSettings
from services.command.store.event_store import EventStore
from shared.auth import Authenticator
from shared.process import serve
from shared.telemetry import Readiness, new_registry
from tests.servers import eventually

SECRET: Final = "a-secret-of-the-tests-that-is-long-enough"
JSON: Final = {"Content-Type": "application/json"}
LAMP: Final = {"name": "Lamp", "price": "19.90"}
ADA: Final = {"name": "Ada", "email": "ada@example.com"}
LINE: Final = {"productId": "lamp", "quantity": 1}


def bearer(sub: str, *roles: str) -> dict[str, str]:
    """The authorization header of a caller."""
    return {"Authorization": f"Bearer {token(SECRET, sub, *roles)}"}


STAFF: Final = bearer("grace", "staff")
CUSTOMER: Final = bearer("ada")
STRANGER: Final = bearer("eve")
PENDING: Final = "{pending}"
"""A placeholder in a path for the id of a pending order."""


@dataclass(frozen=True)
class Sent:
    """A request. A body of bytes is sent as is, any other as JSON."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=lambda: STAFF)

    def about(self, order_id: str) -> "Sent":
        """The same request for that order."""
        return replace(self, path=self.path.replace(PENDING, order_id))

    async def to(self, api: httpx.AsyncClient, **more: str) -> httpx.Response:
        """Send it. The `more` headers are spelled with underscores."""
        content = self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)
        headers = {**JSON, **self.headers, **{name.replace("_", "-"): value for name, value in more.items()}}
        return await api.request(self.method, self.path, content=content, headers=headers)


@asynccontextmanager
async def command_service(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running command API whose database is migrated."""
    registry = new_registry()
    settings = ApiSettings(
        postgres_url=SecretStr(postgres_url),
        jwt_secret=SecretStr(SECRET),
        cors_origins=("http://127.0.0.1:8002",),
    )
    async with (
        Authenticator.of(settings) as authenticator,
        EventStore(postgres_url, registry) as store,
    ):
        readiness = Readiness({"postgres": store.why_not_ready})
        app = application(settings, store, authenticator, readiness, registry)
        async with (
            serve(app, "127.0.0.1", 0) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):

            async def ready() -> bool:
                return (await client.get("/health/ready")).status_code == 200

            await eventually(ready, "the API is ready")
            yield client


async def placed(api: httpx.AsyncClient) -> str:
    """The id of a pending order of two lamps."""
    body = {"items": [{"productId": "lamp", "quantity": 2}]}
    answer = await api.post("/orders", json=body, headers=CUSTOMER)
    assert answer.status_code == 202
    order_id: str = answer.json()["orderId"]
    return order_id
