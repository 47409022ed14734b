"""Texts for callers to give back unchanged: opaque, and a slip of the pen in them is noticed.

The seal is a checksum and no signature: whoever forges one gains nothing, see the cursors made of them.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final
from zlib import crc32

_SEAL_BYTES: Final = 4


def sealed(content: bytes) -> str:
    """The text that stands for `content`, fit for URLs."""
    # in this order of bytes the checksum notices every change of neighbouring bits, so of any one character
    seal = crc32(content).to_bytes(_SEAL_BYTES, "little")
    return urlsafe_b64encode(content + seal).rstrip(b"=").decode()


def opened(text: str, longest: int) -> bytes | None:
    """What the text stands for; None when it was not made by `sealed` or is over `longest` characters."""
    if not text.isascii() or len(text) > longest:
        return None
    try:
        content = urlsafe_b64decode(text + "=" * (-len(text) % 4))[:-_SEAL_BYTES]
    except ValueError:
        return None
    # one spelling only: what decodes by chance is not ours
    return content if sealed(content) == text else None
