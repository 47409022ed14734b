"""The lag that the running system reports, idle and busy."""

import asyncio
from collections.abc import Mapping
from statistics import median
from time import monotonic
from typing import Final

import httpx
import pytest

from tests.end_to_end.conftest import HEALTHY_MS, System
from tests.end_to_end.shop import Person, customer, listed, staff
from tests.servers import eventually

pytestmark = pytest.mark.end_to_end

ROUTES: Final = {
    "/orders/{order}": 200,
    "/orders/{order}?asOfVersion=1": 200,
    "/orders/{order}?asOfVersion=9": 404,
    "/orders/{order}?minVersion=1": 200,
    "/orders/{order}?minVersion=9": 503,
    "/orders/unknown": 404,
    "/orders/{order}/history": 200,
    "/orders/{order}/timeline": 200,
    "/orders?limit=1": 200,
    "/orders?customerId={buyer}&status=pending": 200,
    "/orders/stream": 200,
    "/customers/{buyer}/summary": 200,
    "/customers/unknown/summary": 404,
    "/products?limit=1": 200,
    "/products/{product}": 200,
    "/products/unknown": 404,
    "/reports/daily-sales?from=2026-01-01&to=2026-12-31": 200,
}
"""Every route that answers from a read model, and the expected status."""
SECONDS: Final = 5.0
"""Long enough to notice a lag that falls below the bound only now and then."""


async def lags(reader: Person, paths: Mapping[str, int]) -> Mapping[str, int]:
    """The lag that each answer reports."""
    found: dict[str, int] = {}
    for path, status in paths.items():
        method = "HEAD" if path.endswith("/stream") else "GET"  # a stream would never end
        answer = await reader.http.request(method, reader.system.query_url + path, headers=reader.headers)
        assert answer.status_code == status, (path, answer.text)
        assert "X-Read-Model-Lag-Ms" in answer.headers, path
        found[path] = int(answer.headers["X-Read-Model-Lag-Ms"])
    return found


async def ordering(buyer: Person, product: str, placed: list[str]) -> None:
    """Place orders until cancelled."""
    while True:
        placed.append(await buyer.order((product, 1)))


@pytest.mark.parametrize("buyers", [0, 4], ids=["idle", "busy"])
async def test_every_answer_from_a_read_model_reports_a_small_lag(
    system: System, http: httpx.AsyncClient, buyers: int
) -> None:
    seller, buyer = staff(system, http), customer(system, http)
    product = await listed(seller)
    await buyer.register()
    order = await buyer.order((product, 1))
    for path in (f"/orders/{order}", f"/customers/{buyer.name}/summary", f"/products/{product}"):
        await buyer.see(path, 1)
    ids = {"order": order, "buyer": buyer.name, "product": product}
    paths = {route.format(**ids): status for route, status in ROUTES.items()}

    async def fresh() -> bool:
        return max((await lags(seller, paths)).values()) < HEALTHY_MS

    placed: list[str] = []
    placing = [asyncio.create_task(ordering(buyer, product, placed)) for _ in range(buyers)]
    try:
        try:
            await eventually(fresh, "every answer is fresh", 60)
        except AssertionError:
            pytest.fail(f"stale: {await lags(seller, paths)}\n{system.last_words()}")
        before = len(placed)
        samples: list[Mapping[str, int]] = []
        until = monotonic() + SECONDS
        while monotonic() < until:
            samples.append(await lags(seller, paths))
    finally:
        for task in placing:
            task.cancel()
        ended = await asyncio.gather(*placing, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
    assert len(placed) - before >= buyers * 5
    # the median, because even a healthy system may have to wait for CPU time on a shared machine
    typical = {path: median(lag[path] for lag in samples) for path in paths}
    assert {path: lag for path, lag in typical.items() if lag >= HEALTHY_MS} == {}
