"""The state that `make up` keeps in its folder."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from deploy.local.plan import Plan
from deploy.local.settings import LocalSettings
from deploy.local.state import remember, write_atomically

LENGTH = 20_000


def test_readers_never_see_a_partially_written_file(tmp_path: Path) -> None:
    path, done = tmp_path / "endpoints.json", Event()

    def read_on() -> set[int]:
        seen: set[int] = set()
        while not done.is_set():
            numbers = json.loads(path.read_text())
            assert numbers == numbers[:1] * LENGTH
            seen.add(numbers[0])
        return seen

    write_atomically(path, [0] * LENGTH)
    with ThreadPoolExecutor() as readers:
        reading = [readers.submit(read_on) for _ in range(2)]
        try:
            for number in range(1, 30):
                write_atomically(path, [number] * LENGTH)
        finally:
            done.set()
    for seen in reading:
        assert len(seen.result()) > 1, "no read overlapped with the writes"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    write_atomically(path, {"whole": True})
    with pytest.raises(TypeError):
        write_atomically(path, {"whole": False, "then": object()})
    assert json.loads(path.read_text()) == {"whole": True}


def tokens_of(folder: Path, secret: str | None = None) -> tuple[str, Mapping[str, str]]:
    """The secret that a start uses, and the tokens it issues."""
    settings = LocalSettings(local_dir=folder, jwt_secret=secret)
    plan = Plan(settings=settings, remembered=remember(folder, settings.jwt_secret), folder=folder)
    return plan.remembered.jwt_secret, plan.endpoints()["tokens"]


def test_the_generated_secret_survives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "")
    monkeypatch.setattr("deploy.local.tokens.time.time", lambda: 1_000_000)
    first, elsewhere = tokens_of(tmp_path / "here"), tokens_of(tmp_path / "elsewhere")
    assert len(first[0]) >= 32
    assert tokens_of(tmp_path / "here") == first
    assert {first[0], *first[1].values()}.isdisjoint({elsewhere[0], *elsewhere[1].values()})


def test_a_configured_secret_replaces_the_generated_one(tmp_path: Path) -> None:
    made, given = tokens_of(tmp_path)[0], "a secret of one's own, long enough for HS256"
    assert tokens_of(tmp_path, given)[0] == given != made


def test_the_secret_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    secret = remember(tmp_path, None).jwt_secret
    (holding,) = (file for file in tmp_path.iterdir() if secret in file.read_text())
    assert holding.stat().st_mode & 0o777 == 0o600
