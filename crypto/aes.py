"""AES with keys of 16, 24 or 32 bytes, for insurers that have not changed to SM4."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.algorithms import AES

from crypto import blocks
from crypto.blocks import Mode as Mode
from crypto.errors import KeyUnusable


def encrypt(key: bytes, plain: bytes, mode: Mode = Mode.ECB, *, vector: bytes | None = None) -> bytes:
    """See `blocks.encrypt`."""
    return blocks.encrypt(_cipher(key), plain, mode, vector)


def decrypt(key: bytes, sealed: bytes, mode: Mode = Mode.ECB) -> bytes:
    """See `blocks.decrypt`; CannotDecrypt."""
    return blocks.decrypt(_cipher(key), sealed, mode)


def _cipher(key: bytes) -> AES:
    if len(key) not in (16, 24, 32):
        raise KeyUnusable("an AES key has 16, 24 or 32 bytes")
    return AES(key)
