"""Responses when the store cannot answer."""

from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from services.command.app import application
from services.command.settings import ApiSettings
from services.command.store.errors import (
    ContendedError,
    StoreError,
    StoreOverloadedError,
    StoreUnavailableError,
)
from shared.auth import Authenticator
from shared.telemetry import Readiness, new_registry
from tests.command_service import LAMP, SECRET, Sent, bearer

OFFER = Sent("PUT", "/products/lamp", LAMP)
KEYS = Sent("POST", "/personal-data-keys", {"customerIds": ["ada"]}, bearer("reader", "personal-data"))


class FailingStore:
    """Raises its error on every call."""

    def __init__(self, error: StoreError) -> None:
        self._error = error

    async def execute(self, command: Any) -> Any:
        raise self._error

    async def personal_data_keys(self, customer_ids: Any) -> Any:
        raise self._error


async def answer_to(error: StoreError, sent: Sent) -> httpx.Response:
    """The response to `sent` when the store raises `error`."""
    settings = ApiSettings(
        postgres_url=SecretStr("postgresql://nobody@127.0.0.1/nowhere"), jwt_secret=SecretStr(SECRET)
    )
    registry = new_registry()
    async with Authenticator.of(settings) as authenticator:
        app = application(settings, cast("Any", FailingStore(error)), authenticator, Readiness({}), registry)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as api:
            return await sent.to(api)


@pytest.mark.parametrize(
    ("error", "sent", "status", "code", "retry_after"),
    [
        (StoreOverloadedError(), OFFER, 503, "overloaded", "1"),
        (StoreUnavailableError(), OFFER, 503, "unavailable", "1"),
        (StoreUnavailableError(), KEYS, 503, "unavailable", "1"),
        (ContendedError(), OFFER, 409, "stream-contended", None),
    ],
)
async def test_store_errors_become_problems(
    error: StoreError, sent: Sent, status: int, code: str, retry_after: str | None
) -> None:
    answer = await answer_to(error, sent)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry_after
