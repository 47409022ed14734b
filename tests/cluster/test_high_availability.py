"""`deploy/compose.ha.yml`: a broker is killed, MongoDB's primary steps down, and nothing is lost."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.compose import Cluster, build_images, require_engine, running
from tests.cluster.test_cluster import all_of, ordering
from tests.end_to_end.conftest import System
from tests.end_to_end.shop import customer, listed, staff
from tests.servers import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

TOPICS = "/opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:9092 --describe"


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three brokers, three members of the replica set."""
    require_engine()
    build_images()
    with running(request.session, "deploy/compose.ha.yml") as cluster:
        yield cluster


def mongosh(cluster: Cluster, member: str, script: str) -> str:
    """Run a script on a member and return its output."""
    url = f"mongodb://orders:{cluster.environment['MONGODB_PASSWORD']}@localhost:27017/?directConnection=true"
    return cluster.compose("exec", "-T", member, "mongosh", "--quiet", url, "--eval", script).strip()


def primary(cluster: Cluster) -> str:
    """The service that is currently the primary; empty while there is none."""
    name = mongosh(cluster, "mongodb", "print(db.hello().primary ?? '')")
    return name.partition(":")[0]


def test_every_topic_has_three_replicas_and_two_must_be_in_sync(cluster: Cluster) -> None:
    described = cluster.compose("exec", "-T", "kafka", *TOPICS.split())
    headers = [line for line in described.splitlines() if line.startswith("Topic:")]
    ours = [line for line in headers if line.split()[1] in {"orders", "customers", "products", "heartbeats"}]
    assert len(ours) == 4, described
    for line in ours:
        assert "ReplicationFactor: 3" in line
        assert "min.insync.replicas=2" in line


async def test_no_order_is_lost_or_duplicated_when_servers_fail_under_load(
    cluster: Cluster, tmp_path: Path
) -> None:
    system = System(
        json.loads(cluster.endpoints(tmp_path).read_text()), cluster.environment["JWT_SECRET"], None
    )
    async with httpx.AsyncClient(timeout=35) as http:
        seller, buyer = staff(system, http), customer(system, http)
        lamp = await listed(seller)
        await buyer.register()
        placed: list[str] = []
        stopping = asyncio.Event()
        load = asyncio.create_task(ordering(buyer, lamp, placed, stopping))

        async def twenty_more(when: str) -> None:
            wanted = len(placed) + 20

            async def accepted() -> bool:
                if load.done():
                    load.result()
                return len(placed) >= wanted

            await eventually(accepted, f"orders are accepted {when}", 120)
            last = placed[-1]

            async def visible() -> bool:
                answer = await buyer.get(f"/orders/{last}?minVersion=1", Prefer="wait=30")
                return answer.status_code == 200

            await eventually(visible, f"an order is visible {when}", 120)

        await twenty_more("before a broker is killed")
        (container,) = await asyncio.to_thread(cluster.containers, "kafka")
        await asyncio.to_thread(cluster.kill, container)
        await twenty_more("after a broker was killed")
        first = await asyncio.to_thread(primary, cluster)
        await asyncio.to_thread(mongosh, cluster, first, "rs.stepDown(60)")
        await twenty_more("after the primary stepped down")
        second = await asyncio.to_thread(primary, cluster)
        assert second not in {"", first}
        (container,) = await asyncio.to_thread(cluster.containers, second)
        await asyncio.to_thread(cluster.kill, container)
        await twenty_more("after the next primary was killed")
        stopping.set()
        await load

        async def all_there() -> bool:
            try:
                return sorted(await all_of(buyer)) == sorted(placed)
            except httpx.TransportError:
                return False

        await eventually(all_there, f"{len(placed)} orders are readable, once each", 120, every=0.5)
