"""The messages: one per event type and version, one per dead-letter topic, and the heartbeat."""

from typing import Any, Final

import orjson

from services.command.asyncapi.examples import example
from shared.envelope import SOURCE, CloudEvent
from shared.events import CURRENT
from shared.schemas import schema_name
from shared.topics import (
    CLOUDEVENTS_JSON,
    COMMITTED_AT,
    CONTENT_TYPE,
    DEAD_LETTER_ERROR,
    DEAD_LETTER_OFFSET,
    DEAD_LETTER_PARTITION,
    DEAD_LETTER_TIME,
    DEAD_LETTER_TIMESTAMP,
    DEAD_LETTER_TOPIC,
    INCARNATION,
    RECEIVED_AT,
    TRACEPARENT,
)

MEDIA_TYPE: Final = CLOUDEVENTS_JSON.decode()
DRAFT_07: Final = "application/schema+json;version=draft-07"
_BINDING: Final = "0.5.0"
_TIME: Final = {"type": "string", "format": "date-time"}


def message_name(event_type: str, version: int) -> str:
    """The component name of an event's message."""
    return f"{event_type}.{version}"


def dead_letter_name(topic: str) -> str:
    """The component name of the message in the dead-letter topic of `topic`."""
    return f"DeadLetter.{topic}"


def event_message(event_type: str, version: int) -> dict[str, Any]:
    """An event as published; `data` follows the committed JSON Schema."""
    event = CURRENT[event_type]
    message: dict[str, Any] = {
        "name": event_type,
        "title": f"{event_type}, version {version}",
        "summary": (event.__doc__ or "").strip().partition("\n")[0],
        "contentType": MEDIA_TYPE,
        "headers": {"$ref": "#/components/schemas/Headers"},
        "payload": {"schemaFormat": DRAFT_07, "schema": _payload(event_type, version)},
        "bindings": _key("The aggregate's id, as in `subject`."),
    }
    if version == event.schema_version:
        message["examples"] = [example(event_type)]
    return message


def _payload(event_type: str, version: int) -> dict[str, Any]:
    narrowed = {
        "type": {"const": event_type},
        "dataschema": {"pattern": f"/schemas/{event_type}/{version}$"},
        "data": {"$ref": f"./events/schemas/{schema_name(event_type, version)}"},
    }
    return {"allOf": [{"$ref": "#/components/schemas/Envelope"}, {"properties": narrowed}]}


def dead_letter_message(topic: str) -> dict[str, Any]:
    """A record of `topic` that was set aside: arbitrary bytes."""
    return {
        "name": "DeadLetter",
        "title": f"A record of {topic} that was set aside",
        "summary": "The original bytes, key and headers, plus headers for its origin and the error.",
        "contentType": "application/octet-stream",
        "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"},
        "payload": {"description": f"The value exactly as read from `{topic}`."},
        "bindings": _key("The key exactly as read."),
    }


def heartbeat_message() -> dict[str, Any]:
    """Internal; described for completeness."""
    return {
        "name": "Heartbeat",
        "title": "A relay shard's heartbeat (internal)",
        "contentType": "application/json",
        "payload": {"type": "object"},
    }


def _key(description: str) -> dict[str, Any]:
    key = {"type": "string", "description": description}
    return {"kafka": {"key": key, "bindingVersion": _BINDING}}


def schemas() -> dict[str, Any]:
    """The component schemas that the messages share."""
    return {"Envelope": envelope(), "Headers": _headers(), "DeadLetterHeaders": _dead_letter_headers()}


def envelope() -> dict[str, Any]:
    """The CloudEvents envelope as written: `traceparent` is omitted rather than null."""
    written = CloudEvent.model_json_schema(mode="serialization")
    for field in written["properties"].values():
        field.pop("title")
    optional = written["properties"]["traceparent"]
    written["properties"]["traceparent"] = {"description": optional["description"], "type": "string"}
    written["properties"]["source"]["const"] = SOURCE
    written["properties"]["id"]["format"] = "uuid"
    written["properties"]["dataschema"]["format"] = "uri"
    written["required"].append("datacontenttype")
    written["title"] = "Envelope"
    return orjson.loads(orjson.dumps(written))  # type: ignore[no-any-return]  # a schema is an object


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "required": [CONTENT_TYPE, INCARNATION],
        "properties": {
            CONTENT_TYPE: {"const": MEDIA_TYPE},
            INCARNATION: {
                "type": "string",
                "description": "Changes when the topic is re-created or emptied: readers that keep their "
                "own offsets must then read that topic from the beginning again.",
            },
            RECEIVED_AT: _TIME | {"description": "When the command that caused the event was received."},
            COMMITTED_AT: _TIME | {"description": "When the event was stored."},
            TRACEPARENT: {
                "type": "string",
                "description": "W3C trace context of the publish span, when traces are collected.",
            },
        },
    }


def _dead_letter_headers() -> dict[str, Any]:
    described = {
        DEAD_LETTER_TOPIC: "The topic it was read from.",
        DEAD_LETTER_PARTITION: "The partition it was read from, a decimal number.",
        DEAD_LETTER_OFFSET: "Its offset there, a decimal number.",
        DEAD_LETTER_TIMESTAMP: "When it was published, in ms since 1970; absent from older dead letters.",
        DEAD_LETTER_ERROR: "Why it could not be used.",
        DEAD_LETTER_TIME: "When it was set aside (RFC 3339).",
    }
    fields = {name: {"type": "string", "description": text} for name, text in described.items()}
    required = [name for name in fields if name != DEAD_LETTER_TIMESTAMP]
    return {"type": "object", "required": required, "properties": fields}
