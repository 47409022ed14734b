"""The relay's connections to PostgreSQL."""

from typing import Any, Final, TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
IDLE_SECONDS: Final = 4
"""After how long without a word the server ends a publisher's session. With a ping each second and the
standby's look every quarter, a successor to a frozen process is at work within five seconds."""


# What is read is read in order of positions, a little at a time. The outbox is empty at one moment and huge
# at the next: the planner knows nothing of it, and would read and sort all of it for each chunk.
_READING: Final = "-c statement_timeout=30s -c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off"
# Waiting for a lock has no bound: a republish may hold it for as long as it takes.
_MORTAL: Final = f"-c statement_timeout=0 -c idle_session_timeout={IDLE_SECONDS}s"


async def connect(url: str, *, mortal: bool = False) -> Connection:
    """A connection of our own. A `mortal` one is ended by the server when we fall silent."""
    return await psycopg.AsyncConnection.connect(
        make_conninfo(
            url,
            application_name="relay",
            options=f"{_MORTAL if mortal else _READING} -c client_connection_check_interval=2s",
            connect_timeout=3,
            keepalives_idle=2,
            keepalives_interval=1,
            keepalives_count=3,
            tcp_user_timeout=5000,
        ),
        autocommit=True,
    )
