"""Identifiers of people and organisations: check digits and shapes, no registers.

A right check digit does not prove a person; a wrong one proves a typing error, so it is refused at the door.
"""

from __future__ import annotations

import re
from datetime import date
from operator import mul

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_CHARACTERS = "10X98765432"
_ID_CARD = re.compile(r"[1-9][0-9]{16}[0-9X]", re.ASCII)
INSTITUTION_PATTERN = r"^[A-Z][0-9]{11}$"
REGION_PATTERN = r"^[0-9]{6}$"
PARTY_PATTERN = r"^[A-Z][A-Z0-9-]{1,31}$"
ID_CARD_TYPE = "01"


def check_character(first_17: str) -> str:
    """The 18th character of a citizen identity number (GB 11643-1999)."""
    return _CHECK_CHARACTERS[sum(map(mul, map(int, first_17), _WEIGHTS)) % 11]


def birth_date_of(id_card: str) -> date | None:
    """Birth date inside an 18-character number; None when it is no date."""
    try:
        return date(int(id_card[6:10]), int(id_card[10:12]), int(id_card[12:14]))
    except ValueError:
        return None


def id_card_problem(id_card: str) -> str | None:
    """What is wrong with a citizen identity number, as a remedy for the sender; None when nothing is."""
    if len(id_card) == 15 and id_card.isascii() and id_card.isdigit():
        return "send the 18-character number; 15-digit numbers are no longer accepted"
    if id_card.endswith("x"):
        return "write the check character as upper-case X"
    if not _ID_CARD.fullmatch(id_card):
        return "send 18 characters: 17 digits and a check character"
    if birth_date_of(id_card) is None:
        return "positions 7 to 14 must be the birth date as yyyyMMdd"
    if check_character(id_card[:17]) != id_card[17]:
        return "the check character does not match: compare the number with the card"
    return None
