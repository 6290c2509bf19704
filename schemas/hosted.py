"""Products whose rules the hub carries: parameters by date, and the calculation's trace.

Ratios are basis points (8000 = 80 %), amounts yuan text in files and whole fen inside. What a product pays follows from
its terms on the day of service, the bill, the basic system's adjudication, and what it has paid to the person before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Bilingual, Code, Identifier, Value
from schemas.codes import FeeCategory, MedicalType, VisitKind
from schemas.money import Money
from schemas.payer import ClaimDecision

WHOLE_BP = 10_000
BasisPoints = Annotated[int, Field(ge=0, le=WHOLE_BP)]
DiagnosisPrefix = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z][0-9A-Z.+/-]{0,19}$")]


def _refuse(code: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError(code, remedy)


class Basis(StrEnum):
    """What the calculation starts from. The two are never mixed, and every trace says which one it was."""

    NET = "net"
    """合规医疗费用: the bill less what the basic system paid, less what is not reimbursable."""
    GROSS = "gross"
    """inscp_scp_amt of the national interface: what is within its scope, before anybody pays."""


class Per(StrEnum):
    """What a deductible or the bands of a ratio count over."""

    VISIT = "visit"
    YEAR = "year"


class Scope(Value):
    """Which part of a bill is reimbursable, for basis `net`.

    By lines: shares of each line by the level of its item, of lines in `categories` only. By the basic system's
    figures: everything but what it calls self-paid or over the limit, and this share of the first self-payment.
    """

    by: Literal["lines", "basic"] = "lines"
    full_bp: BasisPoints = WHOLE_BP
    partly_bp: BasisPoints = WHOLE_BP
    self_paid_bp: BasisPoints = 0
    categories: frozenset[FeeCategory] | None = None
    items: frozenset[Code] = frozenset()
    """Item codes that count wholly, whatever their level and category: a list of special drugs."""
    first_self_pay_bp: BasisPoints = WHOLE_BP

    @model_validator(mode="after")
    def _one_way_of_counting(self) -> Self:
        theirs = {"first_self_pay_bp"}
        ours = {"full_bp", "partly_bp", "self_paid_bp", "categories", "items"}
        if stray := self.model_fields_set & (theirs if self.by == "lines" else ours):
            raise _refuse("scope.by", f"{min(stray)}: has no meaning in a scope by {self.by}; remove it")
        return self


class Band(Value):
    """From this amount on (up to the next band) this share is paid."""

    above: Money
    ratio_bp: BasisPoints


class Waiting(Value):
    """Days from the beginning of the policy on which nothing is paid, but for these kinds of treatment (accidents)."""

    days: Annotated[int, Field(ge=0, le=3650)] = 0
    except_medical_types: frozenset[MedicalType] = frozenset()


class Exclusions(Value):
    """What is never paid: whole visits by main (or any) diagnosis or kind, and single items."""

    diagnoses: frozenset[DiagnosisPrefix] = frozenset()
    of: Literal["main", "any"] = "main"
    visit_kinds: frozenset[VisitKind] = frozenset()
    items: frozenset[Code] = frozenset()


class Terms(Value):
    """What a product pays on the days of service from `valid_from` to `valid_until` (both included)."""

    valid_from: date
    valid_until: date | None = None
    basis: Basis
    scope: Scope = Scope()
    deduct_earlier: bool = False
    """Basis `net` only: take off, besides the basic system's payment, what all payers before this one pay."""
    deductible: Money = 0
    deductible_per: Per = Per.VISIT
    bands: Annotated[tuple[Band, ...], Field(min_length=1, max_length=20)] = (Band(above=0, ratio_bp=WHOLE_BP),)
    bands_per: Per = Per.VISIT
    ratio_bp: BasisPoints = WHOLE_BP
    """Of the sum of all bands."""
    cap_per_visit: Money | None = None
    cap_per_year: Money | None = None
    cap_for_life: Money | None = None
    """Of one person in this product, over all policies."""
    waiting: Waiting = Waiting()
    exclusions: Exclusions = Exclusions()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.valid_until is not None and self.valid_until < self.valid_from:
            raise _refuse("terms.valid_until", "valid_until: lies before valid_from")
        edges = [band.above for band in self.bands]
        if edges[0] != 0 or any(after <= before for before, after in pairwise(edges)):
            raise _refuse("terms.bands", "bands: must begin at 0.00 and rise")
        if self.basis is Basis.GROSS:
            self._gross_is_the_basic_systems_own_figure()
        if self.scope.by == "basic" and self.exclusions.items:
            raise _refuse("terms.exclusions", "exclusions: items can be left out of a scope by lines only")
        return self

    def _gross_is_the_basic_systems_own_figure(self) -> None:
        """The national figure is known for the bill as a whole and before anybody pays."""
        if self.scope != Scope():
            raise _refuse("terms.scope", "scope: belongs to basis net; gross takes the basic system's figure")
        if self.exclusions.items:
            raise _refuse("terms.exclusions", "exclusions: items can be left out of basis net only")
        if self.deduct_earlier:
            raise _refuse("terms.deduct_earlier", "deduct_earlier: belongs to basis net; gross is before anybody pays")

    def hold_on(self, day: date) -> bool:
        """Whether these are the terms for services of this day."""
        return self.valid_from <= day and (self.valid_until is None or day <= self.valid_until)


class HostedProduct(Value):
    """A product that the hub adjudicates itself, with its terms by date."""

    code: Identifier
    name: Bilingual
    year: Literal["calendar", "policy"] = "calendar"
    """What "per year" means: from January to December, or from the day on which the policy begins."""
    terms: Annotated[tuple[Terms, ...], Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _no_two_terms_for_one_day(self) -> Self:
        in_order = sorted(self.terms, key=lambda one: one.valid_from)
        for before, after in pairwise(in_order):
            if before.valid_until is None or after.valid_from <= before.valid_until:
                raise _refuse("product.terms", f"terms: those from {before.valid_from} and {after.valid_from} overlap")
        return self

    @property
    def needs_coverage(self) -> bool:
        """Whether a payment depends on when the person's policy began."""
        return self.year == "policy" or any(one.waiting.days for one in self.terms)

    def terms_on(self, day: date) -> Terms | None:
        """The terms for services of this day."""
        return next((one for one in self.terms if one.hold_on(day)), None)

    def covers(self, first: date, last: date | None) -> bool:
        """Whether every day from `first` to `last` (None: for ever) has terms."""
        day = first
        for one in sorted(self.terms, key=lambda one: one.valid_from):
            if one.hold_on(day):
                if one.valid_until is None or (last is not None and last <= one.valid_until):
                    return True
                day = date.fromordinal(one.valid_until.toordinal() + 1)
        return False


class Sign(StrEnum):
    """What a line of a trace does to the figure before it."""

    START = "start"
    """The figure is `amount`."""
    LESS = "less"
    """`amount` is taken off; below nothing it is nothing."""
    RESULT = "result"
    """The figure is now `amount`: nothing changes, people compare."""
    SHARE = "share"
    """`amount` is `ratio_bp` of `of`, halves up to the fen; shares are added up until the next result."""
    LIMIT = "limit"
    """The figure is at most `amount`."""


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One step of a calculation, to be followed with a pocket calculator."""

    step: str
    sign: Sign
    amount: Money
    zh: str
    en: str
    of: Money | None = None
    ratio_bp: BasisPoints | None = None


class HostedAnswer(ClaimDecision):
    """A hosted product's answer: a ClaimDecision with its calculation line by line, and whose terms were applied."""

    rulebook_version: int = 0
    terms_from: date | None = None
    trace: tuple[TraceLine, ...] = ()
