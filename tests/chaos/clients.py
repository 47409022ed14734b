"""Clients that never take no for an answer: each command is repeated until the system has decided it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import httpx

from tests.chaos.ledger import Change, Ledger, Order
from tests.end_to_end.shop import Person

_UNDECIDED: Final = ("idempotency-key-in-flight", "stream-contended")
_AGAIN_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 90.0
_REPEATED: Final = 0.1
"""This share of decided commands is sent once more, and must be answered as before."""


@dataclass(slots=True)
class Client:
    """Somebody who changes things, at random, until it is over."""

    name: str
    person: Person
    staff: Person
    random: Random
    ledger: Ledger
    is_over: Callable[[], bool]
    _asked: int = 0

    async def shop(self) -> None:
        """Order; then ship, cancel, both at once, or leave it. Now and then take another name."""
        while not self.is_over():
            order = await self._place()
            endings = self.random.choice([(), (self._ship,), (self._cancel,), (self._ship, self._cancel)])
            answers = await asyncio.gather(*(end(order) for end in endings))
            if endings:
                _judge(order, answers)
            if self.random.random() < 0.2:
                await self.rename()
            await self._think()

    async def sell(self) -> None:
        """Give products other prices."""
        while not self.is_over():
            await self.reprice(self.random.choice(list(self.ledger.products)))
            await self._think()

    async def rename(self) -> None:
        """Take a name that nobody had before, the first one or another."""
        name = f"{self.name} {self._asked}"
        body = {"name": name, "email": "somebody@example.com"}
        change, _ = await self._change(
            "Renamed", name, self.person, "PUT", f"/customers/{self.person.name}", body
        )
        self.ledger.customers.setdefault(self.person.name, []).append(change)

    async def reprice(self, product: str) -> None:
        """Give a product a price it never had; where two events come of it, another name as well."""
        cents = self.random.randrange(1, 10_000_000)
        price = f"{cents // 100}.{cents % 100:02}"
        body = {"name": f"Lamp {price}" if is_renamed(product) else "Lamp", "price": price}
        change, _ = await self._change("Repriced", price, self.staff, "PUT", f"/products/{product}", body)
        self.ledger.products.setdefault(product, []).append(change)

    async def _place(self) -> Order:
        products = self.random.sample(list(self.ledger.products), self.random.randint(1, 3))
        quantities = {product: self.random.randint(1, 9) for product in products}
        body = {"items": [{"productId": name, "quantity": count} for name, count in quantities.items()]}
        change, answer = await self._change("OrderCreated", "", self.person, "POST", "/orders", body)
        order = Order(answer["orderId"], self.person.name, quantities, [change])
        assert order.id not in self.ledger.orders, f"two orders were answered with the id {order.id}"
        self.ledger.orders[order.id] = order
        return order

    async def _ship(self, order: Order) -> httpx.Response:
        return await self._end("OrderShipped", "ship", "trackingNumber", self.staff, order)

    async def _cancel(self, order: Order) -> httpx.Response:
        return await self._end("OrderCancelled", "cancel", "reason", self.person, order)

    async def _end(self, type_: str, verb: str, name: str, who: Person, order: Order) -> httpx.Response:
        value, sent_at = f"{verb} {self._asked}", time.time()
        answer = await self._decided(who, "POST", f"/orders/{order.id}/{verb}", {name: value})
        if answer.status_code == 202:
            order.changes.append(Change(type_, value, answer.json()["version"], sent_at, time.time()))
        return answer

    async def _change(
        self, type_: str, value: str, who: Person, method: str, path: str, body: object
    ) -> tuple[Change, dict[str, Any]]:
        """A command that nothing speaks against."""
        sent_at = time.time()
        answer = await self._decided(who, method, path, body)
        assert answer.status_code == 202, f"{method} {path} was refused: {answer.text}"
        accepted = answer.json()
        return Change(type_, value, accepted["version"], sent_at, time.time()), accepted

    async def _decided(self, who: Person, method: str, path: str, body: object) -> httpx.Response:
        self._asked += 1
        key = f"{self.name}-{self._asked}"
        answer = await _until_decided(who, method, path, body, key)
        if self.random.random() < _REPEATED:
            again = await _until_decided(who, method, path, body, key)
            answers = [(it.status_code, it.text, it.headers.get("Location")) for it in (answer, again)]
            assert answers[0] == answers[1], f"{method} {path}, key {key}, was decided twice: {answers}"
            assert again.headers.get("Idempotent-Replayed") == "true", f"{method} {path}, key {key}"
        return answer

    async def _think(self) -> None:
        await asyncio.sleep(self.random.uniform(0, 0.15))


def is_renamed(product: str) -> bool:
    """Whether a change of that product's price comes with another name, two events of one command."""
    return product.endswith("-renamed")


async def _until_decided(who: Person, method: str, path: str, body: object, key: str) -> httpx.Response:
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
        await asyncio.sleep(_AGAIN_SECONDS)
    raise AssertionError(f"{method} {path}, key {key}, was not decided in {_LONGEST_SECONDS} s: {last}")


def _judge(order: Order, answers: list[httpx.Response]) -> None:
    """One of those that wanted to end an order does, and the other one is told who."""
    told = [(answer.status_code, answer.text) for answer in answers]
    assert len(order.changes) == 2, f"order {order.id} was ended {len(order.changes) - 1} times: {told}"
    status = {"OrderShipped": "shipped", "OrderCancelled": "cancelled"}[order.changes[1].type]
    for answer in answers:
        if answer.status_code != 202:
            assert (answer.status_code, answer.json()["currentStatus"]) == (409, status), told
