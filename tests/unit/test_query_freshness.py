"""The lag keeps being polled, whatever a poll results in."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from services.query.documents import freshness
from services.query.documents.connecting import Connection
from services.query.documents.errors import DocumentsUnavailableError
from services.query.documents.freshness import Freshness
from shared.freshness import NEVER
from tests.servers import eventually

MINUTE = 60_000


class Store(Connection):
    """Returns a current heartbeat, or fails."""

    failure: Exception | None = None
    failed = 0
    answered = 0
    ahead = timedelta()

    async def aggregate(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        if self.failure is not None:
            self.failed += 1
            raise self.failure
        self.answered += 1
        now = datetime.now(UTC).replace(tzinfo=None) + self.ahead
        fields = {"shards": 1, "shard": 0, "t": now, "at": now, "endOffsets": {}, "incarnations": {}}
        return [{"_id": str(now), "beat": True, **fields}]

    async def fail(self, failure: Exception) -> None:
        """Fail from now on; wait until several polls have failed."""
        self.failure, before = failure, self.failed

        async def failed() -> bool:
            return self.failed >= before + 3

        await eventually(failed, "it polls again")

    async def recover(self, followed: Freshness) -> None:
        """Answer again, and wait until the lag has recovered."""
        self.failure, since = None, followed.lag_ms()

        async def seen() -> bool:
            return followed.lag_ms() < since

        await eventually(seen, "the lag is reported again")


@pytest_asyncio.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    monkeypatch.setattr(freshness, "_EVERY_SECONDS", 0.01)
    async with Store("mongodb://127.0.0.1:1", "none") as made:
        yield made


async def test_a_fault_is_logged_once_with_its_traceback_and_polling_goes_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with Freshness(store) as followed:
        for _ in range(2):
            await store.fail(KeyError("t"))
            await store.recover(followed)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2, "one for each outage, however many polls failed"
    assert all(record.exc_info is not None and record.exc_info[0] is KeyError for record in errors)


async def test_an_unavailable_store_is_a_warning_and_not_an_error(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with Freshness(store) as followed:
        await store.fail(DocumentsUnavailableError("AutoReconnect"))
        assert followed.lag_ms() == NEVER
        await store.recover(followed)
        assert followed.lag_ms() < MINUTE
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_heartbeats_from_the_future_prove_nothing(store: Store) -> None:
    store.ahead = timedelta(hours=1)
    async with Freshness(store) as followed:

        async def polled() -> bool:
            return store.answered >= 3

        await eventually(polled, "it polls")
        assert followed.lag_ms() == NEVER
