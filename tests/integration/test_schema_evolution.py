"""An event type with two schema versions in one store or topic: both are handled alike."""

from typing import Any

import orjson
import psycopg
import pytest

from services.command.relay.outbox import Outbox
from services.command.relay.records import Encoder
from services.command.store.errors import StoreUnavailableError
from services.projection.records import read
from shared.envelope import CloudEvent, encode, schema_url
from shared.events import ProductListed
from shared.events.upcasting import UPCASTERS
from tests.projection_records import Rec, T
from tests.storing import Rows, offer, opened, rows, status

pytestmark = pytest.mark.integration
OLD_EVENT = b"""
WITH written AS (
    INSERT INTO events
        (stream_id, version, event_id, category, subject, type, schema_version, data, metadata, occurred_at)
    VALUES ('products/lamp', 1, gen_random_uuid(), 'products', 'lamp', 'ProductListed', 1,
        '{"productId": "lamp", "title": "Lamp", "cents": 1990}', '{"actor": "grace"}', now())
    RETURNING position, stream_id
)
INSERT INTO outbox (position, stream_id, shard_hash)
SELECT position, stream_id, hashtext(stream_id) & 2147483647 FROM written
RETURNING 1
"""


def _renamed(data: dict[str, Any]) -> dict[str, Any]:
    """Upcasts a first version, in which a product had a title and cents."""
    return {
        "productId": data["productId"],
        "name": data["title"],
        "price": f"{data['cents'] // 100}.{data['cents'] % 100:02}",
    }


@pytest.fixture
def two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the current `ProductListed` the second schema version."""
    assert isinstance(UPCASTERS, dict)
    monkeypatch.setitem(UPCASTERS, ("ProductListed", 1), _renamed)
    monkeypatch.setattr(ProductListed, "schema_version", 2)


async def published(url: str) -> list[CloudEvent]:
    """The records that the relay would send now."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        outbox = Outbox(connection, connection, 1, 0)
        encode = Encoder("http://schemas.example", {"products": 12}, {"products": "i1"})
        records = [encode(row) for row in await outbox.oldest(set(), 10)]
    return [CloudEvent.model_validate(orjson.loads(record.value)) for record in records]


@pytest.mark.usefixtures("two_versions")
async def test_events_of_an_old_schema_are_loaded_and_published_like_new_ones(postgres_url: str) -> None:
    await rows(postgres_url, OLD_EVENT.decode())
    async with opened(postgres_url) as store:
        # the values of the old event produce no new event, other values produce one
        assert await status(store, offer("lamp", "Lamp", 1990)) == 202
        assert await status(store, offer("lamp", "Better lamp", 1990)) == 202
        assert await status(store, offer("desk", "Desk", 9900)) == 202
    stored: Rows = await rows(
        postgres_url, "SELECT subject, version, type, schema_version FROM events ORDER BY position"
    )
    assert stored == [
        ("lamp", 1, "ProductListed", 1),
        ("lamp", 2, "ProductRenamed", 1),
        ("desk", 1, "ProductListed", 2),
    ]
    old, _, new = await published(postgres_url)
    assert old.data == {"productId": "lamp", "name": "Lamp", "price": "19.90"}
    assert new.data == {"productId": "desk", "name": "Desk", "price": "99.00"}
    assert {event.dataschema for event in (old, new)} == {"http://schemas.example/schemas/ProductListed/2"}


async def test_a_schema_newer_than_the_code_is_refused_and_not_misread(postgres_url: str) -> None:
    """During a rollout, old code may load events of newer code; it must not decide anything on them."""
    newer = OLD_EVENT.replace(b"'ProductListed', 1,", b"'ProductListed', 2,")
    await rows(postgres_url, newer.decode())
    async with opened(postgres_url) as store:
        with pytest.raises(StoreUnavailableError):  # a newer process can answer it
            await store.execute(offer("lamp", "Other", 1990))
        assert await status(store, offer("desk", "Desk", 9900)) == 202
    assert await rows(postgres_url, "SELECT count(*) FROM events") == [(2,)]


def in_topic(schema_version: int, data: dict[str, Any], event_version: int = 1) -> Rec:
    """A record of `ProductListed`."""
    content = encode(
        event_id="e1",
        event_type="ProductListed",
        subject="lamp",
        time=T,
        dataschema=schema_url("http://schemas.example", "ProductListed", schema_version),
        version=event_version,
        position=1,
        actor="grace",
        traceparent=None,
        data=data,
    )
    return Rec("products", 0, 0, 0, b"lamp", content, [])


@pytest.mark.usefixtures("two_versions")
def test_old_schemas_in_a_topic_remain_readable() -> None:
    """A consumer that starts at the beginning reads events from before the new schema version."""
    newest = {"productId": "lamp", "name": "Lamp", "price": "19.90"}
    old = read(in_topic(1, {"productId": "lamp", "title": "Lamp", "cents": 1990}))
    assert old == read(in_topic(2, newest))
    assert old.data == newest


@pytest.mark.usefixtures("two_versions")
@pytest.mark.parametrize(
    ("schema_version", "data"),
    [
        (1, {"productId": "lamp"}),
        (1, {"productId": "lamp", "title": "Lamp", "cents": "1990"}),
        (3, {}),
        (0, {}),
    ],
)
def test_events_of_an_unknown_schema_become_dead_letters(schema_version: int, data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"schema version|in version"):
        read(in_topic(schema_version, data))
