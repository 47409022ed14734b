"""The AsyncAPI document: valid as committed and as served, backward compatible, and rendered as a page."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from shared.schemas import ASYNCAPI, ASYNCAPI_PAGE, SCHEMAS, asyncapi_document, schema
from tests.contracts.conftest import ROOT, Node, git

Document = dict[str, Any]
Change = Callable[[Document], None]


def test_the_committed_document_is_valid(node: Node) -> None:
    done = node("asyncapi-check.mjs", str(ASYNCAPI))
    assert done.returncode == 0, done.stdout + done.stderr


class _Served(BaseHTTPRequestHandler):
    """Serves the document and the schemas at the command service's paths."""

    def do_GET(self) -> None:
        named = re.fullmatch(r"/schemas/([A-Za-z]+)/([0-9]+)", self.path)
        found = schema(named[1], int(named[2])) if named else asyncapi_document()
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(found or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Do not log."""


@pytest.fixture
def url() -> Iterator[str]:
    """The URL at which the document is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Served) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/asyncapi.json"
        server.shutdown()
        thread.join()


def test_the_served_document_is_valid_and_resolves_its_schemas(node: Node, url: str) -> None:
    done = node("asyncapi-check.mjs", url)
    assert done.returncode == 0, done.stdout + done.stderr


def _previous(folder: Path) -> Path | None:
    """The latest committed document that differs from the current one, put into `folder` with its schemas."""
    committed = git("log", "--format=%H", "--", str(ASYNCAPI)).decode().split()
    for commit in committed:
        document = git("show", f"{commit}:shared/asyncapi.json")
        if document == ASYNCAPI.read_bytes():
            continue
        place = SCHEMAS.relative_to(ROOT)
        for name in git("ls-tree", "--name-only", commit, f"{place}/").decode().split():
            path = folder / Path(name).relative_to("shared")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                path.write_bytes(git("show", f"{commit}:{name}"))
        (folder / ASYNCAPI.name).write_bytes(document)
        return folder / ASYNCAPI.name
    return None


def _breaks(node: Node, old: Path, *new: Path) -> list[list[str]]:
    done = node("asyncapi-diff.mjs", str(old), *map(str, new))
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def _major(document: Path) -> str:
    version: str = json.loads(document.read_bytes())["info"]["version"]
    return version.partition(".")[0]


def test_the_document_is_compatible_with_the_one_published_before(node: Node, tmp_path: Path) -> None:
    previous = _previous(tmp_path)
    if previous is None:
        pytest.skip("the history contains no other document")
    broken = _breaks(node, previous, ASYNCAPI)[0]
    assert not broken or _major(previous) != _major(ASYNCAPI), (
        "\n".join(broken)
        + "\nReaders of the topics depend on this. Keep it and add new things alongside it (a "
        "new version of an event is a new message); if a break is unavoidable, tell the subscribing teams "
        "and raise the major number of VERSION in services/command/asyncapi/document.py."
    )


def _set(*path: str, to: object) -> Change:
    def change(document: Document) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def _drop(*paths: str) -> Change:
    def change(document: Document) -> None:
        for path in paths:
            *way, last = path.split("/")
            place: Any = document
            for key in way:
                place = place[key]
            del place[int(last) if isinstance(place, list) else last]

    return change


_ENVELOPE = ("components", "schemas", "Envelope")
_CREATED = {"$ref": "#/components/messages/OrderCreated.1"}
HARMLESS: dict[str, Change] = {
    "another version": _set("info", "version", to="1.1.0"),
    "another description": _set(*_ENVELOPE, "properties", "actor", "description", to="Who did it."),
    "a new version of an event": _set("channels", "orders", "messages", "OrderCreated.2", to=_CREATED),
    "a new envelope field": _set(*_ENVELOPE, "properties", "tenant", to={"type": "string"}),
    "a removed internal topic": _drop("channels/heartbeats", "operations/heartbeats"),
}
BREAKING: dict[str, Change] = {
    "a removed topic": _drop("channels/products", "operations/products"),
    "a removed event": _drop("channels/products/messages/ProductRenamed.1", "operations/products/messages/1"),
    "another address": _set("channels", "orders", "address", to="sales"),
    "another content type": _set(
        "components", "messages", "OrderShipped.1", "contentType", to="application/json"
    ),
    "another number of partitions": _set("channels", "orders", "bindings", "kafka", "partitions", to=6),
    "a removed envelope field": _drop("components/schemas/Envelope/properties/position"),
    "an envelope field of another type": _set(*_ENVELOPE, "properties", "version", to={"type": "string"}),
    "a removed header": _drop("components/schemas/Headers/properties/incarnation"),
}


def _changed(folder: Path, change: Change) -> Path:
    document = json.loads(ASYNCAPI.read_bytes())
    change(document)
    shutil.copytree(SCHEMAS, folder / SCHEMAS.relative_to(ASYNCAPI.parent))
    path = folder / ASYNCAPI.name
    path.write_text(json.dumps(document))
    return path


def test_breaking_changes_are_told_apart_from_harmless_ones(node: Node, tmp_path: Path) -> None:
    changes = {**HARMLESS, **BREAKING}
    documents = [_changed(tmp_path / str(n), change) for n, change in enumerate(changes.values())]
    found = _breaks(node, ASYNCAPI, *documents)
    broken = {name: lines for name, lines in zip(changes, found, strict=True) if lines}
    assert list(broken) == list(BREAKING), broken


def test_the_committed_page_is_rendered_from_the_document(node: Node, tmp_path: Path) -> None:
    drawn = tmp_path / "asyncapi.html"
    done = node("asyncapi-page.mjs", str(ASYNCAPI), str(drawn))
    assert done.returncode == 0, done.stderr
    assert drawn.read_bytes() == ASYNCAPI_PAGE.read_bytes(), (
        "run `npm --prefix deploy/contracts run page` and commit"
    )


def test_the_page_shows_every_message_and_fetches_nothing() -> None:
    page = ASYNCAPI_PAGE.read_text()
    for message in json.loads(ASYNCAPI.read_bytes())["components"]["messages"].values():
        assert message["title"] in page
    assert not re.findall(r"<(?:script|link|img|iframe|object|embed)\b|@import|url\(|\ssrc=", page)
    assert len(page) < 1_500_000
