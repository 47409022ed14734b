"""What can go wrong in the store, and the one place where the driver's errors are translated."""

import psycopg
from psycopg import errors as pg


class StoreError(Exception):
    """The store could not answer."""


class KeyReusedError(StoreError):
    """The idempotency key was used for another request."""


class ContendedError(StoreError):
    """Concurrent changes overtook the decision too many times."""


class StoreUnavailableError(StoreError):
    """The database is unavailable. It is unknown whether anything was written: repeat with the same key."""


class StoreOverloadedError(StoreError):
    """Too many commands are waiting; this one was not started."""


def is_lock_wait(error: psycopg.Error) -> bool:
    """Another session held a row lock for longer than we wait."""
    return isinstance(error, pg.LockNotAvailable)


def is_passing(error: psycopg.Error) -> bool:
    """Nothing was written, and a retry may well succeed."""
    return isinstance(error, pg.DeadlockDetected | pg.SerializationFailure)


def is_behind(error: psycopg.Error) -> bool:
    """The database lacks a table or a function: this version's migrations have not run yet."""
    return isinstance(error, pg.UndefinedTable | pg.UndefinedFunction)
