"""A re-created topic is detected, and does not restart a partition forever."""

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


def test_the_first_record_continues_an_empty_checkpoint_whatever_its_incarnation() -> None:
    assert TopicIdentity().continues(at("", -1), of("a"))


def test_another_incarnation_causes_a_restart_but_only_once() -> None:
    identity = TopicIdentity()
    assert not identity.continues(at("a"), of("b"))
    assert identity.continues(at("a"), of("b"))
    assert not identity.continues(at("b"), of("c"))


def test_a_late_record_of_the_old_incarnation_causes_no_restart() -> None:
    identity = TopicIdentity()
    assert not identity.continues(at("a"), of("a", "b"))
    assert identity.continues(at("a"), of("a", "b", "a", "b"))


def test_a_record_without_an_incarnation_is_ignored() -> None:
    (silent,) = of("a")
    silent.headers = []
    assert TopicIdentity().continues(at("a"), [silent])


def test_an_incarnation_header_without_a_value_is_ignored() -> None:
    (silent,) = of("a")
    silent.headers = [("incarnation", None)]
    assert TopicIdentity().continues(at("a"), [silent])


def test_another_reported_incarnation_is_a_new_topic_but_only_once() -> None:
    identity = TopicIdentity()
    assert not identity.is_new_topic(at("a"), "a")
    assert not identity.is_new_topic(at("", -1), "a"), "nothing was read yet"
    assert identity.is_new_topic(at("a"), "b")
    assert not identity.is_new_topic(at("a"), "b")
    assert identity.continues(at("a"), of("b"))
    assert TopicIdentity().is_new_topic(at("", 0), "a"), "the records read did not state their incarnation"


def test_the_record_at_the_checkpoint_must_be_the_one_it_passed() -> None:
    (passed,) = of("a")
    passed.offset = 5
    assert TopicIdentity.matches(at("a", 5, digest(passed)), passed)
    assert not TopicIdentity.matches(at("a", 5, "another"), passed)
    assert not TopicIdentity.matches(at("a", 4, digest(passed)), passed)
