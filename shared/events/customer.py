"""What happens to a customer.

`name` and `email` are personal data. In the command service's domain they are in clear text; in the event
store, snapshots, outbox, topics and dead letters each is a JWE compact string (`dir`, `A256GCM`) under a key
of that customer.
"""

from typing import Annotated, ClassVar, Final, TypeAlias

from pydantic import WithJsonSchema

from shared.events.wire import recorded

PERSONAL_FIELDS: Final = ("name", "email")

Personal: TypeAlias = Annotated[
    str,
    # The form on the wire; a JWE whose algorithm is `dir` has no encrypted key between its first two dots.
    WithJsonSchema(
        {
            "type": "string",
            "contentMediaType": "application/jose",
            "pattern": r"^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+$",
        }
    ),
]
"""Personal data: clear text in the domain, a JWE compact string wherever it is stored or sent."""


@recorded
class CustomerRegistered:
    """A customer registered."""

    schema_version: ClassVar[int] = 1
    customer_id: str
    """The customer, and the record's key."""
    name: Personal
    """The name, encrypted under the customer's key."""
    email: Personal
    """The email address, encrypted under the customer's key."""


@recorded
class CustomerDetailsChanged:
    """A customer's name or email address changed; the event has both as they are now."""

    schema_version: ClassVar[int] = 1
    customer_id: str
    """The customer, and the record's key."""
    name: Personal
    """The name, encrypted under the customer's key."""
    email: Personal
    """The email address, encrypted under the customer's key."""


@recorded
class CustomerErased:
    """A customer's personal data became unreadable everywhere: its key was deleted with this event."""

    schema_version: ClassVar[int] = 1
    customer_id: str
    """The customer, and the record's key."""
