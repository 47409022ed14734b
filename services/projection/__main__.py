"""The projection service: `python -m services.projection [COMMAND]`."""

import argparse
import sys

from shared.documents import READ_MODELS
from shared.topics import CATEGORIES


def _stream(text: str) -> str:
    topic, slash, _ = text.partition("/")
    if topic not in CATEGORIES or not slash:
        raise argparse.ArgumentTypeError(f"{text!r} is not TOPIC/ID; the topics are {', '.join(CATEGORIES)}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.projection", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="project events into documents (the default)")
    rebuild = commands.add_parser(
        "rebuild", help="fill a new generation, compare it with the live one and switch to it"
    )
    rebuild.add_argument(
        "read_model",
        nargs="?",
        choices=READ_MODELS,
        help="with --accept: the only read model that may differ",
    )
    rebuild.add_argument("--accept", action="store_true", help="switch even if documents differ")
    rebuild.add_argument("--discard", action="store_true", help="drop what an unfinished rebuild left behind")
    commands.add_parser("rollback", help="switch back to the previously live generation")
    letters = commands.add_parser(
        "dead-letters", help="inspect and redrive events that could not be processed"
    )
    what = letters.add_subparsers(dest="what", required=True, metavar="list|show|redrive")
    what.add_parser("list", help="list the parked streams")
    what.add_parser("show", help="show a stream's dead letters").add_argument(
        "stream", type=_stream, metavar="TOPIC/ID"
    )
    redrive = what.add_parser("redrive", help="apply parked events, in order")
    redrive.add_argument(
        "streams", nargs="*", type=_stream, metavar="TOPIC/ID", help="default: all parked streams"
    )
    return parser


def main() -> int:
    """Run the command, by default the service itself."""
    arguments = _parser().parse_args()
    if arguments.command in (None, "run"):
        from services.projection import app

        app.main()
        return 0
    from services.projection import cli

    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
