"""The envelope of events: CloudEvents 1.0, structured JSON mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from shared.events import CURRENT, Event
from shared.times import rfc3339

SOURCE: Final = "/services/command"
_ADAPTERS: Final[dict[str, TypeAdapter[Event]]] = {
    name: TypeAdapter(event) for name, event in CURRENT.items()
}

_VALIDATE: Final[dict[str, Callable[[object], Event]]] = {
    # bypasses the adapter, which checks a dozen options each time
    name: adapter.validator.validate_python
    for name, adapter in _ADAPTERS.items()
}


def dump_data(event: Event) -> dict[str, Any]:
    """An event's data as plain JSON values with camelCase names, money as decimal strings."""
    dumped: dict[str, Any] = _ADAPTERS[type(event).__name__].dump_python(event, mode="json", by_alias=True)
    return dumped


def dump_data_json(event: Event) -> bytes:
    """The same as JSON text in UTF-8."""
    return _ADAPTERS[type(event).__name__].serializer.to_json(event, by_alias=True)


def load_data(event_type: str, data: object) -> Event:
    """Load an event's data, in its newest schema version.

    Raises `KeyError` for an unknown type and `pydantic.ValidationError` (a `ValueError`) for invalid data.
    """
    return _VALIDATE[event_type](data)


def schema_url(base_url: str, event_type: str, schema_version: int) -> str:
    """Where the JSON Schema of an event's data is served: the envelope's absolute `dataschema`."""
    return f"{base_url.rstrip('/')}/schemas/{event_type}/{schema_version}"


@lru_cache
def _schema_version(dataschema: str) -> int:
    return int(dataschema.rsplit("/", 1)[-1])


class CloudEvent(BaseModel):
    """One event as stored in a topic's record. `version` counts 1, 2, 3 … per `subject` without gaps."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    specversion: Literal["1.0"]
    id: str
    """A UUID that stays the same however often the event is delivered."""
    source: str
    """Who published it."""
    type: str
    """What happened: the name of a class in `shared.events`."""
    subject: str = Field(min_length=1)
    """The aggregate's id, which is also the record's key."""
    time: AwareDatetime
    """When it happened, never before the aggregate's previous event."""
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    """Where the JSON Schema of `data` is served; it ends in the type and the schema version."""
    version: int = Field(ge=1, le=2**31 - 1, strict=True)
    """Counts 1, 2, 3 … per `subject` without gaps."""
    position: str = Field(pattern=r"^[0-9]+$")
    """The position in the event store: a decimal number that grows across all aggregates."""
    actor: str
    """Who caused it: the `sub` of a token."""
    traceparent: str | None = None
    """The W3C trace context of the request that caused it."""
    data: dict[str, Any]
    """What happened in detail, following the schema that `dataschema` names."""

    @property
    def schema_version(self) -> int:
        """The last segment of `dataschema`; `ValueError` if that is not a number."""
        return _schema_version(self.dataschema)


def encode(
    *,
    event_id: str,
    event_type: str,
    subject: str,
    time: datetime | str,
    dataschema: str,
    version: int,
    position: int,
    actor: str,
    traceparent: str | None,
    data: object,
) -> bytes:
    """A record's value. `data` is plain JSON values, `time` an aware datetime or the `rfc3339` of one."""
    envelope: dict[str, object] = {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": event_type,
        "subject": subject,
        "time": time if isinstance(time, str) else rfc3339(time),
        "datacontenttype": "application/json",
        "dataschema": dataschema,
        "version": version,
        "position": str(position),
        "actor": actor,
    }
    if traceparent is not None:
        envelope["traceparent"] = traceparent
    envelope["data"] = data
    return orjson.dumps(envelope)
