"""Takes a command through HTTP: authentication, authorization, parsing, then the store's answer."""

from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b, sha256
from typing import Any

from prometheus_client import CollectorRegistry, Counter
from starlette.types import Receive, Scope, Send

from services.command.http.answers import answer
from services.command.http.commands import Route
from services.command.http.reading import (
    INVALID_IF_MATCH,
    Headers,
    expected_version,
    idempotency_key,
    parse,
    read_body,
    require_json,
)
from services.command.store.commands import (
    ROUTE_FINGERPRINT_BYTES,
    Command,
    Executed,
    Idempotency,
)
from services.command.store.errors import (
    ContendedError,
    KeyReusedError,
    StoreOverloadedError,
    StoreUnavailableError,
)
from services.command.store.event_store import EventStore
from shared.auth import Authenticator, Principal
from shared.problems import MEDIA_TYPE, Kind, Problem, overloaded, send_bytes, unavailable
from shared.telemetry import request_id, traceparent

KEY_REUSED = Kind(422, "idempotency-key-reused", "The Idempotency-Key was used for another request")
CONTENDED = Kind(409, "stream-contended", "Too many concurrent changes")


class CommandEndpoint:
    """Serves one route. If several problems apply, the first in the contract's order is reported."""

    def __init__(
        self, route: Route, store: EventStore, authenticator: Authenticator, outcomes: Counter
    ) -> None:
        self._route = route
        self._store = store
        self._authenticator = authenticator
        self._outcomes = outcomes
        # the library's lookup by labels costs more than the rest of counting
        self._by_status: dict[int, Counter] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received_at = datetime.now(UTC)
        route = self._route
        caller = await self._authenticator.authenticate(scope)
        subject = scope["path_params"][route.parameter] if route.parameter else ""
        route.allow(caller, subject)
        headers = Headers(scope)
        body = await read_body(headers, receive)
        if route.body is not None:
            require_json(headers)
        expected = expected_version(headers)
        if expected is not None and not route.conditional:
            raise Problem(INVALID_IF_MATCH, "A new order has no version to match.")
        key = idempotency_key(headers)
        intent = route.intent(subject, caller, None if route.body is None else parse(route.body, body))
        executed = await self._execute(
            Command(
                category=route.aggregate.category,
                subject=intent.subject,
                aggregate=route.aggregate,
                decide=intent.decide,
                needs=intent.needs,
                begins=intent.begins,
                expected=expected,
                idempotency=None if key is None else _idempotency(scope, headers, caller, key, body),
                actor=caller.sub,
                traceparent=traceparent(scope),
                request_id=request_id(scope),
                received_at=received_at,
                answer=partial(
                    answer,
                    thing=route.thing,
                    location=route.location.replace("{subject}", intent.subject),
                    scope=scope,
                ),
            )
        )
        self._count(executed.answer.status)
        await _send(send, executed)

    def _count(self, status: int) -> None:
        outcome = self._by_status.get(status)
        if outcome is None:
            outcome = self._by_status[status] = self._outcomes.labels(self._route.name, str(status))
        outcome.inc()

    async def _execute(self, command: Command[Any]) -> Executed:
        try:
            return await self._store.execute(command)
        except KeyReusedError:
            raise Problem(KEY_REUSED, "Use a new key for a new request.") from None
        except ContendedError:
            raise Problem(CONTENDED, "Nothing was changed; try again.") from None
        except StoreOverloadedError:
            raise overloaded("Too many commands are waiting; nothing was changed.") from None
        except StoreUnavailableError:
            detail = "The event store is unavailable. Repeat the request with the same Idempotency-Key."
            raise unavailable(detail) from None


def _idempotency(scope: Scope, headers: Headers, caller: Principal, key: str, body: bytes) -> Idempotency:
    what = b"\0".join((scope["method"].encode(), scope["raw_path"], headers.get(b"if-match") or b""))
    route = blake2b(what, digest_size=ROUTE_FINGERPRINT_BYTES).digest()
    return Idempotency(caller.sub, key, route + sha256(body).digest())


async def _send(send: Send, executed: Executed) -> None:
    response = executed.answer
    headers = [(b"cache-control", b"no-store")]
    if response.location is not None:
        headers.append((b"location", response.location.encode()))
    if executed.replayed:
        headers.append((b"idempotent-replayed", b"true"))
    content_type = b"application/json" if response.status < 400 else MEDIA_TYPE
    await send_bytes(send, response.status, response.body, content_type=content_type, headers=headers)


def outcome_counter(registry: CollectorRegistry) -> Counter:
    """`command_outcomes_total` by command and status."""
    return Counter(
        "command_outcomes",
        "Commands that reached an outcome, replays included.",
        ["command", "status"],
        registry=registry,
    )
