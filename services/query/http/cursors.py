"""Page cursors: opaque to callers, and harmless if forged, since they only say where to continue reading."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

import orjson

from services.query.checksums import with_checksum, without_checksum
from services.query.documents.shapes import PageKey
from services.query.http.problems import INVALID_CURSOR
from shared.auth import valid_id
from shared.problems import Problem

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LONGEST: Final = 300


def refuse() -> NoReturn:
    """Raise a 400 `invalid-cursor`."""
    raise Problem(INVALID_CURSOR, "Pass a cursor exactly as it was returned, or none.")


def after_order(key: PageKey) -> str:
    """The cursor of the page of orders after `key`."""
    return _pack("o", (key.created_at - _EPOCH) // _MILLISECOND, key.id)


def order_key(cursor: str) -> PageKey:
    """Where that page starts; raises a 400 for any other text."""
    match _unpack(cursor):
        case ["o", int(ms), str(order_id)] if valid_id(order_id):
            try:
                return PageKey(_EPOCH + ms * _MILLISECOND, order_id)
            except OverflowError:
                refuse()
        case _:
            refuse()


def after_product(product_id: str) -> str:
    """The cursor of the page of products after `product_id`."""
    return _pack("p", product_id)


def product_key(cursor: str) -> str:
    """Where that page starts; raises a 400 for any other text."""
    match _unpack(cursor):
        case ["p", str(product_id)] if valid_id(product_id):
            return product_id
        case _:
            refuse()


def _pack(*parts: str | int) -> str:
    return with_checksum(orjson.dumps(parts))


def _unpack(cursor: str) -> Sequence[Any]:
    content = without_checksum(cursor, _LONGEST)
    if content is None:
        refuse()
    try:
        parts = orjson.loads(content)
    except ValueError:
        refuse()
    if not isinstance(parts, list) or _pack(*parts) != cursor:
        refuse()
    return parts
