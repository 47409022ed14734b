"""The exact limits of the command API: the last value that is accepted, and the first that is not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.command_service import ADA, CUSTOMER, JSON, LAMP, PENDING, STAFF, Sent, bearer, placed

pytestmark = pytest.mark.integration
HIGHEST = "999999.99"
LONG_IDS = [f"{number:x>64}" for number in range(101)]
MEGABYTE = 1 << 20


def customer(**changed: str) -> Sent:
    return Sent("PUT", "/customers/ada", {**ADA, **changed}, CUSTOMER)


def product(**changed: str) -> Sent:
    return Sent("PUT", "/products/edge", {**LAMP, **changed}, STAFF)


def ordered(ids: Sequence[str], quantity: int = 1) -> Sent:
    body = {"items": [{"productId": each, "quantity": quantity} for each in ids]}
    return Sent("POST", "/orders", body, CUSTOMER)


@dataclass(frozen=True)
class Limit:
    """A limited value: its name, its pointer in refusals, and values on both sides of its limits."""

    name: str
    send: Callable[[Any], Sent]
    pointer: str
    accepted: Sequence[Any]
    refused: Sequence[Any]


def longest_email(extra: str = "") -> str:
    """254 characters: every part has its maximum length except the third label, which takes `extra`."""
    return f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}{extra}.com"


LIMITS = [
    Limit(
        "customer name",
        lambda text: customer(name=text),
        "/name",
        ("a", "a" * 200, "😀" * 200),
        ("", "a" * 201, "😀" * 201),
    ),
    Limit(
        "e-mail",
        lambda text: customer(email=text),
        "/email",
        (longest_email(),),
        (longest_email("d"),),
    ),
    Limit("product name", lambda text: product(name=text), "/name", ("a", "a" * 200), ("", "a" * 201)),
    Limit("price", lambda text: product(price=text), "/price", ("0.01", HIGHEST), ("0.00", "1000000.00")),
    Limit(
        "reason",
        lambda text: Sent("POST", f"/orders/{PENDING}/cancel", {"reason": text}, CUSTOMER),
        "/reason",
        ("a", "a" * 500),
        ("", "a" * 501),
    ),
    Limit(
        "tracking number",
        lambda text: Sent("POST", f"/orders/{PENDING}/ship", {"trackingNumber": text}, STAFF),
        "/trackingNumber",
        ("a", "a" * 100),
        ("", "a" * 101),
    ),
    Limit("items", lambda count: ordered(LONG_IDS[:count]), "/items", (1, 100), (0, 101)),
    Limit(
        "quantity", lambda quantity: ordered(["lamp"], quantity), "/items/0/quantity", (1, 1000), (0, 1001)
    ),
    Limit(
        "id of an item",
        lambda product_id: ordered([product_id]),
        "/items/0/productId",
        ("~", LONG_IDS[0]),
        ("", "x" * 65),
    ),
    Limit(
        "product id",
        lambda product_id: Sent("PUT", f"/products/{product_id}", LAMP, STAFF),
        "/productId",
        ("a", "a" * 64),
        ("a" * 65,),
    ),
    Limit(
        "customer id",
        lambda customer_id: Sent("PUT", f"/customers/{customer_id}", ADA, STAFF),
        "/customerId",
        ("a", "a" * 64),
        ("a" * 65,),
    ),
]


def cases(limit: Limit) -> Iterator[Any]:
    """The limit's test cases: what to send, and the pointer of the refusal, or None if accepted."""
    for pointer, values in ((None, limit.accepted), (limit.pointer, limit.refused)):
        for value in values:
            size = len(value) if isinstance(value, str) and limit.name != "price" else value
            yield pytest.param(limit.send(value), pointer, id=f"{limit.name} {size}")


@pytest_asyncio.fixture(scope="module")
async def shop(api: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The API with products whose ids have the minimum and maximum length."""
    offer = {"name": "Jewel", "price": HIGHEST}
    await asyncio.gather(
        *(api.put(f"/products/{each}", json=offer, headers=STAFF) for each in ("~", *LONG_IDS))
    )
    yield api


@pytest.mark.parametrize(("sent", "pointer"), [case for limit in LIMITS for case in cases(limit)])
async def test_values_are_accepted_up_to_their_limits_and_refused_beyond(
    shop: httpx.AsyncClient, sent: Sent, pointer: str | None
) -> None:
    answer = await sent.about(await placed(shop)).to(shop)
    assert answer.status_code == (202 if pointer is None else 422), answer.text
    if pointer is not None:
        problem = answer.json()
        assert problem["code"] == "validation-failed"
        assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_an_order_at_all_limits_is_accepted(shop: httpx.AsyncClient) -> None:
    assert (await ordered(LONG_IDS[:100], 1000).to(shop)).status_code == 202


@pytest.mark.parametrize("length", [1, 255])
async def test_an_idempotency_key_has_1_to_255_characters(api: httpx.AsyncClient, length: int) -> None:
    user = "u" * 64
    headers = {**bearer(user), "Idempotency-Key": "~" * length}
    first, again = [await api.put(f"/customers/{user}", json=ADA, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code, again.headers["idempotent-replayed"]) == (202, 202, "true")


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize(("length", "status"), [(MEGABYTE, 202), (MEGABYTE + 1, 413)])
async def test_a_body_may_have_up_to_one_mebibyte(
    api: httpx.AsyncClient, length: int, status: int, in_chunks: bool
) -> None:
    body = b'{"name":"Lamp","price":"19.90"}'.ljust(length)

    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, length, 1 << 16):
            yield body[begin : begin + (1 << 16)]

    content = chunks() if in_chunks else body
    answer = await api.put("/products/large", content=content, headers={**STAFF, **JSON})
    assert answer.status_code == status


@pytest.mark.parametrize(("count", "status"), [(1000, 200), (1001, 422)])
async def test_keys_of_up_to_1000_customers_are_returned_at_a_time(
    api: httpx.AsyncClient, count: int, status: int
) -> None:
    wanted = [f"{number:x>64}" for number in range(count - 1)]
    reader = bearer("reader", "personal-data")
    answer = await api.post("/personal-data-keys", json={"customerIds": ["ada", *wanted]}, headers=reader)
    assert answer.status_code == status
    if status == 200:
        keys = answer.json()["keys"]
        assert keys["ada"]["kty"] == "oct"
        assert {keys[each] for each in wanted} == {None}
    else:
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/customerIds"]
