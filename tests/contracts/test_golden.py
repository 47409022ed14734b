"""Golden events of every schema version: each is still readable and conforms to its schema.

One file per event type and schema version, never changed afterwards; a new version adds a new file.
"""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from services.projection.records import read
from shared.envelope import dump_data
from shared.events import CURRENT, EVENTS
from shared.events.upcasting import upcast
from shared.schemas import SCHEMAS, schema
from tests.projection_records import Rec

GOLDEN = Path(__file__).parent / "golden"
WRITTEN = sorted(path.stem for path in SCHEMAS.glob("*.json"))


def test_every_schema_version_has_a_golden_event() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == WRITTEN


def test_every_version_up_to_the_newest_has_a_schema() -> None:
    wanted = [
        f"{name}.{version}"
        for name, event in CURRENT.items()
        for version in range(1, event.schema_version + 1)
    ]
    assert sorted(wanted) == WRITTEN


@pytest.mark.parametrize("name", WRITTEN)
def test_golden_events_are_still_readable(name: str) -> None:
    event_type, version = name.split(".")
    content = (GOLDEN / f"{name}.json").read_bytes()
    written = json.loads(content)
    assert written["dataschema"].endswith(f"/schemas/{event_type}/{version}")
    topic = next(topic for topic, events in EVENTS.items() if event_type in events)
    event = read(Rec(topic, 0, 0, 0, written["subject"].encode(), content, [])).event
    assert type(event) is CURRENT[event_type]
    if int(version) == event.schema_version:
        assert dump_data(event) == written["data"]


@pytest.mark.parametrize("name", WRITTEN)
def test_golden_events_conform_to_their_schemas_before_and_after_upcasting(name: str) -> None:
    event_type, version = name.split(".")
    data = json.loads((GOLDEN / f"{name}.json").read_bytes())["data"]
    newest = CURRENT[event_type].schema_version
    for shape, number in ((data, int(version)), (upcast(event_type, int(version), data), newest)):
        described = schema(event_type, number)
        assert described is not None
        jsonschema_rs.validator_for(json.loads(described)).validate(shape)
