"""The baseline of the query API: a bare ASGI handler that returns the same bytes from memory."""

import sys

import uvicorn
from starlette.types import Receive, Scope, Send

_ANSWER = sys.argv[2].encode() if len(sys.argv) > 2 else b""
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="error", lifespan="off"
    )
