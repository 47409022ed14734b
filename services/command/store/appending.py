"""Stores what a batch of commands came to, in one round trip and one transaction."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, Literal

from services.command.domain import customer as customers
from services.command.domain import product as products
from services.command.store.commands import ROUTE_FINGERPRINT_BYTES
from services.command.store.deciding import Verdict
from services.command.store.loading import Connection, Picture
from services.command.store.sql import sql

Loss = Literal["stale", "key", "conflict"]
"""Why a command was not stored: facts changed, its idempotency key is taken, its stream is elsewhere."""

_COLUMNS: Final = {
    "k": ("command", "user", "key", "stream", "fingerprint", "status", "body", "location"),
    "e": ("command", "first", "stream", "version", "id", "type", "schema", "data", "metadata", "time"),
    "p": ("command", "id", "version"),
    "c": ("command", "id", "version"),
    "lp": ("command", "id", "name", "price", "available", "version"),
    "lc": ("command", "id", "registered", "version"),
    "n": ("command", "customer", "key"),
}


class _Tables:
    """Rows, turned into one array per column."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)

    def add(self, table: str, *row: Any) -> None:
        self._rows[table].append(row)

    def parameters(self) -> dict[str, list[Any]]:
        parameters: dict[str, list[Any]] = {}
        for table, columns in _COLUMNS.items():
            rows = self._rows[table]
            values = zip(*rows, strict=True) if rows else ((),) * len(columns)
            for column, column_values in zip(columns, values, strict=True):
                parameters[f"{table}_{column}"] = list(column_values)
        return parameters


async def append(connection: Connection, verdicts: Sequence[Verdict], picture: Picture) -> dict[int, Loss]:
    """Store each verdict all or none; why some were not, by their index. Committed when this returns.

    Raises psycopg's errors; with `LockNotAvailable` or `DeadlockDetected` nothing was stored.
    """
    tables = _Tables()
    for index, verdict in enumerate(verdicts):
        _add(tables, index, verdict, picture)
    cursor = await connection.execute(sql("append_commands"), tables.parameters())
    return dict(await cursor.fetchall())


def _add(tables: _Tables, index: int, verdict: Verdict, picture: Picture) -> None:
    command, answer = verdict.command, verdict.answer
    stream_id = command.stream_id
    if (key := command.idempotency) is not None:
        tables.add(
            "k",
            index,
            key.user_id,
            key.key,
            stream_id,
            _fingerprint(key.fingerprint, picture.streams[stream_id].state),
            answer.status,
            answer.body,
            answer.location,
        )
    for number, event in enumerate(verdict.events):
        tables.add(
            "e",
            index,
            number == 0,
            stream_id,
            event.version,
            event.event_id,
            event.type,
            event.schema_version,
            event.data,
            verdict.metadata,
            verdict.occurred_at,
        )
    if verdict.checks_facts:
        _add_checks(tables, index, verdict, picture)
    if verdict.events:
        _add_lookups(tables, index, verdict)
    if verdict.new_key is not None or verdict.erases:
        tables.add("n", index, command.subject, verdict.new_key)


def _fingerprint(full: bytes, state: object) -> bytes:
    """No digest of what was sent for an erased customer is kept: a name can be guessed at."""
    return full[:ROUTE_FINGERPRINT_BYTES] if isinstance(state, customers.Erased) else full


def _add_checks(tables: _Tables, index: int, verdict: Verdict, picture: Picture) -> None:
    needs = verdict.command.needs
    for name in needs.products:
        tables.add("p", index, name, picture.products[name][1] if name in picture.products else 0)
    if needs.customer is not None:
        tables.add("c", index, needs.customer, picture.customers.get(needs.customer, (False, 0))[1])


def _add_lookups(tables: _Tables, index: int, verdict: Verdict) -> None:
    subject, version = verdict.command.subject, verdict.events[-1].version
    match verdict.state:
        case products.Listed(name, price):
            tables.add("lp", index, subject, name, int(price), True, version)
        case products.Delisted(name, price):
            tables.add("lp", index, subject, name, int(price), False, version)
        case customers.Registered():
            tables.add("lc", index, subject, True, version)
        case customers.Erased():
            tables.add("lc", index, subject, False, version)
        case _:
            pass
