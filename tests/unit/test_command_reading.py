"""Bodies that would take long to report on."""

import pytest

from services.command.http.bodies import Cancellation, NewOrder
from services.command.http.reading import parse
from shared.problems import Problem

UNKNOWN = b",".join(b'"%d":1' % number for number in range(2000))
REPEATED = b",".join([b'"reason":"a"'] * 2000)


@pytest.mark.parametrize("body", [b"{%s}" % UNKNOWN, b'{"items":[{%s}]}' % UNKNOWN, b"{%s}" % REPEATED])
def test_a_body_with_far_too_many_names_has_a_single_error(body: bytes) -> None:
    with pytest.raises(Problem) as problem:
        parse(NewOrder, body)
    assert problem.value.kind.status == 422
    assert problem.value.extra["errors"] == [{"pointer": "", "detail": "it has too many names"}]


def test_a_body_with_far_too_many_names_must_still_be_json() -> None:
    with pytest.raises(Problem) as problem:
        parse(NewOrder, b"{%s" % UNKNOWN)
    assert problem.value.kind.status == 400


def test_the_valid_bodies_with_the_most_colons_are_accepted() -> None:
    lines = b",".join(b'{"productId":"%d","quantity":1}' % number for number in range(100))
    assert len(parse(NewOrder, b'{"items":[%s]}' % lines).items) == 100
    assert parse(Cancellation, b'{"reason":"%s"}' % (b":" * 500)).reason == ":" * 500
