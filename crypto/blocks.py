"""Block ciphers in the modes that parties use. PKCS#7 padding where a mode works on blocks."""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.padding import PKCS7

from crypto.errors import CannotDecrypt

BLOCK_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16


class Mode(StrEnum):
    """`cbc` puts its 16-byte vector before the ciphertext; `gcm` its 12-byte nonce, and the tag of 16 after it."""

    ECB = "ecb"
    CBC = "cbc"
    GCM = "gcm"


def encrypt(cipher: BlockCipherAlgorithm, plain: bytes, mode: Mode, vector: bytes | None = None) -> bytes:
    """The ciphertext. `vector` (16 bytes for cbc, 12 for gcm) is drawn afresh unless the other side fixes it."""
    if mode is Mode.GCM:
        nonce = secrets.token_bytes(NONCE_BYTES) if vector is None else vector
        sealing = Cipher(cipher, modes.GCM(nonce)).encryptor()
        return nonce + sealing.update(plain) + sealing.finalize() + sealing.tag
    padding = PKCS7(BLOCK_BYTES * 8).padder()
    padded = padding.update(plain) + padding.finalize()
    if mode is Mode.ECB:
        return _through(Cipher(cipher, modes.ECB()).encryptor(), padded)
    start = secrets.token_bytes(BLOCK_BYTES) if vector is None else vector
    return start + _through(Cipher(cipher, modes.CBC(start)).encryptor(), padded)


def decrypt(cipher: BlockCipherAlgorithm, sealed: bytes, mode: Mode) -> bytes:
    """What `encrypt` was given; CannotDecrypt for anything that this key did not make.

    Only gcm proves that nothing was altered: under the others the plain text must carry a signature.
    """
    if mode is Mode.GCM:
        return _opened(cipher, sealed)
    vector, body = (b"", sealed) if mode is Mode.ECB else (sealed[:BLOCK_BYTES], sealed[BLOCK_BYTES:])
    if not body or len(body) % BLOCK_BYTES:
        raise CannotDecrypt("not whole blocks")
    chain = modes.ECB() if mode is Mode.ECB else modes.CBC(vector)
    padding = PKCS7(BLOCK_BYTES * 8).unpadder()
    try:
        return padding.update(_through(Cipher(cipher, chain).decryptor(), body)) + padding.finalize()
    except ValueError:
        raise CannotDecrypt("the padding is wrong") from None


def _opened(cipher: BlockCipherAlgorithm, sealed: bytes) -> bytes:
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise CannotDecrypt("too short")
    nonce, body, tag = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:-TAG_BYTES], sealed[-TAG_BYTES:]
    opening = Cipher(cipher, modes.GCM(nonce, tag)).decryptor()
    try:
        return opening.update(body) + opening.finalize()
    except InvalidTag:
        raise CannotDecrypt("the tag does not match") from None


def _through(transform: Any, text: bytes) -> bytes:
    done: bytes = transform.update(text) + transform.finalize()
    return done
