"""Reads requests: bodies of limited size, then the headers that qualify a command."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NoReturn, TypeVar

from pydantic import ValidationError
from starlette.types import Receive, Scope

from services.command.http.bodies import Body
from shared.problems import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    MALFORMED_JSON,
    UNSUPPORTED_MEDIA_TYPE,
    VALIDATION,
    Kind,
    Problem,
    pointer,
)

LONGEST_BODY: Final = 1024 * 1024
INVALID_IF_MATCH: Final = Kind(400, "invalid-if-match", "The If-Match header cannot be used here")
INVALID_IDEMPOTENCY_KEY: Final = Kind(400, "invalid-idempotency-key", "The Idempotency-Key is invalid")

_JSON_TYPE: Final = re.compile(rb'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?;?\s*', re.IGNORECASE)
_VERSION: Final = re.compile(rb'"(0|[1-9][0-9]{0,99})"')
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_NAMES: Final = re.compile(rb'"\s*:')
_MOST_COLONS: Final = 1000
"""More than any valid body has, after its names and in its texts."""
_ERRORS_TOLD: Final = 20
B = TypeVar("B", bound=Body)


class Headers:
    """A request's headers by lower-case name."""

    def __init__(self, scope: Scope) -> None:
        self._given = scope["headers"]
        self._by_name = dict(self._given)

    def get(self, name: bytes) -> bytes | None:
        """The value of a header, or None; the last one if it is repeated."""
        return self._by_name.get(name)

    def only(self, name: bytes, otherwise: Kind) -> bytes | None:
        """The same, but raises the problem `otherwise` if the header is repeated."""
        value = self._by_name.get(name)
        if value is not None and sum(given == name for given, _ in self._given) > 1:
            raise Problem(otherwise, "The header appears more than once.")
        return value


async def read_body(headers: Headers, receive: Receive) -> bytes:
    """The whole body; raises a 413 if it is over 1 MiB."""
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > LONGEST_BODY:
        _too_large()
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        return body if len(body) <= LONGEST_BODY else _too_large()
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        if len(parts) > LONGEST_BODY:
            _too_large()
        if not message.get("more_body", False):
            return bytes(parts)
        message = await receive()
    raise Problem(BAD_REQUEST, "The body ended early.")


def _too_large() -> NoReturn:
    # leave the connection open: closing it on a caller that is still sending would lose the response
    raise Problem(BODY_TOO_LARGE, "The body may be at most 1 MiB.")


def require_json(headers: Headers) -> None:
    """Raises a 415 unless the headers declare plain JSON in UTF-8."""
    content_type = headers.get(b"content-type")
    encoding = headers.get(b"content-encoding")
    if content_type != b"application/json" and (
        content_type is None or _JSON_TYPE.fullmatch(content_type) is None
    ):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json.")
    if encoding is not None and encoding.lower() != b"identity":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")


def parse(model: type[B], body: bytes) -> B:
    """The body as `model`; raises a 400 if it is not JSON, a 422 if it is not valid for `model`."""
    if body.count(b":") > _MOST_COLONS:  # to list all its errors could take half a second
        require_wellformed(body)
        raise _validation_problem([{"pointer": "", "detail": "it has too many names"}])
    try:
        parsed = model.model_validate_json(body)
    except ValidationError as error:
        require_wellformed(body)
        raise _misfit(error) from None
    names = parsed.names()
    # every name is followed by a colon: with no more colons than expected names, none is repeated
    if body.count(b":") != names and len(_NAMES.findall(body)) != names:  # or a string looks like a name
        _refuse_repeated_names(body)
    return parsed


def require_wellformed(body: bytes) -> None:
    """Raises a 400 unless the bytes are JSON (RFC 8259) in UTF-8."""
    if not body.strip(b" \t\r\n"):
        raise Problem(MALFORMED_JSON, "The body is empty.")
    try:
        # the values are unused, so numbers of any length are accepted
        json.loads(body.decode(), parse_constant=_no_constant, parse_int=len, parse_float=len)
    except UnicodeDecodeError:
        raise Problem(MALFORMED_JSON, "The body is not UTF-8.") from None
    except RecursionError:
        raise Problem(MALFORMED_JSON, "The body is nested too deeply.") from None
    except ValueError as error:
        where = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise Problem(MALFORMED_JSON, f"The body is not JSON{where}.") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _refuse_repeated_names(body: bytes) -> None:
    require_wellformed(body)  # the parser only skims values that a later duplicate name replaces
    found = list(_repeated(json.loads(body, object_pairs_hook=_Pairs)))
    if found:
        detail = "the name appears more than once"
        raise _validation_problem([{"pointer": pointer(place), "detail": detail} for place in found])


class _Pairs(list[tuple[str, Any]]):
    """An object as its name-value pairs, duplicates included."""


def _repeated(value: Any, place: Sequence[int | str] = ()) -> Iterator[Sequence[int | str]]:
    """The paths of names that appear more than once in their object."""
    inside: Iterable[tuple[int | str, Any]] = ()
    if isinstance(value, _Pairs):
        inside = value
        times = Counter(name for name, _ in value)
        yield from ((*place, name) for name in times if times[name] > 1)
    elif isinstance(value, list):
        inside = enumerate(value)
    for where, held in inside:
        yield from _repeated(held, (*place, where))


def _misfit(error: ValidationError) -> Problem:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return _validation_problem(
        [
            {"pointer": pointer(entry["loc"]), "detail": entry["msg"].removeprefix("Value error, ")}
            for entry in found
        ]
    )


def _validation_problem(errors: Sequence[Mapping[str, str]]) -> Problem:
    count = f"{len(errors)} error" + ("s" if len(errors) > 1 else "")
    return Problem(VALIDATION, f"The body has {count}.", errors=errors[:_ERRORS_TOLD])


def expected_version(headers: Headers) -> int | Literal["*"] | None:
    """What `If-Match` asks for: a version, `*` or nothing; raises a 400 for anything else."""
    value = headers.only(b"if-match", INVALID_IF_MATCH)
    if value is None:
        return None
    value = value.strip()
    if value == b"*":
        return "*"
    match = _VERSION.fullmatch(value)
    if match is None:
        raise Problem(INVALID_IF_MATCH, 'If-Match takes one stream version, as in "3", or *.')
    return int(match[1])


def idempotency_key(headers: Headers) -> str | None:
    """The caller's `Idempotency-Key`; raises a 400 if it is not 1 to 255 visible ASCII characters."""
    value = headers.only(b"idempotency-key", INVALID_IDEMPOTENCY_KEY)
    if value is None:
        return None
    if _KEY.fullmatch(value) is None:
        raise Problem(INVALID_IDEMPOTENCY_KEY, "An Idempotency-Key is 1 to 255 visible ASCII characters.")
    return value.decode("ascii")
