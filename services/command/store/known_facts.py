"""Write-side facts as they were last read: orders need not ask for the same products again and again."""

from typing import Final

from services.command.domain.facts import ProductFact
from services.command.store.commands import Needs

_CAPACITY: Final = 20_000


class KnownFacts:
    """Rows of the lookups, with their versions, shared by all writers of a process.

    Only ever a guess: what is decided on it is stored if the versions still hold, else it is decided anew,
    and nobody is refused on a guess. What was wrong is forgotten and so read again.
    """

    def __init__(self) -> None:
        self.products: dict[str, tuple[ProductFact, int]] = {}
        self.customers: dict[str, tuple[bool, int]] = {}

    def cover(self, needs: Needs) -> bool:
        """Whether all that is needed is known."""
        if needs.customer is not None and needs.customer not in self.customers:
            return False
        return self.products.keys() >= set(needs.products)

    def forget(self, needs: Needs) -> None:
        """Something of it is not so any more."""
        for name in needs.products:
            self.products.pop(name, None)
        if needs.customer is not None:
            self.customers.pop(needs.customer, None)

    def keep_bounded(self) -> None:
        """Begin anew when it has grown large."""
        if len(self.products) + len(self.customers) > _CAPACITY:
            self.products.clear()
            self.customers.clear()
