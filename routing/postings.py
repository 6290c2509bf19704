"""What a case means for the ledger: pure arithmetic over its legs, before and after. Whole fen, never negative.

A posting moves an amount from one account to another: its one amount is both the debit and the credit, so no entry can
fail to balance. The patient owes the institution the bill (`patient` against `charges`); each payer that takes a share
takes it from the patient (`receivable` against `patient`): what is left on `patient` is the cash. What a payer owes is
what the institution has advanced for it, until it is paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from routing.states import CaseState, LegState


class Account(StrEnum):
    """Where an amount may stand. Each is kept per institution, payer, region, product and day."""

    CHARGES = "charges"
    """What the institution has charged: the bills."""
    PATIENT = "patient"
    """What patients bear: the bills less everything that others took over."""
    RECEIVABLE = "receivable"
    """What a payer owes the institution, which has advanced it."""
    PERSONAL = "personal"
    """What was taken from patients' personal accounts, which the basic system pays out too."""
    HOSPITAL = "hospital"
    """What the institution bears itself."""
    IN_TRANSIT = "in_transit"
    """Payments that were ordered and are not confirmed."""
    BANK = "bank"
    """Payments that the institution has confirmed."""
    DEDUCTED = "deducted"
    """What an audit refused."""
    DIFFERENCE = "difference"
    """What reconciliation wrote off or up, until somebody explains it."""


class Kind(StrEnum):
    """Why an entry was made."""

    SETTLE = "settle"
    LATE_APPROVAL = "late_approval"
    """A payer's share that came after the hospital had its answer."""
    CANCEL = "cancel"
    REVERSAL = "reversal"
    """A share that is taken back although the case stands: it came too late, or an undo was needed."""
    OPENING = "opening"
    """What stood when the ledger began."""
    CORRECTION = "correction"
    DEDUCTION = "deduction"
    PAYMENT = "payment"
    CONFIRMATION = "confirmation"
    REPAYMENT = "repayment"
    """The institution gives back what was paid to it."""


class Borne(NamedTuple):
    """What a leg stands for in the ledger, whole fen."""

    share_fen: int = 0
    personal_fen: int = 0
    hospital_fen: int = 0


STANDING = frozenset({LegState.APPROVED, LegState.CANCELLING, LegState.CANCEL_HELD})
"""The payer has booked its share and has not said that it is undone."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One transfer between two accounts of a case. `effective_at` None: the moment at which it is stored."""

    kind: Kind
    debit: Account
    credit: Account
    amount_fen: int
    leg_no: int
    effective_at: datetime | None
    business_day: date | None
    """The day that the case counts in; None: the day of `effective_at`."""


class PostedLeg(Protocol):
    """A leg as the ledger sees it."""

    @property
    def leg_no(self) -> int: ...
    @property
    def state(self) -> LegState: ...
    @property
    def amount_fen(self) -> int: ...
    @property
    def account_fen(self) -> int: ...
    @property
    def hospital_fen(self) -> int: ...
    @property
    def posted(self) -> Borne | None:
        """What the ledger holds of it; None when it holds nothing, which is not the same as a share of 0."""
        ...

    @property
    def effect_at(self) -> datetime | None:
        """When the payer did what is posted now, by its own clock; None when it did not say."""
        ...


class PostedCase(Protocol):
    """A case as the ledger sees it."""

    @property
    def total_fen(self) -> int: ...
    @property
    def state(self) -> CaseState: ...
    @property
    def answered(self) -> bool:
        """Whether the hospital had an answer before what is posted now."""
        ...

    @property
    def business_day(self) -> date | None: ...
    @property
    def legs(self) -> Sequence[PostedLeg]: ...


def borne(leg: PostedLeg) -> Borne | None:
    """What the ledger must hold of this leg now; None for nothing."""
    if leg.state not in STANDING:
        return None
    return Borne(leg.amount_fen, leg.account_fen, leg.hospital_fen)


def postings(case: PostedCase) -> list[Posting]:
    """Every transfer that the ledger lacks; none for a case that stands as it was posted.

    The bill is charged when the first share stands and taken back with the last, so that a case without any share,
    which is the patient's whole and was booked nowhere, is not in the ledger.
    """
    changed = [leg for leg in case.legs if leg.posted != borne(leg)]
    if not changed:
        return []
    stood = any(leg.posted is not None for leg in case.legs)
    stands = any(leg.state in STANDING for leg in case.legs)
    made: list[Posting] = []
    if stands and not stood:
        made.append(_bill(case, changed[0], stands=True))
    for leg in changed:
        made += _taken_back(case, leg) + _taken_over(case, leg)
    if stood and not stands:
        made.append(_bill(case, changed[0], stands=False))
    return made


def _bill(case: PostedCase, leg: PostedLeg, *, stands: bool) -> Posting:
    """The bill, charged or taken back; leg 0. It counts on the day of the share that it comes or goes with."""
    kind, day = _standing_kind(case) if stands else (_undoing_kind(case), None)
    debit, credit = (Account.PATIENT, Account.CHARGES) if stands else (Account.CHARGES, Account.PATIENT)
    return Posting(kind, debit, credit, case.total_fen, 0, leg.effect_at, day)


def _taken_over(case: PostedCase, leg: PostedLeg) -> list[Posting]:
    kind, day = _standing_kind(case)
    return [
        Posting(kind, account, Account.PATIENT, fen, leg.leg_no, leg.effect_at, day)
        for account, fen in _parts(borne(leg))
    ]


def _taken_back(case: PostedCase, leg: PostedLeg) -> list[Posting]:
    """The mirror of what was posted: the same amounts between the same accounts, the other way."""
    kind = _undoing_kind(case)
    return [
        Posting(kind, Account.PATIENT, account, fen, leg.leg_no, leg.effect_at, None)
        for account, fen in _parts(leg.posted)
    ]


def _parts(stands: Borne | None) -> Iterator[tuple[Account, int]]:
    if stands is not None:
        accounts = (Account.RECEIVABLE, Account.PERSONAL, Account.HOSPITAL)
        yield from ((account, fen) for account, fen in zip(accounts, stands, strict=True) if fen)


def _standing_kind(case: PostedCase) -> tuple[Kind, date | None]:
    """A share counts on the case's day; one that came after the hospital had its answer counts on its own."""
    return (Kind.LATE_APPROVAL, None) if case.answered else (Kind.SETTLE, case.business_day)


def _undoing_kind(case: PostedCase) -> Kind:
    undone = (CaseState.CANCELLING, CaseState.CANCELLED)
    return Kind.CANCEL if case.state in undone else Kind.REVERSAL
