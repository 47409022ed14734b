"""Errors of processing a partition, other than a bad event."""


class ProjectionError(Exception):
    """Base class of this service's errors."""


class TransientError(ProjectionError):
    """A dependency is temporarily unavailable. The service retries indefinitely."""


class FencedError(ProjectionError):
    """The checkpoint is not where the batch started: another writer moved it."""

    def __str__(self) -> str:
        return "another writer moved the checkpoint"


class HaltedError(ProjectionError):
    """The checkpoint may not move any further for now: two generations are being compared or switched."""

    def __init__(self, last: int) -> None:
        super().__init__(f"halted at offset {last}")
        self.last = last
