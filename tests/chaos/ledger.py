"""The accepted commands: everything that the system must show in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Change:
    """An accepted command, decided between `sent_at` and `answered_at` (seconds since 1970).

    `value` is what it set (a price, a name, a reason, a tracking number), `version` the stream's after it.
    """

    type: str
    value: str
    version: int
    sent_at: float
    answered_at: float


@dataclass(frozen=True, slots=True)
class Order:
    """An order as its customer knows it; `quantities` by product."""

    id: str
    customer: str
    quantities: dict[str, int]
    changes: list[Change]

    def version(self, before: float) -> int:
        """The highest version that was acknowledged before a given moment."""
        return max((it.version for it in self.changes if it.answered_at < before), default=0)


@dataclass(slots=True)
class Ledger:
    """Everything that was accepted."""

    orders: dict[str, Order] = field(default_factory=dict)
    customers: dict[str, list[Change]] = field(default_factory=dict)
    products: dict[str, list[Change]] = field(default_factory=dict)

    def of(self, customer: str | None) -> list[Order]:
        """A customer's orders, or all orders."""
        return [order for order in self.orders.values() if customer in (None, order.customer)]


def latest(changes: Sequence[Change]) -> Change:
    """The change with the highest version."""
    return max(changes, key=lambda change: change.version)
