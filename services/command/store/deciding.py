"""Decides a loaded command: what to store for it and what to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from uuid_utils import uuid7

from services.command.domain.rejections import NotThereError, Rejection
from services.command.store.codec import encode_event
from services.command.store.commands import Accepted, Answer, Command, Rejected, VersionMismatch
from services.command.store.loading import BatchContext, LoadedStream
from services.command.store.personal_data import new_key
from shared.events import CustomerErased, CustomerRegistered, Event
from shared.times import rfc3339


class StoredEvent(NamedTuple):
    """A row to insert; `data` is JSON."""

    version: int
    event_id: str
    type: str
    schema_version: int
    data: bytes


@dataclass(slots=True, kw_only=True)
class Decision:
    """The outcome of a command: its answer, and what must be stored for it, all or nothing.

    `new_key` is a customer's first key, `erases` deletes it. `state` is the stream's after the events.
    `occurred_at` is an RFC 3339 time, `metadata` plain JSON values.
    """

    command: Command[Any]
    answer: Answer
    events: tuple[StoredEvent, ...] = ()
    state: Any = None
    occurred_at: str = ""
    metadata: Mapping[str, str | None] | None = None
    new_key: bytes | None = None
    erases: bool = False
    checks_facts: bool = False

    @property
    def writes(self) -> bool:
        """Whether anything is to be stored."""
        return bool(self.events) or self.command.idempotency is not None


class UnverifiedFactsError(Exception):
    """The facts must be read before a command is rejected because of them."""


def decide(command: Command[Any], context: BatchContext, now: datetime) -> Decision:
    """Decide on what the store held; the events' time is `now`, or the stream's last if that is later.

    `now` has whole milliseconds. Raises `UnverifiedFactsError` if a rejection would rest on facts that were
    not read for this batch.
    """
    loaded = context.streams[command.stream_id]
    mismatch = _mismatch(command, loaded.version)
    try:
        events = command.decide(loaded.state, context.facts(command))
    except Rejection as rejection:
        if command.stream_id in context.unverified:
            raise UnverifiedFactsError from None
        # what does not exist is reported as such, whatever version was expected
        if mismatch is not None and not isinstance(rejection, NotThereError):
            return Decision(command=command, answer=command.answer(mismatch))
        return Decision(command=command, answer=command.answer(Rejected(rejection)))
    if mismatch is not None:
        return Decision(command=command, answer=command.answer(mismatch))
    accepted = Accepted(loaded.version + len(events), command.subject)
    if not events:
        return Decision(command=command, answer=command.answer(accepted))
    return _to_store(command, events, loaded, context.keys, command.answer(accepted), now)


def _mismatch(command: Command[Any], version: int) -> VersionMismatch | None:
    match command.expected:
        case None:
            return None
        case "*":
            return VersionMismatch(0) if version == 0 else None
        case expected:
            return None if expected == version else VersionMismatch(version)


def _to_store(
    command: Command[Any],
    events: Sequence[Event],
    loaded: LoadedStream,
    keys: Mapping[str, bytes],
    answer: Answer,
    now: datetime,
) -> Decision:
    kinds = set(map(type, events))
    key = keys.get(command.subject)
    fresh = None
    # a restore may have kept a key whose stream is gone
    if CustomerRegistered in kinds and key is None:
        key = fresh = new_key()
    state = loaded.state
    rows = []
    for version, event in enumerate(events, loaded.version + 1):
        state = command.aggregate.evolve(state, event)
        data = encode_event(event, key)
        rows.append(StoredEvent(version, str(uuid7()), type(event).__name__, event.schema_version, data))
    return Decision(
        command=command,
        answer=answer,
        events=tuple(rows),
        state=state,
        occurred_at=rfc3339(now if loaded.last_at is None else max(now, loaded.last_at)),
        metadata={
            "actor": command.actor,
            "traceparent": command.traceparent,
            "receivedAt": rfc3339(command.received_at),
            "requestId": command.request_id,
        },
        new_key=fresh,
        erases=CustomerErased in kinds,
        checks_facts=bool(command.needs.products or command.needs.customer),
    )
