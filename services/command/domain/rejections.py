"""Why a decision rejects a command. No HTTP here: each edge maps these once."""


class Rejection(Exception):  # noqa: N818 - the root of the domain's errors is named for what it is
    """The command is not possible in this state. No event is stored."""


class NotThereError(Rejection):
    """To this caller the stream does not exist: takes precedence over a version mismatch."""
