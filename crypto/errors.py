"""Why something is not believed."""

from __future__ import annotations


class CryptoError(ValueError):
    """A key, a ciphertext or a signature that cannot be used; `code` names the reason, never a value."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class KeyUnusable(CryptoError):
    """A key of the wrong size, form or curve: a mistake of whoever set it up."""

    def __init__(self, message: str, code: str = "key.unusable") -> None:
        super().__init__(message, code)


class SignatureRefused(CryptoError):
    """Not proven to come from its sender: missing, wrong, too old, or by a key that is not theirs."""

    def __init__(self, message: str, code: str = "signature.wrong") -> None:
        super().__init__(message, code)


class CannotDecrypt(CryptoError):
    """Not encrypted with this key, or altered on the way."""

    def __init__(self, message: str, code: str = "ciphertext.unreadable") -> None:
        super().__init__(message, code)
