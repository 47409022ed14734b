"""How `make up` handles programs that die."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local import supervisor
from deploy.local.__main__ import clean, up
from deploy.local.plan import Plan
from deploy.local.program import Program, RemainsError
from deploy.local.settings import LocalSettings
from deploy.local.state import free_ports
from deploy.local.supervisor import LONGEST_BACKOFF, GaveUpError, Supervised

DIES, READY, REFUSED = "it dies", "it is ready, then dies", "its predecessor's remains prevent it"


@dataclass(slots=True)
class Life:
    """A program with one fate per start; after the last of them it always dies."""

    folder: Path
    fates: Iterator[str]
    fate: str = DIES
    starts: int = 0
    supervised: Supervised = field(init=False)

    def __post_init__(self) -> None:
        self.supervised = Supervised(self.program(), self.end)

    def program(self) -> Program:
        return Program(
            name="web",
            command=["sh", "-c", "test -e lives && exec sleep 60; echo no luck; exit 3"],
            folder=self.folder,
            ready=self.ready,
            before_start=self.begin,
        )

    async def begin(self) -> None:
        self.fate = next(self.fates, DIES)
        if self.fate == REFUSED:
            raise RemainsError("its port is still held")
        self.starts += 1
        lives = self.folder / "lives"
        lives.touch() if self.fate == READY else lives.unlink(missing_ok=True)

    async def ready(self) -> str | None:
        return None if self.fate == READY else await asyncio.Future()

    def end(self) -> None:
        """Kill it once it is ready."""
        assert self.supervised.pid is not None
        os.kill(self.supervised.pid, signal.SIGKILL)


async def given_up_on(folder: Path, fates: Sequence[str]) -> Life:
    """The program after the supervisor has given up on it."""
    life = Life(folder, iter(fates))
    with pytest.raises(GaveUpError, match=r"^web died 5 times before it was ready$"):
        await asyncio.wait_for(life.supervised.run(), 60)
    return life


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of backoff before each restart, recorded instead of slept."""
    slept: list[float] = []

    async def nap(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("deploy.local.supervisor.asyncio.sleep", nap)
    return slept


@pytest.mark.parametrize(
    ("fates", "starts"),
    [
        ([], 5),
        ([DIES] * 4 + [READY], 5 + 5),
        (([DIES] * 4 + [READY]) * 2, 10 + 5),
        ([READY] * 7, 7 + 5),
        ([REFUSED] * 7, 5),
        ([DIES, REFUSED] * 4, 5),
    ],
)
@pytest.mark.usefixtures("naps")
async def test_a_program_is_given_up_after_dying_five_times_in_a_row_before_ready(
    tmp_path: Path, fates: Sequence[str], starts: int
) -> None:
    assert (await given_up_on(tmp_path, fates)).starts == starts


async def test_the_first_restart_is_immediate_and_the_backoff_is_capped(
    tmp_path: Path, naps: list[float]
) -> None:
    await given_up_on(tmp_path, [READY] * 12)
    assert naps == [0, 0.25, 0.5, 1, 2, 4] + [LONGEST_BACKOFF] * 10
    assert LONGEST_BACKOFF == 5


async def test_a_death_after_a_steady_run_resets_the_backoff(
    tmp_path: Path, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_STEADY", 1e-6)
    await given_up_on(tmp_path, [READY] * 5)
    assert naps == [0] * 5 + [0.25, 0.5, 1, 2]


@pytest.fixture
def doomed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalSettings:
    """The settings of a system whose first program always dies."""

    async def servers(_: Plan) -> list[Program]:
        return [Life(tmp_path, iter(())).program()]

    monkeypatch.setattr(Plan, "servers", servers)
    command_port, query_port = free_ports(2)
    return LocalSettings(local_dir=tmp_path, command_port=command_port, query_port=query_port, detach=False)


@pytest.mark.usefixtures("naps")
def test_giving_up_is_reported_and_make_up_fails(
    tmp_path: Path, doomed: LocalSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert up(doomed) == 1
    output = capsys.readouterr().out
    assert output.count("make up    | web died (status 3); its last lines:\nmake up    |     no luck\n") == 5
    assert "make up    | giving up: web died 5 times before it was ready\n" in output
    assert not (tmp_path / "endpoints.json").exists()


@pytest.mark.usefixtures("naps")
def test_a_closed_terminal_does_not_prevent_an_orderly_stop(
    doomed: LocalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        assert up(doomed) == 1


def test_a_server_that_cannot_be_prepared_is_reported_in_one_line(
    doomed: LocalSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def offline(_: Plan) -> list[Program]:
        raise ConnectionError("the network is unreachable")

    monkeypatch.setattr(Plan, "servers", offline)
    assert up(doomed) == 1
    assert capsys.readouterr().out == (
        "make up    | the servers cannot be prepared: the network is unreachable\n"
        "make up    | stopping\n"
        "make up    | stopped; the data is kept for the next start\n"
    )


def test_data_that_could_not_be_deleted_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "elsewhere" / "state.json"
    held.parent.mkdir()
    held.touch()
    link = tmp_path / "local"
    link.symlink_to(held.parent)
    assert clean(LocalSettings(local_dir=link)) == 1
    assert "not everything could be deleted" in capsys.readouterr().err
    assert held.exists()
