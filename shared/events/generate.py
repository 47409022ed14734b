"""Write the JSON Schemas of the events' data: `python -m shared.events.generate [--check]`.

No schema is lost: where the types yield another one than is committed, the committed one moves to
`schemas/superseded/`, and the tests keep comparing with it.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from shared.events import CURRENT, Event
from shared.schemas import SCHEMAS, SUPERSEDED, schema_name

DIALECT = (
    "http://json-schema.org/draft-07/schema#"  # what json-schema-diff and AsyncAPI read without a plug-in
)


class _Plain(GenerateJsonSchema):
    """Omits the titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def generated(event: type[Event]) -> bytes:
    """The JSON Schema of an event's data as its class defines it now, pretty-printed."""
    schema = TypeAdapter(event).json_schema(
        mode="serialization", ref_template="#/definitions/{model}", schema_generator=_Plain
    )
    definitions = schema.pop("$defs", {})
    document = {"$schema": DIALECT, **_in_order(schema)}
    if definitions:
        document["definitions"] = {name: _in_order(nested) for name, nested in definitions.items()}
    return json.dumps(document, indent=2).encode() + b"\n"


def _in_order(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema with what a reader looks for first at the top."""
    first = ("title", "description", "type", "required", "properties")
    return {key: schema[key] for key in first if key in schema} | schema


def stale() -> Iterator[tuple[type[Event], bytes]]:
    """The events whose committed schema differs from their class's, with the latter."""
    for event in CURRENT.values():
        wanted = generated(event)
        path = SCHEMAS / schema_name(event.__name__, event.schema_version)
        if not path.exists() or path.read_bytes() != wanted:
            yield event, wanted


def write(event: type[Event], wanted: bytes) -> None:
    """Write a new schema, keeping the previous one."""
    path = SCHEMAS / schema_name(event.__name__, event.schema_version)
    if path.exists():
        SUPERSEDED.mkdir(exist_ok=True)
        revision = len(list(SUPERSEDED.glob(f"{path.stem}.*.json"))) + 1
        path.rename(SUPERSEDED / f"{path.stem}.{revision}.json")
    path.write_bytes(wanted)


def main() -> int:
    """Write stale schemas; with `--check` only list them and return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m shared.events.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something is stale")
    check = parser.parse_args().check
    SCHEMAS.mkdir(exist_ok=True)
    found = list(stale())
    for event, wanted in found:
        print(f"{event.__name__} {event.schema_version}: {'stale' if check else 'written'}")
        if not check:
            write(event, wanted)
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
