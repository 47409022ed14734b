"""An example of each event as published, made by the code that publishes the real ones."""

from datetime import UTC, datetime
from typing import Any, Final

import orjson

from shared.envelope import dump_data, encode, schema_url
from shared.events import (
    CURRENT,
    CustomerDetailsChanged,
    CustomerErased,
    CustomerRegistered,
    Event,
    OrderCancelled,
    OrderCreated,
    OrderItem,
    OrderShipped,
    ProductDelisted,
    ProductListed,
    ProductRenamed,
    ProductRepriced,
)
from shared.money import Money
from shared.times import rfc3339
from shared.topics import CLOUDEVENTS_JSON, COMMITTED_AT, CONTENT_TYPE, INCARNATION, RECEIVED_AT

_TIME: Final = datetime(2026, 11, 23, 10, tzinfo=UTC)
_ORDER: Final = "019ab02f-5a00-7c1e-9d3c-6f1e8a4b2c70"
# Two values that were really encrypted, under a key that no longer exists.
_NAME: Final = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..I2ngrNoDWX2UUsG7.B3OFnBRB9iNsxT-g.WLNUI7-XtdtKEgcWDchaEQ"
)
_EMAIL: Final = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..WF3lXBcLabJSw2LR.ODMdf8cLJeq7WRxYjyzM.G043TkLrnJBuGSfNcsGQxQ"
)
_EVENTS: Final[tuple[Event, ...]] = (
    OrderCreated(
        order_id=_ORDER,
        customer_id="ada",
        items=(OrderItem(product_id="lamp", product_name="Lamp", quantity=2, price=Money.parse("19.90")),),
        total=Money.parse("39.80"),
    ),
    OrderCancelled(order_id=_ORDER, reason="ordered twice"),
    OrderShipped(order_id=_ORDER, tracking_number="1Z999AA10123456784"),
    CustomerRegistered(customer_id="ada", name=_NAME, email=_EMAIL),
    CustomerDetailsChanged(customer_id="ada", name=_NAME, email=_EMAIL),
    CustomerErased(customer_id="ada"),
    ProductListed(product_id="lamp", name="Lamp", price=Money.parse("19.90")),
    ProductRenamed(product_id="lamp", name="Desk lamp"),
    ProductRepriced(product_id="lamp", price=Money.parse("24.90")),
    ProductDelisted(product_id="lamp"),
)
_SUBJECTS: Final = {"Order": _ORDER, "Customer": "ada", "Product": "lamp"}


def example(event_type: str) -> dict[str, Any]:
    """Headers and payload of an example of the newest version of `event_type`."""
    event = next(event for event in _EVENTS if type(event) is CURRENT[event_type])
    subject = next(id for prefix, id in _SUBJECTS.items() if event_type.startswith(prefix))
    first = event_type in {"OrderCreated", "CustomerRegistered", "ProductListed"}
    value = encode(
        event_id="6f9619ff-8b86-4d01-b42d-00c04fc964ff",
        event_type=event_type,
        subject=subject,
        time=_TIME,
        dataschema=schema_url("http://127.0.0.1:8001", event_type, event.schema_version),
        version=1 if first else 2,
        position=4711,
        actor="ada",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        data=dump_data(event),
    )
    headers = {
        CONTENT_TYPE: CLOUDEVENTS_JSON.decode(),
        INCARNATION: "019ab02e-0000-7000-8000-000000000000",
        RECEIVED_AT: rfc3339(_TIME),
        COMMITTED_AT: rfc3339(_TIME),
    }
    return {"name": f"{event_type}Example", "headers": headers, "payload": orjson.loads(value)}
