"""Personal data in the event store: encrypted, and erased with its key."""

import pytest

from services.command.store.commands import Idempotency
from services.command.store.housekeeping import cut_fingerprints
from tests.storing import erase, opened, register, rows, status, statuses

pytestmark = pytest.mark.integration


async def test_personal_data_is_stored_encrypted_and_erased_with_its_key(postgres_url: str) -> None:
    key = Idempotency("ada", "k", b"0123456789abcdef" + b"x" * 32)
    async with opened(postgres_url) as store:
        assert await status(store, register("ada", "Ada Lovelace", idempotency=key)) == 202
        assert await status(store, register("ada", "Ada Lovelace")) == 202
        keys = await store.personal_data_keys(["ada", "bob"])
        assert keys["ada"] is not None
        assert keys["bob"] is None
        assert await status(store, erase("ada")) == 202
        assert await store.personal_data_keys(["ada"]) == {"ada": None}
        # the same request is still recognized, although nothing of its body is stored
        assert (await store.execute(register("ada", "Ada Lovelace", idempotency=key))).replayed
    for table in ("events", "snapshots", "idempotency_keys", "customers_lookup"):
        text = str(await rows(postgres_url, f"SELECT t::text FROM {table} t"))
        assert "Lovelace" not in text
        assert b"x".hex() * 32 not in text


async def test_no_digest_of_what_is_sent_for_an_erased_customer_is_stored(postgres_url: str) -> None:
    key = Idempotency("ada", "k", b"0123456789abcdef" + b"x" * 32)
    async with opened(postgres_url) as store:
        assert await status(store, register("ada")) == 202
        assert await status(store, erase("ada")) == 202
        assert await status(store, register("ada", "Ada Lovelace", idempotency=key)) == 409
        stored = await rows(postgres_url, "SELECT fingerprint FROM idempotency_keys")
        assert stored == [(b"0123456789abcdef",)]
        assert (await store.execute(register("ada", "Ada Lovelace", idempotency=key))).replayed


async def test_a_key_without_a_stream_is_reused(postgres_url: str) -> None:
    """Events and keys are backed up separately, so a restore may bring back keys newer than the events."""
    left = "INSERT INTO personal_data_keys VALUES ('ada', repeat('k', 32)::bytea) RETURNING 1"
    async with opened(postgres_url) as store:
        await rows(postgres_url, left)
        before = await store.personal_data_keys(["ada"])
        assert await status(store, register("ada")) == 202
        assert await store.personal_data_keys(["ada"]) == before


async def test_requests_concurrent_with_an_erasure_leave_no_digest(postgres_url: str) -> None:
    late = """
        INSERT INTO idempotency_keys (user_id, key, stream_id, fingerprint, status, body)
        SELECT 'u', name, 'customers/' || name, repeat('x', 48)::bytea, 202, '{}'
        FROM unnest(ARRAY['ada', 'bob']) AS name RETURNING 1"""
    async with opened(postgres_url) as store:
        assert await statuses(store, register("ada"), register("bob")) == [202, 202]
        assert await status(store, erase("ada")) == 202
        await rows(postgres_url, late)
        assert await cut_fingerprints(store._pool) == 1
        assert await cut_fingerprints(store._pool) == 0
    left = "SELECT stream_id, length(fingerprint) FROM idempotency_keys ORDER BY 1"
    assert await rows(postgres_url, left) == [("customers/ada", 16), ("customers/bob", 48)]
