"""Two generations of a read model are compared by batch and, from the first difference, by document."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from services.projection.read_models import order_history
from services.projection.rebuilding import comparing
from services.projection.rebuilding.comparing import Difference, differences
from services.projection.records import read
from services.projection.store.checkpoints import new_checkpoint
from services.projection.store.connecting import Mongo, Row
from shared.documents import CHECKPOINTS, GENERATIONS, ORDER_HISTORY, ORDERS, ReadModel, collection
from tests.projecting import created
from tests.projection_records import T, record
from tests.servers import Server

pytestmark = pytest.mark.integration
SAME = [{"_id": f"o{number}", "total": number} for number in range(9)]


def entry(number: int) -> dict[str, Any]:
    """The first entry in an order's history."""
    incoming = read(record(ORDERS, f"o{number}", 1, created(f"o{number}"), offset=number))
    return order_history.entry(incoming, "ada", {"_id": f"o{number}"}, T)


async def compared(
    mongodb: Server, read_model: ReadModel, before: Sequence[Row], after: Sequence[Row]
) -> list[Difference | None]:
    """The result of comparing two generations, for each document."""
    async with Mongo(mongodb.url, f"comparing-{uuid.uuid4().hex[:12]}") as mongo:
        await mongo[GENERATIONS].insert_one({"_id": "live"})
        for generation, rows in (("1-1", before), ("1-2", after)):
            await mongo[CHECKPOINTS].insert_one(new_checkpoint(generation, (ORDERS, 0), live=False))
            await mongo[collection(read_model, generation)].insert_many(rows)
        found = [each async for each in differences(mongo, "1-1", "1-2", read_model)]
        await mongo.client.drop_database(mongo.database.name)
    return found


def texts(found: Sequence[Difference | None]) -> list[str]:
    """The differences without their hashes."""
    return [str(each).split(" (")[0] for each in found if each is not None]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"o0": None}, ["orders o0 is missing"]),
        ({"o8": None}, ["orders o8 is missing"]),
        ({"o9": {"total": 9}}, ["orders o9 is new"]),
        ({"o4": {"total": 1}, "o6": None}, ["orders o4 differs in total", "orders o6 is missing"]),
    ],
    ids=["nothing", "first", "last", "more", "middle"],
)
async def test_each_difference_is_reported_whichever_batch_it_is_in(
    mongodb: Server,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, dict[str, int] | None],
    expected: list[str],
) -> None:
    monkeypatch.setattr(comparing, "_BATCH", 2)
    documents = {row["_id"]: row for row in SAME}
    for name, fields in changed.items():
        if fields is None:
            del documents[name]
        else:
            documents[name] = {"_id": name, **fields}
    found = await compared(mongodb, ORDERS, SAME, list(documents.values()))
    assert texts(found) == expected
    assert len(found) == len(documents.keys() | {row["_id"] for row in SAME})


async def test_an_events_content_is_compared_but_its_transport_is_not(mongodb: Server) -> None:
    """The topics were re-created and republished: offsets and times differ, the events do not."""
    before = [entry(number) for number in range(9)]
    elsewhere = {"offset": 700, "publishedAt": T + timedelta(days=1), "projectedAt": T + timedelta(days=2)}
    after = [{**row, **elsewhere} for row in before]
    assert await compared(mongodb, ORDER_HISTORY, before, after) == [None] * 9
    for name in before[0].keys() - {"_id", *elsewhere}:
        found = await compared(mongodb, ORDER_HISTORY, before, [{**after[0], name: "other"}, *after[1:]])
        assert texts(found) == [f"order_history {before[0]['_id']} differs in {name}"]
        assert len(found) == 9
