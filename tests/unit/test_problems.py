"""What is told, and written down, of requests that fail."""

import logging
from typing import Any

import pytest
from uvicorn.protocols.utils import ClientDisconnected

from shared.problems import ProblemResponses


async def test_a_reader_who_left_before_its_socket_was_accepted_is_no_fault(
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
