"""A batch's commands stay within MongoDB's limits."""

from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from services.projection.folding.topic_projection import Encoded, Writes
from services.projection.store.changes import changes
from shared.documents import ORDERS

LARGE = 400_000


def order(number: int, size: int) -> RawBSONDocument:
    return RawBSONDocument(bson.encode({"_id": str(number), "text": "x" * size}))


def commands(writes: Writes) -> list[dict[str, Any]]:
    return list(changes("1-1", [(0, writes)]))


def inserted(documents: list[Encoded]) -> Writes:
    return Writes(inserted={ORDERS: documents})


def fed(documents: list[Encoded]) -> Writes:
    return Writes(feed=[{"_id": str(number), "order": each} for number, each in enumerate(documents)])


def replaced(documents: list[Encoded]) -> Writes:
    return Writes(replaced={ORDERS: {str(number): each for number, each in enumerate(documents)}})


@pytest.mark.parametrize("written", [inserted, fed, replaced])
def test_small_documents_share_a_command_and_large_ones_stay_below_the_limit(written: Any) -> None:
    assert len(commands(written([order(number, 500) for number in range(1000)]))) == 1
    found = commands(written([order(number, LARGE) for number in range(200)]))
    assert 200 * LARGE / 48_000_000 < len(found) <= 10
    changed = [each for command in found for each in command.get("documents") or command["updates"]]
    assert len(changed) == 200
    for command in found:
        assert len(bson.encode({"all": command.get("documents") or command["updates"]})) < 48_000_000


def test_an_empty_batch_produces_no_commands() -> None:
    assert commands(Writes()) == []
