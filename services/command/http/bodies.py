"""The request bodies. Unknown fields are rejected."""

from typing import Annotated, Final

import email_validator
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from shared.auth import ID_PATTERN, ID_RULE, valid_id
from shared.money import Money

# a syntactically valid address is enough: whether example.test exists is none of our business
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_LOWEST_PRICE: Final = Money(1)
_HIGHEST_PRICE: Final = Money(99_999_999)


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


def _email(text: str) -> str:
    email_validator.validate_email(text, check_deliverability=False, strict=True)
    return text


def _id(text: str) -> str:
    if not valid_id(text):
        raise ValueError(ID_RULE)
    return text


def _price(amount: Money) -> Money:
    if not _LOWEST_PRICE <= amount <= _HIGHEST_PRICE:
        raise ValueError(f"must be from {_LOWEST_PRICE} to {_HIGHEST_PRICE}")
    return amount


_NO_NUL: Final[JsonDict] = {"pattern": "^[^\\u0000]*$"}
Name = Annotated[
    str,
    Field(min_length=1, max_length=200, examples=["Lamp"], json_schema_extra=_NO_NUL),
    AfterValidator(_storable),
]
Email = Annotated[
    str,
    Field(
        max_length=254,
        examples=["ada@example.com"],
        description="The domain needs at least two labels; no quoted local part, no address literal.",
        json_schema_extra={"format": "email"},
    ),
    AfterValidator(_storable),
    AfterValidator(_email),
]
Id = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        examples=["lamp"],
        json_schema_extra={"pattern": ID_PATTERN},
    ),
    AfterValidator(_id),
]
Price = Annotated[
    Money,
    AfterValidator(_price),
    WithJsonSchema({"type": "string", "pattern": r"^(?!0\.00$)(0|[1-9][0-9]{0,5})\.[0-9]{2}$"}),
]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=500, examples=["changed my mind"], json_schema_extra=_NO_NUL),
    AfterValidator(_storable),
]
Tracking = Annotated[
    str,
    Field(min_length=1, max_length=100, examples=["TRACK-1"], json_schema_extra=_NO_NUL),
    AfterValidator(_storable),
]


class Body(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, frozen=True, validate_by_name=False
    )

    def names(self) -> int:
        """The number of names in its JSON: every field is required, and nothing else is allowed."""
        return len(type(self).model_fields)


class CustomerDetails(Body):
    """A customer's name and email address, both personal data."""

    name: Name
    email: Email


class ProductOffer(Body):
    """A product's name and unit price."""

    name: Name
    price: Price


class OrderLine(Body):
    """A quantity of one product."""

    product_id: Id
    quantity: Annotated[int, Field(ge=1, le=1000)]


def _each_once(lines: list[OrderLine]) -> list[OrderLine]:
    if len({line.product_id for line in lines}) < len(lines):
        raise ValueError("each product may appear in one item only")
    return lines


class NewOrder(Body):
    """What a customer orders, at the products' current prices."""

    items: Annotated[
        list[OrderLine],
        Field(min_length=1, max_length=100, description="Each product may appear in one item only."),
        AfterValidator(_each_once),
    ]

    def names(self) -> int:
        """`items`, and two names per line."""
        return 1 + 2 * len(self.items)


class Cancellation(Body):
    """Why an order is cancelled; not personal data."""

    reason: Reason


class Shipment(Body):
    """How a shipped order can be tracked."""

    tracking_number: Tracking


class KeyRequest(Body):
    """The customers whose keys are requested."""

    customer_ids: Annotated[list[Id], Field(max_length=1000)]
