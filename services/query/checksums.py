"""Opaque texts for callers to return unchanged; accidental changes are detected.

The seal is a checksum, not a signature: forging one gains nothing, see the cursors made of them.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final
from zlib import crc32

_SEAL_BYTES: Final = 4


def with_checksum(content: bytes) -> str:
    """`content` as a text that is safe in URLs."""
    # in this byte order the checksum detects every change of adjacent bits, and so of any single character
    seal = crc32(content).to_bytes(_SEAL_BYTES, "little")
    return urlsafe_b64encode(content + seal).rstrip(b"=").decode()


def without_checksum(text: str, longest: int) -> bytes | None:
    """The content of the text; None if `with_checksum` did not make it or it is over `longest` characters."""
    if not text.isascii() or len(text) > longest:
        return None
    try:
        content = urlsafe_b64decode(text + "=" * (-len(text) % 4))[:-_SEAL_BYTES]
    except ValueError:
        return None
    # only the canonical encoding: anything else that decodes is not ours
    return content if with_checksum(content) == text else None
