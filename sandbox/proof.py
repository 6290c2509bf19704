"""Do the books agree? Each side says what every payer bears of every settlement; differences are named to the fen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.book import Book
from sandbox.his_book import HospitalBook

ACCOUNT = "personal account"
"""Stands in the place of a payer: what the basic system took from the patient's own account."""
Borne = Mapping[tuple[str, str, str], int]
"""Whole fen by (payer, institution, settlement number); nothing borne may be 0 or missing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One settlement about which the sides disagree: what each side says, whole fen."""

    payer: str
    institution: str
    settlement_no: str
    said: tuple[tuple[str, int], ...]


def borne_by_books(books: Mapping[str, Book]) -> dict[tuple[str, str, str], int]:
    """What the payers' own books say."""
    borne: Counter[tuple[str, str, str]] = Counter()
    for payer, book in books.items():
        for entry in book.entries():
            borne[payer, entry.institution, entry.settlement_no] += entry.effect_fen
            borne[ACCOUNT, entry.institution, entry.settlement_no] += entry.account_fen
    return _without_zeros(borne)


def borne_as_told(book: HospitalBook) -> dict[tuple[str, str, str], int]:
    """What the hospitals were told."""
    borne: Counter[tuple[str, str, str]] = Counter()
    for told in book.all():
        borne[ACCOUNT, told.institution, told.settlement_no] += told.account_fen
        for payer, _, amount_fen in told.shares:
            borne[payer, told.institution, told.settlement_no] += amount_fen
    return _without_zeros(borne)


def differences(sides: Mapping[str, Borne]) -> list[Difference]:
    """Every (payer, settlement) about which the named sides do not all say the same; empty when the books agree."""
    keys = sorted({key for borne in sides.values() for key in borne})
    found = []
    for key in keys:
        said = tuple((side, borne.get(key, 0)) for side, borne in sides.items())
        if len({amount for _, amount in said}) > 1:
            found.append(Difference(*key, said))
    return found


def _without_zeros(borne: Mapping[tuple[str, str, str], int]) -> dict[tuple[str, str, str], int]:
    return {key: amount for key, amount in borne.items() if amount}
