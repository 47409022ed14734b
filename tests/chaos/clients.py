"""Clients that repeat each command until the system has decided it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

import httpx

from tests.chaos.ledger import Change, Ledger, Order
from tests.end_to_end.shop import Person

STATUSES: Final = {"OrderCreated": "pending", "OrderShipped": "shipped", "OrderCancelled": "cancelled"}
_UNDECIDED: Final = ("idempotency-key-in-flight", "stream-contended")
_LONGEST_SECONDS: Final = 90.0
_REPEATED: Final = 0.1
"""This share of decided commands is sent once more, and must be answered as before."""


@dataclass(slots=True)
class Client:
    """Makes random changes until the run is over."""

    name: str
    person: Person
    staff: Person
    random: Random
    ledger: Ledger
    is_over: Callable[[], bool]
    _asked: int = 0

    async def shop(self) -> None:
        """Place orders; ship or cancel each, both concurrently, or neither. Rename now and then."""
        while not self.is_over():
            order = await self.place()
            endings = self.random.choice([(), (self._ship,), (self._cancel,), (self._ship, self._cancel)])
            _judge(order, await asyncio.gather(*(end(order) for end in endings)))
            if self.random.random() < 0.2:
                await self.rename()
            await asyncio.sleep(self.random.uniform(0, 0.15))  # think time

    async def sell(self) -> None:
        """Change the prices of products."""
        while not self.is_over():
            await self.reprice(self.random.choice(list(self.ledger.products)))
            await asyncio.sleep(self.random.uniform(0, 0.15))  # think time

    async def rename(self) -> None:
        """Register with, or change to, a name that was never used before."""
        customer, name = self.person.name, f"{self.name} {self._asked}"
        body = {"name": name, "email": "somebody@example.com"}
        changes = self.ledger.customers.setdefault(customer, [])
        _accepted(await self._change("Renamed", name, changes, self.person, f"/customers/{customer}", body))

    async def reprice(self, product: str) -> None:
        """Set a price that the product never had, and a new name as well where a change takes two events."""
        cents = self.random.randrange(1, 10_000_000)
        price = f"{cents // 100}.{cents % 100:02}"
        body = {"name": f"Lamp {price}" if is_renamed(product) else "Lamp", "price": price}
        changes = self.ledger.products.setdefault(product, [])
        _accepted(await self._change("Repriced", price, changes, self.staff, f"/products/{product}", body))

    async def place(self) -> Order:
        """Place an order."""
        products = self.random.sample(list(self.ledger.products), self.random.randint(1, 3))
        quantities = {product: self.random.randint(1, 9) for product in products}
        body = {"items": [{"productId": name, "quantity": count} for name, count in quantities.items()]}
        changes: list[Change] = []
        answer = _accepted(await self._change("OrderCreated", "", changes, self.person, "/orders", body))
        order = Order(answer.json()["orderId"], self.person.name, quantities, changes)
        assert order.id not in self.ledger.orders, f"two orders were accepted with the id {order.id}"
        self.ledger.orders[order.id] = order
        return order

    async def _ship(self, order: Order) -> httpx.Response:
        value, path = f"T {self._asked}", f"/orders/{order.id}/ship"
        body = {"trackingNumber": value}
        return await self._change("OrderShipped", value, order.changes, self.staff, path, body)

    async def _cancel(self, order: Order) -> httpx.Response:
        value, path = f"R {self._asked}", f"/orders/{order.id}/cancel"
        return await self._change(
            "OrderCancelled", value, order.changes, self.person, path, {"reason": value}
        )

    async def _change(
        self, type_: str, value: str, changes: list[Change], who: Person, path: str, body: object
    ) -> httpx.Response:
        """Send the command until it is decided, and record it if it is accepted."""
        method = "POST" if path.startswith("/orders") else "PUT"
        self._asked += 1
        key, sent_at = f"{self.name}-{self._asked}", time.time()
        answer = await _decided(who, method, path, body, key)
        if answer.status_code == 202:
            changes.append(Change(type_, value, answer.json()["version"], sent_at, time.time()))
        if self.random.random() < _REPEATED:
            again = await _decided(who, method, path, body, key)
            answers = [(it.status_code, it.text, it.headers.get("Location")) for it in (answer, again)]
            assert answers[0] == answers[1], f"{method} {path}, key {key}, was decided twice: {answers}"
            assert again.headers.get("Idempotent-Replayed") == "true", f"{method} {path}, key {key}"
        return answer


def is_renamed(product: str) -> bool:
    """Whether a price change of that product also renames it: two events from one command."""
    return product.endswith("-renamed")


async def _decided(who: Person, method: str, path: str, body: object, key: str) -> httpx.Response:
    deadline, last = time.monotonic() + _LONGEST_SECONDS, ""
    while time.monotonic() < deadline:
        try:
            answer = await who.send(method, path, body, Idempotency_Key=key)
        except httpx.TransportError as error:
            last = repr(error)
        else:
            if answer.status_code < 500 and answer.json().get("code") not in _UNDECIDED:
                return answer
            last = answer.text
        await asyncio.sleep(0.1)  # a client's pause between two attempts, within the deadline above
    raise AssertionError(f"{method} {path}, key {key}, was not decided in {_LONGEST_SECONDS} s: {last}")


def _accepted(answer: httpx.Response) -> httpx.Response:
    assert answer.status_code == 202, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return answer


def _judge(order: Order, answers: list[httpx.Response]) -> None:
    """Exactly one of the commands that close an order succeeded, and the other was told which."""
    outcomes = [(answer.status_code, answer.text) for answer in answers]
    assert len(order.changes) == 1 + bool(answers), f"order {order.id} has {order.changes}: {outcomes}"
    for answer in answers:
        if answer.status_code != 202:
            status = STATUSES[order.changes[1].type]
            assert (answer.status_code, answer.json()["currentStatus"]) == (409, status), outcomes
