"""How the lag of the read model is calculated."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.freshness import NEVER, Checkpoint, Heartbeat, credible, fresh_as_of, lag_ms

T = datetime(2026, 11, 23, 10, tzinfo=UTC)


def beat(
    second: int, ends: list[int], *, shard: int = 0, shards: int = 1, incarnation: str = "a"
) -> Heartbeat:
    return Heartbeat(shards, shard, T + timedelta(seconds=second), {"orders": ends}, {"orders": incarnation})


def read_up_to(*offsets: int, incarnation: str = "a") -> dict[tuple[str, int], Checkpoint]:
    return {("orders", number): Checkpoint(incarnation, offset) for number, offset in enumerate(offsets)}


def test_the_lag_is_never_without_a_heartbeat() -> None:
    assert fresh_as_of([], read_up_to(5)) is None
    assert lag_ms(T, None) == NEVER


def test_the_newest_heartbeat_passed_by_every_partition_counts() -> None:
    beats = [beat(1, [3, 1]), beat(2, [5, 1]), beat(3, [9, 1])]
    assert fresh_as_of(beats, read_up_to(4, 0)) == T + timedelta(seconds=2)


def test_a_single_stalled_partition_holds_freshness_back() -> None:
    beats = [beat(1, [3, 1]), beat(2, [5, 2])]
    assert fresh_as_of(beats, read_up_to(100, 0)) == T + timedelta(seconds=1)


def test_a_partition_without_a_checkpoint_counts_as_read_only_if_empty() -> None:
    assert fresh_as_of([beat(1, [0, 0])], {}) == T + timedelta(seconds=1)
    assert fresh_as_of([beat(1, [0, 1])], {}) is None


def test_offsets_of_another_incarnation_prove_nothing() -> None:
    assert fresh_as_of([beat(1, [3], incarnation="b")], read_up_to(100)) is None


def test_the_slowest_shard_decides_and_a_missing_shard_means_never() -> None:
    first, second = beat(5, [9], shard=0, shards=2), beat(3, [9], shard=1, shards=2)
    assert fresh_as_of([first, second], read_up_to(8)) == T + timedelta(seconds=3)
    assert fresh_as_of([first], read_up_to(8)) is None


def test_only_the_latest_shard_count_is_considered() -> None:
    old = [beat(1, [1], shard=0, shards=2), beat(1, [1], shard=1, shards=2)]
    assert fresh_as_of([*old, beat(2, [1])], read_up_to(0)) == T + timedelta(seconds=2)


def test_heartbeats_from_the_future_prove_nothing() -> None:
    """After a clock is set back by an hour, the old heartbeats would look fresh for that hour."""
    beats = [beat(3600, [1]), beat(1, [1]), beat(2, [9])]
    assert fresh_as_of(credible(beats, T + timedelta(seconds=3)), read_up_to(0)) == T + timedelta(seconds=1)


@pytest.mark.parametrize(("seconds", "lag"), [(1.5, 1500), (0, 0), (-3, 0), (1e9, NEVER)])
def test_the_lag_is_in_whole_milliseconds_and_never_negative(seconds: float, lag: int) -> None:
    assert lag_ms(T + timedelta(seconds=seconds), T) == lag
