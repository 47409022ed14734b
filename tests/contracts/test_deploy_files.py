"""The files that build and start the cluster, checked by the linters for their formats."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
COMPOSE_FILES: Final = sorted(
    [
        ROOT / "docker-compose.yml",
        *ROOT.glob("deploy/compose.*.yml"),
        *ROOT.glob("tests/cluster/compose.*.yml"),
    ]
)
DOCKERFILES: Final = [ROOT / "deploy" / "Dockerfile", ROOT / "tests" / "cluster" / "Dockerfile"]
BIN: Final = Path(sys.executable).parent


def _output(tool: str, *arguments: str | Path) -> tuple[int, str]:
    """The exit status and output of a tool from the development packages."""
    done = subprocess.run(
        [str(BIN / tool), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def _hadolint(dockerfile: Path) -> str:
    _, output = _output("hadolint", "--no-color", dockerfile)
    return output


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_hadolint_accepts_every_dockerfile(path: Path) -> None:
    assert _hadolint(path) == ""


def test_hadolint_finds_mistakes(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN apt-get install curl\nCMD curl -v\n")
    found = _hadolint(tmp_path / "Dockerfile")
    assert {"DL3006", "DL3008", "DL3025"} <= set(found.split())


def _compose_schema(path: Path) -> tuple[int, str]:
    return _output("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.name)
def test_compose_files_conform_to_the_specification(path: Path) -> None:
    status, output = _compose_schema(path)
    assert status == 0, output


@pytest.mark.parametrize("name", ["kafka-2", "kafka-3"])
def test_the_brokers_differ_only_in_their_names(name: str) -> None:
    overlay = yaml.safe_load((ROOT / "deploy" / "compose.ha.yml").read_text())["services"]
    first = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"]
    first["environment"] |= overlay["kafka"]["environment"]
    another = overlay[name]
    for names in ("volumes", "ports"):
        assert first.pop(names) != another.pop(names)
    for names in ("KAFKA_NODE_ID", "KAFKA_ADVERTISED_LISTENERS"):
        assert first["environment"].pop(names) != another["environment"].pop(names)
    assert another == first


def test_an_unknown_key_in_a_compose_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text("services: {postgres: {image: 'postgres:18', restarts: always}}\n")
    status, output = _compose_schema(path)
    assert status == 1
    assert "restarts" in output


@pytest.mark.parametrize(
    "path", sorted((ROOT / "deploy" / "edge").glob("*.http")), ids=lambda path: path.name
)
def test_the_edges_static_errors_are_problems_with_their_status(path: Path) -> None:
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    problem = json.loads(body)
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Request-Id"]
    assert {"type", "title", "status", "detail", "instance", "code"} == problem.keys()
    assert first.split()[1] == path.stem == str(problem["status"])
    assert f"errorfile {path.stem} " in (path.parent / "haproxy.cfg").read_text()


def test_each_of_our_images_is_built_once_and_before_its_users_start() -> None:
    """Concurrent builds of one tag fail on engines with the containerd image store."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    builders = {each["image"]: name for name, each in services.items() if "build" in each}
    assert len(builders) == sum("build" in each for each in services.values()) == 3

    def needed(name: str) -> set[str]:
        direct = services[name].get("depends_on", {})
        return {name, *direct}.union(*map(needed, direct))

    for name, each in services.items():
        if each["image"].startswith("orders-"):
            assert builders[each["image"]] in needed(name)
            assert "build" in each or each["pull_policy"] == "never"
