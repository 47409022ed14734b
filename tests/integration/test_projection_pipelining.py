"""A transaction whose commands are sent together is atomic, like any other."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pymongo.errors import BulkWriteError, OperationFailure

from services.projection.store.connecting import Mongo
from services.projection.store.pipelining import Command
from services.projection.store.transactions import Transaction, transact

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def mongo(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Mongo]:
    async with Mongo(mongodb_url, mongodb_database) as connected:
        await connected["things"].insert_one({"_id": 0})
        await connected["counts"].insert_one({"_id": 0, "n": 0})
        yield connected


def insert(*numbers: int) -> Command:
    return {"insert": "things", "ordered": False, "documents": [{"_id": number} for number in numbers]}


def count(number: int) -> Command:
    return {"update": "counts", "updates": [{"q": {"_id": number}, "u": {"$inc": {"n": 1}}}]}


async def stored(mongo: Mongo) -> tuple[list[int], int]:
    things = [row["_id"] async for row in mongo["things"].find().sort("_id")]
    counted = await mongo["counts"].find_one({"_id": 0})
    assert counted is not None
    return things, counted["n"]


async def test_all_commands_take_effect_and_are_answered_in_order(mongo: Mongo) -> None:
    def work(transaction: Transaction) -> list[int]:
        return [reply["n"] for reply in transaction.send([count(0), insert(1, 2), count(9), insert(3)])]

    assert await transact(mongo, work) == [1, 2, 0, 1]
    assert await stored(mongo) == ([0, 1, 2, 3], 1)


async def test_a_document_that_cannot_be_written_undoes_everything(mongo: Mongo) -> None:
    def work(transaction: Transaction) -> None:
        transaction.send([count(0), insert(1), insert(0, 2), insert(3)])

    with pytest.raises(BulkWriteError) as raised:
        await transact(mongo, work)
    assert [error["code"] for error in raised.value.details["writeErrors"]] == [11000]
    assert await stored(mongo) == ([0], 0)
    # all replies were read: the connection can be used for the next transaction
    assert await transact(mongo, lambda transaction: len(transaction.send([insert(1)]))) == 1
    assert await stored(mongo) == ([0, 1], 0)


async def test_a_command_that_fails_undoes_everything(mongo: Mongo) -> None:
    def work(transaction: Transaction) -> None:
        transaction.send([insert(1), {"noSuchCommand": 1}, insert(2)])

    with pytest.raises(OperationFailure):
        await transact(mongo, work)
    assert await stored(mongo) == ([0], 0)


async def test_later_operations_of_the_driver_belong_to_the_transaction(mongo: Mongo) -> None:
    def work(transaction: Transaction) -> None:
        transaction.send([insert(1)])
        transaction["things"].insert_one({"_id": 2}, session=transaction.session)
        raise ValueError("the caller gives up")

    with pytest.raises(ValueError, match="gives up"):
        await transact(mongo, work)
    assert await stored(mongo) == ([0], 0)


async def test_a_concurrent_write_is_a_conflict(mongo: Mongo) -> None:
    def work(transaction: Transaction) -> None:
        transaction.send([count(0)])
        client = transaction.session.client
        with client.start_session() as other, other.start_transaction():
            Transaction(other, transaction.database).send([insert(1), count(0), insert(2)])

    with pytest.raises(OperationFailure) as raised:
        await transact(mongo, work)
    assert raised.value.has_error_label("TransientTransactionError")
    assert await stored(mongo) == ([0], 0)
