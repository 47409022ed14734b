"""Named queries: one file each."""

from functools import cache
from pathlib import Path


@cache
def sql(name: str) -> bytes:
    """The statement in `<name>.sql`."""
    return (Path(__file__).parent / f"{name}.sql").read_bytes()
