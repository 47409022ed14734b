"""Write the AsyncAPI document: `python -m services.command.asyncapi [--check]`.

After a change, validate it and regenerate its page:
`npm --prefix deploy/contracts run check` and `... run page`.
"""

import argparse
import sys

from services.command.asyncapi.document import committed_form
from shared.schemas import ASYNCAPI


def main() -> int:
    """Write the document, or with `--check` only report whether the committed one is stale (then 1)."""
    parser = argparse.ArgumentParser(prog="python -m services.command.asyncapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is stale")
    check = parser.parse_args().check
    wanted = committed_form()
    if ASYNCAPI.exists() and ASYNCAPI.read_bytes() == wanted:
        return 0
    print(f"{ASYNCAPI.name}: {'stale' if check else 'written'}")
    if not check:
        ASYNCAPI.write_bytes(wanted)
    return 1 if check else 0


if __name__ == "__main__":
    sys.exit(main())
