"""One `Idempotency-Key`, one request and one answer, over HTTP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import httpx
import orjson
import pytest

from tests.command_service import ADA, CUSTOMER, LAMP, LINE, PENDING, STAFF, STRANGER, Sent, bearer, placed

pytestmark = pytest.mark.integration
BY_ADA = Sent("PUT", "/customers/ada", ADA, CUSTOMER)
CANCEL = Sent("POST", f"/orders/{PENDING}/cancel", {"reason": "x"})


def replayed(answer: httpx.Response) -> bool:
    return "idempotent-replayed" in answer.headers


def ordered(product_id: str, headers: dict[str, str]) -> Sent:
    return Sent("POST", "/orders", {"items": [{**LINE, "productId": product_id}]}, headers)


async def test_repeating_an_order_returns_the_same_order(api: httpx.AsyncClient) -> None:
    order = ordered("lamp", CUSTOMER)
    first, again = [await order.to(api, Idempotency_Key="repeated") for _ in range(2)]
    assert not replayed(first)
    assert again.headers["idempotent-replayed"] == "true"
    assert (first.status_code, first.content, first.headers["location"]) == (
        again.status_code,
        again.content,
        again.headers["location"],
    )


@pytest.mark.parametrize(
    "otherwise",
    [
        pytest.param(lambda first: replace(first, headers=STAFF), id="no If-Match"),
        pytest.param(lambda first: replace(first, headers={**STAFF, "If-Match": "*"}), id="If-Match"),
        pytest.param(lambda first: replace(first, body=first.body + b" "), id="body"),
        pytest.param(lambda first: replace(first, path=first.path + "-2"), id="path"),
        pytest.param(lambda first: replace(first, method="DELETE"), id="method"),
    ],
)
async def test_a_key_cannot_be_reused_for_a_request_that_differs_in_any_way(
    api: httpx.AsyncClient, otherwise: Callable[[Sent], Sent]
) -> None:
    key = str(uuid4())
    first = Sent("PUT", f"/products/{key}", orjson.dumps(LAMP), {**STAFF, "If-Match": '"0"'})
    decided = await first.to(api, Idempotency_Key=key)
    refused = await otherwise(first).to(api, Idempotency_Key=key)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")
    assert not replayed(refused)
    again = await first.to(api, Idempotency_Key=key)
    assert (again.content, replayed(again)) == (decided.content, True)
    assert (await replace(first, headers=STAFF).to(api)).json()["version"] == 1


async def test_each_user_has_their_own_keys(api: httpx.AsyncClient) -> None:
    for user in ("one", "two"):
        answer = await Sent("PUT", f"/customers/{user}", ADA, bearer(user)).to(api, Idempotency_Key="shared")
        assert (answer.status_code, replayed(answer)) == (202, False)


@dataclass(frozen=True)
class Kept:
    """A stored answer, with the requests before and since; a new decision would give another answer."""

    status: int
    sent: Sent
    since: Sequence[Sent] = ()
    before: Sequence[Sent] = ()

    def __str__(self) -> str:
        return f"{self.status} {self.sent.method} {self.sent.path}"


RENAMED = {**LAMP, "name": "Lantern"}
KEPT = [
    Kept(404, Sent("DELETE", "/products/new"), since=[Sent("PUT", "/products/new", LAMP)]),
    Kept(404, Sent("DELETE", "/customers/new"), since=[Sent("PUT", "/customers/new", ADA)]),
    Kept(
        412,
        Sent("PUT", "/products/stale", RENAMED, {**STAFF, "If-Match": '"2"'}),
        before=[Sent("PUT", "/products/stale", LAMP)],
        since=[Sent("PUT", "/products/stale", {**LAMP, "price": "1.00"})],
    ),
    Kept(422, ordered("late", CUSTOMER), since=[Sent("PUT", "/products/late", LAMP)]),
    Kept(422, ordered("lamp", STRANGER), since=[Sent("PUT", "/customers/eve", ADA)]),
    Kept(202, Sent("PUT", "/products/lamp", LAMP), since=[Sent("PUT", "/products/lamp", RENAMED)]),
    # no later request can change the outcome of these two
    Kept(409, CANCEL, before=[CANCEL]),
    Kept(
        409,
        Sent("PUT", "/customers/zoe", ADA),
        before=[Sent("PUT", "/customers/zoe", ADA), Sent("DELETE", "/customers/zoe")],
    ),
]


@pytest.mark.parametrize("kept", KEPT, ids=str)
async def test_a_decided_request_gets_the_same_answer_again_whatever_happened_since(
    api: httpx.AsyncClient, kept: Kept
) -> None:
    order_id, key = await placed(api), str(uuid4())
    sent = kept.sent.about(order_id)
    for each in kept.before:
        assert (await each.about(order_id).to(api)).status_code == 202
    first = await sent.to(api, Idempotency_Key=key)
    for each in kept.since:
        assert (await each.to(api)).status_code == 202
    again = await sent.to(api, Idempotency_Key=key)
    assert first.status_code == again.status_code == kept.status
    assert (first.content, first.headers["content-type"]) == (again.content, again.headers["content-type"])
    assert first.headers.get("location") == again.headers.get("location")
    assert not replayed(first)
    assert again.headers["idempotent-replayed"] == "true"
    assert not kept.since or (await sent.to(api)).content != first.content


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        (400, replace(BY_ADA, body=b"{")),
        (400, replace(BY_ADA, headers={**CUSTOMER, "If-Match": "1"})),
        (403, replace(BY_ADA, path="/customers/eve")),
        (413, replace(BY_ADA, body=b" " * (1 << 20) + b"{}")),
        (415, replace(BY_ADA, headers={**CUSTOMER, "Content-Type": "text/plain"})),
        (422, replace(BY_ADA, body={})),
    ],
)
async def test_an_invalid_request_does_not_use_up_its_key(
    api: httpx.AsyncClient, status: int, refused: Sent
) -> None:
    key = str(uuid4())
    assert (await refused.to(api, Idempotency_Key=key)).status_code == status
    decided = await BY_ADA.to(api, Idempotency_Key=key)
    assert (decided.status_code, replayed(decided)) == (202, False)
