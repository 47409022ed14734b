"""What callers of the query service can see, and what they cannot."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from shared.documents import CUSTOMER_SUMMARIES, DAILY_SALES, ORDERS, PRODUCT_SALES, PRODUCTS
from tests.query_service import (
    NOON,
    STAFF,
    TRACE,
    System,
    authorization,
    order_document,
    order_id,
    query_system,
    shipped,
)
from tests.servers import Server

pytestmark = pytest.mark.integration

ADA = authorization("ada")
BOB = authorization("bob")


@pytest_asyncio.fixture
async def system(mongodb_url: str, mongodb_database: str) -> AsyncIterator[System]:
    async with query_system(mongodb_url, mongodb_database, cors_origins=("https://shop.example",)) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def idle(mongodb: Server) -> AsyncIterator[System]:
    """A service with an empty store."""
    async with query_system(mongodb.url, f"test_{uuid4().hex}") as running:
        yield running


async def test_an_id_that_no_document_can_have_is_not_looked_up(system: System) -> None:
    impossible = "a" * 65
    await system.store.put_order({**order_document(1), "_id": impossible})
    await system.store.put_product(impossible)
    paths = [f"/orders/{impossible}", f"/orders/{impossible}/history", f"/products/{impossible}"]
    assert [(await system.get(path, STAFF)).status_code for path in paths] == [404] * 3
    assert (await system.get(f"/orders/{impossible}?minVersion=1", STAFF)).status_code == 503


async def test_an_order_is_returned_to_its_customer_with_the_current_name(system: System) -> None:
    order = order_document(1)
    await system.store.put_order(order)
    before = await system.get(f"/orders/{order_id(1)}", ADA)
    await system.store.put_customer("ada", "Ada")
    named = await system.get(f"/orders/{order_id(1)}", ADA)
    await system.store.put_order(shipped(order))
    await system.store.put_customer("ada", None, version=2)
    after = await system.get(f"/orders/{order_id(1)}", ADA)

    assert before.json()["customerName"] is None
    assert named.json() == {
        "id": order_id(1),
        "customerId": "ada",
        "customerName": "Ada",
        "customerEmail": "ada@example.com",
        "items": [{"productId": "lamp", "productName": "Lamp", "quantity": 2, "price": "19.90"}],
        "total": "39.80",
        "status": "pending",
        "createdAt": "2026-11-23T12:00:00.000Z",
        "updatedAt": "2026-11-23T12:00:00.000Z",
        "version": 1,
    }
    assert after.json()["customerName"] is None
    assert after.json()["shippedAt"] == after.json()["updatedAt"] == "2026-11-23T12:01:00.000Z"
    assert after.json()["trackingNumber"] == "T-1"
    assert len({answer.headers["etag"] for answer in (before, named, after)}) == 3


async def test_another_customers_order_does_not_exist(system: System) -> None:
    await system.store.put_order(order_document(1))
    for path in (
        f"/orders/{order_id(1)}",
        f"/orders/{order_id(1)}/history",
        f"/orders/{order_id(1)}?asOfVersion=1",
    ):
        others = await system.get(path, BOB)
        unknown = await system.get(path.replace(order_id(1), order_id(2)), BOB)
        assert (others.status_code, others.json()["code"]) == (404, "order-not-found")
        assert {**others.json(), "instance": ""} == {**unknown.json(), "instance": ""}
        assert "x-read-model-lag-ms" in others.headers
    page = await system.get("/orders?customerId=ada", BOB)
    assert page.json() == {"data": [], "hasMore": False, "nextCursor": None}


@pytest.mark.parametrize("asset", ["swagger-ui-bundle.js", "swagger-ui.css"])
async def test_the_docs_page_is_served_with_all_its_assets(system: System, asset: str) -> None:
    page = await system.get("/docs")
    assert f'"/docs/assets/{asset}"' in page.text
    assert "://" not in page.text
    assert len((await system.get(f"/docs/assets/{asset}")).content) > 10_000


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/orders/x", {"Authorization": ""}, (401, "unauthenticated")),
        ("GET", "/orders/x", {"Authorization": "Bearer x.y.z"}, (401, "unauthenticated")),
        ("GET", "/orders/stream", {"Authorization": ""}, (401, "unauthenticated")),
        ("GET", "/ws", {"Authorization": ""}, (401, "unauthenticated")),
        ("POST", "/orders", {}, (405, "method-not-allowed")),
        ("DELETE", "/orders/x", {"Authorization": ""}, (405, "method-not-allowed")),
        ("POST", "/docs", {}, (405, "method-not-allowed")),
        ("GET", "/docs/assets/nothing.js", {}, (404, "not-found")),
        ("GET", "/nothing", {"Authorization": ""}, (404, "not-found")),
        ("GET", "/orders/", {}, (404, "not-found")),
        ("GET", "/ws", {}, (426, "upgrade-required")),
        ("GET", "/orders?limit=1&cursor=x", {}, (400, "invalid-cursor")),
        ("GET", "/orders?cursor=", {}, (400, "invalid-cursor")),
        ("GET", "/orders?limit=0&cursor=x", {}, (400, "invalid-cursor")),
        ("GET", "/products?cursor=WyJvIiwxLCJ4Il0", {}, (400, "invalid-cursor")),
        ("GET", "/orders?limit=%ff", {}, (400, "bad-request")),
        ("GET", "/orders/x/timeline", ADA, (403, "forbidden")),
        ("GET", "/orders/x/timeline", {}, (404, "order-not-found")),
        ("GET", "/orders/x/history", {}, (404, "order-not-found")),
        ("GET", "/reports/daily-sales", ADA, (403, "forbidden")),
        ("GET", "/customers/bob/summary", ADA, (404, "customer-not-found")),
        ("GET", "/customers/nobody/summary", {}, (404, "customer-not-found")),
        ("GET", "/products/nothing", {}, (404, "product-not-found")),
        ("GET", "/orders/x?minVersion=1", {}, (503, "read-model-behind")),
        ("GET", "/orders/x?minVersion=99999999999999999999", {}, (503, "read-model-behind")),
        ("GET", "/customers/bob/summary?minVersion=1", ADA, (503, "read-model-behind")),
    ],
)
async def test_invalid_requests_are_refused(
    idle: System, method: str, path: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    given = {**STAFF, **headers}
    answer = await idle.client.request(method, path, headers=given)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == expected
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert problem["type"].endswith(problem["code"])
    assert answer.headers["x-request-id"]
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.mark.parametrize("path", ["/nothing", "/docs/assets/swagger-ui.css"])
async def test_a_handshake_at_another_path_is_not_found(idle: System, path: str) -> None:
    answer = await idle.client.get(path, headers={**STAFF, **HANDSHAKE})
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    "wrong",
    [
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Protocol": "bearer,="},
        {"Content-Length": "2"},
    ],
    ids=str,
)
async def test_a_broken_handshake_is_refused_with_a_problem(idle: System, wrong: dict[str, str]) -> None:
    handshake = {**HANDSHAKE, **wrong}
    body = b"{}" if "Content-Length" in wrong else None
    answer = await idle.client.request("GET", "/ws", headers={**STAFF, **handshake}, content=body)
    assert (answer.status_code, answer.json()["code"]) == (426, "upgrade-required")
    assert answer.headers["sec-websocket-version"] == "13"
    assert answer.headers["x-request-id"]
    unknown = await idle.client.request("GET", "/ws", headers=handshake, content=body)
    assert (unknown.status_code, unknown.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("path", "pointers"),
    [
        ("/orders?limit=0", ["/limit"]),
        ("/orders?limit=101", ["/limit"]),
        ("/orders?limit=ten&status=lost&customerId=a%20b", ["/customerId", "/limit", "/status"]),
        ("/orders?limit=", ["/limit"]),
        ("/orders?limit=1&limit=2", ["/limit"]),
        ("/orders/x?minVersion=-1", ["/minVersion"]),
        ("/orders/x?asOf=yesterday", ["/asOf"]),
        ("/orders/x?asOf=2026-11-23T10:00:00", ["/asOf"]),
        ("/orders/x?asOf=2026-11-23T10:00:00Z&asOfVersion=1", ["/asOf"]),
        ("/orders/x?asOfVersion=1.0", ["/asOfVersion"]),
        ("/products?limit=1000", ["/limit"]),
        ("/reports/daily-sales", ["/from", "/to"]),
        ("/reports/daily-sales?from=2026-02-30&to=2026-03-01", ["/from"]),
        ("/reports/daily-sales?from=2026-03-02&to=2026-03-01", ["/to"]),
        ("/reports/daily-sales?from=2025-01-01&to=2026-01-02", ["/to"]),
        ("/orders/stream?status=lost", ["/status"]),
    ],
)
async def test_all_invalid_parameters_are_reported_together(
    idle: System, path: str, pointers: list[str]
) -> None:
    answer = await idle.get(path)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation-failed")
    assert sorted(error["pointer"] for error in answer.json()["errors"]) == pointers


async def test_answers_have_etags_and_can_be_revalidated(system: System) -> None:
    await system.store.put_order(order_document(1))
    first = await system.get(f"/orders/{order_id(1)}")
    again = await system.get(f"/orders/{order_id(1)}", {"If-None-Match": f'"other", {first.headers["etag"]}'})
    weak = await system.get(f"/orders/{order_id(1)}", {"If-None-Match": f"W/{first.headers['etag']}"})
    await system.store.put_customer("ada", "Ada")
    changed = await system.get(f"/orders/{order_id(1)}", {"If-None-Match": first.headers["etag"]})
    head = await system.client.head(f"/orders/{order_id(1)}", headers=STAFF)

    assert (again.status_code, again.content, weak.status_code) == (304, b"", 304)
    assert again.headers["etag"] == first.headers["etag"]
    assert changed.status_code == 200
    assert "private" in first.headers["cache-control"]
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(changed.content))
    assert head.headers["etag"] == changed.headers["etag"]


async def test_only_large_answers_are_compressed(system: System) -> None:
    await system.store.live(ORDERS).insert_many([order_document(number) for number in range(20)])
    plain = await system.get("/orders", {"Accept-Encoding": "identity"})
    packed = await system.get("/orders", {"Accept-Encoding": "br, gzip"})
    refused = await system.get("/orders", {"Accept-Encoding": "gzip;q=0, *"})
    small = await system.get(f"/orders/{order_id(1)}", {"Accept-Encoding": "gzip"})
    known = await system.get(
        "/orders", {"Accept-Encoding": "identity", "If-None-Match": packed.headers["etag"]}
    )

    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 4
    assert packed.content == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in plain.headers["vary"]
    assert "content-encoding" not in refused.headers
    assert "content-encoding" not in small.headers
    assert known.status_code == 304


async def test_a_304_has_the_same_etag_as_a_200(system: System) -> None:
    await system.store.live(ORDERS).insert_many([order_document(number) for number in range(20)])
    for coding in ("identity", "gzip"):
        found = await system.get("/orders", {"Accept-Encoding": coding})
        known = await system.get(
            "/orders", {"Accept-Encoding": coding, "If-None-Match": found.headers["etag"]}
        )
        assert (known.status_code, known.headers["etag"]) == (304, found.headers["etag"])


async def test_an_order_has_a_history_and_a_timeline(system: System) -> None:
    order = order_document(1)
    await system.store.put_order(order)
    await system.store.put_order(shipped(order))
    history = (await system.get(f"/orders/{order_id(1)}/history", ADA)).json()["data"]
    timeline = (await system.get(f"/orders/{order_id(1)}/timeline")).json()["data"]

    assert [entry["version"] for entry in history] == [1, 2]
    assert history[0] == {
        "version": 1,
        "type": "OrderCreated",
        "occurredAt": "2026-11-23T12:00:00.000Z",
        "actor": "ada",
        "traceparent": TRACE,
        "data": {"orderId": order_id(1)},
    }
    assert timeline[1] == {
        "version": 2,
        "type": "OrderShipped",
        "receivedAt": "2026-11-23T12:01:00.000Z",
        "committedAt": "2026-11-23T12:01:00.002Z",
        "publishedAt": "2026-11-23T12:01:00.005Z",
        "topic": "orders",
        "partition": 3,
        "offset": 7,
        "projectedAt": "2026-11-23T12:01:00.009Z",
        "traceparent": TRACE,
        "hopsMs": {"commit": 2, "publish": 3, "project": 4},
    }


async def test_an_order_can_be_read_as_of_a_time_or_version(system: System) -> None:
    order = order_document(1)
    await system.store.put_order(order)
    await system.store.put_order(shipped(order, seconds=60))
    await system.store.put_customer("ada", "Ada")

    async def at(**when: Any) -> tuple[int, Any]:
        answer = await system.get(f"/orders/{order_id(1)}", ADA, params=when)
        body = answer.json()
        return answer.status_code, body.get("version", body.get("code"))

    moment = NOON + timedelta(seconds=60)
    assert await at(asOfVersion=1) == (200, 1)
    assert await at(asOfVersion=2) == (200, 2)
    assert await at(asOfVersion=3) == (404, "version-not-found")
    assert await at(asOfVersion=0) == (404, "version-not-found")
    assert await at(asOfVersion=2**31) == (404, "version-not-found")
    assert await at(asOf=NOON.isoformat()) == (200, 1)
    assert await at(asOf=(NOON - timedelta(milliseconds=1)).isoformat()) == (404, "version-not-found")
    assert await at(asOf=(moment - timedelta(milliseconds=1)).isoformat()) == (200, 1)
    assert await at(asOf=moment.isoformat()) == (200, 2)
    assert await at(asOf="2026-11-23T13:01:00+01:00") == (200, 2)
    was = await system.get(f"/orders/{order_id(1)}?asOfVersion=1", ADA)
    assert was.json()["customerName"] == "Ada"
    assert was.json()["status"] == "pending"


async def test_a_summary_is_the_sum_of_its_parts(system: System) -> None:
    part = {"orderCount": 2, "pendingCount": 1, "shippedCount": 0, "cancelledCount": 1, "lifetimeValue": 3980}
    later = NOON + timedelta(hours=1)
    await system.store.put_parts(
        CUSTOMER_SUMMARIES, "ada", [{**part, "lastOrderAt": NOON}, {**part, "lastOrderAt": later}]
    )
    unknown = (await system.get("/customers/ada/summary", ADA)).json()
    await system.store.put_customer("ada", "Ada", version=3)
    known = (await system.get("/customers/ada/summary")).json()
    await system.store.put_customer("bob", "Bob")
    idle = (await system.get("/customers/bob/summary", BOB)).json()

    assert unknown == {
        "customerId": "ada",
        "name": None,
        "email": None,
        "orderCount": 4,
        "pendingCount": 2,
        "shippedCount": 0,
        "cancelledCount": 2,
        "lifetimeValue": "79.60",
        "lastOrderAt": "2026-11-23T13:00:00.000Z",
        "version": 0,
    }
    assert known == {**unknown, "name": "Ada", "email": "ada@example.com", "version": 3}
    assert (idle["orderCount"], idle["lifetimeValue"], idle["lastOrderAt"], idle["version"]) == (
        0,
        "0.00",
        None,
        1,
    )


async def test_products_are_returned_with_their_sales(system: System) -> None:
    await system.store.put_product("lamp", version=2)
    await system.store.put_product("desk", available=False)
    await system.store.put_parts(PRODUCT_SALES, "lamp", [{"unitsSold": 2}, {"unitsSold": 3}])
    await system.store.put_parts(PRODUCT_SALES, "early", [{"unitsSold": 1}])
    lamp = (await system.get("/products/lamp", ADA)).json()
    early = (await system.get("/products/early", ADA)).json()

    assert lamp == {
        "productId": "lamp",
        "name": "Lamp",
        "price": "19.90",
        "available": True,
        "unitsSold": 5,
        "version": 2,
    }
    assert early == {
        "productId": "early",
        "name": None,
        "price": None,
        "available": None,
        "unitsSold": 1,
        "version": 0,
    }


async def test_daily_sales_are_returned_for_a_range_of_dates(system: System) -> None:
    part = {"orderCount": 2, "cancelledCount": 1, "revenue": 3980}
    await system.store.put_parts(DAILY_SALES, "2026-11-21", [part])
    await system.store.put_parts(DAILY_SALES, "2026-11-22", [part, part])
    await system.store.put_parts(DAILY_SALES, "2026-11-23", [part])
    report = await system.get("/reports/daily-sales?from=2026-11-22&to=2026-11-23")
    assert report.json() == {
        "data": [
            {"date": "2026-11-22", "orderCount": 4, "cancelledCount": 2, "revenue": "79.60"},
            {"date": "2026-11-23", "orderCount": 2, "cancelledCount": 1, "revenue": "39.80"},
        ]
    }
    year = await system.get("/reports/daily-sales?from=2025-01-01&to=2026-01-01")
    assert (year.status_code, year.json()) == (200, {"data": []})


async def test_public_pages_need_no_token(system: System) -> None:
    for path in (
        "/",
        "/openapi.json",
        "/docs",
        "/docs/start.js",
        "/health/live",
        "/health/ready",
        "/metrics",
    ):
        answer = await system.client.get(path)
        assert answer.status_code == 200, path


async def test_cors_allows_only_the_configured_origin(system: System) -> None:
    origin = {"Origin": "https://shop.example"}
    asked = {
        **origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = await system.client.options("/orders", headers=asked)
    refused = await system.client.get("/orders", headers=origin)
    stranger = await system.get("/orders", {"Origin": "https://other.example"})

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    assert "X-Read-Model-Lag-Ms" in refused.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in stranger.headers


async def test_a_switch_of_generations_takes_effect_immediately(system: System) -> None:
    await system.store.put_order(order_document(1))
    assert (await system.get(f"/orders/{order_id(1)}")).json()["version"] == 1
    system.store.generation = "2"
    await system.store.live(ORDERS).insert_one(order_document(1, version=7))
    await system.store.live(PRODUCTS).insert_one(
        {"_id": "lamp", "name": "Lamp", "price": 1, "available": True, "version": 1}
    )
    await system.store.point_to("2")
    assert (await system.get(f"/orders/{order_id(1)}")).json()["version"] == 7
    assert (await system.get("/orders")).json()["data"][0]["version"] == 7
    assert (await system.get("/products/lamp")).status_code == 200
