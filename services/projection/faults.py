"""What can go wrong with a partition, other than a bad event."""


class ProjectionError(Exception):
    """The root of what this service raises."""


class TransientError(ProjectionError):
    """Something a partition needs is away. It passes, and is tried again for ever."""


class FencedError(ProjectionError):
    """The checkpoint is not where the batch started from: somebody else moved it."""

    def __str__(self) -> str:
        return "somebody else moved the checkpoint"


class HaltedError(ProjectionError):
    """The checkpoint may not move further now: a switch of generations is being prepared."""

    def __init__(self, last: int) -> None:
        super().__init__(f"halted at offset {last}")
        self.last = last
