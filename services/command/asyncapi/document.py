"""The document: what FastStream generates for the broker and its publishers, plus what it leaves out.

FastStream gives one anonymous message per topic; here every event type and version has a message of its
own, whose `data` is the committed JSON Schema, and each channel says who may read it.
"""

from typing import Any, Final

import orjson
from faststream.kafka import KafkaBroker
from faststream.security import SASLScram512
from faststream.specification import AsyncAPI

from services.command.asyncapi.channels import Channel, channels
from services.command.asyncapi.messages import (
    dead_letter_message,
    dead_letter_name,
    event_message,
    heartbeat_message,
    message_name,
    schemas,
)
from shared.events import CURRENT
from shared.topics import CATEGORIES

VERSION: Final = "1.0.0"
"""The document's version: a breaking change, of which none is planned, increments the first number."""
_DESCRIPTION: Final = """The events of orders, customers and products, as CloudEvents in Kafka topics.

How to subscribe, drop duplicates, start over, read personal data and honour its erasure:
`docs/subscribing.md` in the repository. A published schema only changes compatibly; any other change is
published as a new version alongside it.
"""
_LICENSE: Final = {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}
_SERVER: Final = "kafka"


def document() -> dict[str, Any]:
    """The whole document as plain JSON values; its `$ref`s to schemas are relative to `shared/`."""
    described = channels()
    drawn = _by_faststream(described)
    drawn["info"]["tags"] = [{"name": name} for name in dict.fromkeys(c.tag for c in described)]
    drawn["defaultContentType"] = "application/cloudevents+json"
    drawn["servers"] = _servers(drawn["servers"]["development"])
    names = [channel.topic.name for channel in described]
    for part in ("channels", "operations"):  # which FastStream returns in no fixed order
        drawn[part] = {name: drawn[part][name] for name in names}
    for channel in described:
        drawn["channels"][channel.topic.name] |= channel.completion()
        drawn["channels"][channel.topic.name]["servers"] = [{"$ref": f"#/servers/{_SERVER}"}]
        drawn["operations"][channel.topic.name] |= _operation(channel)
    drawn["components"] |= {"messages": _messages(), "schemas": schemas()}
    return drawn


def committed_form() -> bytes:
    """The document as committed: indented JSON with a trailing newline."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _by_faststream(described: tuple[Channel, ...]) -> dict[str, Any]:
    broker = KafkaBroker(
        "{bootstrap}:{port}",
        security=SASLScram512(username="", password="", use_ssl=True),
        protocol_version="4.3",
        description="The cluster. Each team has a user and a password of its own.",
    )
    for channel in described:
        broker.publisher(channel.topic.name, title=channel.topic.name, description=channel.description)
    specification = AsyncAPI(
        broker,
        title="Orders: the topics",
        version=VERSION,
        description=_DESCRIPTION,
        schema_version="3.0.0",
        license=_LICENSE,
        identifier="urn:orders:topics",
    )
    drawn: dict[str, Any] = specification.to_specification().to_jsonable()
    return drawn


def _servers(drawn: dict[str, Any]) -> dict[str, Any]:
    drawn.pop("pathname")
    drawn["variables"] = {
        "bootstrap": {"default": "127.0.0.1", "description": "A broker's host name."},
        "port": {"default": "9092", "description": "9094 on the compose cluster, or its `KAFKA_PORT`."},
    }
    return {_SERVER: drawn}


def _operation(channel: Channel) -> dict[str, Any]:
    name = channel.topic.name
    return {
        "title": f"Publish to {name}",
        "summary": f"Read by: {channel.readers}",
        "tags": [{"name": channel.tag}],
        "messages": [{"$ref": f"#/channels/{name}/messages/{key}"} for key in channel.messages],
    }


def _messages() -> dict[str, Any]:
    events = {
        message_name(name, version): event_message(name, version)
        for name, event in CURRENT.items()
        for version in range(1, event.schema_version + 1)
    }
    dead = {dead_letter_name(topic): dead_letter_message(topic) for topic in CATEGORIES}
    return {**events, **dead, "Heartbeat": heartbeat_message()}
