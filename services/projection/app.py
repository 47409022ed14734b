"""The projection service: wires its parts together and runs them."""

import asyncio
import logging
from typing import Any, Final

import orjson
from aiokafka.errors import KafkaError
from starlette.types import ASGIApp, Receive, Scope, Send

from services.projection.faults import TransientError
from services.projection.kafka.broker import new_broker
from services.projection.kafka.heartbeats import follow_heartbeats
from services.projection.lag import Lag
from services.projection.metrics import ProjectionMetrics
from services.projection.settings import ProjectionSettings
from services.projection.store.generations import Generations
from services.projection.store.heartbeats import Heartbeats
from services.projection.wiring import Parts, parts, prepare_process
from shared.problems import ProblemResponses, require_reading, send_bytes
from shared.process import run, serve, stop_signal
from shared.settings import read_settings
from shared.telemetry import (
    Observed,
    Operations,
    Readiness,
    RequestMetrics,
    configure_logging,
    configure_tracing,
    name_route,
    new_registry,
)
from shared.telemetry.operations import nothing_here

_RETRY_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.5
_log = logging.getLogger(__name__)


class Service:
    """Fills the generation of this code's revision."""

    def __init__(self, with_: Parts, lag: Lag) -> None:
        self._parts = with_
        self._lag = lag
        self._generations = Generations(with_.mongo)
        self._unavailable: str | None = "not started yet"

    async def run(self) -> None:
        """Run until cancelled, retrying while a dependency is unavailable."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lag.run(), name="lag")
            tasks.create_task(self._fill(), name="fill")
            tasks.create_task(self._follow_heartbeats(), name="heartbeats")

    async def why_kafka_not_ready(self) -> str | None:
        """Why the topics cannot be read; None if they can."""
        return self._lag.kafka_unavailable

    async def why_not_projecting(self) -> str | None:
        """Why no events are projected; None if they are."""
        return self._unavailable

    async def _fill(self) -> None:
        while True:
            try:
                generation = await self._generations.of_this_revision(await self._parts.topics.places())
                async with self._parts.consuming(generation):
                    _log.info("filling generation %s", generation)
                    self._unavailable = None
                    self._parts.metrics.generation.clear()
                    self._parts.metrics.generation.labels(generation).set(1)
                    await self._until_another_is_live(generation)
            except (TransientError, KafkaError, OSError) as error:
                if self._unavailable != str(error):
                    _log.warning("cannot project events: %s", error)
                self._unavailable = str(error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _until_another_is_live(self, generation: str) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                wanted = await self._generations.of_this_revision([])
            except TransientError:
                continue  # keep filling this one until the store can be read again
            if wanted != generation:
                _log.info("generation %s replaces %s", wanted, generation)
                return

    async def _follow_heartbeats(self) -> None:
        while True:
            broker = new_broker(self._parts.settings)
            follow_heartbeats(broker, Heartbeats(self._parts.mongo))
            try:
                await broker.start()
                await asyncio.Event().wait()
            except (KafkaError, OSError) as error:
                _log.debug("no heartbeats: %s", type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await broker.stop()


def lag_page(lag: Lag, app: ASGIApp) -> ASGIApp:
    """Serve `GET /lag`; pass everything else to `app`."""

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/lag":
            await app(scope, receive, send)
            return
        name_route(scope, "/lag")
        require_reading(scope)
        headers = [(b"cache-control", b"no-store")]
        await send_bytes(
            send, 200, orjson.dumps(lag.report()), headers=headers, head=scope["method"] == "HEAD"
        )

    return page


def main() -> None:
    """Run the service until a signal stops it."""
    settings = read_settings(ProjectionSettings)
    configure_logging(settings.log_level, settings.log_format, service="projection")
    configure_tracing("projection")
    prepare_process()
    run(_run(settings))


async def _run(settings: ProjectionSettings) -> None:
    stopping, registry = stop_signal(), new_registry()
    metrics = ProjectionMetrics(registry)
    async with parts(settings, metrics) as wired:
        lag = Lag(wired.mongo, wired.topics, metrics)
        service = Service(wired, lag)
        checks: Any = {
            "mongodb": wired.mongo.why_not_ready,
            "kafka": service.why_kafka_not_ready,
            "projection": service.why_not_projecting,
            "personal-data-keys": wired.keys.why_not_ready,
        }
        readiness = Readiness(checks)
        pages = ProblemResponses(lag_page(lag, nothing_here))
        app = Observed(Operations(pages, readiness, registry), RequestMetrics(registry))
        async with serve(app, settings.host, settings.port):
            working = asyncio.create_task(service.run())
            asked = asyncio.create_task(stopping.wait())
            await asyncio.wait([working, asked], return_when=asyncio.FIRST_COMPLETED)
            readiness.stopping = True
            asked.cancel()
            working.cancel()
            await asyncio.wait([working])
            if not working.cancelled():
                working.result()
