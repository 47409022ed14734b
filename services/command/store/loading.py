"""Reads everything needed to decide a batch of commands, in one round trip."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from services.command.domain.facts import Facts, ProductFact
from services.command.store.codec import decode_event, decode_state
from services.command.store.commands import NO_NEEDS, Answer, Command
from services.command.store.connecting import Connection
from services.command.store.fact_cache import FactCache
from services.command.store.sql import sql
from shared.money import Money


class LoadedStream(NamedTuple):
    """One stream: its state, version (0: there is none), last event's time, and number of events replayed."""

    state: Any
    version: int
    last_at: datetime | None
    replayed: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """An idempotency key's record."""

    fingerprint: bytes
    answer: Answer


@dataclass(slots=True)
class BatchContext:
    """What the store held for a batch."""

    streams: dict[str, LoadedStream] = field(default_factory=dict)
    products: dict[str, tuple[ProductFact, int]] = field(default_factory=dict)
    customers: dict[str, tuple[bool, int]] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    remembered: dict[tuple[str, str], Remembered] = field(default_factory=dict)
    stored_events: set[str] = field(default_factory=set)
    unverified: set[str] = field(default_factory=set)
    """Streams whose commands are decided on facts read earlier."""

    def facts(self, command: Command[Any]) -> Facts:
        """What `command` may know beyond its own stream."""
        wanted = command.needs
        products = {name: self.products[name][0] for name in wanted.products if name in self.products}
        registered = wanted.customer is not None and self.customers.get(wanted.customer, (False, 0))[0]
        return Facts(products=products, customer_registered=registered)


async def load(
    connection: Connection,
    commands: Sequence[Command[Any]],
    attempted: Sequence[str],
    known: FactCache | None = None,
) -> BatchContext:
    """Read streams, facts, personal data keys and idempotency records of `commands`.

    `attempted` are ids of events that may have been stored by a commit whose response was lost. `known` facts
    are not read again; if nothing else is needed either, the store is not queried at all.
    """
    context = BatchContext()
    known = known or FactCache()
    unsure = _guess(context, commands, known)
    context.streams.update(
        (command.stream_id, LoadedStream(command.aggregate.initial, 0, None, 0))
        for command in commands
        if command.begins
    )
    by_stream = {command.stream_id: command for command in commands if not command.begins}
    products = sorted({name for command in unsure for name in command.needs.products})
    customers = sorted({command.needs.customer for command in unsure if command.needs.customer})
    people = sorted(command.subject for command in by_stream.values() if command.category == "customers")
    idempotent = [command.idempotency for command in commands if command.idempotency is not None]
    if not (by_stream or products or customers or idempotent or attempted):
        return context
    async with connection.pipeline():
        streams = by_stream and await connection.execute(
            sql("load_streams"),
            {
                "streams": list(by_stream),
                "shapes": [command.aggregate.shape for command in by_stream.values()],
            },
        )
        found_products = products and await connection.execute(sql("load_products"), {"products": products})
        found_customers = customers and await connection.execute(
            sql("load_customers"), {"customers": customers}
        )
        keys = people and await connection.execute(sql("load_personal_data_keys"), {"customers": people})
        remembered = idempotent and await connection.execute(
            sql("load_idempotency_keys"),
            {"users": [entry.user_id for entry in idempotent], "keys": [entry.key for entry in idempotent]},
        )
        stored = attempted and await connection.execute(sql("find_events"), {"ids": list(attempted)})
    for name, title, cents, available, version in await _rows(found_products):
        fact = ProductFact(name=title, price=Money(cents), available=available)
        context.products[name] = known.products[name] = (fact, version)
    for name, registered, version in await _rows(found_customers):
        context.customers[name] = known.customers[name] = (registered, version)
    context.keys.update(await _rows(keys))
    for user, key, fingerprint, status, body, location in await _rows(remembered):
        context.remembered[user, key] = Remembered(fingerprint, Answer(status, body, location))
    context.stored_events.update(str(event_id) for (event_id,) in await _rows(stored))
    _rebuild(context, by_stream, await _rows(streams))
    return context


async def _rows(cursor: Any) -> list[Any]:
    """The rows of a query, if it was made."""
    return await cursor.fetchall() if cursor else []


def _guess(context: BatchContext, commands: Sequence[Command[Any]], known: FactCache) -> list[Command[Any]]:
    """Fill in the facts that are known; returns the commands that need others too."""
    unsure = []
    for command in commands:
        needs = command.needs
        if needs is NO_NEEDS:
            continue
        if not known.cover(needs):
            unsure.append(command)
            continue
        context.unverified.add(command.stream_id)
        for name in needs.products:
            context.products[name] = known.products[name]
        if needs.customer is not None:
            context.customers[needs.customer] = known.customers[needs.customer]
    return unsure


def _rebuild(
    context: BatchContext, commands: Mapping[str, Command[Any]], rows: Iterable[Sequence[Any]]
) -> None:
    """Fold each stream's events, which arrive together and in order, onto its snapshot."""
    for stream_id, snapshot_version, state, snapshot_at, version, kind, schema, data, at in rows:
        command = commands[stream_id]
        key = context.keys.get(command.subject) if command.category == "customers" else None
        before = context.streams.get(stream_id)
        if before is None:
            start = command.aggregate.initial
            if snapshot_version is not None:
                start = command.aggregate.load(decode_state(state, key))
            before = LoadedStream(start, snapshot_version or 0, snapshot_at, 0)
        if version is None:
            context.streams[stream_id] = before
            continue
        event = decode_event(kind, schema, data, key)
        context.streams[stream_id] = LoadedStream(
            command.aggregate.evolve(before.state, event), version, at, before.replayed + 1
        )
