"""The lag that a response reports for the documents it was read from."""

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
    """The proven lag of the documents, in milliseconds."""

    def __init__(self) -> None:
        self.ms = 9000

    def reading(self) -> Lag:
        proven = self.ms
        return lambda: proven


async def lag_of(proof: Proof, again: bool) -> int:
    """The reported lag when a smaller lag is proven just after the documents were read."""

    async def query(asked: QueryRequest) -> dict[str, Any]:
        proof.ms = 3
        if again:
            asked.begin_reading()
        return {"version": 1}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("a GET has no body to read")

    claims = {"sub": "ada", "exp": int(time.time()) + 60}
    bearer = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET)).encode()
    scope = {"method": "GET", "headers": [(b"authorization", b"Bearer " + bearer)], "path_params": {}}
    endpoint = QueryEndpoint(query, Authenticator(SharedSecret(SECRET)), proof.reading)
    await endpoint(scope, receive, send)
    return int(dict(sent[0]["headers"])[LAG])


async def test_freshness_proven_after_a_read_does_not_apply_to_it() -> None:
    assert await lag_of(Proof(), again=False) == 9000


async def test_a_repeated_read_reports_the_lag_of_the_repetition() -> None:
    assert await lag_of(Proof(), again=True) == 3
