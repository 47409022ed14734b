"""Cursors of live streams: positions in the change stream, encoded to be opaque.

A position is a MongoDB resume token: hexadecimal, with the time first, so that later ones sort after earlier
ones. https://www.mongodb.com/docs/manual/changeStreams/#resume-tokens
An event's own position names its document; one between events ("high-water mark") holds a time only.
"""

import re
from typing import Final

from services.query.checksums import with_checksum, without_checksum
from services.query.documents.changes import Position

_LONGEST: Final = 1000
_POSITION: Final = re.compile(r"82[0-9A-F]{16}(?:[0-9A-F]{2})+")
_TIME: Final = slice(2, 18)
_SECONDS: Final = slice(2, 10)
_SHORT: Final = 60
"""A high-water mark is about half as long, an event's position at least twice as long."""


def cursor_of(position: Position) -> str:
    """The cursor of a position."""
    return with_checksum(bytes.fromhex(position))


def position_of(cursor: str) -> Position | None:
    """The position of a cursor; None for a text that is not a cursor."""
    content = without_checksum(cursor, _LONGEST)
    position = "" if content is None else content.hex().upper()
    return position if _POSITION.fullmatch(position) else None


def seconds_of(position: Position) -> int:
    """The time of a position, in seconds since 1970."""
    return int(position[_SECONDS], 16)


class Beginnings:
    """Where new streams start: after a position, without revealing the order whose event is there.

    The order may be another customer's. So the start is a high-water mark right after the position's time,
    which contains nothing else of it, modelled on one that the server sent.
    """

    def __init__(self) -> None:
        self._rest: str | None = None

    def learn(self, position: Position) -> None:
        """Note a position that the server sent."""
        if len(position) <= _SHORT:
            self._rest = position[_TIME.stop :]

    def behind(self, position: Position) -> Position:
        """Where a stream starts that has seen all changes up to `position` and all others of its time."""
        if len(position) <= _SHORT or self._rest is None:
            return position
        return f"82{int(position[_TIME], 16) + 1:016X}{self._rest}"
