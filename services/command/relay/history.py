"""Writes history into the topics again, page by page; each page is acknowledged before the next."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Final

from services.command.relay.cluster import Cluster
from services.command.relay.connecting import Connection
from services.command.relay.incarnations import Incarnations, observe
from services.command.relay.records import Encoder, EventRow, RefusedError, without_set_aside
from services.command.relay.sending import BatchRefusedError, Place, Sender, producer
from services.command.relay.sql import sql
from services.command.settings import RepublishSettings

PAGE: Final = 1000
"""Maximum events per page."""
WINDOW: Final = 10_000
"""Positions that one statement scans, which bounds its time where the topics have few events."""


class History:
    """The published events of the event store, in order of their positions."""

    def __init__(self, connection: Connection, topics: Sequence[str], after: int) -> None:
        self._connection = connection
        self._topics = list(topics)
        self._after = after
        self._last = after

    async def measure(self) -> int:
        """Return the number of positions to pass, whatever their topics; later ones are left out."""
        row = await (await self._connection.execute(sql("last_position"))).fetchone()
        assert row is not None, "an aggregate returns a row"
        self._last = max(self._after, row[0])
        return self._last - self._after

    async def pages(self) -> AsyncIterator[tuple[int, list[EventRow]]]:
        """Yield the number of positions passed and the events found there."""
        while self._after < self._last:
            upto = min(self._after + WINDOW, self._last)
            asked = {"topics": self._topics, "after": self._after, "upto": upto, "limit": PAGE}
            cursor = await self._connection.execute(sql("history_page"), asked)
            rows = list(map(EventRow._make, await cursor.fetchall()))
            # after a full page there may be more in its window
            end = rows[-1].position if len(rows) == PAGE else upto
            passed, self._after = end - self._after, end
            yield passed, rows


class HistoryWriter:
    """Sends pages of history to topics of known incarnations."""

    def __init__(self, settings: RepublishSettings, session: Connection) -> None:
        self._settings = settings
        self._session = session
        self._limits: dict[Place, int] = {}
        self._sender: Sender | None = None
        self._producer = AsyncExitStack()
        self.incarnations: Incarnations

    async def see_topics(self, cluster: Cluster) -> None:
        """Look up the topics' incarnations, which the following records will carry."""
        self.incarnations = await observe(self._session, cluster)
        known = self.incarnations
        self._encode = Encoder(self._settings.schema_base, known.partitions, known.ids)

    async def send(self, rows: Sequence[EventRow]) -> list[RefusedError]:
        """Send a page and wait until it is acknowledged. Return the events that cannot be published; each is
        left out, together with all later events of its stream in the page.

        Raises `KafkaError`, and `TopicRemadeError` if a topic was re-created meanwhile.
        """
        refused: list[RefusedError] = []
        while True:
            aside = {error.stream_id: error.position for error in refused}
            try:
                records = [self._encode(row) for row in without_set_aside(rows, aside)]
                await (await self._ready()).send(records)
            except RefusedError as error:
                refused.append(error)
            except BatchRefusedError:
                pass  # the next attempt uses smaller batches
            else:
                await self.incarnations.check()
                return refused
            await self.close()

    async def _ready(self) -> Sender:
        if self._sender is None:
            made = await self._producer.enter_async_context(producer(self._settings))
            self._sender = Sender(made, self._limits)
        return self._sender

    async def close(self) -> None:
        """Discard the producer."""
        self._sender = None
        await self._producer.aclose()
