"""The relay's connections to PostgreSQL."""

from typing import Any, Final, TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
IDLE_SECONDS: Final = 4
"""After how long without a word the server ends a publisher's session. With a ping each second and the
standby's look every quarter, a successor to a frozen process is at work within five seconds."""


async def connect(url: str, *, mortal: bool = False) -> Connection:
    """A connection of our own. A `mortal` one is ended by the server when we fall silent."""
    options = "-c statement_timeout=30s -c client_connection_check_interval=2s"
    if mortal:
        # waiting for a lock has no bound: a republish may hold it for as long as it takes
        options = f"-c statement_timeout=0 -c idle_session_timeout={IDLE_SECONDS}s"
        options += " -c client_connection_check_interval=2s"
    return await psycopg.AsyncConnection.connect(
        make_conninfo(
            url,
            application_name="relay",
            options=options,
            connect_timeout=3,
            keepalives_idle=2,
            keepalives_interval=1,
            keepalives_count=3,
            tcp_user_timeout=5000,
        ),
        autocommit=True,
    )
