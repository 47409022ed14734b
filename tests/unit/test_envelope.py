"""Records are valid CloudEvents and are read back as they were written."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.projection.records import read
from shared.envelope import dump_data, encode, schema_url
from shared.events import Event, OrderCreated, OrderItem, OrderShipped
from shared.money import Money
from shared.times import parse_rfc3339, rfc3339
from tests.projection_records import Rec

ORDER = OrderCreated(
    order_id="0199",
    customer_id="ada",
    items=(OrderItem(product_id="p1", product_name="Lamp", quantity=2, price=Money(1990)),),
    total=Money(3980),
)


def record(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "event_id": "e1",
        "event_type": "OrderCreated",
        "subject": "0199",
        "time": datetime(2026, 11, 23, 10, 0, 0, 123_999, tzinfo=UTC),
        "dataschema": schema_url("http://127.0.0.1:8001/", "OrderCreated", 1),
        "version": 1,
        "position": 4711,
        "actor": "ada",
        "traceparent": None,
        "data": dump_data(ORDER),
    }
    return encode(**(fields | changes))


def read_back(value: bytes) -> Event:
    """The event that the projection reads from such a record."""
    event: Event = read(Rec("orders", 0, 0, 0, b"0199", value, [])).event
    return event


def test_a_record_contains_the_fields_of_the_contract() -> None:
    assert orjson.loads(record()) == {
        "specversion": "1.0",
        "id": "e1",
        "source": "/services/command",
        "type": "OrderCreated",
        "subject": "0199",
        "time": "2026-11-23T10:00:00.123Z",
        "datacontenttype": "application/json",
        "dataschema": "http://127.0.0.1:8001/schemas/OrderCreated/1",
        "version": 1,
        "position": "4711",
        "actor": "ada",
        "data": {
            "orderId": "0199",
            "customerId": "ada",
            "items": [{"productId": "p1", "productName": "Lamp", "quantity": 2, "price": "19.90"}],
            "total": "39.80",
        },
    }


def test_an_event_survives_a_round_trip_through_a_record() -> None:
    assert read_back(record()) == ORDER


def test_unknown_fields_are_ignored() -> None:
    shipped = {"orderId": "0199", "trackingNumber": "T1", "carrier": "new"}
    event = read_back(record(event_type="OrderShipped", data=shipped))
    assert event == OrderShipped(order_id="0199", tracking_number="T1")


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        record(version=0),
        record(version="1"),
        record(version=True),
        record(subject=""),
        record(actor=None),
    ],
)
def test_an_invalid_envelope_is_a_value_error(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"validation error|\(char \d\)"):
        read_back(broken)


def test_invalid_event_data_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="validation error"):
        read_back(record(data={"orderId": 7}))
    item = {"productId": "p", "productName": "P", "quantity": "2", "price": "1.00"}
    order = {"orderId": "0199", "customerId": "ada", "items": [item], "total": "2.00"}
    with pytest.raises(ValueError, match="validation error"):
        read_back(record(event_type="OrderCreated", data=order))


@pytest.mark.parametrize("event_type", ["OrderEaten", "ProductDelisted"])
def test_an_event_that_does_not_belong_to_its_topic_is_a_value_error(event_type: str) -> None:
    with pytest.raises(ValueError, match="is not an event type of this topic"):
        read_back(record(event_type=event_type))


@pytest.mark.parametrize("version", [0, 2])
def test_an_unknown_schema_version_is_a_value_error(version: int) -> None:
    unknown = schema_url("http://127.0.0.1:8001", "OrderCreated", version)
    with pytest.raises(ValueError, match=f"OrderCreated in version {version}"):
        read_back(record(dataschema=unknown))


def test_times_are_utc_in_whole_milliseconds() -> None:
    assert rfc3339(parse_rfc3339("2026-11-23T12:00:00.1239+02:00")) == "2026-11-23T10:00:00.123Z"
    with pytest.raises(ValueError, match="offset"):
        parse_rfc3339("2026-11-23T12:00:00")
