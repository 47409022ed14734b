"""A customer: registered, changed, permanently erased."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

from services.command.domain.aggregate import Aggregate
from services.command.domain.rejections import NotThereError, Rejection
from shared.events import CustomerDetailsChanged, CustomerErased, CustomerEvent, CustomerRegistered


@dataclass(frozen=True, slots=True)
class NoCustomer:
    """No customer with this id ever registered."""


@dataclass(frozen=True, slots=True)
class Registered:
    """May place orders. Both fields are personal; the `repr` keeps them out of logs."""

    name: str
    email: str

    def __repr__(self) -> str:
        return "Registered(...)"


@dataclass(frozen=True, slots=True)
class Erased:
    """Was registered; name and email are gone, and it cannot register again."""


Customer: TypeAlias = NoCustomer | Registered | Erased


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterCustomer:
    """Register a customer, or change its details."""

    customer_id: str
    name: str
    email: str

    def __repr__(self) -> str:
        return f"RegisterCustomer({self.customer_id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseCustomer:
    """Make a customer's personal data unreadable everywhere."""

    customer_id: str


class CustomerNotFoundError(NotThereError):
    """No customer with this id ever registered."""


class AlreadyErasedError(Rejection):
    """An erased customer cannot register again."""


def evolve(state: Customer, event: CustomerEvent) -> Customer:
    """The customer after `event`."""
    match event:
        case CustomerRegistered() | CustomerDetailsChanged():
            return Registered(event.name, event.email)
        case CustomerErased():
            return Erased()
        case _:
            assert_never(event)


def register(state: Customer, command: RegisterCustomer) -> Sequence[CustomerEvent]:
    """Register it, or change its details; no events if nothing changes. Raises `AlreadyErasedError`."""
    match state:
        case NoCustomer():
            return [
                CustomerRegistered(customer_id=command.customer_id, name=command.name, email=command.email)
            ]
        case Registered(name, email):
            if (name, email) == (command.name, command.email):
                return []
            return [
                CustomerDetailsChanged(
                    customer_id=command.customer_id, name=command.name, email=command.email
                )
            ]
        case Erased():
            raise AlreadyErasedError
        case _:
            assert_never(state)


def erase(state: Customer, command: EraseCustomer) -> Sequence[CustomerEvent]:
    """Erase it; no events if it is already erased. Raises `CustomerNotFoundError`."""
    match state:
        case NoCustomer():
            raise CustomerNotFoundError
        case Registered():
            return [CustomerErased(customer_id=command.customer_id)]
        case Erased():
            return []
        case _:
            assert_never(state)


def _dump(state: Customer) -> Mapping[str, Any]:
    match state:
        case NoCustomer():
            return {"state": "none"}
        case Registered(name, email):
            return {"state": "registered", "name": name, "email": email}
        case Erased():
            return {"state": "erased"}
        case _:
            assert_never(state)


def _load(stored: Mapping[str, Any]) -> Customer:
    match stored["state"]:
        case "none":
            return NoCustomer()
        case "registered":
            return Registered(stored["name"], stored["email"])
        case "erased":
            return Erased()
        case other:
            raise ValueError(f"unknown customer state: {other}")


CUSTOMER: Final[Aggregate[Customer]] = Aggregate(
    category="customers", initial=NoCustomer(), evolve=evolve, shape=1, dump=_dump, load=_load
)
