"""What was asked for, and what was answered: all that the system has to show in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Change:
    """An accepted command. It was decided between `sent_at` and `answered_at`, in seconds since 1970."""

    type: str
    value: str
    """What it set: a price, a name, a reason, a tracking number; of a new order nothing."""
    version: int
    """The stream's version after it."""
    sent_at: float
    answered_at: float


@dataclass(frozen=True, slots=True)
class Order:
    """An order as its customer knows it."""

    id: str
    customer: str
    quantities: dict[str, int]
    """By product."""
    changes: list[Change]

    def version(self, before: float | None = None) -> int:
        """The highest version that was answered, at all or before some moment."""
        return max(
            (it.version for it in self.changes if before is None or it.answered_at < before), default=0
        )


@dataclass(slots=True)
class Ledger:
    """Everything that was accepted."""

    orders: dict[str, Order] = field(default_factory=dict)
    customers: dict[str, list[Change]] = field(default_factory=dict)
    products: dict[str, list[Change]] = field(default_factory=dict)

    def of(self, customer: str | None) -> list[Order]:
        """A customer's orders, or all."""
        return [order for order in self.orders.values() if customer in (None, order.customer)]

    def last_answer(self) -> float:
        """When the last command was answered."""
        streams = [*(order.changes for order in self.orders.values())]
        streams += [*self.customers.values(), *self.products.values()]
        return max(change.answered_at for changes in streams for change in changes)


def latest(changes: Sequence[Change]) -> Change:
    """The change that counts in the end."""
    return max(changes, key=lambda change: change.version)
