"""Upcasts old event data to the newest schema version wherever it is read. What was written never changes.

The event store and the topics keep every schema version that was ever written to them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from shared.events import CURRENT

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]
"""Converts data of one schema version to the next."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""By event type and the schema version it starts from. A new version of an event adds one here."""


class UnknownEventError(ValueError):
    """An event of a type, or in a schema version, that this code does not know."""


def upcast(event_type: str, schema_version: int, data: Data) -> Data:
    """`data` in the newest schema version of its type.

    Raises `UnknownEventError`, and whatever an upcaster raises for data that is not of its schema version.
    """
    if event_type not in CURRENT:
        raise UnknownEventError(event_type)
    newest = CURRENT[event_type].schema_version
    for version in range(schema_version, newest):
        if (event_type, version) not in UPCASTERS:
            raise UnknownEventError(f"{event_type} in version {version}")
        data = UPCASTERS[event_type, version](data)
    if schema_version > newest:
        raise UnknownEventError(f"{event_type} in version {schema_version}")
    return data
