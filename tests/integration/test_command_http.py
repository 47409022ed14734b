"""The command API over HTTP against the contract: answers, headers, and a table of bad input.

For lengths and amounts at their limits see `test_command_limits.py`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.tokens import token
from tests.command_service import (
    ADA,
    CUSTOMER,
    JSON,
    LAMP,
    LINE,
    SECRET,
    STAFF,
    STRANGER,
    bearer,
    placed,
)

pytestmark = pytest.mark.integration


async def test_a_command_is_answered_with_id_version_and_location(api: httpx.AsyncClient) -> None:
    headers = {**CUSTOMER, "X-Request-Id": "mine-1"}
    body = {"items": [{"productId": "lamp", "quantity": 2}]}
    answer = await api.post("/orders", json=body, headers=headers)
    assert answer.status_code == 202
    order_id = answer.json()["orderId"]
    assert answer.json() == {"orderId": order_id, "version": 1}
    assert answer.headers["location"] == f"/orders/{order_id}"
    assert answer.headers["x-request-id"] == "mine-1"
    assert order_id[14] == "7"


async def test_a_put_with_the_same_values_changes_nothing(api: httpx.AsyncClient) -> None:
    for _ in range(2):
        answer = await api.put("/products/same", json=LAMP, headers=STAFF)
        assert answer.json() == {"productId": "same", "version": 1}
    answer = await api.put("/products/same", json={"name": "New", "price": "2.00"}, headers=STAFF)
    assert answer.json()["version"] == 3


async def test_deleting_twice_has_the_effect_of_deleting_once(api: httpx.AsyncClient) -> None:
    await api.put("/products/twice", json=LAMP, headers=STAFF)
    for _ in range(2):
        answer = await api.delete("/products/twice", headers=STAFF)
        assert (answer.status_code, answer.json()["version"]) == (202, 2)
    answer = await api.put("/products/twice", json=LAMP, headers=STAFF)
    assert answer.json()["version"] == 3


async def test_an_erased_customer_has_no_key_and_cannot_order_again(api: httpx.AsyncClient) -> None:
    caller = bearer("zoe")
    assert (await api.put("/customers/zoe", json=ADA, headers=caller)).status_code == 202
    order = {"items": [{"productId": "lamp", "quantity": 1}]}
    order_id = (await api.post("/orders", json=order, headers=caller)).json()["orderId"]
    keys = bearer("reader", "personal-data")
    asked = {"customerIds": ["zoe"]}
    answer = await api.post("/personal-data-keys", json=asked, headers=keys)
    assert answer.json()["keys"]["zoe"]["kty"] == "oct"
    for _ in range(2):
        answer = await api.delete("/customers/zoe", headers=caller)
        assert (answer.status_code, answer.json()["version"]) == (202, 2)
    assert (await api.post("/personal-data-keys", json=asked, headers=keys)).json() == {"keys": {"zoe": None}}
    again = await api.put("/customers/zoe", json=ADA, headers=caller)
    assert (again.status_code, again.json()["code"]) == (409, "customer-erased")
    new = await api.post("/orders", json=order, headers=caller)
    assert (new.status_code, new.json()["code"]) == (422, "customer-unknown")
    ship = await api.post(f"/orders/{order_id}/ship", json={"trackingNumber": "T"}, headers=STAFF)
    assert ship.status_code == 202


async def test_cancelling_and_shipping_check_owner_version_and_status(api: httpx.AsyncClient) -> None:
    order_id = await placed(api)
    stranger = await api.post(f"/orders/{order_id}/cancel", json={"reason": "x"}, headers=STRANGER)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "order-not-found")
    stale = {**CUSTOMER, "If-Match": '"7"'}
    mismatch = await api.post(f"/orders/{order_id}/cancel", json={"reason": "x"}, headers=stale)
    assert (mismatch.status_code, mismatch.json()["code"]) == (412, "version-mismatch")
    matching = {**CUSTOMER, "If-Match": '"1"'}
    done = await api.post(f"/orders/{order_id}/cancel", json={"reason": "x"}, headers=matching)
    assert done.json() == {"orderId": order_id, "version": 2}
    again = await api.post(f"/orders/{order_id}/ship", json={"trackingNumber": "T"}, headers=STAFF)
    assert again.status_code == 409
    assert (again.json()["code"], again.json()["currentStatus"]) == ("order-not-pending", "cancelled")


@dataclass(frozen=True)
class Bad:
    """A request that must be refused."""

    method: str
    path: str
    status: int
    code: str
    body: bytes | None = None
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=lambda: STAFF)

    def __str__(self) -> str:
        what = self.json if self.body is None else self.body[:20]
        return f"{self.status} {self.method} {self.path[:30]} {str(what)[:40]}"


NEW = "/products/new"
UNKNOWN = "/orders/01940000-0000-7000-8000-000000000001"
V = "validation-failed"
NOT_ITEMS: list[Any] = [
    [],
    None,
    {},
    [LINE, LINE],
    [{"productId": "lamp"}],
    [{"productId": "lamp", "quantity": 1.5}],
    [{"productId": "lamp", "quantity": "1"}],
    [{"productId": "lamp", "quantity": True}],
    [{"productId": "lamp", "quantity": 10**30}],
    [{"productId": "..", "quantity": 1}],
    [{"productId": "lamp", "quantity": 1, "price": "0.01"}],
]
TABLE = [
    Bad("PUT", NEW, 401, "unauthenticated", json=LAMP, headers={}),
    Bad("PUT", NEW, 401, "unauthenticated", json=LAMP, headers={"Authorization": "Bearer nonsense"}),
    Bad("PUT", NEW, 401, "unauthenticated", json=LAMP, headers={"Authorization": "Basic YTpi"}),
    Bad("PUT", NEW, 403, "forbidden", json=LAMP, headers=CUSTOMER),
    Bad("DELETE", NEW, 403, "forbidden", headers=CUSTOMER),
    Bad("PUT", "/customers/ada", 403, "forbidden", json=ADA, headers=STRANGER),
    Bad("DELETE", "/customers/ada", 403, "forbidden", headers=STRANGER),
    Bad("POST", UNKNOWN + "/ship", 403, "forbidden", json={"trackingNumber": "T"}, headers=CUSTOMER),
    Bad("POST", "/personal-data-keys", 403, "forbidden", json={"customerIds": []}),
    # authorization is checked before the input
    Bad("PUT", NEW, 403, "forbidden", body=b"x" * (1 << 20) + b"x", headers=CUSTOMER),
    Bad("PUT", NEW, 413, "body-too-large", body=b"x" * ((1 << 20) + 1)),
    Bad("PUT", NEW, 415, "unsupported-media-type", body=b"{}"),
    Bad("PUT", NEW, 415, "unsupported-media-type", body=b"", headers={**STAFF, "Content-Type": "text/plain"}),
    Bad(
        "PUT",
        NEW,
        415,
        "unsupported-media-type",
        body=b"{}",
        headers={**STAFF, **JSON, "Content-Encoding": "gzip"},
    ),
    *(
        Bad("PUT", NEW, 400, "malformed-json", body=body, headers={**STAFF, **JSON})
        for body in (
            b"",
            b"  ",
            b"{",
            b"nope",
            b'{"name":"L","price":"1.00"',
            b'{"name":"L","price":"1.00"}x',
            b"\xff\xfe",
            b'{"name":"\xff","price":"1.00"}',
            b'{"name":"L","price":NaN}',
            b'{"name":"L","price":Infinity}',
            b'{"name":NaN,"name":"L","price":"1.00"}',
            b'\xef\xbb\xbf{"name":"L","price":"1.00"}',
            b"[" * 100_000,
        )
    ),
    *(
        Bad("PUT", NEW, 422, V, body=body, headers={**STAFF, **JSON})
        for body in (
            b"[]",
            b"null",
            b'"text"',
            b"1" * 10_000,
            b"{}",
            b'{"name":"L"}',
            b'{"name":"L","price":"1.00","extra":1}',
            b'{"name":"L","name":"M","price":"1.00"}',
            b'{"name":"a\\u0000b","price":"1.00"}',
            b'{"name":"\\ud800","price":"1.00"}',
            b'{"name":1,"price":"1.00"}',
            b'{"name":null,"price":"1.00"}',
            b'{"name":"L","price":1.00}',
            b'{"name":"L","price":"1.0"}',
            b'{"name":"L","price":"-1.00"}',
            b'{"name":"L","price":"1e2"}',
            b'{"name":"L","price":"01.00"}',
            b'{"name":"L","price":"1.00\\n"}',
        )
    ),
    *(
        Bad("PUT", path, 422, V, json=LAMP)
        for path in (
            "/products/%2e",
            "/products/%2e%2e",
            "/products/a%20b",
            "/products/%C3%A9",
        )
    ),
    *(
        Bad("PUT", "/customers/ada", 422, V, json={"name": "Ada", "email": email}, headers=CUSTOMER)
        for email in (
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@example..com",
            "a b@example.com",
            "ada@example.com\0",
            "a" * 65 + "@example.com",
        )
    ),
    *(Bad("POST", "/orders", 422, V, json={"items": items}, headers=CUSTOMER) for items in NOT_ITEMS),
    Bad(
        "POST",
        "/orders",
        422,
        "product-unavailable",
        json={"items": [{**LINE, "productId": "no"}]},
        headers=CUSTOMER,
    ),
    Bad(
        "POST",
        "/orders",
        422,
        "product-unavailable",
        json={"items": [{**LINE, "productId": "gone"}]},
        headers=CUSTOMER,
    ),
    Bad("POST", "/orders", 422, "customer-unknown", json={"items": [LINE]}, headers=STRANGER),
    *(
        Bad("PUT", NEW, 400, "invalid-if-match", json=LAMP, headers={**STAFF, "If-Match": value})
        for value in ("1", 'W/"1"', '"1", "2"', '""', '"-1"', '"01"', '"abc"', "")
    ),
    *(
        Bad(
            "POST",
            "/orders",
            400,
            "invalid-if-match",
            json={"items": [LINE]},
            headers={**CUSTOMER, "If-Match": value},
        )
        for value in ('"0"', "*")
    ),
    *(
        Bad(
            "PUT", NEW, 400, "invalid-idempotency-key", json=LAMP, headers={**STAFF, "Idempotency-Key": value}
        )
        for value in ("", "a b", "x" * 256)
    ),
    # 400 comes before 422, 422 before 404, 404 before 412
    Bad("PUT", NEW, 400, "invalid-if-match", json={}, headers={**STAFF, "If-Match": "1"}),
    Bad("POST", UNKNOWN + "/cancel", 422, V, json={}),
    Bad("DELETE", "/products/nope", 404, "product-not-found", headers={**STAFF, "If-Match": '"3"'}),
    Bad("DELETE", "/products/nope", 404, "product-not-found"),
    Bad("DELETE", "/customers/nobody", 404, "customer-not-found"),
    Bad("PUT", NEW, 412, "version-mismatch", json=LAMP, headers={**STAFF, "If-Match": "*"}),
    *(
        Bad("PUT", "/products/lamp", 412, "version-mismatch", json=LAMP, headers={**STAFF, "If-Match": value})
        for value in ('"0"', '"9223372036854775807"', f'"{10**30}"')
    ),
    *(
        Bad("POST", path + "/cancel", 404, "order-not-found", json={"reason": "x"})
        for path in (UNKNOWN, "/orders/x", "/orders/%00", "/orders/" + "x" * 500)
    ),
    Bad("GET", "/nowhere", 404, "not-found"),
    Bad("GET", "/orders", 405, "method-not-allowed"),
    Bad("PATCH", "/products/lamp", 405, "method-not-allowed"),
]


@pytest.mark.parametrize("bad", TABLE, ids=str)
async def test_bad_input_is_refused_as_the_contract_specifies(api: httpx.AsyncClient, bad: Bad) -> None:
    answer = await api.request(
        bad.method, bad.path, content=bad.body, json=bad.json, headers=dict(bad.headers)
    )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (bad.status, bad.code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance"} <= problem.keys()
    assert problem["status"] == bad.status
    assert answer.headers["x-request-id"]
    assert ("www-authenticate" in answer.headers) == (bad.status == 401)
    assert ("errors" in problem) == (bad.code == V)
    for entry in problem.get("errors", ()):
        assert entry["pointer"] == "" or entry["pointer"].startswith("/")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (
            b'{"items":[{"productId":"lamp","quantity":1},{"quantity":1,"productId":"x","quantity":2}]}',
            ["/items/1/quantity"],
        ),
        (
            b'{"items":7,"items":[{"productId":"x","quantity":1,"productId":"y"}]}',
            ["/items", "/items/0/productId"],
        ),
        (b'{"items":[{"productId":"lamp","quantity":1.5}]}', ["/items/0/quantity"]),
    ],
)
async def test_errors_point_to_the_invalid_fields(
    api: httpx.AsyncClient, body: bytes, pointers: list[str]
) -> None:
    answer = await api.post("/orders", content=body, headers={**CUSTOMER, **JSON})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize("in_chunks", [False, True])
async def test_a_client_still_sending_a_too_large_body_gets_the_answer(
    api: httpx.AsyncClient, in_chunks: bool, connection: str
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(128):
            yield b"x" * (1 << 16)

    for _ in range(3):
        body = chunks() if in_chunks else b"x" * (8 << 20)
        answer = await api.put(NEW, content=body, headers={**STAFF, **JSON, "Connection": connection})
        assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


async def test_cors_allows_only_the_configured_origin(api: httpx.AsyncClient) -> None:
    preflight = {"Origin": "http://127.0.0.1:8002", "Access-Control-Request-Method": "POST"}
    answer = await api.options("/orders", headers=preflight)
    assert answer.headers["access-control-allow-origin"] == "http://127.0.0.1:8002"
    refused = await api.options("/orders", headers={**preflight, "Origin": "http://evil.example"})
    assert (refused.status_code, refused.json()["code"]) == (400, "cors-not-allowed")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["x-request-id"]
    assert "access-control-allow-origin" not in refused.headers
    other = await api.post("/orders", headers={"Origin": "http://evil.example"})
    assert other.status_code == 401
    assert "access-control-allow-origin" not in other.headers
    for path in ("/", "/openapi.json", "/asyncapi.json", "/docs", "/schemas/OrderCreated/1", "/health/live"):
        public = await api.get(path, headers={"Origin": "http://evil.example"})
        assert "access-control-allow-origin" not in public.headers


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/openapi.json",
        "/asyncapi.json",
        "/docs",
        "/docs/topics",
        "/schemas/OrderCreated/1",
        "/metrics",
        "/health/live",
    ],
)
async def test_public_pages_need_no_token(api: httpx.AsyncClient, path: str) -> None:
    assert (await api.get(path)).status_code == 200
    assert (await api.head(path)).status_code == 200


async def test_an_unknown_schema_is_not_found(api: httpx.AsyncClient) -> None:
    for path in ("/schemas/OrderCreated/99", "/schemas/Nope/1", "/schemas/OrderCreated/x"):
        assert (await api.get(path)).status_code == 404


async def test_the_document_lists_the_headers_of_every_answer(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert all("X-Request-Id" in answer["headers"] for answer in operation["responses"].values())
    cancel = document["paths"]["/orders/{orderId}/cancel"]["post"]["responses"]
    replayed = {status for status, answer in cancel.items() if "Idempotent-Replayed" in answer["headers"]}
    assert replayed == {"202", "404", "409", "412", "422"}


async def test_schemathesis_finds_no_violations(api: httpx.AsyncClient) -> None:
    """Every documented request, valid or not, is answered as the OpenAPI document specifies."""
    staff = token(SECRET, "grace", "staff", "personal-data")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{api.base_url}/openapi.json", "--header", f"Authorization: Bearer {staff}"),
        *("--max-examples", "20", "--phases", "examples,coverage,fuzzing", "--checks", "all"),
        # a valid command may still be rejected: an order for unlisted products, or an old version
        *("--exclude-checks", "positive_data_acceptance", "--seed", "1", "--no-color"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-6000:]
