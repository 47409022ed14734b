"""Runs a single command of the service against its stores, then exits."""

from argparse import Namespace

from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry
from rich.console import Console

from services.projection.dead_letters import cli as letters
from services.projection.faults import ProjectionError
from services.projection.metrics import ProjectionMetrics
from services.projection.rebuilding import cli as rebuilding
from services.projection.settings import ProjectionSettings
from services.projection.wiring import Parts, parts, prepare_process
from shared.process import run
from shared.settings import read_settings
from shared.telemetry import configure_logging


def main(arguments: Namespace) -> int:
    """Run the given command and return its exit status."""
    settings = read_settings(ProjectionSettings)
    configure_logging(settings.log_level, settings.log_format, service="projection")
    prepare_process()
    try:
        return run(_run(settings, arguments))
    except (ProjectionError, KafkaError, OSError) as error:
        Console(stderr=True).print(f"Failed: {error}.", markup=False)
        return 1
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted. Run the same command again to continue.")
        return 130  # the shell convention for a command ended by SIGINT


async def _run(settings: ProjectionSettings, arguments: Namespace) -> int:
    # a wrapped line can neither be searched for nor copied as a whole
    console = Console(highlight=False, soft_wrap=True)
    async with parts(settings, ProjectionMetrics(CollectorRegistry())) as wired:
        return await _dispatch(wired, console, arguments)


async def _dispatch(wired: Parts, console: Console, arguments: Namespace) -> int:
    match arguments.command, getattr(arguments, "what", None):
        case "rebuild", _ if arguments.discard:
            return await rebuilding.discard(wired, console)
        case "rebuild", _:
            return await rebuilding.rebuild(wired, console, arguments.read_model, accept=arguments.accept)
        case "rollback", _:
            return await rebuilding.rollback(wired, console)
        case "dead-letters", "show":
            return await letters.show(wired, console, arguments.stream)
        case "dead-letters", "redrive":
            return await letters.redrive_all(wired, console, arguments.streams)
        case "dead-letters", "list":
            return await letters.list_parked(wired, console)
        case unknown:
            raise ValueError(f"there is no command {unknown}")
