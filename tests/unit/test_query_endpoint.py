"""What an answer claims of what was read for it."""

import time
from typing import Any

from joserfc import jwt
from joserfc.jwk import OctKey

from services.query.http.answering import Lag
from services.query.http.endpoint import QueryEndpoint, QueryRequest
from shared.auth import Authenticator
from shared.auth.keys import SharedSecret

SECRET = "a secret of at least thirty-two bytes"
LAG = b"x-read-model-lag-ms"


class Proof:
    """What is proven of the documents: so many milliseconds behind."""

    def __init__(self) -> None:
        self.ms = 9000

    def reading(self) -> Lag:
        proven = self.ms
        return lambda: proven


async def lag_of(proof: Proof, anew: bool) -> int:
    """What the answer says when all is proven to be fresh just after the documents were read."""

    async def query(asked: QueryRequest) -> dict[str, Any]:
        proof.ms = 3
        if anew:
            asked.begin_reading()
        return {"version": 1}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("there is no body to be read")

    claims = {"sub": "ada", "exp": int(time.time()) + 60}
    bearer = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET)).encode()
    scope = {"method": "GET", "headers": [(b"authorization", b"Bearer " + bearer)], "path_params": {}}
    endpoint = QueryEndpoint(query, Authenticator(SharedSecret(SECRET)), proof.reading)
    await endpoint(scope, receive, send)
    return int(dict(sent[0]["headers"])[LAG])


async def test_what_is_proven_after_the_reading_says_nothing_of_what_was_read() -> None:
    assert await lag_of(Proof(), anew=False) == 9000


async def test_what_is_read_anew_is_as_fresh_as_that_reading() -> None:
    assert await lag_of(Proof(), anew=True) == 3
