"""Positions, cursors and limits of live streams."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any, cast

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from services.query.arrivals import Arrivals
from services.query.documents.batching import Batches
from services.query.documents.feed import FeedEvent
from services.query.live.cursors import Beginnings, cursor_of, position_of, seconds_of
from services.query.live.filters import Filters
from services.query.live.keepalive import with_keepalive
from services.query.live.lifetime import Over, lasting
from services.query.live.messages import Message
from services.query.live.streams import LiveStream
from services.query.live.subscription import MOST_WAITING, MOST_WHILE_STUCK, Ended, Subscription
from shared.auth import Principal

MARK = "826B04417C000000022B0229296E04"
EVENT = (
    "826B04417E000000042B022C0100296E5A1004DB0A0F5B6B8D47088647209359FAE5F3463C5F6964003C"
    "31373935343431303232000004"
)


def event(position: str = EVENT, customer: str = "ada", status: str = "pending") -> FeedEvent:
    order = {"status": status}
    document = {"orderId": "o1", "customerId": customer, "version": 1, "order": order}
    full = RawBSONDocument(bson.encode(document))
    return FeedEvent({"_id": {"_data": position}, "fullDocument": full})


def test_a_cursor_round_trips() -> None:
    for position in (MARK, EVENT):
        assert position_of(cursor_of(position)) == position
    assert seconds_of(MARK) == 0x6B04417C


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_arbitrary_text_is_not_a_cursor(text: str) -> None:
    position = position_of(text)
    assert position is None or cursor_of(position) == text


@given(st.sampled_from([MARK, EVENT]), st.data())
def test_a_cursor_with_one_changed_character_is_not_a_cursor(position: str, data: st.DataObject) -> None:
    cursor = cursor_of(position)
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from(sorted(set("AZaz09-_=") - {cursor[place]})))
    assert position_of(cursor[:place] + other + cursor[place + 1 :]) is None


def test_a_beginning_follows_its_position_and_reveals_no_order() -> None:
    beginnings = Beginnings()
    assert beginnings.behind(EVENT) == EVENT
    beginnings.learn(MARK)
    beginnings.learn(EVENT)
    begin = beginnings.behind(EVENT)
    assert len(begin) == len(MARK)
    assert begin > EVENT
    # nothing fits between it and the next moment's first change
    assert begin < EVENT.replace("000000042B", "000000052B")
    assert beginnings.behind(MARK) == MARK


def wanted(caller: Principal, **filters: str) -> Filters:
    given_filters: Mapping[str, Any] = {"order_id": None, "customer_id": None, "status": None, **filters}
    return Filters.by(caller, **given_filters)


STAFF = Principal("grace", frozenset({"staff"}), 0)
ADA = Principal("ada", frozenset(), 0)


@pytest.mark.parametrize(
    ("caller", "filters", "matches"),
    [
        (STAFF, {}, True),
        (STAFF, {"customer_id": "ada", "status": "pending", "order_id": "o1"}, True),
        (STAFF, {"customer_id": "bob"}, False),
        (STAFF, {"status": "shipped"}, False),
        (STAFF, {"order_id": "o2"}, False),
        (ADA, {}, True),
        (ADA, {"customer_id": "bob"}, False),
        (Principal("bob", frozenset(), 0), {}, False),
        (Principal("bob", frozenset(), 0), {"order_id": "o1"}, False),
        (Principal("bob", frozenset(), 0), {"customer_id": "ada"}, False),
    ],
)
def test_a_stream_contains_only_events_its_caller_may_see_and_asked_for(
    caller: Principal, filters: dict[str, str], matches: bool
) -> None:
    assert wanted(caller, **filters).matches(event()) is matches


async def test_a_subscription_takes_only_later_events() -> None:
    subscription = Subscription(wanted(STAFF), EVENT)
    subscription.offer(Message(event(EVENT)))
    later = Message(event(EVENT.replace("000000042B", "000000052B")))
    subscription.offer(later)
    assert list(await subscription.take()) == [later]


async def test_a_subscription_with_too_many_waiting_messages_ends() -> None:
    subscription = Subscription(wanted(STAFF), MARK)
    cut: list[bool] = []
    subscription.on_too_slow = lambda: cut.append(True)
    for _ in range(MOST_WAITING + 1):
        subscription.offer(Message(event()))
    assert subscription.ended is Ended.TOO_SLOW
    assert cut == [True]
    assert list(await subscription.take()) == []


async def test_a_heartbeat_is_not_lost_among_messages() -> None:
    subscription = Subscription(wanted(STAFF), MARK)
    message = Message(event())
    subscription.offer(message)
    subscription.beat()
    async with asyncio.timeout(5):
        assert [list(await subscription.take()) for _ in range(2)] == [[], [message]]


async def test_slow_work_sends_keepalives() -> None:
    go_on = asyncio.Event()

    async def work() -> AsyncGenerator[int, None]:
        yield 1
        await go_on.wait()
        yield 2
        raise ConnectionError

    seen: list[int | None] = []

    async def see() -> None:
        async for part in with_keepalive(work(), 0.01):
            seen.append(part)
            if seen[-2:] == [None, None]:
                go_on.set()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(see(), 5)
    assert [part for part in seen if part is not None] == [1, 2]
    assert seen.count(None) >= 2


async def test_continuous_work_without_pauses_sends_keepalives() -> None:
    async def work() -> AsyncGenerator[int, None]:
        while True:
            yield 1
            await asyncio.sleep(0)

    async with asyncio.timeout(5), aclosing(with_keepalive(work(), 0.01)) as parts:
        async for part in parts:
            if part is None:
                break


async def test_a_burst_does_not_cut_off_a_reader_that_keeps_reading() -> None:
    now = [0.0]
    subscription = Subscription(wanted(STAFF), MARK, lambda: now[0])
    burst = [Message(event()) for _ in range(3 * MOST_WHILE_STUCK)]
    for message in burst:
        subscription.offer(message)
    now[0] += 60  # the service itself was slow: none of this was sent yet
    subscription.offer(burst[0])
    taken = 0
    async with asyncio.timeout(5):
        while taken < len(burst) + 1:
            taken += len(await subscription.take())
            subscription.sending()
    assert subscription.ended is None


async def test_a_stuck_reader_is_cut_off_by_backlog_or_by_time() -> None:
    now = [0.0]
    flooded, quiet = (Subscription(wanted(STAFF), MARK, lambda: now[0]) for _ in range(2))
    for subscription in (flooded, quiet):
        subscription.offer(Message(event()))
        await subscription.take()
        subscription.sending()
    now[0] += 1
    for _ in range(MOST_WHILE_STUCK):
        flooded.offer(Message(event()))
        quiet.beat()
    assert (flooded.ended, quiet.ended) == (None, None)
    flooded.offer(Message(event()))
    now[0] += 30
    quiet.beat()
    assert flooded.ended is quiet.ended is Ended.TOO_SLOW


async def test_a_reader_that_waits_for_messages_is_not_stuck() -> None:
    now = [0.0]
    subscription = Subscription(wanted(STAFF), MARK, lambda: now[0])
    subscription.sending()
    taking = asyncio.create_task(subscription.take())
    await asyncio.sleep(0)
    now[0] += 60
    subscription.beat()
    assert list(await taking) == []
    assert subscription.ended is None


@pytest.mark.parametrize(("expired_seconds_ago", "over"), [(15, Over.READER_GONE), (45, Over.TOKEN_EXPIRED)])
async def test_a_stream_lasts_as_long_as_its_token_is_accepted(expired_seconds_ago: int, over: Over) -> None:
    caller = Principal("ada", frozenset(), time.time() - expired_seconds_ago)

    async def sending() -> None:
        await asyncio.Event().wait()

    async def gone() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    stream = cast("LiveStream", SimpleNamespace())
    assert await lasting(stream, caller, sending(), gone()) is over


async def test_concurrent_reads_share_a_round_trip() -> None:
    trips: list[Sequence[int]] = []

    async def read(keys: Sequence[int]) -> Mapping[int, int]:
        trips.append(keys)
        await asyncio.sleep(0)
        return {key: key * 2 for key in keys if key % 2}

    async with asyncio.timeout(5):
        batches = Batches(read, "numbers")
        found = await asyncio.gather(*(batches.get(number % 10) for number in range(40)))
        more = await batches.get_all([1, 2])
        await batches.close()
    assert found == [number * 2 if number % 2 else None for number in range(10)] * 4
    assert len(trips) == 2
    assert more == {1: 2}


async def test_a_failed_read_fails_only_its_own_callers() -> None:
    async def read(keys: Sequence[int]) -> Mapping[int, int]:
        if 0 in keys:
            raise ConnectionError
        return {key: key for key in keys}

    batches = Batches(read, "numbers")
    with pytest.raises(ConnectionError):
        await batches.get(0)
    assert await batches.get(1) == 1
    gone = asyncio.create_task(batches.get(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await batches.get(3) == 3
    await batches.close()


def test_arrivals_wake_the_requests_that_expect_them() -> None:
    arrivals = Arrivals()
    with arrivals.expecting("orders", "1") as first, arrivals.expecting("products", "1") as second:
        arrivals.changed("orders", "1")
        assert (first.changed.is_set(), second.changed.is_set(), len(arrivals)) == (True, False, 2)
        arrivals.anything_may_have_changed()
        assert second.changed.is_set()
    assert not arrivals
