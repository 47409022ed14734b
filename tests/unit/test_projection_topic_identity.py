"""A topic that was made anew is noticed, and does not send a partition back for ever."""

from services.projection.kafka.topic_identity import TopicIdentity
from services.projection.records import digest
from services.projection.store.checkpoints import Checkpoint
from tests.projection_records import Rec, record
from tests.unit.test_read_models import created


def at(incarnation: str, offset: int = 5, found: str = "") -> Checkpoint:
    return Checkpoint(incarnation, offset, found, 1, True)


def of(*incarnations: str) -> list[Rec]:
    return [record("orders", "o1", 1, created(), incarnation=each) for each in incarnations]


def test_records_of_the_same_incarnation_continue() -> None:
    assert TopicIdentity().continues(at("a"), of("a", "a"))


def test_a_first_record_of_whatever_incarnation_continues_nothing_read() -> None:
    assert TopicIdentity().continues(at("", -1), of("a"))


def test_another_incarnation_begins_again_but_only_once() -> None:
    sameness = TopicIdentity()
    assert not sameness.continues(at("a"), of("b"))
    assert sameness.continues(at("a"), of("b"))
    assert not sameness.continues(at("b"), of("c"))


def test_a_late_record_of_the_old_incarnation_does_not_begin_again() -> None:
    sameness = TopicIdentity()
    assert not sameness.continues(at("a"), of("a", "b"))
    assert sameness.continues(at("a"), of("a", "b", "a", "b"))


def test_a_record_without_an_incarnation_says_nothing() -> None:
    (silent,) = of("a")
    silent.headers = []
    assert TopicIdentity().continues(at("a"), [silent])


def test_a_header_without_a_value_says_nothing() -> None:
    (silent,) = of("a")
    silent.headers = [("incarnation", None)]
    assert TopicIdentity().continues(at("a"), [silent])


def test_another_incarnation_that_was_told_is_news_but_only_once() -> None:
    sameness = TopicIdentity()
    assert not sameness.is_news(at("a"), "a")
    assert not sameness.is_news(at("", -1), "a"), "nothing was read yet"
    assert sameness.is_news(at("a"), "b")
    assert not sameness.is_news(at("a"), "b")
    assert sameness.continues(at("a"), of("b"))
    assert TopicIdentity().is_news(at("", 0), "a"), "what was read did not say where it stood"


def test_the_record_at_the_checkpoint_must_be_the_one_that_was_passed() -> None:
    (passed,) = of("a")
    passed.offset = 5
    assert TopicIdentity.stands(at("a", 5, digest(passed)), passed)
    assert not TopicIdentity.stands(at("a", 5, "another"), passed)
    assert not TopicIdentity.stands(at("a", 4, digest(passed)), passed)
