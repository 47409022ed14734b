"""Parsing of requests, and the OpenAPI document."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.documents.shapes import PageKey
from services.query.http.answering import accepts_gzip
from services.query.http.cursors import after_order, after_product, order_key, product_key
from services.query.http.openapi import document
from services.query.http.openapi.operations import OPERATIONS
from services.query.http.parameters import Parameters, wait_seconds
from services.query.http.problems import INVALID_CURSOR
from shared.problems import BAD_REQUEST, VALIDATION, Problem

IDS = st.from_regex(r"[A-Za-z0-9._~-]{1,64}", fullmatch=True).filter(lambda text: text not in {".", ".."})
MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
)


@given(MOMENTS, IDS)
def test_a_cursor_round_trips(moment: datetime, order_id: str) -> None:
    key = PageKey(moment, order_id)
    assert order_key(after_order(key)) == key
    assert product_key(after_product(order_id)) == order_id


@given(st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_-]{1,80}", fullmatch=True))
def test_arbitrary_text_is_refused_as_a_cursor(text: str) -> None:
    for read in (order_key, product_key):
        with pytest.raises(Problem) as refused:
            read(text)
        assert refused.value.kind is INVALID_CURSOR


@given(MOMENTS, IDS, st.data())
def test_a_cursor_with_one_changed_character_is_refused(
    moment: datetime, order_id: str, data: st.DataObject
) -> None:
    for cursor, read in (
        (after_order(PageKey(moment, order_id)), order_key),
        (after_product(order_id), product_key),
    ):
        place = data.draw(st.integers(0, len(cursor) - 1))
        other = data.draw(st.sampled_from(sorted(set("AZaz09-_=") - {cursor[place]})))
        with pytest.raises(Problem) as refused:
            read(cursor[:place] + other + cursor[place + 1 :])
        assert refused.value.kind is INVALID_CURSOR


def scope(query: str = "", headers: Sequence[tuple[bytes, bytes]] = ()) -> dict[str, Any]:
    return {"query_string": query.encode(), "headers": headers}


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ([], None),
        ([b"wait=5"], 5),
        ([b"respond-async, wait=7"], 7),
        ([b"respond-async", b"WAIT = 7 ; x=y"], 7),
        ([b'wait="3"'], 3),
        ([b"wait=100"], 30),
        ([b"wait=3600000"], 30),
        ([b"wait=" + b"9" * 5000], 30),
        ([b"wait=0"], 0),
        ([b"wait=-1"], None),
        ([b"wait=soon"], None),
        ([b"waiting=5"], None),
    ],
)
def test_the_wait_preference_is_parsed_and_capped(prefer: list[bytes], seconds: float | None) -> None:
    assert wait_seconds(scope(headers=[(b"prefer", value) for value in prefer])) == seconds


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (b"gzip", True),
        (b"br, GZIP ;q=0.5", True),
        (b"*", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.0, *", False),
        (b"*;q=0", False),
        (b"identity", False),
        (b"", False),
    ],
)
def test_accept_encoding_is_parsed_for_gzip(header: bytes, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


def test_all_invalid_parameters_are_reported_together() -> None:
    given_parameters = Parameters(scope("limit=0&minVersion=x&limit=3&a%2Fb=1&a%2Fb=2"))
    given_parameters.limit()
    given_parameters.version("minVersion")
    with pytest.raises(Problem) as refused:
        given_parameters.raise_if_invalid()
    assert refused.value.kind is VALIDATION
    pointers = [error["pointer"] for error in refused.value.extra["errors"]]
    assert sorted(set(pointers)) == ["/a~1b", "/limit", "/minVersion"]


@pytest.mark.parametrize("query", ["a=%ff", "&".join(f"p{number}=1" for number in range(100))])
def test_an_unreadable_query_string_is_a_bad_request(query: str) -> None:
    with pytest.raises(Problem) as refused:
        Parameters(scope(query))
    assert refused.value.kind is BAD_REQUEST


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23t10:00:00.5z", datetime(2026, 11, 23, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-23T10:00:00%2B01:00", datetime(2026, 11, 23, 9, tzinfo=UTC)),
        ("2026-11-23T10:00:00+01:00", datetime(2026, 11, 23, 9, tzinfo=UTC)),
        ("2026-11-23+10:00:00Z", None),
        ("2026-11-23T10:00:00", None),
        ("2026-11-23", None),
        ("2026-02-30T10:00:00Z", None),
        ("0001-01-01T00:00:00%2B14:00", None),
        ("2026-11-23T10:00:60Z", None),
    ],
)
def test_only_times_with_an_offset_are_accepted(text: str, moment: datetime | None) -> None:
    assert Parameters(scope(f"asOf={text}")).time("asOf") == moment


def test_the_document_lists_every_problem_and_parameter() -> None:
    described = document()
    for operation in OPERATIONS:
        get = described["paths"][operation.path]["get"]
        codes = {
            code
            for response in get["responses"].values()
            for code in response.get("content", {}).get("application/problem+json", {}).get("examples", {})
        }
        assert {kind.code for kind in operation.problems} <= codes
        assert {"unauthenticated", "validation-failed", "unavailable", "method-not-allowed"} <= codes
        for reference in get["parameters"]:
            assert reference["$ref"].rsplit("/", 1)[1] in described["components"]["parameters"]
    identifiers = [
        operation["operationId"] for path in described["paths"].values() for operation in path.values()
    ]
    assert len(set(identifiers)) == len(identifiers)


def test_the_document_puts_no_bounds_on_headers_that_are_accepted_without_any() -> None:
    headers = [given for given in document()["components"]["parameters"].values() if given["in"] == "header"]
    assert {"X-Request-Id", "traceparent", "Prefer"} <= {header["name"] for header in headers}
    for header in headers:
        assert not {"maxLength", "pattern", "enum"} & set(header["schema"])


def test_the_document_is_valid() -> None:
    import schemathesis

    schemathesis.openapi.from_dict(document()).validate()
