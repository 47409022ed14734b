"""Why a decision refuses. No HTTP here: each edge maps these once."""


class Rejection(Exception):  # noqa: N818 - the root of the domain's errors is named for what it is
    """The command cannot be obeyed in this state. Nothing is recorded."""


class NotThereError(Rejection):
    """To whoever asks, the stream does not exist: told before anything else, a version mismatch included."""
