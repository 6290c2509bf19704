"""Keys that sign messages between us and one party, as a secrets file holds them: `algorithm:key`.

    hmac-sha256:<text of 32 characters or more>     the same on both sides
    hmac-sm3:<text of 32 characters or more>
    sm2:<32 bytes, hex or Base64>                   to sign
    sm2:<64, 65 or 33 bytes, hex or Base64>         to verify

The algorithm belongs to the key and never to a message, so nobody can ask for a weaker one.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from crypto import sm2, sm3
from crypto.errors import KeyUnusable, SignatureRefused

SECRET_CHARACTERS_MIN = 32
ALGORITHMS = ("hmac-sha256", "hmac-sm3", "sm2")
SIGN, VERIFY = "sign.", "verify."


class SigningKey(Protocol):
    """Signs what we send."""

    @property
    def algorithm(self) -> str: ...

    def sign(self, message: bytes) -> bytes: ...


class VerifyingKey(Protocol):
    """Verifies what they send; SignatureRefused."""

    @property
    def algorithm(self) -> str: ...

    def verify(self, message: bytes, signature: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class HmacKey:
    """A secret that both sides know: proves the message to each other, to nobody else."""

    algorithm: str
    secret: bytes = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """32 bytes."""
        if self.algorithm == "hmac-sm3":
            return sm3.hmac_digest(self.secret, message)
        return hmac.digest(self.secret, message, "sha256")

    def verify(self, message: bytes, signature: bytes) -> None:
        """In constant time."""
        if not hmac.compare_digest(signature, self.sign(message)):
            raise SignatureRefused("the signature is wrong")


@dataclass(frozen=True, slots=True)
class Sm2SigningKey:
    """r||s in 64 bytes."""

    key: sm2.PrivateKey
    algorithm: str = "sm2"

    def sign(self, message: bytes) -> bytes:
        """64 bytes, others at each call."""
        return self.key.sign(message)


@dataclass(frozen=True, slots=True)
class Sm2VerifyingKey:
    """The public half."""

    key: sm2.PublicKey
    algorithm: str = "sm2"

    def verify(self, message: bytes, signature: bytes) -> None:
        """r||s in 64 bytes."""
        self.key.verify(message, signature)


def signing_key(text: str) -> SigningKey:
    """From `algorithm:key`; KeyUnusable without repeating what was written."""
    algorithm, key = _parted(text)
    return Sm2SigningKey(sm2.PrivateKey.of_text(key)) if algorithm == "sm2" else _hmac(algorithm, key)


def verifying_key(text: str) -> VerifyingKey:
    """From `algorithm:key`; KeyUnusable without repeating what was written."""
    algorithm, key = _parted(text)
    return Sm2VerifyingKey(sm2.PublicKey.of_text(key)) if algorithm == "sm2" else _hmac(algorithm, key)


def verifying_keys(secrets: Mapping[str, str]) -> dict[str, VerifyingKey]:
    """Those of a party's secrets named `verify.<key id>`, by key id: several at once while a key is being changed."""
    return {name.removeprefix(VERIFY): verifying_key(text) for name, text in secrets.items() if name.startswith(VERIFY)}


def newest_signing_key(secrets: Mapping[str, str], key_id: str = "") -> tuple[str, SigningKey] | None:
    """The one named `sign.<key id>`; without `key_id` the last in the order of names. None when there is none."""
    names = [name for name in sorted(secrets) if name.startswith(SIGN) and key_id in ("", name.removeprefix(SIGN))]
    if not names:
        return None
    return names[-1].removeprefix(SIGN), signing_key(secrets[names[-1]])


def _parted(text: str) -> tuple[str, str]:
    algorithm, colon, key = text.strip().partition(":")
    if not colon or algorithm not in ALGORITHMS:
        raise KeyUnusable(f"write a key as algorithm:key, with one of {', '.join(ALGORITHMS)}")
    return algorithm, key


def _hmac(algorithm: str, key: str) -> HmacKey:
    if len(key) < SECRET_CHARACTERS_MIN:
        raise KeyUnusable(f"an HMAC secret has {SECRET_CHARACTERS_MIN} characters or more")
    return HmacKey(algorithm, key.encode())
