"""Write-side facts as last read, so that orders need not read the same products again and again."""

from typing import Final

from services.command.domain.facts import ProductFact
from services.command.store.commands import Needs

_CAPACITY: Final = 20_000


class FactCache:
    """Rows of the lookups, with their versions, shared by all writers of a process.

    Only ever a guess: a decision based on it is stored if the versions still match, and otherwise made again;
    no command is rejected on a guess. Outdated facts are forgotten and so read again.
    """

    def __init__(self) -> None:
        self.products: dict[str, tuple[ProductFact, int]] = {}
        self.customers: dict[str, tuple[bool, int]] = {}

    def cover(self, needs: Needs) -> bool:
        """Whether everything needed is known."""
        if needs.customer is not None and needs.customer not in self.customers:
            return False
        return self.products.keys() >= set(needs.products)

    def forget(self, needs: Needs) -> None:
        """Drop these facts: some of them may be outdated."""
        for name in needs.products:
            self.products.pop(name, None)
        if needs.customer is not None:
            self.customers.pop(needs.customer, None)

    def keep_bounded(self) -> None:
        """Start over when it has grown large."""
        if len(self.products) + len(self.customers) > _CAPACITY:
            self.products.clear()
            self.customers.clear()
