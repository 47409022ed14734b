"""Stored events as records: partitioned like Kafka's own clients, valid envelopes, latest schema version."""

from typing import Any

import orjson
from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from services.command.relay.partitions import murmur2
from services.command.relay.records import Encoder, EventRow
from services.projection.records import read
from shared.events import OrderCancelled
from tests.projection_records import Rec


def encoder() -> Encoder:
    return Encoder("http://127.0.0.1:8001", {"orders": 12}, {"orders": "i1"})


def row(**changed: Any) -> EventRow:
    stored = EventRow(
        position=4711,
        event_id="01930000-0000-7000-8000-000000000000",
        category="orders",
        subject="o1",
        version=2,
        type="OrderCancelled",
        schema_version=1,
        data='{"reason": "Grüße", "orderId": "o1"}',
        actor="ada",
        traceparent=None,
        received_at="2026-11-23T10:00:00.100Z",
        occurred_at="2026-11-23T10:00:00.123Z",
        recorded_at="2026-11-23T10:00:00.123Z",
    )
    return stored._replace(**changed)


@given(st.binary(max_size=80))
def test_keys_are_partitioned_as_by_other_clients(key: bytes) -> None:
    assert murmur2(key) == reference(key)


def test_a_record_is_a_cloud_event_with_the_expected_headers() -> None:
    record = encoder()(row())
    envelope = orjson.loads(record.value)
    assert (envelope["version"], envelope["position"], envelope["subject"]) == (2, "4711", "o1")
    assert envelope["dataschema"] == "http://127.0.0.1:8001/schemas/OrderCancelled/1"
    assert "traceparent" not in envelope
    arrived = Rec("orders", record.partition, 0, 0, record.key, record.value, record.headers)
    assert read(arrived).event == OrderCancelled(order_id="o1", reason="Grüße")
    assert record.key == b"o1"
    assert dict(record.headers) == {
        "content-type": b"application/cloudevents+json",
        "incarnation": b"i1",
        "received-at": b"2026-11-23T10:00:00.100Z",
        "committed-at": b"2026-11-23T10:00:00.123Z",
    }


def test_an_event_of_a_newer_release_is_published_unchanged() -> None:
    record = encoder()(row(type="OrderReturned", schema_version=3, data='{"orderId": "o1"}'))
    published = orjson.loads(record.value)
    assert published["dataschema"].endswith("/schemas/OrderReturned/3")
    assert published["data"] == {"orderId": "o1"}
