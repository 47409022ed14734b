"""Keys from a JWKS endpoint: fetched, rotated without a restart, and kept while the endpoint is down."""

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
    """The keys it publishes, its status, and how often it was queried."""

    keys: list[Key] = field(default_factory=list)
    status: int = 200
    asked: int = 0
    body: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        document = orjson.dumps({"keys": [key.as_dict(private=False) for key in self.keys]})
        await send_bytes(send, self.status, document if self.body is None else self.body)


@asynccontextmanager
async def polling(issuer: Issuer) -> AsyncIterator[Authenticator]:
    """An authenticator that polls the issuer, as the services do."""
    async with (
        serve(issuer, "127.0.0.1", 0) as port,
        Authenticator(JwksUrl(f"http://127.0.0.1:{port}/keys"), clock=lambda: NOW) as authenticator,
    ):
        yield authenticator


@pytest.fixture(autouse=True)
def no_cooldown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the cooldown between fetches; leave the polling interval unchanged."""
    monkeypatch.setattr(module, "_COOLDOWN_SECONDS", 0.0)


def signed(key: Key, **header: Any) -> bytes:
    return token(key, {"alg": "RS256", **header})


async def status_of(authenticator: Authenticator, bearer: bytes) -> int:
    with pytest.raises(Problem) as problem:
        await accepted(authenticator, bearer)
    return problem.value.kind.status


async def test_requests_get_503_until_an_endpoint_that_was_down_at_startup_recovers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "URL_RETRY_SECONDS", 0.02)
    key = rsa("one")
    issuer = Issuer([key], status=500)
    async with polling(issuer) as authenticator:
        assert await status_of(authenticator, signed(key, kid="one")) == 503
        assert authenticator.missing()
        issuer.status = 200

        async def there() -> bool:
            return authenticator.missing() is None

        await eventually(there, "the keys are fetched without a request", 5)
        await accepted(authenticator, signed(key, kid="one"))


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"keys": 7}', b"x" * (2 << 20)], ids=len)
async def test_the_last_known_keys_are_used_while_the_endpoint_is_broken(
    monkeypatch: pytest.MonkeyPatch, broken: bytes
) -> None:
    monkeypatch.setattr(module, "URL_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "URL_POLL_SECONDS", 0.02)
    key, new = rsa("one"), rsa("two")
    issuer = Issuer([key])
    async with polling(issuer) as authenticator:
        await accepted(authenticator, signed(key, kid="one"))
        issuer.body = broken
        before = issuer.asked

        async def polled() -> bool:
            return issuer.asked > before + 2

        await eventually(polled, "the endpoint is polled while it is down", 5)
        await accepted(authenticator, signed(key, kid="one"))
        await refused(authenticator, signed(new, kid="two"))
        issuer.keys, issuer.body = [new], None
        await accepted(authenticator, signed(new, kid="two"))
        await refused(authenticator, signed(key, kid="one"))


@pytest.mark.parametrize("named", [True, False], ids=["another kid", "no kid"])
async def test_the_first_token_signed_with_a_new_key_triggers_rotation(named: bool) -> None:
    old, new = rsa("old"), rsa("new")
    issuer = Issuer([old])
    of_old, of_new = (signed(key, **({"kid": key.kid} if named else {})) for key in (old, new))
    async with polling(issuer) as authenticator:
        await accepted(authenticator, of_old)
        issuer.keys = [new]
        await accepted(authenticator, of_new)
        await refused(authenticator, of_old)


async def test_a_kid_may_be_reused_for_another_key() -> None:
    old, new = rsa("k"), rsa("k")
    issuer = Issuer([old])
    async with polling(issuer) as authenticator:
        await accepted(authenticator, signed(old, kid="k"))
        issuer.keys = [new]
        await accepted(authenticator, signed(new, kid="k"))


async def test_tokens_with_unknown_keys_do_not_flood_the_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COOLDOWN_SECONDS", 60.0)
    key, strange = rsa("one"), rsa("strange")
    issuer = Issuer([key])
    async with polling(issuer) as authenticator:
        await accepted(authenticator, signed(key, kid="one"))
        asked = [signed(strange, kid=f"k{number}") for number in range(20)]
        asked += [signed(strange, kid="one"), signed(strange)]
        await asyncio.gather(*(refused(authenticator, bearer) for bearer in asked))
        await accepted(authenticator, signed(key, kid="one"))
    assert issuer.asked == 1
