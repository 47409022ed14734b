"""Parses query parameters and `Prefer`. All errors are reported at once: a 422 with a pointer for each."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from starlette.types import Scope

from shared.auth import ID_RULE, valid_id
from shared.problems import BAD_REQUEST, VALIDATION, Problem, pointer
from shared.times import parse_rfc3339

STATUSES: Final = ("pending", "shipped", "cancelled")
LONGEST_WAIT: Final = 30.0
_WHOLE: Final = re.compile(r"0|[1-9][0-9]*")
_LARGEST_VERSION: Final = 2**31 - 1
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WAIT: Final = re.compile(rb'\s*wait\s*=\s*(?:"([0-9]+)"|([0-9]+))\s*(?:;.*)?', re.IGNORECASE)
_MOST: Final = 50
T = TypeVar("T")


class Parameters:
    """A request's query parameters. Read each one the route knows, then call `raise_if_invalid`."""

    def __init__(self, scope: Scope) -> None:
        query: bytes = scope["query_string"]
        self._given: Mapping[str, str] = {}
        self._errors: list[dict[str, str]] = []
        if query:
            self._given = self._read(query)

    def _read(self, query: bytes) -> Mapping[str, str]:
        try:
            pairs = parse_qsl(
                query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST
            )
        except ValueError:
            raise Problem(BAD_REQUEST, "The query string cannot be read.") from None
        given: dict[str, str] = {}
        for name, value in pairs:
            if name in given:
                self.wrong(name, "it appears more than once")
            given[name] = value
        return given

    def wrong(self, name: str, detail: str) -> None:
        """Note that a parameter is invalid, for a reason that only its route may know."""
        self._errors.append({"pointer": pointer([name]), "detail": detail})

    def raise_if_invalid(self) -> None:
        """Raise a 422 with all errors, if there are any."""
        if self._errors:
            count = f"{len(self._errors)} error" + ("s" if len(self._errors) > 1 else "")
            raise Problem(VALIDATION, f"The query has {count}.", errors=self._errors)

    def text(self, name: str) -> str | None:
        """The parameter verbatim."""
        return self._given.get(name)

    def _as(self, name: str, read: Callable[[str], T], detail: str) -> T | None:
        text = self._given.get(name)
        if text is None:
            return None
        try:
            return read(text)
        except (ValueError, OverflowError):
            self.wrong(name, detail)
            return None

    def limit(self) -> int:
        """The maximum number of results: 1 to 100, 20 if not given."""

        def read(text: str) -> int:
            number = _whole(text)
            if not 1 <= number <= 100:
                raise ValueError(text)
            return number

        return self._as("limit", read, "it must be a whole number from 1 to 100") or 20

    def version(self, name: str) -> int | None:
        """A version, 0 or greater; those beyond what a document can have are all read as the largest."""

        def read(text: str) -> int:
            return min(_whole(text), _LARGEST_VERSION)

        return self._as(name, read, "it must be a whole number, 0 or greater")

    def identifier(self, name: str) -> str | None:
        """A customer's, product's or order's id."""

        def read(text: str) -> str:
            if not valid_id(text):
                raise ValueError(text)
            return text

        return self._as(name, read, f"it must be {ID_RULE}")

    def status(self) -> str | None:
        """An order's status."""

        def read(text: str) -> str:
            return STATUSES[STATUSES.index(text)]

        return self._as("status", read, f"it must be one of {', '.join(STATUSES)}")

    def time(self, name: str) -> datetime | None:
        """A time with its offset."""

        def read(text: str) -> datetime:
            # an unescaped + in the offset arrives as a space, which no valid time contains
            text = text.replace(" ", "+")
            if not _TIME.fullmatch(text):
                raise ValueError(text)
            return parse_rfc3339(text.upper())

        return self._as(name, read, "it must be a time with its offset, such as 2026-11-23T10:00:00.000Z")

    def day(self, name: str) -> date | None:
        """A day; required."""

        def read(text: str) -> date:
            if not _DATE.fullmatch(text):
                raise ValueError(text)
            return date.fromisoformat(text)

        if name not in self._given:
            self.wrong(name, "it is required")
        return self._as(name, read, "it must be a day, such as 2026-11-23")


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


def wait_seconds(scope: Scope) -> float | None:
    """How long `Prefer: wait=S` (RFC 7240) lets the response take, at most 30; None without it."""
    for name, value in scope["headers"]:
        if name == b"prefer":
            for preference in value.split(b","):
                match = _WAIT.fullmatch(preference)
                if match is not None:
                    return min(float(match[1] or match[2]), LONGEST_WAIT)
    return None
