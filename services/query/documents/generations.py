"""Reads of the live generation: its pointer comes back in the round trip of the documents."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import bson

from services.query.documents.connecting import Connection, Pipeline, Row, Stage
from services.query.documents.errors import DocumentsAwayError, NoReadModelsError
from shared.documents import GENERATIONS, LIVE, collection

_TRIES: Final = 4
_POINTER: Final[Pipeline] = (
    {"$match": {"_id": LIVE}},
    {"$project": {"_id": 0, "generation": 1, "readModels": 1}},
)
_WITH_POINTER: Final[Stage] = {"$unionWith": {"coll": GENERATIONS, "pipeline": list(_POINTER)}}

T = TypeVar("T")
Named = Callable[[str], str]
"""A read model's collection, in the generation that is being read."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which generation is live, and whose collection each read model has in it."""

    generation: str
    read_models: Mapping[str, str]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """From the document."""
        return cls(row["generation"], dict(row.get("readModels") or {}))

    def named(self, read_model: str) -> str:
        """The live collection of a read model."""
        return collection(read_model, self.read_models.get(read_model, self.generation))


class LiveGeneration:
    """Reads documents of whichever generation is live when they are read, through any switch."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: Pointer | None = None

    async def pointer(self) -> Pointer:
        """The pointer as last seen; asks when none was."""
        return self._known or await self.latest()

    async def latest(self) -> Pointer:
        """The pointer as it is now. A read from before a switch may go on telling the others the old one."""
        return self._learn(await self._connection.aggregate(GENERATIONS, _POINTER))

    def moved(self) -> None:
        """Forget what is known: the pointer was written."""
        self._known = None

    async def why_not_ready(self) -> str | None:
        """Why nothing can be read, in words for anybody; None when documents can be read."""
        try:
            await self.latest()
        except NoReadModelsError:
            return "it holds no read models yet"
        except DocumentsAwayError:
            return "it does not answer"
        return None

    async def read(self, read_model: str, pipeline: Callable[[Named], Pipeline]) -> list[Row]:
        """What `pipeline` gives on the live collection of `read_model`."""
        return await self._read(self._connection.aggregate, _as_it_is, read_model, pipeline)

    async def read_raw(self, read_model: str, pipeline: Callable[[Named], Pipeline]) -> list[bytes]:
        """As `read`, but each document is left as BSON."""
        return await self._read(self._connection.aggregate_raw, bson.decode, read_model, pipeline)

    async def glance(
        self, read_model: str, wanted: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """Some fields of documents of the generation last seen to be live, for a third of the price."""
        pointer = await self.pointer()
        return await self._connection.glance(pointer.named(read_model), wanted, fields)

    async def _read(
        self,
        aggregate: Callable[[str, Pipeline], Awaitable[list[T]]],
        decode: Callable[[T], Row],
        read_model: str,
        pipeline: Callable[[Named], Pipeline],
    ) -> list[T]:
        """Read documents and then, in the same round trip, the pointer.

        If it still names their generation they were live when they were read. If not, they are read again,
        from the one it names.
        """
        for _ in range(_TRIES):
            pointer = await self.pointer()
            rows = await aggregate(pointer.named(read_model), [*pipeline(pointer.named), _WITH_POINTER])
            if self._learn([decode(row) for row in rows[-1:]]) == pointer:
                rows.pop()
                return rows
        raise DocumentsAwayError("the live generation keeps changing")

    def _learn(self, rows: Sequence[Mapping[str, Any]]) -> Pointer:
        if not rows or "generation" not in rows[0]:
            self._known = None
            raise NoReadModelsError("no generation is live")
        self._known = Pointer.of(rows[0])
        return self._known


def _as_it_is(row: Row) -> Row:
    return row
