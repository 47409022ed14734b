"""Cursors of live streams: positions in the stream of changes, spelled so that nobody reads them.

A position is a resume token of MongoDB: hexadecimal, the time first, so that later ones sort after earlier
ones. https://www.mongodb.com/docs/manual/changeStreams/#resume-tokens
An event's own position names its document; one between events ("high-water mark") holds a time only.
"""

import re
from typing import Final

from services.query.documents.changes import Position
from services.query.sealing import opened, sealed

_LONGEST: Final = 1000
_POSITION: Final = re.compile(r"82[0-9A-F]{16}(?:[0-9A-F]{2})+")
_TIME: Final = slice(2, 18)
_SECONDS: Final = slice(2, 10)
_SHORT: Final = 60
"""A high-water mark is about half as long, an event's position at least twice."""


def cursor_of(position: Position) -> str:
    """The cursor that stands for a position."""
    return sealed(bytes.fromhex(position))


def position_of(cursor: str) -> Position | None:
    """The position a cursor stands for; None for a text that is no cursor."""
    content = opened(cursor, _LONGEST)
    position = "" if content is None else content.hex().upper()
    return position if _POSITION.fullmatch(position) else None


def seconds_of(position: Position) -> int:
    """The time of a position, in seconds since 1970."""
    return int(position[_SECONDS], 16)


class Beginnings:
    """Where new streams begin: behind a position, without naming the order whose event stands there.

    The order may be another customer's. So the beginning is a high-water mark right behind the position's
    time, which holds nothing more of it, made after the pattern of one that the server told.
    """

    def __init__(self) -> None:
        self._rest: str | None = None

    def learn(self, position: Position) -> None:
        """See a position that the server told."""
        if len(position) <= _SHORT:
            self._rest = position[_TIME.stop :]

    def behind(self, position: Position) -> Position:
        """Where a stream begins that has seen all changes up to `position` and those of its moment."""
        if len(position) <= _SHORT or self._rest is None:
            return position
        return f"82{int(position[_TIME], 16) + 1:016X}{self._rest}"
