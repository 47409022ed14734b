"""The routes of the query service."""

from dataclasses import dataclass

from starlette.routing import BaseRoute, Route, Router, WebSocketRoute

from services.query.http.answering import Lag, Reading
from services.query.http.customers import CustomerQueries
from services.query.http.endpoint import Query, QueryEndpoint
from services.query.http.orders import OrderQueries
from services.query.http.products import ProductQueries
from services.query.http.published import INDEX, OPENAPI, nothing
from services.query.http.reports import ReportQueries
from services.query.live.server_sent import ServerSentEvents
from services.query.live.streams import LiveStreams
from services.query.live.websocket import PlainRequests, WebSocketEndpoint
from shared.api_docs import docs_routes
from shared.auth import Authenticator


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """All queries."""

    orders: OrderQueries
    customers: CustomerQueries
    products: ProductQueries
    reports: ReportQueries


def router(
    queries: Queries, streams: LiveStreams, authenticator: Authenticator, lag: Lag, reading: Reading
) -> Router:
    """The router; errors below it are raised as `Problem`. Earlier routes match faster."""

    def query(path: str, answers: Query) -> Route:
        return Route(path, QueryEndpoint(answers, authenticator, reading))

    routes: list[BaseRoute] = [
        Route("/orders/stream", ServerSentEvents(streams, authenticator, lag)),
        query("/orders/{orderId}", queries.orders.one),
        query("/orders", queries.orders.page),
        query("/orders/{orderId}/history", queries.orders.history),
        query("/orders/{orderId}/timeline", queries.orders.timeline),
        query("/customers/{customerId}/summary", queries.customers.summary),
        query("/products", queries.products.page),
        query("/products/{productId}", queries.products.one),
        query("/reports/daily-sales", queries.reports.daily_sales),
        WebSocketRoute("/ws", WebSocketEndpoint(streams, authenticator)),
        Route("/ws", PlainRequests(authenticator)),
        Route("/", INDEX),
        Route("/openapi.json", OPENAPI),
        *docs_routes("Orders: queries"),
    ]
    return Router(routes, redirect_slashes=False, default=nothing)
