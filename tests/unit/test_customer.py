"""Decisions about customers."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from services.command.domain import customer
from services.command.domain.customer import (
    CUSTOMER,
    AlreadyErasedError,
    Customer,
    CustomerNotFoundError,
    EraseCustomer,
    RegisterCustomer,
)
from shared.events import CustomerDetailsChanged, CustomerErased, CustomerEvent, CustomerRegistered
from tests.unit.scenario import given

Decision = Callable[[Customer], Sequence[CustomerEvent]]
REGISTERED = CustomerRegistered(customer_id="ada", name="Ada", email="ada@example.com")
RENAMED = CustomerDetailsChanged(customer_id="ada", name="Countess", email="ada@example.com")
MOVED = CustomerDetailsChanged(customer_id="ada", name="Ada", email="lovelace@example.com")
ERASED = CustomerErased(customer_id="ada")


def register(name: str = "Ada", email: str = "ada@example.com") -> Decision:
    command = RegisterCustomer(customer_id="ada", name=name, email=email)
    return partial(customer.register, command=command)


ERASE: Decision = partial(customer.erase, command=EraseCustomer(customer_id="ada"))


def test_a_new_customer_is_registered() -> None:
    given(CUSTOMER).when(register()).then(REGISTERED)


def test_a_new_name_or_email_is_a_change() -> None:
    given(CUSTOMER, REGISTERED).when(register(name="Countess")).then(RENAMED)
    given(CUSTOMER, REGISTERED).when(register(email="lovelace@example.com")).then(MOVED)


def test_the_same_details_again_change_nothing() -> None:
    given(CUSTOMER, REGISTERED).when(register()).then()
    given(CUSTOMER, REGISTERED, RENAMED).when(register(name="Countess")).then()


def test_a_customer_is_erased_once() -> None:
    given(CUSTOMER, REGISTERED, RENAMED).when(ERASE).then(ERASED)
    given(CUSTOMER, REGISTERED, ERASED).when(ERASE).then()


def test_an_unknown_customer_cannot_be_erased() -> None:
    given(CUSTOMER).when(ERASE).rejected(CustomerNotFoundError)


def test_an_erased_customer_cannot_register_again() -> None:
    given(CUSTOMER, REGISTERED, ERASED).when(register()).rejected(AlreadyErasedError)


def test_reprs_contain_no_name() -> None:
    assert "Ada" not in repr(given(CUSTOMER, REGISTERED).state)
    assert "Ada" not in repr(RegisterCustomer(customer_id="ada", name="Ada", email="a@b.c"))


@pytest.mark.parametrize("history", [[], [REGISTERED], [REGISTERED, RENAMED], [REGISTERED, ERASED]])
def test_a_snapshot_holds_the_whole_state(history: list[CustomerEvent]) -> None:
    state = given(CUSTOMER, *history).state
    assert CUSTOMER.load(CUSTOMER.dump(state)) == state
