"""The parts that the service and its commands share."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from services.projection.kafka.broker import new_broker
from services.projection.kafka.connecting import client_options
from services.projection.kafka.consuming import Consuming
from services.projection.kafka.dead_letters import DeadLetters
from services.projection.kafka.watching import Topics
from services.projection.metrics import ProjectionMetrics
from services.projection.personal_data import Keys
from services.projection.projecting import Projector
from services.projection.settings import ProjectionSettings
from services.projection.store.connecting import Mongo
from shared.process import collect_rarely
from shared.topics import PROJECTION_GROUPS

_SWITCH_SECONDS: Final = 0.0005


def prepare_process() -> None:
    """Tune the process for projecting, before anything runs in it."""
    collect_rarely()
    # a thread with a reply from MongoDB waits this long for the folding thread, at each request of a batch,
    # while the server is idle
    sys.setswitchinterval(_SWITCH_SECONDS)


def group(generation: str) -> str:
    """The consumer group that fills a generation."""
    return f"{PROJECTION_GROUPS}{generation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the service and each of its commands work with."""

    settings: ProjectionSettings
    mongo: Mongo
    topics: Topics
    keys: Keys
    dead_letters: DeadLetters
    metrics: ProjectionMetrics

    def projector(self, generation: str) -> Projector:
        """What applies batches to a generation."""
        kafka = client_options(self.settings)
        return Projector(self.mongo, generation, self.keys, self.dead_letters, kafka, self.metrics)

    def consuming(self, generation: str) -> Consuming:
        """What reads the topics for a generation."""
        broker = new_broker(self.settings)
        return Consuming(broker, group(generation), self.projector(generation), self.metrics)


@asynccontextmanager
async def parts(settings: ProjectionSettings, metrics: ProjectionMetrics) -> AsyncIterator[Parts]:
    """All parts, closed on exit. Each connects on first use."""
    options = client_options(settings)
    url = str(settings.personal_data_keys_url)
    async with AsyncExitStack() as stack:
        mongo = await stack.enter_async_context(
            Mongo(settings.mongodb_url.get_secret_value(), settings.mongodb_database)
        )
        keys = await stack.enter_async_context(Keys(url, settings.read_token))
        topics = await stack.enter_async_context(Topics(options))
        dead_letters = DeadLetters(options)
        stack.push_async_callback(dead_letters.close)
        yield Parts(
            settings=settings,
            mongo=mongo,
            topics=topics,
            keys=keys,
            dead_letters=dead_letters,
            metrics=metrics,
        )
