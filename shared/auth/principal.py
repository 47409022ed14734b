"""The user a token represents."""

import re
from dataclasses import dataclass
from typing import Final

from shared.problems import FORBIDDEN, Problem

STAFF: Final = "staff"
PERSONAL_DATA: Final = "personal-data"

ID_PATTERN: Final = r"^(?!\.{1,2}$)[A-Za-z0-9._~-]{1,64}$"
"""The pattern of a customer's or a product's id, for JSON Schema."""
ID_RULE: Final = "1 to 64 of A-Za-z0-9._~-, neither . nor .."
"""The same in words."""
_ID = re.compile(ID_PATTERN.removesuffix("$") + r"\Z")


def valid_id(text: str) -> bool:
    """Whether `text` can be a customer's or a product's id (`ID_RULE`)."""
    return _ID.match(text) is not None


@dataclass(frozen=True, slots=True)
class Principal:
    """A user: its token's `sub` (a customer's id), roles, and when the token expires (seconds since 1970)."""

    sub: str
    roles: frozenset[str]
    expires_at: float

    @property
    def is_staff(self) -> bool:
        """Whether it may act on behalf of any customer."""
        return STAFF in self.roles

    def require(self, role: str) -> None:
        """Raise a 403 unless it holds `role`."""
        if role not in self.roles:
            raise Problem(FORBIDDEN, f"This requires the role {role}.")

    def require_self_or_staff(self, customer_id: str) -> None:
        """Raise a 403 unless it is that customer or staff."""
        if self.sub != customer_id and STAFF not in self.roles:
            raise Problem(FORBIDDEN, "Only this customer or staff may do this.")
