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
Row = tuple[Any, ...]


class History:
    """What stands in the event store and was published before, in the order of its positions."""

    def __init__(self, connection: Connection, topics: Sequence[str], after: int) -> None:
        self._connection = connection
        self._asked: dict[str, Any] = {"topics": list(topics), "after": after, "limit": PAGE}

    async def measure(self) -> int:
        """How many events there are at most; from now on, later ones do not count."""
        cursor = await self._connection.execute(sql("history_size"), self._asked)
        row = await cursor.fetchone()
        assert row is not None, "an aggregate has a row"
        self._asked["last"] = row[1]
        return int(row[0])

    async def pages(self) -> AsyncIterator[list[Row]]:
        """Rows as `load_oldest.sql` gives them."""
        while True:
            cursor = await self._connection.execute(sql("history_page"), self._asked)
            rows = await cursor.fetchall()
            if not rows:
                return
            yield rows
            self._asked["after"] = rows[-1][0]


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
