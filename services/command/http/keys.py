"""`POST /personal-data-keys`: returns customers' keys to callers with the role `personal-data`."""

import orjson
from starlette.types import Receive, Scope, Send

from services.command.http.bodies import KeyRequest
from services.command.http.reading import Headers, parse, read_body, require_json
from services.command.store.errors import StoreUnavailableError
from services.command.store.event_store import EventStore
from shared.auth import PERSONAL_DATA, Authenticator
from shared.problems import send_bytes, unavailable


class PersonalDataKeys:
    """The keys of up to 1000 customers at a time; null for those without one."""

    def __init__(self, store: EventStore, authenticator: Authenticator) -> None:
        self._store = store
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = await self._authenticator.authenticate(scope)
        caller.require(PERSONAL_DATA)
        headers = Headers(scope)
        body = await read_body(headers, receive)
        require_json(headers)
        wanted = parse(KeyRequest, body)
        try:
            keys = await self._store.personal_data_keys(wanted.customer_ids)
        except StoreUnavailableError:
            raise unavailable("The event store is unavailable.") from None
        await send_bytes(send, 200, orjson.dumps({"keys": keys}), headers=[(b"cache-control", b"no-store")])
