"""Personal fields are JWE compact strings (`dir`, `A256GCM`) under a key of their customer.

RFC 7516 by `joserfc`. Without the key nothing is readable: deleting it erases every copy there is.
"""

import secrets
from base64 import urlsafe_b64encode
from typing import Final

from joserfc import jwe
from joserfc.jwk import OctKey

_HEADER: Final = {"alg": "dir", "enc": "A256GCM"}
_KEY_BYTES: Final = 32
UNREADABLE: Final = ""
"""What a personal field reads as once its key is gone; only ever followed by `CustomerErased`."""


def new_key() -> bytes:
    """A customer's key: 256 random bits."""
    return secrets.token_bytes(_KEY_BYTES)


def encrypt(text: str, key: bytes) -> str:
    """`text` as a JWE compact string."""
    return jwe.encrypt_compact(_HEADER, text.encode(), OctKey.import_key(key))


def decrypt(text: str, key: bytes | None) -> str:
    """The text in a JWE compact string; `UNREADABLE` without the key.

    Raises `joserfc.errors.JoseError` if it was encrypted under another key or tampered with.
    """
    if key is None:
        return UNREADABLE
    plaintext = jwe.decrypt_compact(text, OctKey.import_key(key)).plaintext
    return (plaintext or b"").decode()


def as_jwk(key: bytes) -> dict[str, str]:
    """The key as a JSON Web Key (RFC 7517), the form that authorized readers get."""
    return {"kty": "oct", "alg": "A256GCM", "k": urlsafe_b64encode(key).decode().rstrip("=")}
