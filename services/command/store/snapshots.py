"""Saves the states of long streams, so that they load as fast as short ones."""

from collections.abc import Sequence
from typing import Final

import orjson

from services.command.store.codec import MissingKeyError, encode_state
from services.command.store.connecting import Connection
from services.command.store.loading import BatchContext
from services.command.store.pending import PendingCommand
from services.command.store.sql import sql

EVERY: Final = 100
"""From the second load of a stream on, at most about this many events are replayed."""


async def save_snapshots(
    connection: Connection, batch: Sequence[PendingCommand], context: BatchContext
) -> None:
    """Save the state of streams that took many events to rebuild. Snapshots may be deleted at any time."""
    for pending in batch:
        command = pending.command
        loaded = context.streams[command.stream_id]
        if loaded.replayed < EVERY:
            continue
        aggregate = command.aggregate
        try:
            state = encode_state(aggregate.dump(loaded.state), context.keys.get(command.subject))
        except MissingKeyError:  # erased between two reads
            continue
        await connection.execute(
            sql("save_snapshot"),
            {
                "stream_id": command.stream_id,
                "version": loaded.version,
                "shape": aggregate.shape,
                "state": orjson.dumps(state).decode(),
                "occurred_at": loaded.last_at,
            },
        )
