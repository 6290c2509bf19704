"""SM4 (GB/T 32907): 16-byte keys, PKCS#7 padding where the mode works on blocks.

The public traces of the national interface do not name its mode; ECB is taken until a region says otherwise, as that is
what integrators ship without a field for a vector or nonce. It shows equal blocks as equal: given the choice, take GCM.
"""

from __future__ import annotations

import secrets
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.padding import PKCS7

from crypto.errors import CannotDecrypt, KeyUnusable

KEY_BYTES = 16
BLOCK_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16


class Mode(StrEnum):
    """`cbc` puts its 16-byte vector before the ciphertext; `gcm` its 12-byte nonce, and the tag of 16 after it."""

    ECB = "ecb"
    CBC = "cbc"
    GCM = "gcm"


def encrypt(key: bytes, plain: bytes, mode: Mode = Mode.ECB, *, vector: bytes | None = None) -> bytes:
    """The ciphertext. `vector` (16 bytes for cbc, 12 for gcm) is drawn afresh unless the other side fixes it."""
    if mode is Mode.GCM:
        nonce = secrets.token_bytes(NONCE_BYTES) if vector is None else vector
        sealing = Cipher(_algorithm(key), modes.GCM(nonce)).encryptor()
        return nonce + sealing.update(plain) + sealing.finalize() + sealing.tag
    padding = PKCS7(BLOCK_BYTES * 8).padder()
    padded = padding.update(plain) + padding.finalize()
    if mode is Mode.ECB:
        return _through(Cipher(_algorithm(key), modes.ECB()).encryptor(), padded)
    start = secrets.token_bytes(BLOCK_BYTES) if vector is None else vector
    return start + _through(Cipher(_algorithm(key), modes.CBC(start)).encryptor(), padded)


def decrypt(key: bytes, sealed: bytes, mode: Mode = Mode.ECB) -> bytes:
    """What `encrypt` was given; CannotDecrypt for anything that this key did not make.

    Only gcm proves that nothing was altered: under the others the plain text must carry a signature.
    """
    if mode is Mode.GCM:
        return _opened(key, sealed)
    vector, body = (b"", sealed) if mode is Mode.ECB else (sealed[:BLOCK_BYTES], sealed[BLOCK_BYTES:])
    if not body or len(body) % BLOCK_BYTES:
        raise CannotDecrypt("not whole blocks")
    chain = modes.ECB() if mode is Mode.ECB else modes.CBC(vector)
    padding = PKCS7(BLOCK_BYTES * 8).unpadder()
    try:
        return padding.update(_through(Cipher(_algorithm(key), chain).decryptor(), body)) + padding.finalize()
    except ValueError:
        raise CannotDecrypt("the padding is wrong") from None


def _opened(key: bytes, sealed: bytes) -> bytes:
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise CannotDecrypt("too short")
    nonce, body, tag = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:-TAG_BYTES], sealed[-TAG_BYTES:]
    opening = Cipher(_algorithm(key), modes.GCM(nonce, tag)).decryptor()
    try:
        return opening.update(body) + opening.finalize()
    except InvalidTag:
        raise CannotDecrypt("the tag does not match") from None


def _algorithm(key: bytes) -> SM4:
    if len(key) != KEY_BYTES:
        raise KeyUnusable("an SM4 key has 16 bytes")
    return SM4(key)


def _through(transform: object, text: bytes) -> bytes:
    done: bytes = transform.update(text) + transform.finalize()  # type: ignore[attr-defined]
    return done
