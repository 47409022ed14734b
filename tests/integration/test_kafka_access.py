"""A broker with authentication: each process and each team has exactly the access it needs."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from pydantic import SecretStr
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from deploy.certificates import issue
from deploy.local.state import free_ports
from deploy.local.tokens import token
from services.command.app import application
from services.command.relay.access import EVERYTHING, exactly
from services.command.relay.kafka import confluent_options
from services.command.settings import ApiSettings, KafkaSettings
from services.command.store.event_store import EventStore
from services.command.store.migrate import migrate
from shared.auth import Authenticator
from shared.documents import GENERATIONS, LIVE, ORDERS, PARKED, collection
from shared.process import serve
from shared.telemetry import Readiness, new_registry
from shared.topics import CATEGORIES
from tests.projecting import Projection
from tests.relaying import published, relay, store
from tests.secured import Secured, read, refusal, start_secured_kafka, write
from tests.servers import Server, eventually, librdkafka

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
SECRET = "a-secret-of-the-tests-that-is-long-enough"
JSON = dict[str, Any]


async def ran(
    command: Sequence[str | Path], environment: dict[str, str], expected: int = 0
) -> tuple[str, str]:
    """Run a program that must end as expected; returns its two outputs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == expected, err.decode()
    return out.decode(), err.decode()


@dataclass(frozen=True, slots=True)
class Around:
    """The secured broker, with a command API whose events are published to it."""

    kafka: Secured
    postgres: str
    command: httpx.AsyncClient

    async def topics(self, expected: int = 0, **more: str) -> str:
        """Run the topics job; returns its log."""
        environment = {"POSTGRES_URL": self.postgres, **self.kafka.environment("topics"), **more}
        _, log = await ran((sys.executable, "-m", "services.command", "topics"), environment, expected)
        return log

    async def subscriber(
        self, program: str, *arguments: str | Path, more: Mapping[str, str], expected: int = 0
    ) -> tuple[str, str]:
        """Run an example consumer as the team that was granted access; returns its two outputs."""
        environment = {
            "KAFKA_USERNAME": "subscriber",
            "KAFKA_PASSWORD": self.kafka.secrets["KAFKA_SUBSCRIBER_PASSWORD"],
            "KAFKA_CA": str(self.kafka.authority),
            **more,
        }
        return await ran((program, *arguments), environment, expected)


def bearer(sub: str, *roles: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(SECRET, sub, *roles)}"}


@pytest_asyncio.fixture(scope="module")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    """The secured broker."""
    secured = await start_secured_kafka(tmp_path_factory.mktemp("secured") / "server")
    yield secured
    await secured.server.stop()


@pytest_asyncio.fixture(scope="module")
async def around(kafka: Secured, postgres: Server) -> AsyncIterator[Around]:
    """The topics and ACLs created by the job, and the command API."""
    import psycopg

    name = f"test_{uuid4().hex}"
    async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name}".encode())
    url = postgres.url.rsplit("/", 1)[0] + f"/{name}"
    await migrate(url)
    registry = new_registry()
    settings = ApiSettings(postgres_url=SecretStr(url), jwt_secret=SecretStr(SECRET))
    async with Authenticator.of(settings) as authenticator, EventStore(url, registry) as store:
        readiness = Readiness({"postgres": store.why_not_ready})
        app = application(settings, store, authenticator, readiness, registry)
        async with (
            serve(app, "127.0.0.1", 0) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            made = Around(kafka, url, client)
            await made.topics()
            yield made


async def projected(database: AsyncDatabase[JSON], order: str) -> bool:
    """Whether the order is a document of the live generation."""
    pointer = await database[GENERATIONS].find_one({"_id": LIVE})
    if pointer is None:
        return False
    return await database[collection(ORDERS, pointer["generation"])].find_one({"_id": order}) is not None


async def parked(database: AsyncDatabase[JSON], subject: str) -> bool:
    """Whether a stream is parked with its dead letters."""
    return await database[PARKED].find_one({"subject": subject}) is not None


async def ordered(around: Around, customer: str) -> str:
    """Place an order of a new customer; returns its id."""
    ada, grace = bearer(customer), bearer("grace", "staff")
    http = around.command
    done = [
        await http.put("/products/p1", json={"name": "Lamp", "price": "19.90"}, headers=grace),
        await http.put(
            f"/customers/{customer}", json={"name": customer, "email": "a@example.com"}, headers=ada
        ),
        await http.post("/orders", json={"items": [{"productId": "p1", "quantity": 2}]}, headers=ada),
    ]
    assert [answer.status_code for answer in done] == [202] * 3
    return str(done[-1].json()["orderId"])


async def test_events_are_published_and_projected_with_the_acls_of_the_job(
    around: Around, mongodb: Server, tmp_path: Path
) -> None:
    order = await ordered(around, "ada")
    # an order that starts with its cancellation cannot be projected
    await store(around.postgres, [("orders/none", 1)])
    database = f"test_{uuid4().hex[:20]}"
    environment = around.kafka.environment("projection") | {
        "MONGODB_URL": mongodb.url,
        "MONGODB_DATABASE": database,
        "PERSONAL_DATA_KEYS_URL": str(around.command.base_url),
        "PERSONAL_DATA_TOKEN": token(SECRET, "projection", "personal-data"),
        "PORT": str(free_ports(1)[0]),
    }
    projection = Projection(environment, tmp_path / "projection.log")
    client: AsyncMongoClient[JSON] = AsyncMongoClient(mongodb.url, tz_aware=True)
    relaying = relay(
        around.postgres, around.kafka.internal, tmp_path / "relay.log", **around.kafka.environment("relay")
    )
    async with client, relaying:
        await projection.start()
        try:
            await projection.ready()
            await eventually(lambda: projected(client[database], order), "the order is a document", 30)
            await eventually(lambda: parked(client[database], "none"), "the invalid order is parked", 30)
            letters = ("-m", "services.projection", "dead-letters", "show", "orders/none")
            output, _ = await ran((sys.executable, *letters), environment)
            assert "OrderCancelled" in output
        finally:
            await projection.stop()
            await client.drop_database(database)


async def all_published(around: Around, folder: Path) -> None:
    """Let a relay publish the stored events."""
    environment = around.kafka.environment("relay")
    async with relay(around.postgres, around.kafka.internal, folder / "relay.log", **environment):
        await published(around.postgres)


def delete_no_records(kafka: Secured, user: str) -> None:
    """Delete the records before the beginning of a partition, i.e. none; raises if access is denied."""
    admin = AdminClient(kafka.options(user))
    for done in admin.delete_records([TopicPartition("orders", 0, 0)], request_timeout=10).values():
        done.result()


async def refused(work: Callable[..., object], *arguments: Any, **more: Any) -> str:
    """The name of the error with which a call is refused."""
    with pytest.raises(KafkaException) as caught:
        await asyncio.to_thread(work, *arguments, **more)
    return str(caught.value.args[0].name())


async def test_a_subscribing_team_reads_the_events(around: Around, tmp_path: Path) -> None:
    order = await ordered(around, "bob")
    await all_published(around, tmp_path)
    assert order.encode() in await asyncio.to_thread(read, around.kafka, "orders")
    for topic in CATEGORIES:
        assert await asyncio.to_thread(read, around.kafka, topic)


async def test_the_example_consumer_signs_in(around: Around, tmp_path: Path) -> None:
    order = await ordered(around, "cleo")
    await all_published(around, tmp_path)
    command = (sys.executable, "docs/examples/subscriber.py", around.kafka.external)
    state = tmp_path / "state.json"
    granted = {
        "COMMAND_URL": str(around.command.base_url),
        "TOKEN": token(SECRET, "billing", "personal-data"),
    }
    shown, _ = await around.subscriber(*command, state, "--once", more=granted)
    assert "cleo" in json.loads(shown.splitlines()[-1])["customers"]
    assert json.loads(state.read_text())["orders"][order] == [1, "pending"]


async def test_kcat_signs_in(around: Around, tmp_path: Path) -> None:
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed (apt-get install kcat)")
    order = await ordered(around, "dora")
    await all_published(around, tmp_path)
    program, newer = "docs/examples/subscriber.kcat.sh", {"LIBRDKAFKA": str(librdkafka())}
    shown, _ = await around.subscriber(program, around.kafka.external, more=newer)
    assert f" {order} content-type=application/cloudevents+json,incarnation=" in shown
    _, errors = await around.subscriber(program, around.kafka.external, "orders.dlq", more=newer, expected=1)
    assert "authorization failed" in errors


@pytest.mark.parametrize("topic", ["orders.dlq", "customers.dlq", "products.dlq", "heartbeats"])
async def test_a_subscribing_team_cannot_read_other_topics(around: Around, topic: str) -> None:
    assert await refused(read, around.kafka, topic) == "TOPIC_AUTHORIZATION_FAILED"


@pytest.mark.parametrize("topic", ["orders", "orders.dlq"])
async def test_a_subscribing_team_cannot_write(around: Around, topic: str) -> None:
    assert await refused(write, around.kafka, topic) == "TOPIC_AUTHORIZATION_FAILED"


async def test_a_subscribing_team_cannot_join_the_groups_of_others(around: Around) -> None:
    for group in ("projection-1", "subscriber", "billing.orders"):
        options = {"group.id": group}
        assert await refused(read, around.kafka, "orders", **options) == "GROUP_AUTHORIZATION_FAILED"


async def test_our_own_processes_have_only_the_access_they_need(around: Around) -> None:
    kafka = around.kafka
    for topic in ("orders", "heartbeats"):
        assert await refused(write, kafka, topic, "projection") == "TOPIC_AUTHORIZATION_FAILED"
    assert await refused(write, kafka, "orders.dlq", "relay") == "TOPIC_AUTHORIZATION_FAILED"
    own_group = {"group.id": "projection-1"}
    assert await refused(read, kafka, "orders", "relay", **own_group) == "GROUP_AUTHORIZATION_FAILED"
    assert await refused(delete_no_records, kafka, "relay") == "TOPIC_AUTHORIZATION_FAILED"
    await asyncio.to_thread(delete_no_records, kafka, "republish")
    admin = AdminClient(kafka.options("relay"))
    deleting = admin.delete_topics(["orders"])["orders"]
    assert await refused(deleting.result) == "TOPIC_AUTHORIZATION_FAILED"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"sasl.password": "not-the-password-of-this-user"}, "invalid credentials"),
        ({"sasl.username": "nobody"}, "invalid credentials"),
        ({"sasl.mechanism": "PLAIN"}, "Unsupported SASL mechanism"),
        ({"security.protocol": "SSL"}, "Disconnected"),
        ({"security.protocol": "SASL_PLAINTEXT"}, "Disconnected"),
        ({"security.protocol": "PLAINTEXT"}, "Disconnected"),
        ({"ssl.ca.location": "another"}, "certificate verify failed"),
    ],
    ids=["password", "user", "PLAIN", "no user", "no TLS", "plaintext", "another authority"],
)
async def test_clients_without_valid_credentials_are_refused(
    around: Around, tmp_path: Path, changed: dict[str, str], reason: str
) -> None:
    options = around.kafka.options("subscriber") | changed
    if "ssl.ca.location" in changed:
        another = tmp_path / "ca.pem"
        another.write_text(issue(("kafka",), ("127.0.0.1",)).authority)
        options["ssl.ca.location"] = str(another)
    if not options["security.protocol"].startswith("SASL"):
        options = {name: value for name, value in options.items() if not name.startswith("sasl")}
    assert reason in await asyncio.to_thread(refusal, options)


async def test_the_topics_job_can_connect_only_internally(around: Around) -> None:
    options = cluster_options(around)
    assert AdminClient(options).list_topics(timeout=10).topics
    outside = {**options, "bootstrap.servers": around.kafka.external}
    assert "Unsupported SASL mechanism" in await asyncio.to_thread(refusal, outside)


async def test_the_topics_job_reports_why_it_cannot_connect(around: Around) -> None:
    wrong = {"KAFKA_SASL_PASSWORD": "not-the-password-of-the-job"}
    assert "Invalid username or password" in await around.topics(1, **wrong)


async def test_a_repeated_topics_job_changes_nothing_but_repairs_drift(around: Around) -> None:
    admin = AdminClient(cluster_options(around))

    def rule(user: str, name: str, operation: AclOperation, kind: AclPermissionType) -> AclBinding:
        return AclBinding(
            ResourceType.TOPIC, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, kind
        )

    before = await rules(admin)
    log = await around.topics()
    assert "granted" not in log
    assert "revoked" not in log
    allow, deny = AclPermissionType.ALLOW, AclPermissionType.DENY
    gone = rule("relay", "orders", AclOperation.WRITE, allow)
    theirs = {
        rule("eve", "payments", AclOperation.READ, allow),
        rule("mallory", "orders", AclOperation.READ, deny),
    }
    surplus = {
        rule("subscriber", "orders.dlq", AclOperation.READ, allow),
        rule("eve", "orders", AclOperation.READ, allow),
    }
    for done in admin.create_acls([*theirs, *surplus]).values():
        done.result()
    for removed in admin.delete_acls([exactly(gone)]).values():
        removed.result()
    await eventually(lambda: stand(admin, before - {gone} | theirs | surplus), "the drift is applied")
    await around.topics()
    await eventually(lambda: stand(admin, before | theirs), "the drift is repaired")
    users = json.dumps({"relay": "relay", "republish": "republish", "projection": "projection"})
    await around.topics(KAFKA_USERS=users)
    left = {each for each in before if each.principal != "User:subscriber"}
    await eventually(lambda: stand(admin, left | theirs), "the rights of a removed team are revoked")
    await around.topics()
    await eventually(lambda: stand(admin, before | theirs), "the rights are granted again")


def cluster_options(around: Around) -> dict[str, Any]:
    """The options with which the topics job connects."""
    environment = {name.lower(): value for name, value in around.kafka.environment("topics").items()}
    known = {name: value for name, value in environment.items() if name in KafkaSettings.model_fields}
    return confluent_options(KafkaSettings.model_validate(known))


async def stand(admin: AdminClient, wanted: set[AclBinding]) -> bool:
    """Whether the broker has exactly these ACLs."""
    return await rules(admin) == wanted


async def rules(admin: AdminClient) -> set[AclBinding]:
    """All ACLs of the broker."""
    return set(await asyncio.wrap_future(admin.describe_acls(EVERYTHING)))
