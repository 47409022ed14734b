"""Reads of the live generation: its pointer comes back in the round trip of the documents."""

from collections.abc import Callable
from typing import Final

from services.query.documents.connecting import Connection, Pipeline, Row, Stage
from services.query.documents.errors import DocumentsAwayError, NoReadModelsError

GENERATIONS: Final = "generations"
LIVE: Final = "live"
_TRIES: Final = 4
_POINTER: Final[Pipeline] = (
    {"$match": {"_id": LIVE}},
    {"$project": {"_id": 0, "pointer": "$generation"}},
)
_WITH_POINTER: Final[Stage] = {"$unionWith": {"coll": GENERATIONS, "pipeline": list(_POINTER)}}

Named = Callable[[str], str]
"""A read model's collection, in the generation that is being read."""


class LiveGeneration:
    """Reads documents of whichever generation is live when they are read, through any switch."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: str | None = None

    async def generation(self) -> str:
        """The live generation as last seen; asks when none was."""
        if self._known is None:
            self._learn(await self._connection.aggregate(GENERATIONS, _POINTER))
        assert self._known is not None
        return self._known

    def moved(self) -> None:
        """Forget what is known: the pointer was written."""
        self._known = None

    async def why_not_ready(self) -> str | None:
        """Why nothing can be read, in words for anybody; None when documents can be read."""
        try:
            self._learn(await self._connection.aggregate(GENERATIONS, _POINTER))
        except NoReadModelsError:
            return "it holds no read models yet"
        except DocumentsAwayError:
            return "it does not answer"
        return None

    async def read(self, read_model: str, pipeline: Callable[[Named], Pipeline]) -> list[Row]:
        """What `pipeline` gives on the live collection of `read_model`.

        The pointer is read behind the documents: if it still names their generation they were live when they
        were read. If not, they are read again, from the one it names.
        """
        for _ in range(_TRIES):
            generation = await self.generation()

            def named(name: str, generation: str = generation) -> str:
                return f"{name}__{generation}"

            stages = [*pipeline(named), _WITH_POINTER]
            rows = await self._connection.aggregate(named(read_model), stages)
            self._learn(rows[-1:])
            if self._known == generation:
                rows.pop()
                return rows
        raise DocumentsAwayError("the live generation keeps changing")

    def _learn(self, rows: list[Row]) -> None:
        self._known = rows[0].get("pointer") if rows else None
        if self._known is None:
            raise NoReadModelsError("no generation is live")
