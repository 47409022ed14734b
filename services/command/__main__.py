"""The processes and jobs of the command service: `python -m services.command api|relay|migrate|...`."""

import argparse
import asyncio
import logging
import sys
from importlib import import_module
from typing import Final

import psycopg

from services.command.settings import StoreSettings
from services.command.store.migrate import migrate
from shared.settings import read_settings
from shared.telemetry import configure_logging

_PROCESSES: Final = {
    "api": ("services.command.app", "the HTTP API that takes commands"),
    "relay": ("services.command.relay.run", "publishes the events that the API stored"),
    "topics": ("services.command.relay.topics", "creates and repairs the topics"),
    "republish": ("services.command.relay.republish", "republishes the history to the topics"),
}


def _migrate() -> None:
    settings = read_settings(StoreSettings)
    configure_logging(settings.log_level, settings.log_format, service="migrate")
    try:
        applied = asyncio.run(migrate(settings.postgres_url.get_secret_value()))
    except psycopg.OperationalError as error:
        logging.getLogger(__name__).error("cannot migrate: %s", type(error).__name__)
        raise SystemExit(1) from None
    logging.getLogger(__name__).info("%d migrations applied", len(applied))


def main() -> None:
    """Run the process or job named by the first argument."""
    parser = argparse.ArgumentParser(prog="python -m services.command", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("migrate", help="brings the database to this version's schema")
    for name, (_, text) in _PROCESSES.items():
        commands.add_parser(name, help=text, add_help=name != "republish")
    given, rest = parser.parse_known_args()
    if rest and given.what != "republish":
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if given.what == "migrate":
        _migrate()
        return
    module = import_module(_PROCESSES[given.what][0])
    if given.what == "republish":
        module.main(sys.argv[2:])
    else:
        module.main()


if __name__ == "__main__":
    main()
