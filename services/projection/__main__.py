"""The projection service: `python -m services.projection [COMMAND]`."""

import argparse


def main() -> None:
    """Run the command, by default the service itself."""
    parser = argparse.ArgumentParser(prog="python -m services.projection", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="project events into documents (the default)")
    parser.parse_args()
    from services.projection import app

    app.main()


if __name__ == "__main__":
    main()
