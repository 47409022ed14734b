"""Connections to the event store, and ending the backends of lost ones."""

from typing import Final
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from services.command.store.sql import sql

Connection = psycopg.AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

LOCK_TIMEOUT_MS: Final = 50
LONG_LOCK_TIMEOUT_MS: Final = 4000
_BACKOFF_SECONDS: Final = (0.05, 0.1, 0.2, 0.5)


def backoff(tries: int) -> float:
    """Seconds to wait before connecting again, after `tries` failed attempts."""
    return _BACKOFF_SECONDS[min(tries, len(_BACKOFF_SECONDS) - 1)]


def conninfo(url: str, *, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> str:
    """`url` with bounds on every wait, and a unique application name by which its backends can be found."""
    return make_conninfo(
        url,
        application_name=f"command-{uuid4().hex}",
        options=f"-c lock_timeout={lock_timeout_ms} -c statement_timeout=10s"
        " -c idle_in_transaction_session_timeout=5s",
        connect_timeout=3,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=8000,
    )


async def connect(url: str) -> Connection:
    """Open a connection outside of any pool."""
    return await psycopg.AsyncConnection.connect(conninfo(url), autocommit=True)


def backend_of(connection: Connection) -> tuple[int, str]:
    """How the server identifies this connection: process id and application name."""
    return connection.info.backend_pid, connection.info.parameter_status("application_name") or ""


async def end_backend(connection: Connection, backend: tuple[int, str]) -> None:
    """Terminate a lost connection's backend: on return it has ended, and what it committed is visible."""
    pid, name = backend
    parameters = {"pid": pid, "application_name": name}
    while await (await connection.execute(sql("end_backend"), parameters)).fetchone() is not None:
        pass
