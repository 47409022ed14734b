"""The projection on real servers, through crashes, rebalances and re-created topics."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.documents import (
    CUSTOMER_SUMMARIES,
    CUSTOMERS,
    DAILY_SALES,
    FEED,
    ORDER_HISTORY,
    ORDERS,
    PARKED,
    PRODUCT_SALES,
)
from shared.events import CustomerErased, CustomerRegistered
from tests.projecting import World, created, send_undecodable, shipped, world
from tests.relaying import records, remake_topics
from tests.servers import Server, eventually

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def around(kafka: Server, mongodb: Server, tmp_path: Path) -> AsyncIterator[World]:
    """Empty topics, an empty database."""
    await remake_topics(kafka.url)
    async with world(kafka.url, mongodb.url, tmp_path) as made:
        yield made


def names(count: int, prefix: str = "o") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


async def exact(around: World, orders: list[str], *, versions: int) -> None:
    """Assert that every document and count is exactly right for these orders of one lamp each."""
    stored = await around.all(ORDERS)
    assert set(stored) == set(orders)
    assert {order["version"] for order in stored.values()} == {versions}
    total = len(orders)
    assert len(await around.all(ORDER_HISTORY)) == total * versions
    assert await around.database[FEED].count_documents({}) == total * versions
    summaries = (await around.all(CUSTOMER_SUMMARIES)).values()
    assert sum(part["orderCount"] for part in summaries) == total
    assert sum(part["shippedCount"] for part in summaries) == total * (versions - 1)
    assert sum(part["lifetimeValue"] for part in summaries) == total * 100
    assert sum(part["unitsSold"] for part in (await around.all(PRODUCT_SALES)).values()) == total
    assert sum(part["orderCount"] for part in (await around.all(DAILY_SALES)).values()) == total


async def test_counts_stay_exact_when_the_process_is_killed_during_batches(around: World) -> None:
    orders = names(6000)
    projection = await around.projection()
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    for enough in (500, 3000):
        await around.projected(enough)
        await projection.kill()
        await projection.start()
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders])
    await around.projected(len(orders) + 2000)
    await projection.kill()
    await projection.start()
    await around.projected(2 * len(orders))
    await exact(around, orders, versions=2)


async def test_two_instances_share_the_partitions_through_rebalances(around: World) -> None:
    first = await around.projection()
    orders = names(9000)
    publishing = asyncio.create_task(
        around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    )
    await around.projected(500)
    second = await around.projection()
    await second.ready()
    await publishing
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders[:4500]])
    await first.stop()
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders[4500:]])
    await around.projected(2 * len(orders))
    await exact(around, orders, versions=2)


async def test_an_instance_suspended_during_a_rebalance_does_no_harm(around: World) -> None:
    first = await around.projection()
    await first.ready()
    orders = names(2000)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(200)
    first.freeze()
    second = await around.projection()
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders])
    await around.projected(2 * len(orders), seconds=60)
    first.thaw()
    await second.stop()
    late = names(100, "late")
    await around.topics.publish("orders", [(order, 1, created(order)) for order in late])
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in late])
    await around.projected(2 * (len(orders) + len(late)), seconds=60)
    await exact(around, orders + late, versions=2)


@pytest.mark.parametrize("more", [0, 400])
async def test_no_event_of_a_re_created_topic_is_skipped_because_of_old_checkpoints(
    around: World, more: int
) -> None:
    """Refilled with fewer records than before, or more: continuing at the old offset would skip some."""
    projection = await around.projection()
    await projection.ready()
    orders = names(300)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(len(orders))
    await remake_topics(around.kafka)
    around.topics.incarnation = "second"
    later = names(50 + more, "later")
    await around.topics.publish("orders", [(order, 1, created(order)) for order in later])
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])

    async def all_stored() -> bool:
        return len(await around.all(ORDERS)) == len(orders) + len(later)

    await eventually(all_stored, f"all orders are stored: {projection.log}", 40)
    await exact(around, orders + later, versions=1)


async def test_unusable_events_go_to_the_dead_letters_and_other_streams_continue(around: World) -> None:
    projection = await around.projection()
    await projection.ready()
    await around.topics.publish(
        "orders",
        [
            ("bad", 1, b"\xff{"),
            ("good", 1, created("good")),
            ("bad", 2, shipped("bad")),
            ("good", 2, shipped("good")),
        ],
    )
    await around.projected(4)
    assert (await around.all(ORDERS))["good"]["version"] == 2
    letters = await records(around.kafka, ["orders.dlq"])
    assert [(letter.key, letter.value[:2]) for letter in letters] == [(b"bad", b"\xff{"), (b"bad", b'{"')]
    assert {"dead-letter-topic", "dead-letter-error", "incarnation"} <= dict(letters[0].headers).keys()
    (mark,) = await around.database[PARKED].find({}).to_list(None)
    assert (mark["subject"], mark["lastVersion"]) == ("bad", 2)

    async def reported() -> bool:
        return [row["stream"] for row in (await projection.get("/lag"))["parked"]] == ["bad"]

    await eventually(reported, "/lag lists the parked stream")


async def test_an_undecodable_record_goes_to_the_dead_letters_without_its_content(around: World) -> None:
    projection = await around.projection()
    await projection.ready()
    orders = names(200)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await send_undecodable(around.kafka, "orders", 0)
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders])
    await around.projected(401)
    await exact(around, orders, versions=2)
    (letter,) = await records(around.kafka, ["orders.dlq"])
    assert not letter.value
    found = dict(letter.headers)
    assert found["dead-letter-partition"] == b"0"
    assert b"not UTF-8" in found["dead-letter-error"]
    assert f"dead letter {found['dead-letter-offset'].decode()} of" in projection.log.read_text()


async def test_a_hole_parks_its_stream_until_the_missing_version_arrives(around: World) -> None:
    projection = await around.projection()
    await projection.ready()
    await around.topics.publish("orders", [("o1", 2, shipped("o1")), ("o2", 1, created("o2"))])
    await around.projected(2)
    assert set(await around.all(ORDERS)) == {"o2"}
    await around.topics.publish("orders", [("o1", 1, created("o1"))])
    await around.projected(3)
    assert (await around.all(ORDERS))["o1"]["version"] == 2
    assert await around.database[PARKED].count_documents({"open": True}) == 0


async def test_names_are_decrypted_and_disappear_with_their_key(around: World) -> None:
    projection = await around.projection(PERSONAL_DATA_TOKEN=around.keys.token)
    keys = around.keys
    registered = CustomerRegistered(
        customer_id="ada", name=keys.encrypted("ada", "Ada"), email=keys.encrypted("ada", "a@b.c")
    )
    keys.unavailable = True
    await around.topics.publish("customers", [("ada", 1, registered)])
    await around.topics.publish("orders", [("o1", 1, created("o1"))])
    await around.projected(1, "orders continue while the keys are unavailable")
    assert set(await around.all(ORDERS)) == {"o1"}
    assert await around.all(CUSTOMERS) == {}
    reasons = (await projection.get("/health/ready"))["reasons"]
    assert reasons == {"personal-data-keys": "personal data keys: HTTPStatusError"}
    keys.unavailable = False
    await around.projected(2, "customers continue when the keys are available again")
    assert (await around.all(CUSTOMERS))["ada"]["name"] == "Ada"
    assert (await projection.get("/health/ready")) == {"status": "ready"}
    del keys.keys["ada"]
    await around.topics.publish("customers", [("ada", 2, CustomerErased(customer_id="ada"))])
    await around.projected(3)
    ada = (await around.all(CUSTOMERS))["ada"]
    assert (ada["name"], ada["email"], ada["erased"]) == (None, None, True)
    assert "projection" in str(projection.log)


async def test_a_renewed_token_is_read_from_its_file(around: World, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    await around.projection(PERSONAL_DATA_TOKEN="", PERSONAL_DATA_TOKEN_FILE=str(file))
    keys = around.keys
    text = keys.encrypted("ada", "Ada")
    await around.topics.publish(
        "customers", [("ada", 1, CustomerRegistered(customer_id="ada", name=text, email=text))]
    )
    await around.topics.publish("orders", [("o1", 1, created("o1"))])
    await around.projected(1)
    file.write_text(keys.token)
    await around.projected(2)
    assert (await around.all(CUSTOMERS))["ada"]["name"] == "Ada"
