"""How an event's data crosses a wire: JSON, camelCase; a reader ignores fields it does not know."""

from typing import Final

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

WIRE: Final = ConfigDict(
    alias_generator=to_camel,
    validate_by_name=True,
    validate_by_alias=True,
    extra="ignore",
    use_attribute_docstrings=True,  # they become the descriptions in the published JSON Schemas
)
