"""What a failed read means, independent of the driver."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from pymongo.errors import ConnectionFailure, ExecutionTimeout, OperationFailure, PyMongoError

# The server is stopping, stepping down or overloaded, or it killed the reader's cursor or plan.
_TRANSIENT: Final = frozenset(
    {6, 7, 43, 50, 89, 91, 133, 134, 136, 175, 189, 202, 237, 246, 262, 365, 9001, 10107, 11600, 11602, 13435}
    | {13436}
)
_UNRESUMABLE: Final = frozenset({260, 280, 286, 136})


class DocumentsError(Exception):
    """The documents cannot be read."""


class DocumentsUnavailableError(DocumentsError):
    """The documents are temporarily unavailable."""


class NoReadModelsError(DocumentsUnavailableError):
    """No generation of read models is live yet."""


class CannotResumeError(DocumentsError):
    """The change stream cannot resume at that position: it is too old, or never existed."""


@contextmanager
def translated() -> Generator[None, None, None]:
    """Translate the driver's errors into ours; those that can only be our own bug pass through."""
    try:
        yield
    except OperationFailure as error:
        if error.code in _TRANSIENT or isinstance(error, ExecutionTimeout):
            raise DocumentsUnavailableError(type(error).__name__) from error
        raise
    except (ConnectionFailure, TimeoutError) as error:
        raise DocumentsUnavailableError(type(error).__name__) from error
    except PyMongoError as error:
        if error.timeout:
            raise DocumentsUnavailableError(type(error).__name__) from error
        raise


def unresumable(error: OperationFailure) -> bool:
    """Whether a change stream failed because it cannot resume at its position."""
    return error.code in _UNRESUMABLE or error.has_error_label("NonResumableChangeStreamError")
