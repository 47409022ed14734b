"""The published events: every event type, from the HTTP request to the record in Kafka."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx
import jsonschema_rs
import orjson
import pytest
import pytest_asyncio
from joserfc import jwe
from joserfc.jwk import OctKey

from shared.events import CURRENT
from shared.schemas import asyncapi_document, schema
from shared.times import parse_rfc3339
from shared.topics import CATEGORIES
from tests.command_service import ADA, CUSTOMER, LAMP, LINE, STAFF, Sent, bearer, command_service
from tests.relaying import published, records, relay, remake_topics
from tests.servers import Server

pytestmark = pytest.mark.integration
SCHEMAS = "https://schemas.example/of/orders"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ALWAYS = {
    "specversion": "1.0",
    "source": "/services/command",
    "datacontenttype": "application/json",
    "traceparent": TRACE,
}
OWN = {"id", "type", "subject", "time", "dataschema", "version", "position", "actor", "data"}
COUNTESS = {"name": "Countess", "email": "countess@example.com"}
ITEM = {"productId": "lamp", "productName": "Lantern", "quantity": 3, "price": "24.50"}
CREATED = {"customerId": "ada", "items": [ITEM], "total": "73.50"}


@dataclass(frozen=True)
class Record:
    """A record with its value and headers decoded."""

    topic: str
    key: bytes
    headers: list[tuple[str, str]]
    event: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The outcome of all kinds of commands: the records, two orders, and Ada's key before its deletion."""

    records: list[Record]
    shipped: str
    cancelled: str
    key: OctKey

    def streams(self) -> dict[str, list[Record]]:
        """The records of each aggregate, in the order of its partition."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(f"{record.topic}/{record.event['subject']}", []).append(record)
        return found

    def summary(self, record: Record) -> tuple[int, str, str, dict[str, Any]]:
        """An event's version, type, actor and decrypted data."""
        event = record.event
        personal = event["data"].keys() & ADA.keys() if record.topic == "customers" else ()
        clear = {name: self._decrypted(event["data"][name]) for name in personal}
        return event["version"], event["type"], event["actor"], event["data"] | clear

    def _decrypted(self, text: str) -> str:
        opened = jwe.decrypt_compact(text, self.key)
        assert opened.protected == {"alg": "dir", "enc": "A256GCM"}
        assert opened.plaintext is not None
        return opened.plaintext.decode()


async def sent(api: httpx.AsyncClient, method: str, path: str, caller: dict[str, str], body: Any) -> Any:
    answer = await Sent(method, path, body, caller).to(api, traceparent=TRACE)
    assert answer.is_success, answer.text
    return answer.json()


@pytest_asyncio.fixture(scope="module")
async def run(shared_postgres_url: str, kafka: Server, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run every command, with a relay alongside."""
    await remake_topics(kafka.url)
    log = tmp_path_factory.mktemp("relay") / "relay.log"
    async with (
        command_service(shared_postgres_url) as api,
        relay(shared_postgres_url, kafka.url, log, SCHEMA_BASE_URL=f"{SCHEMAS}/"),
    ):
        await sent(api, "PUT", "/products/lamp", STAFF, LAMP)
        await sent(api, "PUT", "/products/lamp", STAFF, {"name": "Lantern", "price": "24.50"})
        await sent(api, "PUT", "/customers/ada", CUSTOMER, ADA)
        await sent(api, "PUT", "/customers/ada", STAFF, COUNTESS)
        order = {"items": [{**LINE, "quantity": 3}]}
        shipped, cancelled = [
            (await sent(api, "POST", "/orders", CUSTOMER, order))["orderId"] for _ in range(2)
        ]
        await sent(api, "POST", f"/orders/{shipped}/ship", STAFF, {"trackingNumber": "T-1"})
        await sent(api, "POST", f"/orders/{cancelled}/cancel", CUSTOMER, {"reason": "zu spät"})
        await sent(api, "DELETE", "/products/lamp", STAFF, None)
        reader = bearer("reader", "personal-data")
        keys = await sent(api, "POST", "/personal-data-keys", reader, {"customerIds": ["ada"]})
        await sent(api, "DELETE", "/customers/ada", CUSTOMER, None)
        await published(shared_postgres_url)
    found = [
        Record(
            each.topic,
            each.key,
            [(name, value.decode()) for name, value in each.headers],
            orjson.loads(each.value),
        )
        for each in await records(kafka.url, CATEGORIES)
    ]
    return Run(found, shipped, cancelled, OctKey.import_key(keys["keys"]["ada"]))


def strictly(name: str) -> jsonschema_rs.Validator:
    """A validator for a schema in the AsyncAPI document that allows no additional properties."""
    described = orjson.loads(asyncapi_document())["components"]["schemas"][name]
    return jsonschema_rs.validator_for({**described, "additionalProperties": False}, validate_formats=True)


def test_each_event_describes_what_its_command_did(run: Run) -> None:
    lamp, ada = {"productId": "lamp"}, {"customerId": "ada"}
    shipped, cancelled = {"orderId": run.shipped}, {"orderId": run.cancelled}
    assert {stream: [run.summary(each) for each in found] for stream, found in run.streams().items()} == {
        "products/lamp": [
            (1, "ProductListed", "grace", lamp | LAMP),
            (2, "ProductRenamed", "grace", lamp | {"name": "Lantern"}),
            (3, "ProductRepriced", "grace", lamp | {"price": "24.50"}),
            (4, "ProductDelisted", "grace", lamp),
        ],
        "customers/ada": [
            (1, "CustomerRegistered", "ada", ada | ADA),
            (2, "CustomerDetailsChanged", "grace", ada | COUNTESS),
            (3, "CustomerErased", "ada", ada),
        ],
        f"orders/{run.shipped}": [
            (1, "OrderCreated", "ada", shipped | CREATED),
            (2, "OrderShipped", "grace", shipped | {"trackingNumber": "T-1"}),
        ],
        f"orders/{run.cancelled}": [
            (1, "OrderCreated", "ada", cancelled | CREATED),
            (2, "OrderCancelled", "ada", cancelled | {"reason": "zu spät"}),
        ],
    }


def test_every_event_type_was_published(run: Run) -> None:
    assert {record.event["type"] for record in run.records} == CURRENT.keys()


def test_a_record_has_its_subject_as_key_and_the_documented_headers(run: Run) -> None:
    described = strictly("Headers")
    for record in run.records:
        headers = dict(record.headers)
        assert record.key.decode() == record.event["subject"]
        assert len(headers) == len(record.headers)
        described.validate(headers)
        assert headers["content-type"] == "application/cloudevents+json"
        assert headers["received-at"] <= headers["committed-at"]
    incarnations = {(record.topic, dict(record.headers)["incarnation"]) for record in run.records}
    assert len(incarnations) == len(CATEGORIES)


def test_a_value_is_the_envelope_defined_in_the_contract(run: Run) -> None:
    described = strictly("Envelope")
    for record in run.records:
        event = record.event
        described.validate(event)
        assert event.keys() == ALWAYS.keys() | OWN
        assert ALWAYS.items() <= event.items()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
    assert len({UUID(record.event["id"]) for record in run.records}) == len(run.records)
    for stream in run.streams().values():
        for one, next_one in pairwise(stream):
            assert parse_rfc3339(one.event["time"]) <= parse_rfc3339(next_one.event["time"])
            assert int(one.event["position"]) < int(next_one.event["position"])


def test_the_data_conforms_to_the_schema_at_its_dataschema_url(run: Run) -> None:
    for record in run.records:
        named = re.fullmatch(rf"{SCHEMAS}/schemas/([A-Za-z]+)/([1-9][0-9]*)", record.event["dataschema"])
        assert named is not None, record.event["dataschema"]
        assert named[1] == record.event["type"]
        described = schema(named[1], int(named[2]))
        assert described is not None
        jsonschema_rs.validator_for(orjson.loads(described)).validate(record.event["data"])
