"""SM3 (GB/T 32905) and HMAC over it, by the C code of the interpreter's OpenSSL."""

from __future__ import annotations

import hashlib
import hmac


def digest(message: bytes) -> bytes:
    """32 bytes."""
    return hashlib.new("sm3", message).digest()


def hmac_digest(key: bytes, message: bytes) -> bytes:
    """HMAC-SM3, 32 bytes."""
    return hmac.digest(key, message, "sm3")
