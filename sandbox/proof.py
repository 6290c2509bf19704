"""Do the books agree? Each side says what every payer bears of every settlement; differences are named to the fen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.book import Book
from sandbox.his_book import HospitalBook

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
            if entry.effect_fen:
                borne[payer, entry.institution, entry.settlement_no] += entry.effect_fen
    return dict(borne)


def borne_as_told(book: HospitalBook) -> dict[tuple[str, str, str], int]:
    """What the hospitals were told."""
    borne: Counter[tuple[str, str, str]] = Counter()
    for told in book.all():
        for payer, _, amount_fen in told.shares:
            if amount_fen:
                borne[payer, told.institution, told.settlement_no] += amount_fen
    return dict(borne)


def differences(sides: Mapping[str, Borne]) -> list[Difference]:
    """Every (payer, settlement) about which the named sides do not all say the same; empty when the books agree."""
    keys = sorted({key for borne in sides.values() for key in borne})
    found = []
    for key in keys:
        said = tuple((side, borne.get(key, 0)) for side, borne in sides.items())
        if len({amount for _, amount in said}) > 1:
            found.append(Difference(*key, said))
    return found
