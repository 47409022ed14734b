"""`dead-letters list|show|redrive`, as they are typed."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from services.projection.kafka.connecting import client_options
from services.projection.letters.reading import dead_letters
from services.projection.letters.redriving import redrive
from services.projection.store import marks
from services.projection.store.connecting import Row
from services.projection.store.generations import Generations
from services.projection.wiring import Parts


async def list_parked(parts: Parts, console: Console) -> int:
    """The streams that wait among the dead letters."""
    table = Table("stream", "versions", "why", "since", box=None)
    rows = await _parked(parts)
    for row in rows:
        versions = f"{row['firstVersion']} to {row['lastVersion']}"
        table.add_row(_stream(row), versions, row["reason"], f"{row['at']:%Y-%m-%d %H:%M:%S}")
    console.print(table if rows else "No stream is parked.")
    return 0


async def show(parts: Parts, console: Console, stream: str) -> int:
    """A stream's dead letters: `topic/id`."""
    topic, _, subject = stream.partition("/")
    letters = await dead_letters(client_options(parts.settings), topic, subject)
    for letter in letters:
        place = f"{letter.topic}/{letter.partition} at {letter.offset}"
        version = "unreadable" if letter.version is None else f"version {letter.version}"
        console.print(f"{place}, {version}, {letter.at}: {letter.error}", markup=False, highlight=False)
        text = (letter.value or b"").decode("utf-8", "backslashreplace")
        console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
    if not letters:
        console.print(f"There are no dead letters of {stream}.")
    return 0 if letters else 1


async def redrive_all(parts: Parts, console: Console, streams: Sequence[str]) -> int:
    """Redrive these streams, or all; 1 when one stays parked."""
    status, found = 0, False
    for row in await _parked(parts, live_only=False):
        name = _stream(row)
        if streams and name not in streams:
            continue
        found = True
        place = row["topic"], row["partition"]
        redriven = await redrive(parts, row["generation"], place, marks.mark_of(row))
        told = f"{name} in generation {row['generation']}: {redriven.applied} events applied"
        if redriven.stuck is not None:
            status = 1
            told += f", still parked: {redriven.stuck}"
        console.print(told, markup=False, highlight=False)
    if not found:
        console.print("No such stream is parked.")
    return status


def _stream(row: Row) -> str:
    return f"{row['topic']}/{row['subject']}"


async def _parked(parts: Parts, *, live_only: bool = True) -> list[Row]:
    """The live generation's parked streams; or those of all that this code may write to."""
    generations = Generations(parts.mongo)
    pointer = await generations.pointer()
    if live_only:
        return [] if pointer is None else await marks.parked(parts.mongo, pointer["generation"])
    ours = await generations.ours()
    return [row for generation in ours for row in await marks.parked(parts.mongo, generation)]
