"""Numbers of the hub in the 30 characters that the national interface has for one: 25 digits to the base of 36."""

from __future__ import annotations

import re
from uuid import UUID

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
LENGTH = 25
_NUMBER = re.compile(f"[0-9a-z]{{{LENGTH}}}", re.ASCII)


def short_number(uuid: str) -> str:
    """A UUID's text as 25 characters; `uuid_of` gives it back."""
    rest = UUID(uuid).int
    digits = []
    for _ in range(LENGTH):
        rest, digit = divmod(rest, len(DIGITS))
        digits.append(DIGITS[digit])
    return "".join(reversed(digits))


def uuid_of(number: str) -> str | None:
    """The UUID of a number of ours; None for any other text."""
    if not _NUMBER.fullmatch(number):
        return None
    value = int(number, len(DIGITS))
    return str(UUID(int=value)) if value < 1 << 128 else None
