"""SM4 (GB/T 32907): 16-byte keys.

The public traces of the national interface do not name its mode; ECB is taken until a region says otherwise, as that is
what integrators ship without a field for a vector or nonce. It shows equal blocks as equal: given the choice, take GCM.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from crypto import blocks
from crypto.blocks import Mode as Mode
from crypto.errors import KeyUnusable

KEY_BYTES = 16


def encrypt(key: bytes, plain: bytes, mode: Mode = Mode.ECB, *, vector: bytes | None = None) -> bytes:
    """See `blocks.encrypt`."""
    return blocks.encrypt(_cipher(key), plain, mode, vector)


def decrypt(key: bytes, sealed: bytes, mode: Mode = Mode.ECB) -> bytes:
    """See `blocks.decrypt`; CannotDecrypt."""
    return blocks.decrypt(_cipher(key), sealed, mode)


def _cipher(key: bytes) -> SM4:
    if len(key) != KEY_BYTES:
        raise KeyUnusable("an SM4 key has 16 bytes")
    return SM4(key)
