"""`docker compose up`: the real cluster in use, scaled, and with containers killed under load."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import websockets
from packaging.utils import canonicalize_name

from deploy import environment
from tests.cluster.compose import ROOT, TESTS, Cluster, build_images, docker, require_engine, running
from tests.end_to_end.conftest import System
from tests.end_to_end.shop import Person, customer, listed, staff
from tests.end_to_end.test_journey import journey
from tests.servers import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
OURS: Final = {"migrate", "topics", "command", "relay", "projection", "query"}


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The whole system in containers."""
    require_engine()
    build_images()
    with running(request.session) as cluster:
        yield cluster


@pytest.fixture
def system(cluster: Cluster, tmp_path: Path) -> System:
    """The same cluster as a `System` of the end-to-end tests."""
    endpoints = json.loads(cluster.endpoints(tmp_path).read_text())
    return System(endpoints, cluster.environment["JWT_SECRET"], None)


@pytest.mark.parametrize("overlay", ["compose.ha.yml", "compose.secure.yml"])
def test_compose_requires_the_secrets_that_make_env_writes(
    overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_engine()
    monkeypatch.setattr(environment, "PATH", tmp_path / ".env")
    monkeypatch.setattr(environment, "AUTHORITY", tmp_path / ".certificates" / "kafka-ca.pem")
    (tmp_path / "empty").touch()
    environment.main()
    values = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    # the environment, where make exports empty values, would take precedence over the file
    around = {name: value for name, value in os.environ.items() if name not in values}

    def config(file: str) -> subprocess.CompletedProcess[str]:
        files = ("-f", "docker-compose.yml", "-f", f"deploy/{overlay}", "--env-file", str(tmp_path / file))
        return subprocess.run(
            ["docker", "compose", *files, "config", "--format", "json"],
            cwd=ROOT,
            env=around,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    refused = config("empty")
    assert refused.returncode != 0
    assert "run make env" in refused.stderr
    services = json.loads(config(".env").stdout)["services"]
    assert services["query"]["environment"]["JWT_SECRET"] == values["JWT_SECRET"]
    if overlay == "compose.secure.yml":
        assert values["KAFKA_TLS_KEY"] in services["kafka"]["environment"].values()


PACKAGES = """
from importlib.metadata import distributions
from sysconfig import get_path
print(*(each.name for each in distributions(path=[get_path("purelib")])))
"""


@pytest.mark.parametrize("service", ["command", "projection", "query"])
@pytest.mark.usefixtures("cluster")
def test_an_image_contains_exactly_the_locked_packages_of_its_service(service: str) -> None:
    lines = (ROOT / "deploy" / "locks" / f"{service}.txt").read_text().splitlines()
    locked = {canonicalize_name(line.partition("==")[0]): ";" in line for line in lines if line[:1].isalpha()}
    output = docker("run", "--rm", "--entrypoint", "python", f"orders-{service}", "-c", PACKAGES)
    found = {canonicalize_name(name) for name in output.split()}
    assert found <= locked.keys()
    assert {name for name in locked.keys() - found if not locked[name]} == set()


def test_a_second_up_changes_nothing(cluster: Cluster) -> None:
    def running() -> set[str]:
        return {each["Id"] for each in cluster.inspected() if each["State"]["Running"]}

    before = running()
    cluster.up()
    assert running() == before


async def test_containers_are_unprivileged_and_limited_and_publish_only_on_loopback(cluster: Cluster) -> None:
    published = {}
    for container in cluster.inspected():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        host = container["HostConfig"]
        assert host["Memory"] > 0, service
        assert host["RestartPolicy"]["Name"] in {"unless-stopped", "on-failure"}, service
        if service in OURS or service == "edge":
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
        if container["State"]["Running"]:

            async def none_is_root(container_id: str = container["Id"]) -> bool:
                users = docker("top", container_id, "-eo", "uid,pid").splitlines()[1:]
                return users != [] and all(line.split()[0] != "0" for line in users)

            # the server images start as root, and so, briefly, does each of their health checks
            await eventually(none_is_root, f"no process in {service} is root", 30, every=0.5)
        else:
            assert container["State"]["ExitCode"] == 0, service
            assert container["Config"]["User"] not in {"", "0", "root"}, service
        bound = [each for ports in host["PortBindings"].values() for each in ports]
        assert {each["HostIp"] for each in bound} <= {"127.0.0.1"}, service
        if bound:
            published[service] = len(bound)
    assert published == {"edge": 2, "kafka": 1}


def test_the_end_to_end_tests_pass_inside_the_clusters_networks(cluster: Cluster) -> None:
    files = ("-f", "docker-compose.yml", "-f", TESTS)
    output = cluster.compose(*files, "run", "--rm", "--no-deps", "-T", "tests")
    assert " passed" in output
    assert "where its Kafka is" not in output, "the example consumer was skipped"


async def test_the_edge_passes_long_requests_and_streams_but_no_operator_paths(
    cluster: Cluster, system: System
) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        order = await journey(customer(system, http), staff(system, http))
        waited = await staff(system, http).get(f"/orders/{order}?minVersion=99", Prefer="wait=30")
        assert (waited.status_code, waited.json()["code"]) == (503, "read-model-behind")
        assert waited.elapsed.total_seconds() > 29
        for url in (system.command_url, system.query_url):
            for path in ("/metrics", "/metrics?all", "/%6detrics", "//metrics"):
                answer = await http.get(url + path, headers={"X-Request-Id": "mine"})
                assert answer.status_code == 404, path
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["x-request-id"] == "mine"
    url = system.query_url.replace("http", "ws", 1) + "/ws"
    async with websockets.connect(url, additional_headers=staff(system, http).headers) as socket:
        assert json.loads(await socket.recv())["type"] == "ready"


async def edge_answer(url: str, request: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """The status, headers and problem in the answer to raw bytes that no client would send."""
    where = httpx.URL(url)
    reader, writer = await asyncio.open_connection(where.host, where.port)
    writer.write(request)
    head, _, body = (await asyncio.wait_for(reader.read(), 15)).partition(b"\r\n\r\n")
    writer.close()
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), headers, json.loads(body)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 408, "request-timeout"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
            b"Content-Length: 1\r\n\r\n1",
            501,
            "not-implemented",
        ),
    ],
    ids=["400", "408", "501"],
)
async def test_the_edge_answers_malformed_requests_with_problems(
    system: System, request_bytes: bytes, status: int, code: str
) -> None:
    version = docker("run", "--rm", "--entrypoint", "haproxy", "haproxy:3.2", "-v").split()[2]
    if tuple(map(int, version.partition("-")[0].split("."))) < (3, 2, 4):
        pytest.skip(f"HAProxy {version} answers malformed requests with its own error page")
    answered, headers, problem = await edge_answer(system.command_url, request_bytes)
    assert (answered, problem["status"], problem["code"]) == (status, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"]


async def test_the_edge_answers_like_a_service_when_no_replica_is_available(
    cluster: Cluster, system: System
) -> None:
    await asyncio.to_thread(cluster.compose, "stop", "query")
    try:
        async with httpx.AsyncClient() as http:
            for given, kept in (("mine", True), ("not a valid one", False)):
                answer = await http.get(f"{system.query_url}/orders", headers={"X-Request-Id": given})
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["retry-after"] == "1"
                assert answer.headers["x-request-id"]
                assert (answer.headers["x-request-id"] == given) == kept
    finally:
        await asyncio.to_thread(cluster.up)


async def ordering(buyer: Person, lamp: str, placed: list[str], stopping: asyncio.Event) -> None:
    """Place orders until stopped; a refused or broken request is repeated with its key."""
    number = 0
    body = {"items": [{"productId": lamp, "quantity": 1}]}
    while not stopping.is_set():
        try:
            answer = await buyer.send("POST", "/orders", body, Idempotency_Key=f"order-{number}")
        except httpx.TransportError:
            continue
        if answer.status_code == 202:
            placed.append(answer.json()["orderId"])
            number += 1
        else:
            assert answer.status_code in {409, 502, 503, 504}, answer.text


async def all_of(buyer: Person) -> list[str]:
    """Every order that the buyer can read, over all pages."""
    found: list[str] = []
    path = "/orders?limit=100"
    while path:
        answer = await buyer.get(path)
        if answer.status_code != 200:
            return []
        page = answer.json()
        found += [order["id"] for order in page["data"]]
        path = f"/orders?limit=100&cursor={page['nextCursor']}" if page["hasMore"] else ""
    return found


SHARES = {
    "command": ("http_request_duration_seconds_count", {"route": "/orders", "status": "202"}),
    "query": ("http_request_duration_seconds_count", {"route": "/orders", "status": "200"}),
    "projection": ("projection_events_total", {"topic": "orders"}),
    "relay": ("relay_published_total", {"topic": "orders"}),
}
"""The metric that shows how much each replica has done."""


SCALED: Final = {"command": 2, "projection": 3, "query": 2, "relay": 2}


def shares(cluster: Cluster, service: str) -> list[float]:
    """How much each replica of a service has done so far."""
    name, labels = SHARES[service]
    return [
        sum(
            sample.value
            for sample in cluster.samples(container)
            if sample.name == name and labels.items() <= sample.labels.items()
        )
        for container in cluster.containers(service)
    ]


async def all_take_their_share(cluster: Cluster, buyer: Person) -> None:
    """Wait until each replica has done some of the work."""
    for service in SHARES:

        async def shared(service: str = service) -> bool:
            await buyer.get("/orders")
            done = await asyncio.to_thread(shares, cluster, service)
            return len(done) == SCALED[service] and all(done)

        await eventually(shared, f"each replica of {service} does its share", 60, every=0.5)


async def test_no_order_is_lost_or_duplicated_when_containers_are_killed_under_load(
    cluster: Cluster, system: System
) -> None:
    await asyncio.to_thread(lambda: cluster.up(**SCALED))
    async with httpx.AsyncClient(timeout=35) as http:
        seller, buyer = staff(system, http), customer(system, http)
        lamp = await listed(seller)
        await buyer.register()
        placed: list[str] = []
        stopping = asyncio.Event()
        load = asyncio.create_task(ordering(buyer, lamp, placed, stopping))
        await all_take_their_share(cluster, buyer)
        for service in ("edge", "command", "relay", "projection", "query", "kafka", "mongodb", "postgres"):
            wanted = len(placed) + 20

            async def goes_on(wanted: int = wanted) -> bool:
                if load.done():
                    load.result()
                return len(placed) >= wanted

            await eventually(goes_on, f"orders are accepted before {service} is killed", 120)
            containers = await asyncio.to_thread(cluster.containers, service)
            await asyncio.to_thread(cluster.kill, containers[0])
        wanted = len(placed) + 20

        async def recovered() -> bool:
            return len(placed) >= wanted

        await eventually(recovered, "orders are accepted after every service was killed once", 180)
        stopping.set()
        await load

        async def all_there() -> bool:
            try:
                return sorted(await all_of(buyer)) == sorted(placed)
            except httpx.TransportError:
                return False

        await eventually(all_there, f"{len(placed)} orders are readable, once each", 120, every=0.5)


async def test_the_cluster_stops_gracefully_despite_a_stream_and_restarts_with_its_data(
    cluster: Cluster, system: System
) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        buyer = customer(system, http)
        order = await journey(buyer, staff(system, http))
        stream = http.stream("GET", f"{system.query_url}/orders/stream", headers=buyer.headers)
        async with stream as standing:
            assert standing.status_code == 200
            await asyncio.to_thread(cluster.compose, "stop")
        ended = {
            container["Config"]["Labels"]["com.docker.compose.service"]: container["State"]["ExitCode"]
            for container in await asyncio.to_thread(cluster.inspected)
        }
        # 143 is how the JVM reports SIGTERM
        assert {name: status for name, status in ended.items() if status not in {0, 143}} == {}
        await asyncio.to_thread(cluster.compose, "down")
        await asyncio.to_thread(cluster.up)
        assert (await buyer.see(f"/orders/{order}", 2))["status"] == "shipped"
