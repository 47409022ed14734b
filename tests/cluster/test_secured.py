"""`deploy/compose.secure.yml`: everything works, and Kafka grants known users only what they need."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka import KafkaException

from deploy.environment import certified, completed
from tests.cluster.compose import Cluster, build_images, require_engine, running
from tests.end_to_end.conftest import System
from tests.end_to_end.shop import customer, staff
from tests.end_to_end.test_journey import journey
from tests.secured import Access, read, refusal, write

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the CA certificate that clients have to trust."""
    return tmp_path_factory.mktemp("secured") / "certificates" / "kafka-ca.pem"


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, authority: Path) -> Iterator[Cluster]:
    """A cluster whose broker authenticates its clients."""
    require_engine()
    build_images()
    secrets = certified(completed({}), authority)
    overlay = "deploy/compose.secure.yml"
    with running(request.session, overlay, KAFKA_AUTHORITY=str(authority), **secrets) as cluster:
        yield cluster


async def test_orders_are_projected_and_a_subscribing_team_reads_them(
    cluster: Cluster, authority: Path, tmp_path: Path
) -> None:
    endpoints = json.loads(cluster.endpoints(tmp_path).read_text())
    system = System(endpoints, cluster.environment["JWT_SECRET"], None)
    async with httpx.AsyncClient(timeout=35) as http:
        order = await journey(customer(system, http), staff(system, http))
    team = Access(
        external=f"127.0.0.1:{cluster.environment['KAFKA_PORT']}",
        authority=authority,
        secrets=cluster.environment,
    )
    assert read(team, "orders") == [order.encode()] * 2
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        write(team, "orders")
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        read(team, "orders.dlq")
    wrong = team.options("subscriber") | {"sasl.password": "wrong"}
    assert "invalid credentials" in refusal(wrong)
    assert "Disconnected" in refusal({"bootstrap.servers": team.external})
