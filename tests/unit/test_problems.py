"""Problem responses, and what is logged about requests that fail."""

import logging
from typing import Any

import pytest
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from shared.problems import ProblemResponses, pointer, unavailable
from shared.process import serve


async def test_a_client_that_leaves_before_its_socket_is_accepted_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def accepting(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    async def gone(_message: Any) -> None:
        raise ClientDisconnected

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    with caplog.at_level(logging.DEBUG), pytest.raises(ClientDisconnected):
        await ProblemResponses(accepting)({"type": "websocket"}, receive, gone)
    assert not caplog.records


async def test_a_refused_socket_is_not_logged_as_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def refusing(_scope: Any, _receive: Any, _send: Any) -> None:
        raise unavailable("There is nothing to follow.")

    with caplog.at_level(logging.WARNING):
        async with serve(ProblemResponses(refusing), "127.0.0.1", 0) as port:
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None):
                    raise AssertionError("the socket was accepted")
    assert refused.value.response.status_code == 503
    assert not caplog.records


def test_a_pointer_escapes_the_names_in_it() -> None:
    assert pointer(["items", 0, "a/b~1c"]) == "/items/0/a~1b~01c"
