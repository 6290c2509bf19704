"""What differs between two insurers of this dialect, from the party's options and secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from schemas.payer import PartySettings

OK_CODES = frozenset({"0", "1"})
"""`additionInfo.errorCode`: both are seen for success."""
_DEFAULTS = {
    "app_id": "",
    "sender_code": "",
    "sender_name": "",
    "receiver_code": "",
    "receiver_name": "",
    "professional_code": "",
    "professional_name": "",
    "version": "version:1.0.0",
    "operator_code": "0001",
    "operator_name": "hub",
    "identity": "no",
    "refused_codes": "",
    "confirm_products": "",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One insurer's switches. `sender_code` empty: each institution sends under its own code."""

    party: str
    app_id: str
    sender_code: str
    sender_name: str
    receiver_code: str
    receiver_name: str
    professional_code: str
    professional_name: str
    version: str
    operator_code: str
    operator_name: str
    checks_identity: bool
    refused_codes: frozenset[str]
    """Error codes that the insurer documents as "refused, nothing was done"; every other one leaves a doubt."""
    confirm_products: frozenset[str]
    """Products whose settlement the customer accepts or declines in a step of its own."""
    app_secret: str = field(default="", repr=False)
    aes_key: bytes = field(default=b"", repr=False)
    aes_answer_key: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, settings: PartySettings) -> Self:
        """ValueError for an option that there is not and for keys that cannot be used."""
        unknown = sorted(set(settings.options) - set(_DEFAULTS))
        if unknown:
            raise ValueError(f"party {settings.code}: no option {unknown[0]}; there are {', '.join(_DEFAULTS)}")
        given = _DEFAULTS | dict(settings.options)
        if given["identity"] not in ("yes", "no"):
            raise ValueError(f"party {settings.code}: identity is yes or no")
        key = settings.secrets.get("aes_key", "").encode()
        answer_key = settings.secrets.get("aes_answer_key", "").encode() or key
        if settings.secrets and not all(len(one) in (16, 24, 32) for one in (key, answer_key)):
            raise ValueError(f"party {settings.code}: aes_key has 16, 24 or 32 characters")
        plain = {name: value for name, value in given.items() if name not in ("identity", *_LISTS)}
        return cls(
            party=settings.code,
            checks_identity=given["identity"] == "yes",
            refused_codes=_listed(given["refused_codes"]),
            confirm_products=_listed(given["confirm_products"]),
            app_secret=settings.secrets.get("app_secret", ""),
            aes_key=key,
            aes_answer_key=answer_key,
            **plain,
        )

    @property
    def insurer_code(self) -> str:
        return self.professional_code or self.receiver_code

    @property
    def insurer_name(self) -> str:
        return self.professional_name or self.receiver_name


_LISTS = ("refused_codes", "confirm_products")


def _listed(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())
