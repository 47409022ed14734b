"""History, written into the topics again: page by page, each sent until all of it is acknowledged."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from services.command.relay.cluster import Cluster
from services.command.relay.connecting import Connection
from services.command.relay.incarnations import Incarnations, observe
from services.command.relay.records import Encoder, RefusedError
from services.command.relay.sending import BatchRefusedError, Place, Sender, producer
from services.command.relay.sql import sql
from services.command.settings import RepublishSettings

PAGE: Final = 1000
"""Most events that are sent together."""
WINDOW: Final = 10_000
"""Positions that one statement looks at: it takes no longer where the topics have hardly an event."""
Row = tuple[Any, ...]


class History:
    """What stands in the event store and was published before, in the order of its positions."""

    def __init__(self, connection: Connection, topics: Sequence[str], after: int) -> None:
        self._connection = connection
        self._topics = list(topics)
        self._after = after
        self._last = after

    async def measure(self) -> int:
        """How many positions there are, of whatever topics; from now on, later ones do not count."""
        row = await (await self._connection.execute(sql("last_position"))).fetchone()
        assert row is not None, "an aggregate has a row"
        self._last = max(self._after, row[0])
        return self._last - self._after

    async def pages(self) -> AsyncIterator[tuple[int, list[Row]]]:
        """How many positions were passed, and the rows found there, as `load_oldest.sql` gives them."""
        while self._after < self._last:
            upto = min(self._after + WINDOW, self._last)
            asked = {"topics": self._topics, "after": self._after, "upto": upto, "limit": PAGE}
            rows = await (await self._connection.execute(sql("history_page"), asked)).fetchall()
            # behind a full page there may be more in its window
            end = rows[-1][0] if len(rows) == PAGE else upto
            passed, self._after = end - self._after, end
            yield passed, rows


class Writer:
    """Sends pages of history to topics of known incarnations."""

    def __init__(self, settings: RepublishSettings, session: Connection) -> None:
        self._settings = settings
        self._session = session
        self._limits: dict[Place, int] = {}
        self._sender: Sender | None = None
        self._producer = AsyncExitStack()
        self.incarnations: Incarnations

    async def see_topics(self, cluster: Cluster) -> None:
        """Note the topics' incarnations, which the records to come will bear."""
        self.incarnations = await observe(self._session, cluster)
        known = self.incarnations
        self._encode = Encoder(self._settings.schema_base, known.partitions, known.ids)

    async def send(self, rows: Sequence[Row]) -> list[RefusedError]:
        """Send a page and wait for it; what cannot be published, and is left out with all that follows in its
        stream.

        Raises `KafkaError`, and `TopicRemadeError` when the records went into other topics than meant.
        """
        refused: list[RefusedError] = []
        while True:
            aside = {error.stream_id: error.position for error in refused}
            try:
                records = [
                    self._encode(row) for row in rows if row[0] < aside.get(f"{row[2]}/{row[3]}", row[0] + 1)
                ]
                await (await self._ready()).send(records)
            except RefusedError as error:
                refused.append(error)
            except BatchRefusedError:
                pass  # the next try is in smaller batches
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
        """Throw the producer away."""
        self._sender = None
        await self._producer.aclose()
