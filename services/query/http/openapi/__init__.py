"""The OpenAPI 3.1 document: every path, parameter, response and problem of the query service."""

from services.query.http.openapi.document import document

__all__ = ["document"]
