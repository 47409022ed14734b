"""Products and their units sold."""

from collections.abc import Sequence

from services.query.documents.connecting import Pipeline, Row
from services.query.documents.generations import LiveGeneration, Named
from services.query.documents.shapes import Product
from shared.documents import PRODUCT_SALES, PRODUCTS, parts_of
from shared.money import Money


class Products:
    """Reads products. Units sold are stored in one part per partition; the parts are added up here."""

    def __init__(self, live: LiveGeneration) -> None:
        self._live = live

    async def get(self, product_id: str) -> Product | None:
        """The product; None if neither it nor any order of it is known."""

        def pipeline(named: Named) -> Pipeline:
            parts = [{"$match": {"_id": parts_of(product_id)}}, {"$project": {"_id": 0, "unitsSold": 1}}]
            return [
                {"$match": {"_id": product_id}},
                {"$unionWith": {"coll": named(PRODUCT_SALES), "pipeline": parts}},
            ]

        rows = await self._live.read(PRODUCTS, pipeline)
        if not rows:
            return None
        known = rows[0] if "_id" in rows[0] else {}
        parts = rows[1:] if known else rows
        return _product(product_id, known, parts)

    async def page(self, after: str | None, limit: int) -> tuple[Sequence[Product], bool]:
        """Up to `limit` products by id, from right after `after`, and whether more follow."""

        def pipeline(named: Named) -> Pipeline:
            return [
                {"$match": {} if after is None else {"_id": {"$gt": after}}},
                {"$sort": {"_id": 1}},
                {"$limit": limit + 1},
                {
                    "$lookup": {
                        "from": named(PRODUCT_SALES),
                        "localField": "_id",
                        "foreignField": "productId",
                        "as": "sales",
                    }
                },
            ]

        rows = await self._live.read(PRODUCTS, pipeline)
        return [_product(row["_id"], row, row["sales"]) for row in rows[:limit]], len(rows) > limit


def _product(product_id: str, known: Row, parts: Sequence[Row]) -> Product:
    price = known.get("price")
    return Product(
        product_id=product_id,
        name=known.get("name"),
        price=None if price is None else Money(price),
        available=known.get("available"),
        units_sold=sum(part["unitsSold"] for part in parts),
        version=known.get("version", 0),
    )
