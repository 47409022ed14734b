"""The journey from the README over HTTP, through PostgreSQL, Kafka and MongoDB and back."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.conftest import System
from tests.end_to_end.shop import Person, customer, listed, staff

pytestmark = pytest.mark.end_to_end


async def journey(buyer: Person, seller: Person) -> str:
    """List, register, order, read, ship, read; returns the order's id."""
    lamp = await listed(seller)
    await buyer.register()
    order = await buyer.order((lamp, 2))
    pending = await buyer.see(f"/orders/{order}", 1)
    assert pending["status"] == "pending"
    assert pending["total"] == "39.80"
    assert pending["items"] == [
        {"productId": lamp, "productName": "Lamp", "quantity": 2, "price": "19.90"},
    ]
    accepted = await seller.command("POST", f"/orders/{order}/ship", {"trackingNumber": "TRACK-1"})
    assert accepted == {"orderId": order, "version": 2}
    shipped = await buyer.see(f"/orders/{order}", 2)
    assert (shipped["status"], shipped["trackingNumber"], shipped["version"]) == ("shipped", "TRACK-1", 2)
    assert shipped["updatedAt"] >= pending["updatedAt"] == pending["createdAt"]
    return order


async def test_concurrent_customers_cannot_see_each_others_orders(
    system: System, http: httpx.AsyncClient
) -> None:
    seller, ada, bob = staff(system, http), customer(system, http), customer(system, http)
    of_ada, of_bob = await asyncio.gather(journey(ada, seller), journey(bob, seller))
    for person, own, foreign in ((ada, of_ada, of_bob), (bob, of_bob, of_ada)):
        assert (await person.get(f"/orders/{foreign}")).status_code == 404
        assert (await person.get(f"/orders/{foreign}/history")).status_code == 404
        page = (await person.get("/orders")).json()
        assert [order["id"] for order in page["data"]] == [own]
    assert (await ada.get(f"/orders?customerId={bob.name}")).json()["data"] == []
    assert (await ada.get(f"/customers/{bob.name}/summary")).status_code == 404


async def test_all_documents_of_an_order_agree(system: System, http: httpx.AsyncClient) -> None:
    seller, buyer = staff(system, http), customer(system, http)
    order = await journey(buyer, seller)
    lamp = (await buyer.see(f"/orders/{order}"))["items"][0]["productId"]
    history = (await buyer.see(f"/orders/{order}/history"))["data"]
    assert [(entry["version"], entry["type"]) for entry in history] == [
        (1, "OrderCreated"),
        (2, "OrderShipped"),
    ]
    assert [entry["actor"] for entry in history] == [buyer.name, "staff"]
    summary = await buyer.see(f"/customers/{buyer.name}/summary", 1)
    assert (summary["orderCount"], summary["shippedCount"], summary["lifetimeValue"]) == (1, 1, "39.80")
    assert (await buyer.see(f"/products/{lamp}", 1))["unitsSold"] == 2
    timeline = (await seller.see(f"/orders/{order}/timeline"))["data"]
    for hop in timeline:
        assert hop["receivedAt"] <= hop["committedAt"] <= hop["publishedAt"] <= hop["projectedAt"], hop
    assert (await buyer.see(f"/orders/{order}?asOfVersion=1"))["status"] == "pending"


async def test_a_cancelled_order_does_not_count_as_sold(system: System, http: httpx.AsyncClient) -> None:
    seller, buyer = staff(system, http), customer(system, http)
    lamp = await listed(seller)
    await buyer.register()
    order = await buyer.order((lamp, 3))
    await buyer.command("POST", f"/orders/{order}/cancel", {"reason": "changed my mind"})
    cancelled = await buyer.see(f"/orders/{order}", 2)
    assert (cancelled["status"], cancelled["cancellationReason"]) == ("cancelled", "changed my mind")
    assert (await buyer.see(f"/products/{lamp}", 1))["unitsSold"] == 0
    summary = await buyer.see(f"/customers/{buyer.name}/summary", 1)
    assert (summary["orderCount"], summary["cancelledCount"], summary["lifetimeValue"]) == (1, 1, "0.00")
    refused = await seller.send("POST", f"/orders/{order}/ship", {"trackingNumber": "T"})
    assert refused.status_code == 409
    assert (refused.json()["code"], refused.json()["currentStatus"]) == ("order-not-pending", "cancelled")


async def test_an_order_repeated_with_the_same_key_is_placed_once(
    system: System, http: httpx.AsyncClient
) -> None:
    seller, buyer = staff(system, http), customer(system, http)
    lamp = await listed(seller)
    await buyer.register()
    body = {"items": [{"productId": lamp, "quantity": 1}]}
    answers = await asyncio.gather(
        *(buyer.send("POST", "/orders", body, Idempotency_Key="one") for _ in range(5))
    )
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["orderId"] for answer in accepted}) == 1
    again = await buyer.send("POST", "/orders", body, Idempotency_Key="one")
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (accepted[0].json(), "true")
    await buyer.see(f"/orders/{again.json()['orderId']}", 1)
    assert len((await buyer.get("/orders")).json()["data"]) == 1


async def test_a_renamed_customer_has_the_new_name_in_its_orders(
    system: System, http: httpx.AsyncClient
) -> None:
    seller, buyer = staff(system, http), customer(system, http)
    order = await journey(buyer, seller)
    accepted = await buyer.command(
        "PUT", f"/customers/{buyer.name}", {"name": "Countess", "email": "lovelace@example.com"}
    )
    await buyer.see(f"/customers/{buyer.name}/summary", accepted["version"])
    renamed = await buyer.see(f"/orders/{order}")
    assert (renamed["customerName"], renamed["customerEmail"]) == ("Countess", "lovelace@example.com")


async def test_a_stream_shows_each_event_once(system: System, http: httpx.AsyncClient) -> None:
    seller, buyer = staff(system, http), customer(system, http)
    lamp = await listed(seller)
    await buyer.register()
    seen: list[tuple[str, int]] = []
    async with http.stream("GET", system.query_url + "/orders/stream", headers=buyer.headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        order = await buyer.order((lamp, 1))
        await seller.command("POST", f"/orders/{order}/ship", {"trackingNumber": "T"})
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                message = json.loads(line.removeprefix("data:"))
                seen.append((message["type"], message["order"]["version"]))
                readable = (await buyer.get(f"/orders/{order}")).json()
                assert readable["version"] >= message["order"]["version"]
            if len(seen) == 2:
                break
    assert seen == [("OrderCreated", 1), ("OrderShipped", 2)]


async def test_an_erased_name_is_stored_nowhere(system: System, http: httpx.AsyncClient) -> None:
    seller, buyer = staff(system, http), customer(system, http)
    name, email = "Zebulon Quixotic", "zebulon.quixotic@example.com"
    lamp = await listed(seller)
    await buyer.command(
        "PUT", f"/customers/{buyer.name}", {"name": name, "email": email}, Idempotency_Key="k"
    )
    order = await buyer.order((lamp, 1))
    await buyer.see(f"/orders/{order}", 1)
    await buyer.see(f"/customers/{buyer.name}/summary", 1)
    assert (await buyer.see(f"/orders/{order}"))["customerName"] == name
    erased = await buyer.command("DELETE", f"/customers/{buyer.name}")
    summary = await buyer.see(f"/customers/{buyer.name}/summary", erased["version"])
    assert (summary["name"], summary["email"]) == (None, None)
    document = await buyer.see(f"/orders/{order}")
    assert (document["customerName"], document["customerEmail"]) == (None, None)
    if system.logs is not None:
        held = [path for path in system.logs.rglob("*") if path.is_file() and _holds(path, b"Quixotic")]
        assert [path for path in held if "mongo" not in str(path)] == []


def _holds(path: Path, text: bytes) -> bool:
    try:
        return text in path.read_bytes()
    except FileNotFoundError:
        return False
