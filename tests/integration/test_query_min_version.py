"""`minVersion` and `Prefer: wait`: who is answered, when, and what the answers do not reveal."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from shared.documents import CUSTOMER_SUMMARIES, PRODUCT_SALES
from tests.query_service import (
    NOON,
    System,
    authorization,
    order_document,
    order_id,
    query_system,
    shipped,
)
from tests.servers import Server, eventually

pytestmark = pytest.mark.integration

ADA: Final = authorization("ada")
BOB: Final = authorization("bob")
PAYING: Final = "paying"
"""A customer and a product that are known only from an order."""
COUNTS: Final = {
    "orderCount": 1,
    "pendingCount": 1,
    "shippedCount": 0,
    "cancelledCount": 0,
    "lifetimeValue": 1,
}
ORDER, SUMMARY, PRODUCT = f"/orders/{order_id(1)}", "/customers/ada/summary", "/products/lamp"
SHIPPED: Final = f"/orders/{order_id(2)}"
AT_ONCE: Final = 5.0
"""In seconds: far below the waits that must not happen, and enough for a slow machine."""
BEHIND: Final = (503, "read-model-behind")
INVALID: Final = (422, "validation-failed")


@pytest_asyncio.fixture(scope="module")
async def system(mongodb: Server) -> AsyncIterator[System]:
    """Contains an order, a customer and a product at version 1, and an order at version 2."""
    async with query_system(mongodb.url, f"test_{uuid4().hex}") as running:
        await running.store.put_order(order_document(1))
        await running.store.put_order(order_document(2))
        await running.store.put_order(shipped(order_document(2)))
        await running.store.put_customer("ada", "Ada")
        await running.store.put_product("lamp")
        await running.store.put_parts(CUSTOMER_SUMMARIES, PAYING, [COUNTS])
        await running.store.put_parts(PRODUCT_SALES, PAYING, [{"unitsSold": 1}])
        yield running


async def asked(
    system: System, path: str, prefer: str | None = None, caller: dict[str, str] = ADA
) -> httpx.Response:
    """An answer that must come immediately."""
    preference = {} if prefer is None else {"Prefer": prefer}
    async with asyncio.timeout(AT_ONCE):
        return await system.client.get(path, headers=caller | preference)


async def waiting(
    system: System, *paths: str, caller: dict[str, str], seconds: int
) -> list[asyncio.Task[httpx.Response]]:
    """Requests that wait up to `seconds`, returned once all of them are waiting."""
    headers = caller | {"Prefer": f"wait={seconds}"}
    requests = [asyncio.create_task(system.client.get(path, headers=headers)) for path in paths]

    async def all_wait() -> bool:
        return await system.waiting() == len(paths)

    await eventually(all_wait, "all wait", seconds)
    return requests


def outcome(answer: httpx.Response) -> tuple[int, str | int]:
    """The status, with the code of a problem or the version of a document."""
    return answer.status_code, answer.json()["version" if answer.is_success else "code"]


@pytest.mark.parametrize("path", [ORDER, SUMMARY, PRODUCT])
@pytest.mark.parametrize(
    ("least", "prefer", "expected"),
    [
        (0, None, (200, 1)),
        (0, "wait=20", (200, 1)),
        (1, None, (200, 1)),
        (1, "wait=20", (200, 1)),
        (2, None, BEHIND),
        (2, "wait=0", BEHIND),
        (2, "wait=soon", BEHIND),
        (2, "wait=-1", BEHIND),
        (2, "wait=1.5", BEHIND),
        (2, "wait", BEHIND),
        (2, "respond-async", BEHIND),
        (2, ";,=wait", BEHIND),
    ],
)
async def test_an_answer_comes_immediately_when_available_or_without_a_wait(
    system: System, path: str, least: int, prefer: str | None, expected: tuple[int, str | int]
) -> None:
    answer = await asked(system, f"{path}?minVersion={least}", prefer)
    assert outcome(answer) == expected
    assert ("retry-after" in answer.headers) is (expected == BEHIND)


@pytest.mark.parametrize("path", [ORDER, SUMMARY, PRODUCT, f"{SHIPPED}?asOfVersion=1"])
@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=30", "wait=30"),
        ("wait=31", "wait=30"),
        ("wait=0", "wait=0"),
        ("wait=soon", None),
        (None, None),
    ],
)
async def test_the_applied_wait_is_reported_and_capped_at_thirty_seconds(
    system: System, path: str, prefer: str | None, applied: str | None
) -> None:
    answer = await asked(system, f"{path}{'&' if '?' in path else '?'}minVersion=1", prefer)
    assert answer.headers.get("preference-applied") == applied


@pytest.mark.parametrize("path", [f"/customers/{PAYING}/summary", f"/products/{PAYING}"])
async def test_documents_known_only_from_an_order_have_version_zero(system: System, path: str) -> None:
    caller = authorization(PAYING)
    answer = await asked(system, f"{path}?minVersion=0", caller=caller)
    assert (outcome(answer), answer.json()["name"]) == ((200, 0), None)
    assert outcome(await asked(system, f"{path}?minVersion=1", caller=caller)) == BEHIND


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("minVersion=2&asOfVersion=1", (200, 1)),
        ("minVersion=2&asOfVersion=2", (200, 2)),
        (f"minVersion=2&asOf={NOON:%FT%TZ}", (200, 1)),
        (f"minVersion=2&asOf={NOON + timedelta(seconds=60):%FT%TZ}", (200, 2)),
        ("minVersion=2&asOfVersion=3", (404, "version-not-found")),
        (f"minVersion=2&asOf={NOON - timedelta(seconds=1):%FT%TZ}", (404, "version-not-found")),
        ("minVersion=3&asOfVersion=1", BEHIND),
        (f"minVersion=3&asOf={NOON:%FT%TZ}", BEHIND),
        (f"minVersion=3&asOfVersion=1&asOf={NOON:%FT%TZ}", INVALID),
        ("minVersion=x&asOfVersion=1", INVALID),
    ],
)
async def test_a_past_order_is_returned_once_the_order_has_the_minimum_version(
    system: System, query: str, expected: tuple[int, str | int]
) -> None:
    assert outcome(await asked(system, f"{SHIPPED}?{query}")) == expected


async def test_a_request_for_a_past_order_waits_for_the_minimum_version(system: System) -> None:
    path = f"/orders/{order_id(3)}?minVersion=2"
    pasts = {"asOfVersion=1": 1, "asOfVersion=2": 2, "asOf=2100-01-01T00:00:00Z": 2}
    requests = await waiting(system, *(f"{path}&{past}" for past in pasts), caller=ADA, seconds=20)
    await system.store.put_order(order_document(3))
    await system.store.put_order(shipped(order_document(3)))
    answers = await asyncio.gather(*requests)
    assert [outcome(answer) for answer in answers] == [(200, version) for version in pasts.values()]


def shown(answer: httpx.Response) -> dict[str, Any]:
    """Everything that an answer reveals, except for its own ids and times."""
    own = {"date", "x-request-id", "x-read-model-lag-ms", "content-length"}
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    return {**answer.json(), "instance": None, "headers": headers}


@pytest.mark.parametrize("prefer", [None, "wait=0", "wait=1", "wait=soon"])
@pytest.mark.parametrize(
    ("path", "absent", "behind", "foreign"),
    [
        ("/orders/{}?minVersion={}", order_id(9), order_id(1), order_id(2)),
        ("/orders/{}?minVersion={}&asOfVersion=1", order_id(9), order_id(1), order_id(2)),
        ("/customers/{}/summary?minVersion={}", "nobody", "ada", "ada"),
        ("/products/{}?minVersion={}", "nothing", "lamp", None),
    ],
)
async def test_absent_outdated_and_foreign_documents_are_indistinguishable(
    system: System, path: str, absent: str, behind: str, foreign: str | None, prefer: str | None
) -> None:
    asking = [asked(system, path.format(absent, 1), prefer), asked(system, path.format(behind, 2), prefer)]
    if foreign is not None:  # products are visible to everyone
        asking.append(asked(system, path.format(foreign, 1), prefer, BOB))
    first, *others = await asyncio.gather(*asking)
    assert outcome(first) == BEHIND
    assert [shown(other) for other in others] == [shown(first)] * len(others)
    if prefer == "wait=1":
        assert all(answer.elapsed > timedelta(seconds=0.9) for answer in (first, *others))


async def test_changes_to_foreign_documents_do_not_end_a_wait(system: System) -> None:
    paths = f"/orders/{order_id(4)}?minVersion=1", "/customers/eve/summary?minVersion=1"
    requests = await waiting(system, *paths, caller=BOB, seconds=2)
    await system.store.put_order(order_document(4, "eve"))
    await system.store.put_customer("eve", "Eve")
    answers = await asyncio.gather(*requests)
    assert [outcome(answer) for answer in answers] == [BEHIND] * 2
    assert all(answer.elapsed > timedelta(seconds=1.9) for answer in answers)


@pytest.mark.parametrize("least", ["x", "-1", "1.0", "", "%2B1"])
async def test_an_invalid_version_is_refused_for_any_document(system: System, least: str) -> None:
    for path in (ORDER, SUMMARY, PRODUCT, f"/orders/{order_id(9)}", "/products/nothing"):
        answer = await asked(system, f"{path}?minVersion={least}", "wait=20", BOB)
        assert outcome(answer) == INVALID
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/minVersion"]
