"""What happens to unusable events, and to the events after them."""

from dataclasses import replace

import pytest

from services.projection.dead_letters.reading import dead_letter
from services.projection.folding.batch import Fold, Hole
from services.projection.folding.parking import Letter, Parked
from services.projection.folding.reading import reading
from services.projection.kafka.dead_letters import origin, trimmed, whole
from services.projection.records import Record, digest, sent_at
from shared.documents import CUSTOMERS, ORDERS
from shared.events import CustomerErased, CustomerRegistered
from tests.projection_records import Memory, Rec, record
from tests.unit.test_read_models import SHIPPED, created, fold, projection

CREATED = record("orders", "o1", 1, created())
SECOND = record("orders", "o1", 2, SHIPPED)
OTHER = record("orders", "o2", 1, created("o2"))
BROKEN = Rec("orders", 0, 0, 0, b"o1", b"{", [("incarnation", b"\xff")])


class Stream:
    """A partition's documents and marks, batch after batch."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.marks: dict[str, Parked] = {}

    def fold(self, *records: Record, refetched: dict[tuple[str, int], Record] | None = None) -> Fold:
        folding = Fold(projection("orders", self.memory), self.marks, refetched)
        for each in records:
            folding.take(reading(each))
        if not folding.holes:
            self.memory.write(folding.projection.writes())
            self.marks |= folding.marks
        return folding

    def version(self, order: str = "o1") -> int:
        found = self.memory.of(ORDERS).get(order)
        return 0 if found is None else found["version"]


def test_an_unreadable_record_parks_the_rest_of_its_stream_and_no_other() -> None:
    stream = Stream()
    folding = stream.fold(BROKEN, OTHER, CREATED)
    assert [letter.record for letter in folding.letters] == [BROKEN, CREATED]
    assert (stream.version("o2"), stream.version("o1")) == (1, 0)
    mark = stream.marks["o1"]
    assert (mark.first_version, mark.last_version, mark.open, mark.hole) == (1, 1, True, False)
    assert mark.unreadable == (digest(BROKEN),)


def test_reading_the_same_unreadable_record_again_parks_nothing_more() -> None:
    stream = Stream()
    stream.fold(BROKEN)
    folding = stream.fold(BROKEN)
    assert (folding.letters, folding.repeats, stream.marks["o1"].last_version) == ([], 1, 1)


def test_two_different_unreadable_records_count_as_two_versions() -> None:
    stream = Stream()
    stream.fold(BROKEN, Rec("orders", 0, 1, 0, b"o1", None, []))
    assert stream.marks["o1"].last_version == 2


def test_an_event_that_cannot_be_applied_is_parked() -> None:
    stream = Stream()
    folding = stream.fold(record("orders", "o1", 1, SHIPPED))
    assert folding.letters[0].reason == "UnusableEventError: the order was never created"


def test_a_record_whose_key_names_another_stream_is_parked() -> None:
    stream = Stream()
    other = Rec("orders", 0, 0, 0, b"o9", CREATED.value, CREATED.headers)
    assert len(stream.fold(other).letters) == 1
    assert stream.version("o1") == 0


@pytest.mark.parametrize("more", [b"[" * 95 + b"]" * 95, b'"' + b"x" * 3_000_000 + b'"'])
def test_an_event_that_no_document_can_hold_is_parked_alone(more: bytes) -> None:
    stream = Stream()
    odd = Rec("orders", 0, 0, 0, b"o1", (CREATED.value or b"")[:-2] + b',"more":' + more + b"}}", [])
    assert len(stream.fold(odd, OTHER).letters) == 1
    assert stream.version("o2") == 1


def test_a_letter_written_by_a_foreign_consumer_can_be_read() -> None:
    theirs = [("dead-letter-partition", b"three"), ("dead-letter-offset", None)]
    letter = dead_letter(Rec("orders.dlq", 0, 0, 0, b"o1", b"{", theirs))
    assert (letter.partition, letter.offset, letter.version) == (-1, -1, None)


def test_a_letter_keeps_the_timestamp_of_its_record() -> None:
    sent = Rec("orders.dlq", 0, 0, 9, SECOND.key, SECOND.value, origin(SECOND, "why"))
    assert dead_letter(sent).timestamp == SECOND.timestamp
    older = [each for each in sent.headers if each[0] != "dead-letter-timestamp"]
    assert dead_letter(Rec("orders.dlq", 0, 0, 9, SECOND.key, SECOND.value, older)).timestamp == 9


def test_parts_too_large_for_a_letter_are_omitted_and_listed() -> None:
    large = b"0" * 300_000
    letter = Letter(Rec("orders", 0, 0, 0, large, large, [("who", large)]), "why")
    omitted = "its value, its headers, most of its key"
    assert trimmed(letter) == (
        large[:1000],
        None,
        (),
        f"why (omitted as too large: {omitted})",
    )
    small = Letter(Rec("orders", 0, 0, 0, large[1:], large[1:], [("", large[1:])]), "why")
    assert trimmed(small) == whole(small)


def test_an_event_with_an_invalid_timestamp_is_parked_alone() -> None:
    stream = Stream()
    never = Rec("orders", 0, 0, -(10**15), b"o1", CREATED.value, CREATED.headers)
    assert len(stream.fold(never, OTHER).letters) == 1
    assert stream.version("o2") == 1
    assert sent_at(never) is None


def test_a_customer_is_erased_even_if_the_event_is_parked() -> None:
    memory = Memory()
    registered = CustomerRegistered(customer_id="ada", name="Ada", email="a@b.c")
    fold(memory, [record("customers", "ada", 1, registered)])
    broken = Rec("customers", 0, 1, 0, b"ada", b"{", [])
    erased = record("customers", "ada", 2, CustomerErased(customer_id="ada"))
    folding = fold(memory, [broken, erased])
    assert [letter.record for letter in folding.letters] == [broken, erased]
    ada = memory.of(CUSTOMERS)["ada"]
    assert (ada["name"], ada["email"], ada["version"]) == (None, None, 1)
    assert folding.projection.writes().erased == ["ada"]


def test_an_event_with_amounts_too_large_for_the_store_is_parked_alone() -> None:
    stream = Stream()
    folding = stream.fold(record("orders", "o1", 1, created(quantity=2**60)), OTHER)
    assert len(folding.letters) == 1
    assert stream.version("o2") == 1


def test_reasons_contain_nothing_of_the_record() -> None:
    stream = Stream()
    secret = Rec("orders", 0, 0, 0, b"o1", b'{"specversion":"Ada Lovelace"}', [])
    assert "Lovelace" not in stream.fold(secret).letters[0].reason


def test_a_hole_is_found_and_no_event_after_it_is_applied() -> None:
    stream = Stream()
    assert stream.fold(SECOND).holes == [Hole("o1", 1, 1)]
    assert stream.version() == 0


def test_a_hole_is_filled_with_refetched_events() -> None:
    stream = Stream()
    folding = stream.fold(SECOND, refetched={("o1", 1): CREATED})
    assert (folding.letters, stream.version()) == ([], 2)


def test_a_hole_that_cannot_be_filled_parks_the_stream() -> None:
    stream = Stream()
    folding = stream.fold(SECOND, refetched={})
    assert [letter.reason for letter in folding.letters] == ["version 1 is missing"]
    assert stream.marks["o1"].hole


def test_a_stream_parked_for_a_hole_resumes_when_the_missing_version_arrives() -> None:
    stream = Stream()
    stream.fold(SECOND, refetched={})
    assert stream.fold(CREATED).holes == [Hole("o1", 2, 2)]
    folding = stream.fold(CREATED, refetched={("o1", 2): SECOND})
    assert (folding.letters, stream.version(), stream.marks["o1"].open) == ([], 2, False)


def test_a_stream_parked_for_a_hole_resumes_when_all_of_it_is_republished() -> None:
    stream = Stream()
    stream.fold(SECOND, refetched={})
    stream.fold(CREATED, SECOND, refetched={})
    assert (stream.version(), stream.marks["o1"].open) == (2, False)


def test_a_stream_parked_for_an_unusable_event_does_not_resume_by_itself() -> None:
    stream = Stream()
    stream.fold(BROKEN)
    folding = stream.fold(CREATED, SECOND)
    assert (len(folding.letters), stream.version()) == (2, 0)
    assert stream.marks["o1"].last_version == 2


def test_a_record_parked_after_a_hole_is_not_parked_again_when_read_again() -> None:
    stream = Stream()
    stream.fold(SECOND, refetched={})
    folding = stream.fold(SECOND, refetched={})
    assert (folding.letters, folding.repeats) == ([], 1)


def test_a_parked_version_read_again_does_not_shorten_what_is_parked() -> None:
    stream = Stream()
    stream.fold(BROKEN, CREATED, SECOND)
    stream.fold(CREATED)
    assert stream.marks["o1"].last_version == 2


def test_a_stream_parked_for_a_hole_and_an_unusable_event_does_not_resume_by_itself() -> None:
    stream = Stream()
    stream.fold(SECOND, refetched={})
    stream.fold(BROKEN)
    assert not stream.marks["o1"].hole
    stream.fold(CREATED)
    assert (stream.version(), stream.marks["o1"].open) == (0, True)


def test_an_unreadable_record_is_remembered_when_its_stream_is_parked_again() -> None:
    stream = Stream()
    stream.fold(BROKEN)
    stream.marks["o1"] = replace(stream.marks["o1"], open=False)
    stream.fold(SECOND, refetched={})
    assert stream.fold(BROKEN).letters == []
