"""Stores the outcome of a batch of commands, in one round trip and one transaction."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, Literal

import orjson

from services.command.domain import customer as customers
from services.command.domain import product as products
from services.command.store.commands import ROUTE_FINGERPRINT_BYTES
from services.command.store.connecting import Connection
from services.command.store.deciding import StoredEvent, Verdict
from services.command.store.loading import Picture
from services.command.store.sql import sql

Loss = Literal["stale", "key", "conflict"]
"""Why a command was not stored: facts changed, its idempotency key is taken, its stream has moved on."""

_TABLES: Final = ("keys", "firsts", "rest", "products", "customers", "offers", "registrations", "secrets")
Tables = dict[str, list[dict[str, Any]]]
"""Rows by the `append_batch` parameter they belong to."""


async def append(connection: Connection, verdicts: Sequence[Verdict], picture: Picture) -> dict[int, Loss]:
    """Store each verdict as a whole; returns why some were not, by index. Committed when this returns.

    Raises psycopg's errors; with `LockNotAvailable` or `DeadlockDetected` nothing was stored.
    """
    cursor = await connection.execute(sql("append_batch"), parameters(verdicts, picture))
    return dict(await cursor.fetchall())


def parameters(verdicts: Sequence[Verdict], picture: Picture) -> dict[str, str | None]:
    """The parameters of `append_batch`: each table is one JSON array rather than an array per column.

    The driver dumps arrays in Python, value by value, which took longer than deciding.
    """
    tables: Tables = defaultdict(list)
    for index, verdict in enumerate(verdicts):
        _add(tables, index, verdict, picture)
    return {name: orjson.dumps(tables[name]).decode() if name in tables else None for name in _TABLES}


def _add(tables: Tables, index: int, verdict: Verdict, picture: Picture) -> None:
    command = verdict.command
    if command.idempotency is not None:
        _add_key(tables, index, verdict, picture)
    if verdict.events:
        first, *rest = verdict.events
        tables["firsts"].append(_row(index, command.stream_id, first, verdict))
        if rest:
            tables["rest"] += [_row(index, command.stream_id, event, verdict) for event in rest]
        if verdict.checks_facts:
            _add_checks(tables, index, verdict, picture)
        _add_lookups(tables, index, verdict)
    if verdict.new_key is not None or verdict.erases:
        key = None if verdict.new_key is None else verdict.new_key.hex()
        tables["secrets"].append({"command": index, "customer": command.subject, "key": key})


def _row(index: int, stream_id: str, event: StoredEvent, verdict: Verdict) -> dict[str, Any]:
    return {
        "command": index,
        "stream_id": stream_id,
        "version": event.version,
        "id": event.event_id,
        "type": event.type,
        "schema": event.schema_version,
        "data": orjson.Fragment(event.data),
        "metadata": verdict.metadata,
        "at": verdict.occurred_at,
    }


def _add_key(tables: Tables, index: int, verdict: Verdict, picture: Picture) -> None:
    command, answer = verdict.command, verdict.answer
    assert command.idempotency is not None
    state = picture.streams[command.stream_id].state
    tables["keys"].append(
        {
            "command": index,
            "user_id": command.idempotency.user_id,
            "key": command.idempotency.key,
            "stream_id": command.stream_id,
            "fingerprint": _fingerprint(command.idempotency.fingerprint, state).hex(),
            "status": answer.status,
            "body": answer.body.decode(),
            "location": answer.location,
        }
    )


def _fingerprint(full: bytes, state: object) -> bytes:
    """Keep no digest of what was sent for an erased customer: the name could be guessed from it."""
    return full[:ROUTE_FINGERPRINT_BYTES] if isinstance(state, customers.Erased) else full


def _add_checks(tables: Tables, index: int, verdict: Verdict, picture: Picture) -> None:
    needs = verdict.command.needs
    tables["products"] += [
        {
            "command": index,
            "id": name,
            "version": picture.products[name][1] if name in picture.products else 0,
        }
        for name in needs.products
    ]
    if needs.customer is not None:
        version = picture.customers.get(needs.customer, (False, 0))[1]
        tables["customers"].append({"command": index, "id": needs.customer, "version": version})


def _add_lookups(tables: Tables, index: int, verdict: Verdict) -> None:
    row = {"command": index, "id": verdict.command.subject, "version": verdict.events[-1].version}
    match verdict.state:
        case products.Listed(name, price) | products.Delisted(name, price):
            available = isinstance(verdict.state, products.Listed)
            row |= {"name": name, "price": int(price), "available": available}
            tables["offers"].append(row)
        case customers.Registered():
            tables["registrations"].append(row | {"registered": True})
        case customers.Erased():
            tables["registrations"].append(row | {"registered": False})
        case _:
            pass
