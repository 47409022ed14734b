"""Two generations of a read model, compared batch by batch and, where these differ, document by document."""

import uuid

import pytest

from services.projection.rebuilding import comparing
from services.projection.rebuilding.comparing import Difference, differences
from services.projection.store.checkpoints import new_checkpoint
from services.projection.store.connecting import Mongo
from shared.documents import CHECKPOINTS, GENERATIONS, ORDERS, collection
from tests.servers import Server

pytestmark = pytest.mark.integration
SAME = [{"_id": f"o{number}", "total": number} for number in range(9)]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"o0": None}, ["orders o0 is gone"]),
        ({"o8": None}, ["orders o8 is gone"]),
        ({"o9": {"total": 9}}, ["orders o9 is new"]),
        ({"o4": {"total": 1}, "o6": None}, ["orders o4 differs in total", "orders o6 is gone"]),
    ],
    ids=["nothing", "first", "last", "more", "middle"],
)
async def test_each_difference_is_told_whatever_batch_it_is_in(
    mongodb: Server,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, dict[str, int] | None],
    told: list[str],
) -> None:
    monkeypatch.setattr(comparing, "_BATCH", 2)
    documents = {row["_id"]: row for row in SAME}
    for name, fields in changed.items():
        if fields is None:
            del documents[name]
        else:
            documents[name] = {"_id": name, **fields}
    async with Mongo(mongodb.url, f"comparing-{uuid.uuid4().hex[:12]}") as mongo:
        await mongo[GENERATIONS].insert_one({"_id": "live"})
        for generation, rows in (("1-1", SAME), ("1-2", list(documents.values()))):
            await mongo[CHECKPOINTS].insert_one(new_checkpoint(generation, (ORDERS, 0), live=False))
            await mongo[collection(ORDERS, generation)].insert_many(rows)
        found = [each async for each in differences(mongo, "1-1", "1-2", ORDERS)]
        await mongo.client.drop_database(mongo.database.name)
    said = [str(each).split(" (")[0] for each in found if isinstance(each, Difference)]
    assert said == told
    assert len(found) == len(documents.keys() | {row["_id"] for row in SAME})
