"""The relay's connections to PostgreSQL."""

from typing import Any, Final, TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
IDLE_SECONDS: Final = 4
"""How long a `mortal` session may be silent before the server ends it. With a ping each second and standbys
that try every quarter, the successor of a frozen process is publishing within five seconds."""


# Reads are in order of positions, a little at a time, and deletions name their positions. The outbox can be
# empty one moment and huge the next: the planner's statistics, and plans kept from before, are useless. It
# would read, and sort, the whole outbox for each chunk.
_BY_POSITION: Final = "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off"
_READING: Final = f"{_BY_POSITION} -c statement_timeout=30s"
# Waiting for a lock is unbounded: a republish may hold it for as long as it takes.
_MORTAL: Final = f"{_BY_POSITION} -c statement_timeout=0 -c idle_session_timeout={IDLE_SECONDS}s"


async def connect(url: str, *, mortal: bool = False) -> Connection:
    """Open a connection. A `mortal` one is ended by the server when we fall silent."""
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
