"""`make bench`: every figure as a ratio to a baseline from the same run; `make bench ONLY=command`."""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench import command, projection, query, relay
from tests.bench.lines import Line, show

Bench = Callable[[Path], Awaitable[list[Line]]]
BENCHES: Final[dict[str, tuple[Bench, ...]]] = {
    "command": (command.accepted_orders, command.appending, command.loading),
    "relay": (relay.draining,),
    "projection": (projection.catching_up, projection.rebuilding, projection.growing),
    "query": (query.reading,),
}


async def _run(names: list[str]) -> list[Line]:
    lines: list[Line] = []
    for name in names:
        for bench in BENCHES[name]:
            with _folder() as folder:
                found = await bench(folder)
            for line in found:
                print(line, flush=True)  # shows progress during a run of ten minutes
            lines += found
    return lines


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="orders-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)  # PostgreSQL runs under another user when we are root
        yield Path(name)
    os.sync()  # writes still buffered by one benchmark must not slow down the next


def main() -> None:
    """Run the selected benchmarks and show the figures; the exit status is 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("only", nargs="*", choices=[*BENCHES, []], help="which (all)")
    given = parser.parse_args()
    lines = asyncio.run(_run(given.only or list(BENCHES)))
    show(lines)
    raise SystemExit(any(not line.met for line in lines))


if __name__ == "__main__":
    main()
