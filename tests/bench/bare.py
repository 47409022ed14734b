"""The baseline of the command API: a bare ASGI handler that validates the same body, and nothing else."""

import sys

import uvicorn
from starlette.types import Receive, Scope, Send

from services.command.http.bodies import NewOrder

_ANSWER = b'{"orderId":"01940000-0000-7000-8000-000000000001","version":1}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read and validate the body, then answer."""
    if scope["method"] == "GET":  # the readiness probe
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    NewOrder.model_validate_json(body)
    await send({"type": "http.response.start", "status": 202, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="error", lifespan="off"
    )
