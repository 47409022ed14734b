"""Money: exact amounts in minor units (cents) in memory, decimal strings with two digits on the wire."""

import re
from functools import lru_cache
from typing import Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_PATTERN = r"^(0|[1-9][0-9]*)\.[0-9]{2}$"
_AMOUNT = re.compile(_PATTERN)
_LONGEST: Final = 20
"""Far more money than there is; longer strings are not even converted."""
_MOST_REMEMBERED: Final = 16_384
"""The prices of a catalogue are parsed and formatted again and again."""


class Money(int):
    """An amount in minor units (cents). `Money.parse("19.90") == 1990`; `str(Money(1990)) == "19.90"`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Money":
        """Read a decimal string with exactly two digits after the point; `ValueError` for anything else."""
        if len(text) > _LONGEST or not _AMOUNT.match(text) or text.endswith("\n"):
            raise ValueError("an amount is a decimal string with two digits, as in 19.90")
        return cls(text[:-3] + text[-2:])

    def __str__(self) -> str:
        return _text(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        parse = core_schema.no_info_after_validator_function(_parsed, core_schema.str_schema(strict=True))
        return core_schema.json_or_python_schema(
            json_schema=parse,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), parse]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                _text, return_schema=core_schema.str_schema()
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": _PATTERN, "examples": ["19.90"]}


@lru_cache(_MOST_REMEMBERED)
def _parsed(text: str) -> Money:
    return Money.parse(text)


@lru_cache(_MOST_REMEMBERED)
def _text(cents: int) -> str:
    units, rest = divmod(cents, 100)
    return f"{units}.{rest:02d}"
