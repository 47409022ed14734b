"""How an event's data is encoded on the wire: JSON, camelCase; readers ignore unknown fields."""

from dataclasses import dataclass
from typing import Final, TypeVar, dataclass_transform

from pydantic import ConfigDict, with_config
from pydantic.alias_generators import to_camel

_WIRE: Final = ConfigDict(
    alias_generator=to_camel,
    validate_by_name=True,
    validate_by_alias=True,
    extra="ignore",
    use_attribute_docstrings=True,  # they become the descriptions in the published JSON Schemas
)
T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def recorded(cls: type[T]) -> type[T]:
    """Make a dataclass for recorded data (an event, or a part of one), which never changes.

    Only the type checker enforces this, not Python itself: creating a frozen instance takes three times as
    long, and each order has several.
    """
    return with_config(_WIRE)(dataclass(slots=True, kw_only=True)(cls))
