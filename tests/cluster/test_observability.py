"""`--profile observability`: Prometheus finds every replica and answers every panel and alert query.

Grafana and Jaeger only display what is queried here, so their images are not needed.
"""

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from tests.cluster.compose import Cluster, build_images, require_engine, running
from tests.cluster.test_cluster import ordering
from tests.end_to_end.conftest import System
from tests.end_to_end.shop import customer, listed, staff
from tests.servers import eventually
from tests.watching import alert_figures, panel_queries, recorded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

REPLICAS: Final = {"command": 2, "relay": 2, "projection": 2, "query": 2}
_ASKING: Final = """
import json, sys, urllib.parse, urllib.request
found = {}
for query in json.loads(sys.argv[1]):
    url = "http://prometheus:9090/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(url, timeout=10) as answer:
        found[query] = json.load(answer)["data"]["result"]
print(json.dumps(found))
"""

Samples = list[tuple[dict[str, str], float]]


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The whole system with two replicas of each process, and Prometheus."""
    require_engine()
    build_images()
    with running(request.session) as cluster:
        assert cluster.containers("prometheus") == [], "services of the profile start without it"
        cluster.up(**REPLICAS)
        cluster.compose(
            "--profile", "observability", "up", "--no-build", "--no-recreate", "--wait", "prometheus"
        )
        yield cluster


def ask(cluster: Cluster, *queries: str) -> dict[str, Samples]:
    """Query Prometheus from inside the cluster, because its port is not published."""
    asked = ("exec", "-T", "command", "python", "-S", "-c", _ASKING, json.dumps(queries))
    return {
        query: [(row["metric"], float(row["value"][1])) for row in rows]
        for query, rows in json.loads(cluster.compose(*asked)).items()
    }


async def test_every_replica_is_found_and_every_query_returns_data(cluster: Cluster) -> None:
    async def all_found() -> bool:
        rows = (await asyncio.to_thread(ask, cluster, "orders:replicas_up"))["orders:replicas_up"]
        return {labels["job"]: int(value) for labels, value in rows} == REPLICAS

    await eventually(all_found, "every replica is found", 60, every=1)
    missing = list({*panel_queries(), *alert_figures(), *recorded()})
    system = System(
        {
            f"{name}Url": f"http://127.0.0.1:{cluster.environment[f'{name.upper()}_PORT']}"
            for name in ("command", "query")
        },
        cluster.environment["JWT_SECRET"],
        None,
    )

    async def all_answered() -> bool:
        answers = await asyncio.to_thread(ask, cluster, *missing)
        missing[:] = [
            query for query, rows in answers.items() if not any(math.isfinite(value) for _, value in rows)
        ]
        return not missing

    async with httpx.AsyncClient(timeout=35) as http:
        seller, buyer = staff(system, http), customer(system, http)
        lamp = await listed(seller)
        await buyer.register()
        placed: list[str] = []
        stopping = asyncio.Event()
        load = asyncio.create_task(ordering(buyer, lamp, placed, stopping))
        try:
            await eventually(all_answered, f"answers to {missing}", 90, every=1)
        finally:
            stopping.set()
            await load


async def test_no_alert_fires_until_a_process_stops(cluster: Cluster) -> None:
    firing = 'ALERTS{alertstate="firing"}'
    assert ask(cluster, firing)[firing] == []
    cluster.compose("stop", "query")

    async def alarmed() -> bool:
        rows = (await asyncio.to_thread(ask, cluster, firing))[firing]
        return any(labels["alertname"] == "ProcessDown" and labels["job"] == "query" for labels, _ in rows)

    await eventually(alarmed, "an alert fires for the missing process", 120, every=1)
