"""Keys from a JWKS endpoint: fetched, rotated without a restart, and held on to while it is down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from joserfc.jwk import Key
from starlette.types import Receive, Scope, Send

from shared.auth import Authenticator
from shared.auth import keys as module
from shared.auth.keys import JwksUrl
from shared.problems import Problem, send_bytes
from shared.process import serve
from tests.servers import eventually
from tests.unit.test_auth import NOW, accepted, refused, rsa, token


@dataclass
class Issuer:
    """The keys it publishes, whether it is up, how often it was asked."""

    keys: list[Key] = field(default_factory=list)
    status: int = 200
    asked: int = 0
    body: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        document = orjson.dumps({"keys": [key.as_dict(private=False) for key in self.keys]})
        await send_bytes(send, self.status, document if self.body is None else self.body)


@asynccontextmanager
async def asking(issuer: Issuer) -> AsyncIterator[Authenticator]:
    """An authenticator that follows the issuer, as the services do."""
    async with (
        serve(issuer, "127.0.0.1", 0) as port,
        Authenticator(JwksUrl(f"http://127.0.0.1:{port}/keys"), clock=lambda: NOW) as authenticator,
    ):
        yield authenticator


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second between two questions; the polls stay as far apart as they are."""
    monkeypatch.setattr(module, "_COOLDOWN_SECONDS", 0.0)


def signed(key: Key, **header: Any) -> bytes:
    return token(key, {"alg": "RS256", **header})


async def status_of(authenticator: Authenticator, bearer: bytes) -> int:
    with pytest.raises(Problem) as problem:
        await accepted(authenticator, bearer)
    return problem.value.kind.status


async def test_an_endpoint_that_is_down_at_the_start_is_no_verdict_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "URL_RETRY_SECONDS", 0.02)
    key = rsa("one")
    issuer = Issuer([key], status=500)
    async with asking(issuer) as authenticator:
        assert await status_of(authenticator, signed(key, kid="one")) == 503
        assert authenticator.missing()
        issuer.status = 200

        async def there() -> bool:
            return authenticator.missing() is None

        await eventually(there, "the keys are there without anybody's token", 5)
        await accepted(authenticator, signed(key, kid="one"))


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"keys": 7}', b"x" * (2 << 20)], ids=len)
async def test_the_last_keys_verify_while_the_endpoint_is_down_or_broken(
    monkeypatch: pytest.MonkeyPatch, broken: bytes
) -> None:
    monkeypatch.setattr(module, "URL_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "URL_POLL_SECONDS", 0.02)
    key, new = rsa("one"), rsa("two")
    issuer = Issuer([key])
    async with asking(issuer) as authenticator:
        await accepted(authenticator, signed(key, kid="one"))
        issuer.body = broken
        before = issuer.asked

        async def polled() -> bool:
            return issuer.asked > before + 2

        await eventually(polled, "the endpoint is asked while it is down", 5)
        await accepted(authenticator, signed(key, kid="one"))
        await refused(authenticator, signed(new, kid="two"))
        issuer.keys, issuer.body = [new], None
        await accepted(authenticator, signed(new, kid="two"))
        await refused(authenticator, signed(key, kid="one"))


@pytest.mark.parametrize("named", [True, False], ids=["another kid", "no kid"])
async def test_keys_rotate_at_the_first_token_of_a_new_one(named: bool) -> None:
    old, new = rsa("old"), rsa("new")
    issuer = Issuer([old])
    of_old, of_new = (signed(key, **({"kid": key.kid} if named else {})) for key in (old, new))
    async with asking(issuer) as authenticator:
        await accepted(authenticator, of_old)
        issuer.keys = [new]
        await accepted(authenticator, of_new)
        await refused(authenticator, of_old)


async def test_a_kid_may_be_used_for_another_key() -> None:
    old, new = rsa("k"), rsa("k")
    issuer = Issuer([old])
    async with asking(issuer) as authenticator:
        await accepted(authenticator, signed(old, kid="k"))
        issuer.keys = [new]
        await accepted(authenticator, signed(new, kid="k"))


async def test_tokens_of_unknown_keys_are_no_flood_at_the_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COOLDOWN_SECONDS", 60.0)
    key, strange = rsa("one"), rsa("strange")
    issuer = Issuer([key])
    async with asking(issuer) as authenticator:
        await accepted(authenticator, signed(key, kid="one"))
        asked = [signed(strange, kid=f"k{number}") for number in range(20)]
        asked += [signed(strange, kid="one"), signed(strange)]
        await asyncio.gather(*(refused(authenticator, bearer) for bearer in asked))
        await accepted(authenticator, signed(key, kid="one"))
    assert issuer.asked == 1
