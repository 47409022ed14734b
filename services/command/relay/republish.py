"""The job that writes history into the topics again, while commands are accepted and the relay is running.

A topic that holds its history is repeated page by page, the relay publishing between the pages; readers see
duplicates. One that was re-created or emptied is refilled in one go while the relay waits: what was published
there meanwhile is deleted first, so that new readers find the topic in order.
"""

import argparse
import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import psycopg
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.command.relay.cluster import Cluster, ClusterUnavailableError, TopicMissingError
from services.command.relay.connecting import Connection, connect
from services.command.relay.history import History, HistoryWriter
from services.command.relay.incarnations import TopicRemadeError
from services.command.relay.locks import Gate, stay_alive
from services.command.relay.outbox import put_aside
from services.command.relay.records import EventRow
from services.command.relay.sql import sql
from services.command.settings import RepublishSettings
from shared.settings import read_settings
from shared.telemetry import configure_logging
from shared.topics import CATEGORIES

_log = logging.getLogger(__name__)
_FAULTS: Final = (
    ClusterUnavailableError,
    KafkaError,
    KafkaException,
    TopicMissingError,
    TopicRemadeError,
    OSError,
)


class Republish:
    """One run of the job."""

    def __init__(self, settings: RepublishSettings, session: Connection, reading: Connection) -> None:
        self._cluster = Cluster(settings)
        self._session = session
        self._reading = reading
        self._gate = Gate(session, reading)
        self._writer = HistoryWriter(settings, session)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("positions"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    async def run(self, topics: Sequence[str], after: int) -> None:
        """Write the events of `topics` after the position `after` again.

        Raises one of `_FAULTS` or `psycopg.Error`; it can be run again.
        """
        try:
            async with self._gate:
                await self._session.execute(sql("retry_set_aside"), {"topics": list(topics)})
            await self._writer.see_topics(self._cluster)
            # part of its history is not enough to refill a topic
            empty = [] if after else self._incomplete(topics)
            whole = [topic for topic in topics if topic not in empty]
            with self._progress:
                if empty:
                    await self._refill(empty)
                if whole:
                    await self._repeat(whole, after)
        finally:
            await self._writer.close()

    def _incomplete(self, topics: Sequence[str]) -> list[str]:
        return [topic for topic in topics if not self._writer.incarnations[topic].complete]

    async def _refill(self, topics: Sequence[str]) -> None:
        async with self._gate:
            # another run may have refilled them while this one waited
            await self._writer.see_topics(self._cluster)
            topics = self._incomplete(topics)
            if not topics:
                return
            history = History(self._reading, topics, 0)
            # measured before anything is deleted: if it fails, nothing is lost
            task = self._progress.add_task(f"refilling {', '.join(topics)}", total=await history.measure())
            await self._clear(topics)
            await self._writer.see_topics(self._cluster)
            async for passed, rows in history.pages():
                if rows:
                    await self._refill_page(rows)
                self._progress.advance(task, passed)
            ids = [self._writer.incarnations[topic].id for topic in topics]
            await self._session.execute(sql("complete_incarnations"), {"incarnations": ids})

    async def _refill_page(self, rows: Sequence[EventRow]) -> None:
        for refused in await self._writer.send(rows):
            await put_aside(self._session, refused)
            _log.error("set aside with all later events of its stream: %s", refused)

    async def _clear(self, topics: Sequence[str]) -> None:
        partitions = {topic: self._writer.incarnations.partitions[topic] for topic in topics}
        starts = await self._cluster.first_offsets(partitions)
        for topic, ends in (await self._cluster.end_offsets(partitions)).items():
            if ends != starts[topic]:
                _log.info("emptying topic %s: it holds only part of its history", topic)
                await self._cluster.empty(topic, ends)

    async def _repeat(self, topics: Sequence[str], after: int) -> None:
        history = History(self._reading, topics, after)
        task = self._progress.add_task(f"repeating {', '.join(topics)}", total=await history.measure())
        async for passed, rows in history.pages():
            if rows:  # otherwise the relay need not yield
                await self._repeat_page(rows)
            self._progress.advance(task, passed)

    async def _repeat_page(self, rows: Sequence[EventRow]) -> None:
        async with self._gate:
            for refused in await self._writer.send(rows):
                # it was published before, so its stream is not set aside
                _log.error("not repeated, nor what follows in its stream in this page: %s", refused)


async def _run(settings: RepublishSettings, topics: Sequence[str], after: int) -> None:
    url = settings.postgres_url.get_secret_value()
    async with await connect(url, mortal=True) as session, await connect(url) as reading:
        work = asyncio.create_task(Republish(settings, session, reading).run(topics, after))
        alive = asyncio.create_task(stay_alive(session))
        # without the session the gate is lost: the work must stop
        try:
            await asyncio.wait([work, alive], return_when=asyncio.FIRST_COMPLETED)
        finally:  # even if interrupted: the session cannot be closed while a task waits on it for the gate
            for task in (work, alive):
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])
        if alive.done() and not alive.cancelled():
            alive.result()
        work.result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write history again: for all topics or those named by `--topic`, from a position on or all of it."""
    parser = argparse.ArgumentParser(
        prog="python -m services.command republish",
        description="Writes history into the topics again. Safe to repeat, and while services are running.",
    )
    parser.add_argument(
        "--topic", action="append", choices=CATEGORIES, help="only this topic; may be repeated"
    )
    parser.add_argument("--from", dest="start", type=int, default=0, metavar="POSITION", help="start there")
    given = parser.parse_args(arguments)
    settings = read_settings(RepublishSettings)
    configure_logging(settings.log_level, settings.log_format, service="republish")
    try:
        asyncio.run(_run(settings, given.topic or CATEGORIES, max(0, given.start - 1)))
    except (*_FAULTS, psycopg.Error) as error:
        ours = isinstance(error, ClusterUnavailableError | TopicMissingError | TopicRemadeError)
        _log.error("failed; run it again: %s", error if ours else type(error).__name__)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _log.error("interrupted; run it again")
        raise SystemExit(130) from None  # a shell's exit status for a command ended by SIGINT
