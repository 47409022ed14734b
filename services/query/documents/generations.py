"""Reads from the live generation; its pointer comes back in the same round trip as the documents."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import bson

from services.query.documents.connecting import Connection, Pipeline, Row, Stage
from services.query.documents.errors import DocumentsUnavailableError, NoReadModelsError
from shared.documents import GENERATIONS, LIVE, collection

_TRIES: Final = 4
_POINTER: Final[Pipeline] = (
    {"$match": {"_id": LIVE}},
    {"$project": {"_id": 0, "generation": 1, "readModels": 1}},
)
_WITH_POINTER: Final[Stage] = {"$unionWith": {"coll": GENERATIONS, "pipeline": list(_POINTER)}}

T = TypeVar("T")
Named = Callable[[str], str]
"""Names a read model's collection in the generation being read."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which generation is live, and which generation's collection each read model uses in it."""

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
    """Reads documents from whichever generation is live at that moment, even across a switch."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: Pointer | None = None

    async def pointer(self) -> Pointer:
        """The pointer as last seen; read now if there is none."""
        return self._known or await self.latest()

    async def latest(self) -> Pointer:
        """The current pointer. A read from before a switch may still restore the old one for other reads."""
        return self._learn(await self._connection.aggregate(GENERATIONS, _POINTER))

    def moved(self) -> None:
        """Forget the pointer last seen: it was written."""
        self._known = None

    async def why_not_ready(self) -> str | None:
        """Why nothing can be read, safe to show to anyone; None if documents can be read."""
        try:
            await self.latest()
        except NoReadModelsError:
            return "it holds no read models yet"
        except DocumentsUnavailableError:
            return "it does not answer"
        return None

    async def read(self, read_model: str, pipeline: Callable[[Named], Pipeline]) -> list[Row]:
        """The results of `pipeline` on the live collection of `read_model`."""
        return await self._read(self._connection.aggregate, _as_it_is, read_model, pipeline)

    async def read_raw(self, read_model: str, pipeline: Callable[[Named], Pipeline]) -> list[bytes]:
        """Like `read`, but leaves each document as BSON."""
        return await self._read(self._connection.aggregate_raw, bson.decode, read_model, pipeline)

    async def glance(
        self, read_model: str, wanted: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """Some fields of documents in the generation last seen live, at a third of the cost."""
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

        If it still names their generation, they were live when they were read. If not, they are read again
        from the generation it names.
        """
        for _ in range(_TRIES):
            pointer = await self.pointer()
            rows = await aggregate(pointer.named(read_model), [*pipeline(pointer.named), _WITH_POINTER])
            if self._learn([decode(row) for row in rows[-1:]]) == pointer:
                rows.pop()
                return rows
        raise DocumentsUnavailableError("the live generation keeps changing")

    def _learn(self, rows: Sequence[Mapping[str, Any]]) -> Pointer:
        if not rows or "generation" not in rows[0]:
            self._known = None
            raise NoReadModelsError("no generation is live")
        self._known = Pointer.of(rows[0])
        return self._known


def _as_it_is(row: Row) -> Row:
    return row
