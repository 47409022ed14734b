"""Products over HTTP."""

from typing import Any

from services.query.arrivals import Arrivals, Kind
from services.query.documents.products import Products
from services.query.documents.shapes import Product
from services.query.http.cursors import after_product, product_key
from services.query.http.endpoint import QueryRequest
from services.query.http.parameters import wait_seconds
from services.query.http.problems import PRODUCT_NOT_FOUND
from services.query.http.waiting import at_least
from services.query.representations import product_json
from shared.problems import Problem


class ProductQueries:
    """Queries about products, for anyone with a token."""

    def __init__(self, products: Products, arrivals: Arrivals) -> None:
        self._products = products
        self._arrivals = arrivals

    async def one(self, request: QueryRequest) -> dict[str, Any]:
        """A product."""
        product_id = request.identifier("productId")
        least = request.parameters.version("minVersion")
        request.parameters.raise_if_invalid()

        async def read() -> Product | None:
            return await self._products.get(product_id)

        if least is not None:
            request.waited = wait_seconds(request.scope)
            of: tuple[Kind, str] = ("products", product_id)
            found = await at_least(
                read, least, request.waited, self._arrivals, of, request.receive, request.begin_reading
            )
            return product_json(found)
        product = await read()
        if product is None:
            raise Problem(PRODUCT_NOT_FOUND, "There is no product with this id.")
        return product_json(product)

    async def page(self, request: QueryRequest) -> dict[str, Any]:
        """Products by id, including delisted ones."""
        given = request.parameters
        cursor = given.text("cursor")
        after = None if cursor is None else product_key(cursor)
        limit = given.limit()
        given.raise_if_invalid()
        products, more = await self._products.page(after, limit)
        return {
            "data": [product_json(product) for product in products],
            "hasMore": more,
            "nextCursor": after_product(products[-1].product_id) if more else None,
        }
