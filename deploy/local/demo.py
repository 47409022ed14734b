"""`make demo`: stream orders into a running system; a live table counts what is accepted and visible."""

import argparse
import asyncio
import json
import random
from asyncio import TaskGroup
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from typing import Any, Final

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table

from deploy.local.settings import LocalSettings
from deploy.local.state import read
from deploy.local.tokens import token

PRODUCTS: Final = {"lamp": "19.90", "chair": "89.00", "desk": "249.00", "mug": "7.50", "rug": "129.90"}
CUSTOMERS: Final = {"ada": "Ada", "alan": "Alan", "grace-h": "Grace", "edsger": "Edsger"}
_REMEMBERED: Final = 200


@dataclass(slots=True)
class Figures:
    """The counts so far; `waiting` has the send time of each command whose event is not visible yet."""

    placed: int = 0
    shipped: int = 0
    cancelled: int = 0
    refused: int = 0
    visible: int = 0
    lag_ms: str = "?"
    waiting: dict[tuple[str, int], float] = field(default_factory=dict)
    early: dict[tuple[str, int], float] = field(default_factory=dict)
    delays_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    @property
    def accepted(self) -> int:
        """Commands answered with 202."""
        return self.placed + self.shipped + self.cancelled

    def accept(self, order_id: str, version: int, sent: float) -> None:
        """Record an accepted command; its live message may already have arrived."""
        seen = self.early.pop((order_id, version), None)
        if seen is None:
            self.waiting[order_id, version] = sent
        else:
            self.delays_ms.append((seen - sent) * 1000)

    def see(self, order_id: str, version: int) -> None:
        """Record an event's live message."""
        self.visible += 1
        sent = self.waiting.pop((order_id, version), None)
        if sent is None:
            self.early[order_id, version] = monotonic()
        else:
            self.delays_ms.append((monotonic() - sent) * 1000)

    def table(self) -> Table:
        """The figures as a table, narrow enough for any terminal."""
        table = Table(title="orders, from command to live message", show_header=False)
        rows = {
            "placed": self.placed,
            "shipped": self.shipped,
            "cancelled": self.cancelled,
            "refused": self.refused,
            "accepted": self.accepted,
            "visible": self.visible,
            "in flight": len(self.waiting),
            "delay p50 ms": f"{median(self.delays_ms):.1f}" if self.delays_ms else "?",
            "lag ms": self.lag_ms,
        }
        for name, value in rows.items():
            table.add_row(name, str(value))
        return table


class Shop:
    """The users of the demo, and their requests."""

    def __init__(self, http: httpx.AsyncClient, endpoints: dict[str, Any], secret: str) -> None:
        self._http = http
        self._command = endpoints["commandUrl"]
        self._query = endpoints["queryUrl"]
        self._staff = token(secret, "grace", "staff")
        self._customers = {name: token(secret, name) for name in CUSTOMERS}
        self.figures = Figures()

    async def _send(self, method: str, path: str, bearer: str, body: object) -> dict[str, Any] | None:
        headers = {"Authorization": f"Bearer {bearer}"}
        answer = await self._http.request(method, self._command + path, json=body, headers=headers)
        if answer.status_code != 202:
            self.figures.refused += 1
            return None
        accepted: dict[str, Any] = answer.json()
        return accepted

    async def open(self) -> None:
        """List the products, register the customers."""
        for name, price in PRODUCTS.items():
            await self._send("PUT", f"/products/{name}", self._staff, {"name": name.title(), "price": price})
        for name, bearer in self._customers.items():
            body = {"name": CUSTOMERS[name], "email": f"{name}@example.com"}
            await self._send("PUT", f"/customers/{name}", bearer, body)

    async def order(self) -> None:
        """Place a random order; most orders are shipped a little later, some cancelled."""
        customer = random.choice(list(self._customers))
        products = random.sample(list(PRODUCTS), random.randint(1, 3))
        items = [{"productId": name, "quantity": random.randint(1, 4)} for name in products]
        sent = monotonic()
        placed = await self._send("POST", "/orders", self._customers[customer], {"items": items})
        if placed is None:
            return
        self.figures.placed += 1
        self.figures.accept(placed["orderId"], placed["version"], sent)
        await asyncio.sleep(random.uniform(0.5, 3))
        fate = random.random()
        path = f"/orders/{placed['orderId']}"
        sent = monotonic()
        if fate < 0.6:
            done = await self._send("POST", f"{path}/ship", self._staff, {"trackingNumber": "TRACK-1"})
            self.figures.shipped += done is not None
        elif fate < 0.8:
            body = {"reason": "changed my mind"}
            done = await self._send("POST", f"{path}/cancel", self._customers[customer], body)
            self.figures.cancelled += done is not None
        else:
            return
        if done is not None:
            self.figures.accept(done["orderId"], done["version"], sent)

    async def watch(self, standing: asyncio.Event) -> None:
        """Follow the live messages; `standing` is set once none can be missed any more."""
        headers = {"Authorization": f"Bearer {self._staff}"}
        timeout = httpx.Timeout(5, read=30)
        url = f"{self._query}/orders/stream"
        async with self._http.stream("GET", url, headers=headers, timeout=timeout) as stream:
            stream.raise_for_status()
            standing.set()
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    order = json.loads(line[5:]).get("order")
                    if order is not None:
                        self.figures.see(order["id"], order["version"])
        raise httpx.ReadError("the stream has ended")

    async def ask_lag(self) -> None:
        """Fetch, once a second, how far behind the documents may be."""
        headers = {"Authorization": f"Bearer {self._staff}"}
        while True:
            answer = await self._http.get(f"{self._query}/products?limit=1", headers=headers)
            self.figures.lag_ms = answer.headers.get("x-read-model-lag-ms", "?")
            await asyncio.sleep(1)


async def _every(seconds: float, what: Callable[[], Coroutine[Any, Any, None]], tasks: TaskGroup) -> None:
    """Start `what` at a steady rate, whether or not earlier calls have finished."""
    due = monotonic()
    while True:
        tasks.create_task(what())
        due += seconds
        await asyncio.sleep(max(0.0, due - monotonic()))


async def _show(figures: Figures, live: Live) -> None:
    while True:
        live.update(figures.table(), refresh=True)
        await asyncio.sleep(0.25)


async def demonstrate(endpoints: dict[str, Any], secret: str, rate: float, seconds: float | None) -> None:
    """Stream orders in, `rate` per second, for `seconds` (None: until interrupted)."""
    async with httpx.AsyncClient(
        timeout=10, limits=httpx.Limits(max_connections=None), trust_env=False
    ) as http:
        shop = Shop(http, endpoints, secret)
        await shop.open()
        with Live(shop.figures.table(), console=Console(), auto_refresh=False) as live:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), TaskGroup() as tasks:
                    standing = asyncio.Event()
                    tasks.create_task(shop.watch(standing))
                    await standing.wait()
                    tasks.create_task(shop.ask_lag())
                    tasks.create_task(_show(shop.figures, live))
                    tasks.create_task(_every(1 / rate, shop.order, tasks))
            live.update(shop.figures.table(), refresh=True)


def main() -> None:
    """Read the arguments, find the running system, run the demo."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--rate", type=float, default=10, help="orders per second (default: 10)")
    parser.add_argument("--seconds", type=float, help="how long to run (default: until Ctrl-C)")
    given = parser.parse_args()
    folder = LocalSettings().local_dir
    endpoints = read(folder / "endpoints.json")
    secret = read(folder / "state.json").get("jwtSecret")
    if not endpoints or secret is None:
        raise SystemExit("No system is running: start one with `make up`.")
    lost = False
    try:
        asyncio.run(demonstrate(endpoints, secret, given.rate, given.seconds))
    except* KeyboardInterrupt:
        pass
    except* httpx.HTTPError:
        lost = True  # raised here, an exit status would become part of a group
    if lost:
        raise SystemExit("The system does not respond: is it still up?")


if __name__ == "__main__":
    main()
