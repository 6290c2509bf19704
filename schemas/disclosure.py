"""What a payer may be told of a case: the contract map, by names that rule books, adapters and people share.

Who pays, how much, for which visit and product goes to every payer: without it there is nothing to decide. What else
goes out is named here, and what is not named stays.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal, Self

from schemas.base import Value

PatientField = Literal["name", "id_no", "sex", "birth_date", "phone"]
InsuranceField = Literal["person_no", "card_no"]
VisitField = Literal["department", "doctor", "bed", "record_no", "operator"]
Diagnoses = Literal["all", "main", "none"]
Fees = Literal["all", "in_scope", "totals", "none"]
Earlier = Literal["names", "amounts", "none"]

_IMPLIED = {
    "diagnoses": {"all": ("all", "main"), "main": ("main",), "none": ()},
    "fees": {"all": ("all", "in_scope", "totals"), "in_scope": ("in_scope",), "totals": ("totals",), "none": ()},
    "earlier": {"names": ("names", "amounts"), "amounts": ("amounts",), "none": ()},
}


class Disclosure(Value):
    """What one party may be told. In a rule book, what is left out is as usual for a party of its kind."""

    patient: frozenset[PatientField] | None = None
    insurance: frozenset[InsuranceField] | None = None
    visit: frozenset[VisitField] | None = None
    diagnoses: Diagnoses | None = None
    """All of them, the main one, or none."""
    fees: Fees | None = None
    """All lines; those that are not wholly self-paid; one line for each fee category; none."""
    basic: bool | None = None
    """The figures of the basic adjudication. What is left of the bill is told in any case."""
    earlier: Earlier | None = None
    """What payers before it bear: with their names, as amounts by layer, or not."""

    def over(self, usual: Self) -> Self:
        """This map where it says something, else the usual one."""
        return type(self)(**{name: getattr(self if name in self.model_fields_set else usual, name) for name in _NAMES})

    @cached_property
    def fields(self) -> frozenset[str]:
        """Everything that it allows, as `patient.name`, `fees.all`, `basic`; a level allows what it contains."""
        named = {
            f"{group}.{name}" for group in ("patient", "insurance", "visit") for name in getattr(self, group) or ()
        }
        levels = {
            f"{group}.{level}" for group, known in _IMPLIED.items() for level in known[getattr(self, group) or "none"]
        }
        return frozenset(named | levels | ({"basic"} if self.basic else set()))


_NAMES = tuple(Disclosure.model_fields)

EVERYTHING = Disclosure(
    patient=frozenset({"name", "id_no", "sex", "birth_date", "phone"}),
    insurance=frozenset({"person_no", "card_no"}),
    visit=frozenset({"department", "doctor", "bed", "record_no", "operator"}),
    diagnoses="all",
    fees="all",
    basic=True,
    earlier="names",
)
"""What a basic system is told: its interface has a place for all of it."""

OF_AN_INSURER = Disclosure(
    patient=frozenset({"name", "id_no", "sex", "birth_date"}),
    insurance=frozenset({"person_no"}),
    visit=frozenset(),
    diagnoses="all",
    fees="all",
    basic=True,
    earlier="amounts",
)
"""What an insurer is told unless its contract says otherwise: nobody's phone, card, doctor or bed, no other payer's
name."""

USUAL = {"basic": EVERYTHING, "insurer": OF_AN_INSURER}
"""By a party's kind in the rule book."""

FIELDS = EVERYTHING.fields
"""Every name there is."""
