"""Bank accounts of institutions and payers, as payment files name them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints

from schemas.base import Name, Value

_BETWEEN = re.compile(r"[ \-]")
NUMBER_PATTERN = r"^[0-9A-Z]{6,34}$"


def _without_gaps(value: object) -> object:
    """Printed in groups of four, read as one number."""
    return _BETWEEN.sub("", value) if isinstance(value, str) else value


AccountNumber = Annotated[str, BeforeValidator(_without_gaps), StringConstraints(pattern=NUMBER_PATTERN)]


class BankAccount(Value):
    """Where money goes to or comes from: the holder's name, the bank with its branch, the number without gaps."""

    name: Name
    bank: Name
    number: AccountNumber
