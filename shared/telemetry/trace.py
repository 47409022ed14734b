"""W3C trace context: the `traceparent` header (https://www.w3.org/TR/trace-context/)."""

import random
import re
from typing import Final

_FIELDS: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE: Final = b"0" * 32
_NO_PARENT: Final = b"0" * 16


def parse_traceparent(header: bytes) -> str | None:
    """The header to pass on, in version 00; None if it is not valid and a new trace must start."""
    match = _FIELDS.fullmatch(header)
    if match is None:
        return None
    version, trace, parent, flags, more = match.groups()
    if version == b"ff" or trace == _NO_TRACE or parent == _NO_PARENT or (version == b"00" and more):
        return None
    return f"00-{trace.decode()}-{parent.decode()}-{flags.decode()}"


def new_traceparent() -> str:
    """The `traceparent` of a new trace."""
    # one draw for both ids; neither may be zero, which happens once in 10^19
    drawn = random.randbytes(24).hex()
    return f"00-{drawn[:32]}-{drawn[32:]}-01"
