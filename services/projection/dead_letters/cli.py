"""The commands `dead-letters list|show|redrive`."""

from collections.abc import Sequence

from rich.console import Console

from services.projection.dead_letters.reading import dead_letters
from services.projection.dead_letters.redriving import redrive
from services.projection.kafka.connecting import client_options
from services.projection.records import shown
from services.projection.store import marks
from services.projection.store.connecting import Row
from services.projection.store.generations import Generations
from services.projection.wiring import Parts


async def list_parked(parts: Parts, console: Console) -> int:
    """List the parked streams."""
    rows = await _parked(parts)
    for row in rows:
        versions = f"versions {row['firstVersion']} to {row['lastVersion']}"
        _say(console, f"{_stream(row)}, {versions}, since {row['at']:%Y-%m-%d %H:%M:%S}: {row['reason']}")
    if not rows:
        _say(console, "No stream is parked.")
    return 0


async def show(parts: Parts, console: Console, stream: str) -> int:
    """Show the dead letters of a stream, given as `topic/id`. Returns 1 if there are none."""
    topic, _, subject = stream.partition("/")
    letters = await dead_letters(client_options(parts.settings), topic, subject)
    for letter in letters:
        place = f"{letter.topic}/{letter.partition} at {letter.offset}"
        version = "unreadable" if letter.version is None else f"version {letter.version}"
        _say(console, f"{place}, {version}, {letter.at}: {letter.error}")
        _say(console, f"  {shown(letter.value)}")
    if not letters:
        _say(console, f"There are no dead letters for {stream}.")
    return 0 if letters else 1


async def redrive_all(parts: Parts, console: Console, streams: Sequence[str]) -> int:
    """Redrive these streams, or all. Returns 1 if one stays parked."""
    status, found = 0, False
    for row in await _parked(parts, live_only=False):
        name = _stream(row)
        if streams and name not in streams:
            continue
        found = True
        place = row["topic"], row["partition"]
        redriven = await redrive(parts, row["generation"], place, marks.mark_of(row))
        line = f"{name} in generation {row['generation']}: {redriven.applied} events applied"
        if redriven.stuck is not None:
            status = 1
            line += f", still parked: {redriven.stuck}"
        _say(console, line)
    if not found:
        _say(console, "No such stream is parked.")
    return status


def _say(console: Console, line: str) -> None:
    """Print a line verbatim: a wrapped or truncated stream name could not be copied."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _stream(row: Row) -> str:
    return f"{row['topic']}/{row['subject']}"


async def _parked(parts: Parts, *, live_only: bool = True) -> list[Row]:
    """The parked streams of the live generation, or of all generations that this code may write to."""
    generations = Generations(parts.mongo)
    pointer = await generations.pointer()
    if live_only:
        return [] if pointer is None else await marks.parked(parts.mongo, pointer["generation"])
    ours = await generations.ours()
    return [row for generation in ours for row in await marks.parked(parts.mongo, generation)]
