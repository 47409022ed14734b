"""Times on every wire: RFC 3339, UTC, whole milliseconds, as in 2026-11-23T10:00:00.000Z."""

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """`moment` (aware) as text; what is below a millisecond is cut off."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """Read a time with its offset; `ValueError` when it is none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset, as in 2026-11-23T10:00:00.000Z")
    return moment.astimezone(UTC)


def whole_milliseconds(moment: datetime) -> datetime:
    """`moment` with what is below a millisecond cut off."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
