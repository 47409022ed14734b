"""The problems specific to queries."""

from typing import Final

from shared.problems import Kind

ORDER_NOT_FOUND: Final = Kind(404, "order-not-found", "There is no such order")
VERSION_NOT_FOUND: Final = Kind(404, "version-not-found", "The order did not exist at that version or time")
CUSTOMER_NOT_FOUND: Final = Kind(404, "customer-not-found", "There is no such customer")
PRODUCT_NOT_FOUND: Final = Kind(404, "product-not-found", "There is no such product")
INVALID_CURSOR: Final = Kind(400, "invalid-cursor", "The cursor cannot be used")
READ_MODEL_BEHIND: Final = Kind(503, "read-model-behind", "The read model has not reached this version")
UPGRADE_REQUIRED: Final = Kind(426, "upgrade-required", "This endpoint requires a WebSocket")
