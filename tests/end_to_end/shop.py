"""The system as its users see it: the HTTP calls of one person."""

import time
import uuid
from dataclasses import dataclass
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.end_to_end.conftest import System


def token(system: System, subject: str, *roles: str, seconds: int = 3600) -> str:
    """A bearer token as an identity provider would make it."""
    claims = {"sub": subject, "roles": list(roles), "exp": int(time.time()) + seconds}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(system.jwt_secret))


@dataclass(frozen=True, slots=True)
class Person:
    """A user with a token. The status of every answer is checked immediately."""

    system: System
    http: httpx.AsyncClient
    name: str
    roles: tuple[str, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(self.system, self.name, *self.roles)}"}

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Send a command. `headers` are spelled with underscores."""
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.system.command_url + path
        if body is None:
            return await self.http.request(method, url, headers=self.headers | extra)
        return await self.http.request(method, url, headers=self.headers | extra, json=body)

    async def command(self, method: str, path: str, body: object = None, **headers: str) -> dict[str, Any]:
        """Send a command that must be accepted; returns the answer's body."""
        answer = await self.send(method, path, body, **headers)
        assert answer.status_code == 202, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Send a query; any answer is fine."""
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.get(self.system.query_url + path, headers=self.headers | extra)

    async def see(self, path: str, version: int | None = None) -> Any:
        """Get a document, waiting until it is at `version` or later."""
        if version is not None:
            path = f"{path}{'&' if '?' in path else '?'}minVersion={version}"
        answer = await self.get(path, Prefer="wait=30")
        assert answer.status_code == 200, f"{answer.text}\n{self.system.last_words()}"
        return answer.json()

    async def register(self) -> "Person":
        """Register as a customer."""
        body = {"name": self.name.title(), "email": f"{self.name}@example.com"}
        await self.command("PUT", f"/customers/{self.name}", body)
        return self

    async def order(self, *items: tuple[str, int], **headers: str) -> str:
        """Place an order; returns its id."""
        lines = [{"productId": product, "quantity": quantity} for product, quantity in items]
        accepted = await self.command("POST", "/orders", {"items": lines}, **headers)
        return str(accepted["orderId"])


def customer(system: System, http: httpx.AsyncClient) -> Person:
    """A new user."""
    return Person(system, http, f"c{uuid.uuid4().hex[:12]}")


def staff(system: System, http: httpx.AsyncClient) -> Person:
    """A member of staff, who may list products and ship orders."""
    return Person(system, http, "staff", ("staff",))


async def listed(seller: Person, price: str = "19.90", name: str = "Lamp") -> str:
    """List a new product; returns its id."""
    product = f"p-{uuid.uuid4().hex[:12]}"
    await seller.command("PUT", f"/products/{product}", {"name": name, "price": price})
    return product
