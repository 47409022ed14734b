"""A published schema only changes compatibly: old readers read new data, and new readers old data.

json-schema-diff checks every pair of schemas that an event type ever had.
"""

import json
from itertools import combinations
from typing import Any

import pytest

from shared.events import CURRENT
from shared.events.upcasting import UPCASTERS
from shared.schemas import SCHEMAS, SUPERSEDED
from tests.contracts.conftest import Node, git

Schema = dict[str, Any]

WHAT_TO_DO = """
Subscribers keep published events, and history is read forever. Either make the change compatible (a field
that is added or removed is optional, nothing else changes), or leave the published version as is and
add a new one: raise `schema_version` of the event's class, add an upcaster from the old version to
shared/events/upcasting.py, run `python -m shared.events.generate`, and add an example of the new
version to tests/contracts/golden.
"""


def _published() -> dict[str, list[tuple[int, str, Schema]]]:
    """Every schema that each event type ever had: the version, the file, the schema."""
    found: dict[str, list[tuple[int, str, Schema]]] = {name: [] for name in CURRENT}
    for path in sorted([*SCHEMAS.glob("*.json"), *SUPERSEDED.glob("*.json")]):
        event_type, version, *_ = path.stem.split(".")
        found[event_type].append((int(version), path.name, json.loads(path.read_bytes())))
    return found


def complaints(node: Node, pairs: list[tuple[Schema, Schema]]) -> list[list[str]]:
    """The incompatibilities of each pair."""
    done = node("schemas-compatible.mjs", input=json.dumps([{"old": old, "new": new} for old, new in pairs]))
    assert done.returncode == 0, done.stderr
    answered: list[list[str]] = json.loads(done.stdout)
    return answered


@pytest.mark.parametrize("event_type", CURRENT)
def test_all_schemas_of_an_event_are_compatible_with_each_other(node: Node, event_type: str) -> None:
    pairs = [
        (old, new)
        for old, new in combinations(sorted(_published()[event_type], key=lambda each: each[0]), 2)
        # the only exception: a new version, if upcasters lead from the old one to it
        if not all((event_type, step) in UPCASTERS for step in range(old[0], new[0])) or old[0] == new[0]
    ]
    found = complaints(node, [(old[2], new[2]) for old, new in pairs])
    wrong = [
        f"{old[1]} and {new[1]}: {line}"
        for (old, new), lines in zip(pairs, found, strict=True)
        for line in lines
    ]
    assert not wrong, "\n".join(wrong) + WHAT_TO_DO


def test_no_published_schema_is_lost() -> None:
    """Every schema that was ever committed still exists, either current or superseded."""
    blobs = {
        line.split()[3]
        for line in git("log", "--format=", "--raw", "--no-abbrev", "--no-renames", "--", str(SCHEMAS))
        .decode()
        .splitlines()
    } - {"0" * 40}
    standing = {path.read_bytes() for path in SCHEMAS.rglob("*.json")}
    lost = [
        json.loads(once)["title"] for blob in blobs if (once := git("cat-file", "blob", blob)) not in standing
    ]
    assert not lost, f"no longer in {SCHEMAS.name}/ or {SUPERSEDED.name}/: {lost}" + WHAT_TO_DO


def _lamp(**fields: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["id", "price"],
        "properties": {
            "id": {"type": "string"},
            "price": {"type": "string", "pattern": "^[0-9]+$"},
            "parts": {"type": "array", "items": {"$ref": "#/definitions/Part"}},
            **fields,
        },
        "definitions": {
            "Part": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
        },
    }


def _without(name: str) -> Schema:
    lamp = _lamp()
    del lamp["properties"][name]
    lamp["required"] = [each for each in lamp["required"] if each != name]
    return lamp


def _part(part: Schema) -> Schema:
    return _lamp() | {"definitions": {"Part": part}}


COMPATIBLE: dict[str, Schema] = {
    "another description": _lamp() | {"description": "It shines."},
    "a new optional field": _lamp(colour={"type": "string"}),
    "a removed optional field": _without("parts"),
    "a new nested optional field": _part(
        {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "weight": {"type": "integer"}},
        }
    ),
}
INCOMPATIBLE: dict[str, Schema] = {
    "a new required field": _lamp(colour={"type": "string"}) | {"required": ["id", "price", "colour"]},
    "a removed required field": _without("price"),
    "a required field that became optional": _lamp() | {"required": ["id"]},
    "an optional field that became required": _lamp() | {"required": ["id", "price", "parts"]},
    "another type": _lamp(id={"type": "integer"}),
    "a wider type": _lamp(id={"type": ["string", "null"]}),
    "a new bound": _lamp(id={"type": "string", "minLength": 1}),
    "another pattern": _lamp(price={"type": "string", "pattern": "^[0-9.]+$"}),
    "a removed pattern": _lamp(price={"type": "string"}),
    "another nested type": _part(
        {"type": "object", "required": ["name"], "properties": {"name": {"type": "integer"}}}
    ),
    "a renamed nested field": _part(
        {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
    ),
}


@pytest.mark.parametrize("change", COMPATIBLE)
def test_a_compatible_change_is_accepted(node: Node, change: str) -> None:
    assert complaints(node, [(_lamp(), COMPATIBLE[change])]) == [[]]


def test_an_incompatible_change_is_found(node: Node) -> None:
    found = complaints(node, [(_lamp(), schema) for schema in INCOMPATIBLE.values()])
    assert [change for change, lines in zip(INCOMPATIBLE, found, strict=True) if not lines] == []


def test_a_field_that_returns_with_another_type_is_found(node: Node) -> None:
    """Each step is compatible, but the first and the last are not, hence the check of every pair."""
    steps = [_lamp(colour={"type": "string"}), _lamp(), _lamp(colour={"type": "integer"})]
    first, second, across = complaints(node, list(combinations(steps, 2)))
    assert (first, across) == ([], [])
    assert second
