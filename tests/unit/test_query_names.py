"""Names are cached only while the change stream would report their changes."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from services.query.documents.names import Names
from services.query.documents.shapes import Customer

ADA = Customer("Ada", "ada@example.com")
RENAMED = Customer("Ada King", "ada@example.com")


class Store:
    """Counts the reads; `meanwhile` happens during each."""

    def __init__(self) -> None:
        self.reads = 0
        self.ada = ADA
        self.meanwhile: Callable[[], None] = lambda: None

    async def read(self, ids: Sequence[str]) -> Mapping[str, Customer]:
        self.reads += 1
        found = {name: self.ada for name in ids if name == "ada"}
        self.meanwhile()
        return found


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def names(store: Store) -> Names:
    return Names(store.read)


async def test_a_name_is_read_once_while_the_stream_is_alive(store: Store, names: Names) -> None:
    names.alive()
    assert [(await names.of(["ada"]))["ada"] for _ in range(3)] == [ADA] * 3
    assert store.reads == 1


async def test_a_change_is_seen_immediately(store: Store, names: Names) -> None:
    names.alive()
    await names.of(["ada"])
    store.ada = RENAMED
    names.changed("ada")
    assert (await names.of(["ada"]))["ada"] == RENAMED


async def test_a_name_that_changes_during_its_read_is_not_cached(store: Store, names: Names) -> None:
    names.alive()
    store.meanwhile = lambda: names.changed("ada")
    assert (await names.of(["ada"]))["ada"] == ADA
    store.ada, store.meanwhile = RENAMED, lambda: None
    assert (await names.of(["ada"]))["ada"] == RENAMED


async def test_a_name_that_may_have_changed_during_its_read_is_not_cached(store: Store, names: Names) -> None:
    def interrupted() -> None:
        names.lost()
        names.alive()

    names.alive()
    store.meanwhile = interrupted
    assert (await names.of(["ada"]))["ada"] == ADA
    store.ada, store.meanwhile = RENAMED, lambda: None
    assert (await names.of(["ada"]))["ada"] == RENAMED


async def test_nothing_is_cached_without_the_stream(store: Store, names: Names) -> None:
    await names.of(["ada"])
    names.alive()
    await names.of(["ada"])
    names.lost()
    await names.of(["ada"])
    assert store.reads == 3


async def test_a_silent_stream_is_not_trusted(
    store: Store, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("services.query.documents.names.time.monotonic", lambda: now)
    names.alive()
    await names.of(["ada"])
    now += 3
    store.ada = RENAMED
    assert (await names.of(["ada"]))["ada"] == RENAMED


async def test_unknown_customers_are_left_out(names: Names) -> None:
    names.alive()
    assert await names.of(["nobody"]) == {}
