"""Stores the outcome of a batch of commands, in one round trip and one transaction."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, Literal

import orjson

from services.command.domain import customer as customers
from services.command.domain import product as products
from services.command.store.commands import ROUTE_FINGERPRINT_BYTES
from services.command.store.connecting import Connection
from services.command.store.deciding import Decision, StoredEvent
from services.command.store.loading import BatchContext
from services.command.store.sql import sql

Conflict = Literal["stale", "key", "conflict"]
"""Why a command was not stored: facts changed, its idempotency key is taken, its stream has moved on."""

_TABLES: Final = ("keys", "firsts", "rest", "products", "customers", "offers", "registrations", "secrets")
Tables = dict[str, list[dict[str, Any]]]
"""Rows by the `append_batch` parameter they belong to."""


async def append(
    connection: Connection, decisions: Sequence[Decision], context: BatchContext
) -> dict[int, Conflict]:
    """Store each decision as a whole; returns why some were not, by index. Committed when this returns.

    Raises psycopg's errors; with `LockNotAvailable` or `DeadlockDetected` nothing was stored.
    """
    cursor = await connection.execute(sql("append_batch"), parameters(decisions, context))
    return dict(await cursor.fetchall())


def parameters(decisions: Sequence[Decision], context: BatchContext) -> dict[str, str | None]:
    """The parameters of `append_batch`: each table is one JSON array rather than an array per column.

    The driver dumps arrays in Python, value by value, which took longer than deciding.
    """
    tables: Tables = defaultdict(list)
    for index, decision in enumerate(decisions):
        _add(tables, index, decision, context)
    return {name: orjson.dumps(tables[name]).decode() if name in tables else None for name in _TABLES}


def _add(tables: Tables, index: int, decision: Decision, context: BatchContext) -> None:
    command = decision.command
    if command.idempotency is not None:
        _add_key(tables, index, decision, context)
    if decision.events:
        first, *rest = decision.events
        tables["firsts"].append(_row(index, command.stream_id, first, decision))
        if rest:
            tables["rest"] += [_row(index, command.stream_id, event, decision) for event in rest]
        if decision.checks_facts:
            _add_checks(tables, index, decision, context)
        _add_lookups(tables, index, decision)
    if decision.new_key is not None or decision.erases:
        key = None if decision.new_key is None else decision.new_key.hex()
        tables["secrets"].append({"command": index, "customer": command.subject, "key": key})


def _row(index: int, stream_id: str, event: StoredEvent, decision: Decision) -> dict[str, Any]:
    return {
        "command": index,
        "stream_id": stream_id,
        "version": event.version,
        "id": event.event_id,
        "type": event.type,
        "schema": event.schema_version,
        "data": orjson.Fragment(event.data),
        "metadata": decision.metadata,
        "at": decision.occurred_at,
    }


def _add_key(tables: Tables, index: int, decision: Decision, context: BatchContext) -> None:
    command, answer = decision.command, decision.answer
    assert command.idempotency is not None
    state = context.streams[command.stream_id].state
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


def _add_checks(tables: Tables, index: int, decision: Decision, context: BatchContext) -> None:
    needs = decision.command.needs
    tables["products"] += [
        {
            "command": index,
            "id": name,
            "version": context.products[name][1] if name in context.products else 0,
        }
        for name in needs.products
    ]
    if needs.customer is not None:
        version = context.customers.get(needs.customer, (False, 0))[1]
        tables["customers"].append({"command": index, "id": needs.customer, "version": version})


def _add_lookups(tables: Tables, index: int, decision: Decision) -> None:
    row = {"command": index, "id": decision.command.subject, "version": decision.events[-1].version}
    match decision.state:
        case products.Listed(name, price) | products.Delisted(name, price):
            available = isinstance(decision.state, products.Listed)
            row |= {"name": name, "price": int(price), "available": available}
            tables["offers"].append(row)
        case customers.Registered():
            tables["registrations"].append(row | {"registered": True})
        case customers.Erased():
            tables["registrations"].append(row | {"registered": False})
        case _:
            pass
