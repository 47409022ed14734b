"""Old shapes of event data, brought to the newest when they are read. The store itself never changes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from shared.events import CURRENT

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]
"""Data of one schema version to data of the next."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""By event type and the schema version it starts from. A new version of an event adds one here."""


class UnknownEventError(Exception):
    """The store holds an event that this version of the service does not know."""


def upcast(
    event_type: str,
    schema_version: int,
    data: Data,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    newest: int | None = None,
) -> Data:
    """`data` in the newest shape of its type (`newest`, by default that of the code)."""
    if newest is None:
        if event_type not in CURRENT:
            raise UnknownEventError(event_type)
        newest = CURRENT[event_type].schema_version
    while schema_version < newest:
        data = upcasters[event_type, schema_version](data)
        schema_version += 1
    if schema_version > newest:
        raise UnknownEventError(f"{event_type} in version {schema_version}")
    return data
