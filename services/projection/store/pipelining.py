"""Sends the commands of a transaction in one round trip.

The server answers a connection's requests in order, so all can be sent before the first reply is read. The
driver waits for each reply, which took half of a small transaction's time and CPU. There is no public API
for this, so this module, and no other, uses the driver's internals.
https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
"""

from collections.abc import Sequence
from typing import Any, Final

from bson.codec_options import DEFAULT_CODEC_OPTIONS
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError
from pymongo.helpers_shared import _check_command_response
from pymongo.message import _op_msg
from pymongo.pool import Connection

Command = dict[str, Any]
Reply = dict[str, Any]
_PRIMARY: Final = ReadPreference.PRIMARY


def send_all(session: ClientSession, database: str, commands: Sequence[Command]) -> list[Reply]:
    """Run the commands in order in the session's transaction, and return their replies.

    Raises the driver's error for the first command that failed: `BulkWriteError` for documents that could not
    be written, with the `collection` in its details. The server has then aborted the transaction, so none of
    the commands had any effect.
    """
    # the driver's own way to get a connection: it reports errors to the pool and the topology
    with session.client._conn_for_writes(session, "pipeline") as connection:
        numbers = _send(connection, session, database, commands)
        # read all replies before checking any: the connection goes back to the pool
        replies = [connection.receive_message(number).unpack_response()[0] for number in numbers]
        session._transaction.has_completed_command = True
        for reply in replies:
            session._process_response(reply)
        for command, reply in zip(commands, replies, strict=True):
            _check_command_response(reply, connection.max_wire_version)
            if "writeErrors" in reply:
                raise BulkWriteError({**reply, "collection": next(iter(command.values()))})
    return replies


def _send(
    connection: Connection, session: ClientSession, database: str, commands: Sequence[Command]
) -> list[int]:
    """Send all commands, and return their request ids."""
    numbers, messages, largest = [], [], 0
    for command in commands:
        session._apply_to(command, False, _PRIMARY, connection)
        session._transaction.set_in_progress()
        number, message, _, document = _op_msg(
            0, command, database, _PRIMARY, DEFAULT_CODEC_OPTIONS, connection.compression_context
        )
        numbers.append(number)
        messages.append(message)
        largest = max(largest, document)
    connection.send_message(b"".join(messages), largest)
    return numbers
