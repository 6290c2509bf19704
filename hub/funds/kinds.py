"""What operators do about claims and payments. Where money moves or is refused, a second person agrees.

An action is about `fund/<institution>/<payer>`, `claim/<number>`, `payment/<number>` or `payments/<payer>`. What the
second person saw stands in its detail; when it has changed since, the action fails instead of doing something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, TypeVar

import orjson
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import Connection

from hub.books import RuleBooks
from hub.funds import audits, claims, files, payments
from hub.funds.audits import Refused, Sample
from hub.funds.claims import Application
from hub.funds.payments import Accounts
from hub.people.actions import ActionKind
from hub.ports import Clock
from hub.work import Work, WorkUnits
from routing.funds import WHOLE, ClaimState
from schemas.bank import BankAccount
from schemas.base import Identifier, RegionCode, Text, Value, violations_of
from schemas.clearing import ClearingWay
from schemas.codes import InsuranceType, VisitKind
from schemas.counting import how_many
from schemas.errors import Conflict, InvalidMessage, NotFound, Violation
from schemas.money import Money, SignedMoney, yuan_of
from store import fund_audits, fund_payments, funds
from store.actions import Action
from store.fund_figures import Scope
from store.fund_payments import Payment
from store.funds import Claim

D = TypeVar("D", bound=Value)
DEDUCTED_MAX = 2_000
"""Deductions of one action."""
_SHOWN = 5
BasisPoints = Annotated[int, Field(ge=0, le=WHOLE)]


class _Apply(Value):
    first: date
    last: date
    region: RegionCode | None = None
    visit_kind: VisitKind | None = None
    insurance_type: InsuranceType | None = None
    way: ClearingWay = ClearingWay.ITEM


class _Year(Value):
    year: Annotated[int, Field(ge=2000, le=2999)]


class _Nothing(Value):
    pass


class _Sample(Value):
    seed: Identifier
    count: Annotated[int, Field(ge=1, le=audits.SAMPLE_MAX)] | None = None
    basis_points: BasisPoints | None = None

    @model_validator(mode="after")
    def _one_size(self) -> _Sample:
        if (self.count is None) == (self.basis_points is None):
            raise PydanticCustomError("sample.size", "count: name either a count or a share")
        return self


class _Refused(Value):
    settlement_no: Identifier | None = None
    amount: Money
    code: Identifier
    reason: Text | None = None


class _Deduct(_Refused):
    """Of one settlement; `_DeductAll` of many, all or none."""

    request_no: Identifier | None = None


class _DeductAll(Value):
    request_no: Identifier | None = None
    rows: Annotated[tuple[_Refused, ...], Field(min_length=1, max_length=DEDUCTED_MAX)]


class _TakeBack(Value):
    deduction: int


class _Audit(Value):
    withheld_basis_points: BasisPoints = 0
    deducted: SignedMoney


class _Pay(Value):
    claims: Annotated[tuple[int, ...], Field(min_length=1, max_length=10_000)]
    amount: SignedMoney
    institution_account: BankAccount | None = None
    payer_account: BankAccount | None = None


class _Confirm(Value):
    amount: Money
    paid_on: date
    bank_reference: Identifier | None = None


def fund_kinds(work_units: WorkUnits, clock: Clock) -> tuple[ActionKind, ...]:
    """The kinds `fund.*`. The rule book in force is asked for what payers there are."""
    desk = _Desk(RuleBooks(work_units.engine, clock), clock)
    return (
        ActionKind("fund.apply", desk.apply, second_person=_alone),
        ActionKind("fund.year", desk.year, second_person=_alone),
        ActionKind("fund.withdraw", desk.withdraw, second_person=_alone),
        ActionKind("fund.sample", desk.sample, second_person=_alone),
        ActionKind("fund.deduct", desk.deduct, second_person=_alone),
        ActionKind("fund.take-back", desk.take_back, second_person=_alone),
        ActionKind("fund.audit", desk.audit, check=check_audit),
        ActionKind("fund.pay", desk.pay, check=desk.check_pay),
        ActionKind("fund.confirm", desk.confirm, check=_check_confirmed),
        ActionKind("fund.void", desk.void, check=_check_ordered),
        ActionKind("fund.file", desk.write, second_person=_alone),
    )


def _shown(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) if len(numbers) <= _SHOWN else f"{numbers[0]} to {numbers[-1]}"


def _alone(_work: Work, _action: Action) -> bool:
    return False


class _Desk:
    """What each kind does."""

    def __init__(self, books: RuleBooks, clock: Clock) -> None:
        self._books = books
        self._clock = clock

    def apply(self, work: Work, action: Action) -> str:
        institution, payer = _pair(self._books, action)
        asked = _detail(_Apply, action)
        scope = Scope(
            institution,
            asked.first,
            asked.last,
            payer,
            asked.region or "",
            asked.visit_kind or "",
            asked.insurance_type or "",
        )
        application = Application(scope, f"action-{action.id}", asked.way)
        made = claims.apply(
            work.connection, self._books.active().book, application, by=action.requested_by, now=self._clock.now()
        )
        return "; ".join(map(told, made))

    def year(self, work: Work, action: Action) -> str:
        institution, payer = _pair(self._books, action)
        asked = _detail(_Year, action).year
        number = f"action-{action.id}"
        by = action.requested_by
        made = claims.apply_for_year(work.connection, institution, payer, asked, number, by=by, now=self._clock.now())
        return told(made)

    def withdraw(self, work: Work, action: Action) -> str:
        _detail(_Nothing, action)
        found = claims.held(work.connection, _number(action))
        done = claims.withdraw(work.connection, [found], reason=action.reason, now=self._clock.now())
        return f"claim {found.claim_no} is withdrawn" if done else f"claim {found.claim_no} was withdrawn before"

    def sample(self, work: Work, action: Action) -> str:
        asked = _detail(_Sample, action)
        drawn = audits.sample(work.connection, _number(action), Sample(asked.seed, asked.count, asked.basis_points))
        return f"{how_many(len(drawn), 'settlement')} drawn by seed {asked.seed}"

    def deduct(self, work: Work, action: Action) -> str:
        asked = _detail(_DeductAll, action) if "rows" in action.detail else _detail(_Deduct, action)
        rows = asked.rows if isinstance(asked, _DeductAll) else (asked,)
        noted = audits.deduct(
            work.connection,
            _number(action),
            [Refused(row.settlement_no or "", row.amount, row.code, row.reason or action.reason) for row in rows],
            request_no=asked.request_no or "",
            by=action.requested_by,
            now=self._clock.now(),
        )
        word = "deduction" if len(noted.numbers) == 1 else "deductions"
        told = f"{word} {_shown(noted.numbers)}: {yuan_of(sum(row.amount for row in rows))}"
        if not noted.before:
            return f"{told}, booked when the audit is closed"
        which = "all" if noted.before == noted.numbers else _shown(noted.before)
        again = "" if asked.request_no else "; to deduct the same once more name a request number of its own"
        return f"{told}, {which} noted before and not deducted again{again}"

    def take_back(self, work: Work, action: Action) -> str:
        number = _detail(_TakeBack, action).deduction
        audits.take_back(work.connection, _number(action), number, action.requested_by)
        return f"deduction {number} is taken back"

    def audit(self, work: Work, action: Action) -> str:
        number, asked = _number(action), _detail(_Audit, action)
        check_audit(work, action)
        points = asked.withheld_basis_points
        by = action.requested_by
        parts = audits.close(
            work.connection, number, basis_points=points, action=action.id, by=by, now=self._clock.now()
        )
        refused, held = sum(one.deducted_fen for one in parts), sum(one.withheld_fen for one in parts)
        payable = sum(one.payable_fen for one in parts)
        return f"claim {number}: {yuan_of(payable)} payable, {yuan_of(refused)} deducted, {yuan_of(held)} withheld"

    def pay(self, work: Work, action: Action) -> str:
        institution, payer = _pair(self._books, action)
        asked = _detail(_Pay, action)
        self.check_pay(work, action)
        made = payments.order(
            work.connection,
            payer,
            institution,
            asked.claims,
            by=action.requested_by,
            action=action.id,
            now=self._clock.now(),
            accounts=Accounts(asked.institution_account, asked.payer_account),
        )
        return f"payment {made.payment_no}: {yuan_of(made.amount_fen)} {made.state}"

    def check_pay(self, work: Work, action: Action) -> None:
        institution, payer = _pair(self._books, action)
        asked = _detail(_Pay, action)
        found = payments.waiting(work.connection, payer, institution).get(institution, [])
        chosen = [one for one in found if one.claim_no in asked.claims]
        if len(chosen) != len(set(asked.claims)):
            raise Conflict("not all of these claims wait for payment", code="claim.state")
        if sum(one.payable_fen for one in chosen) != asked.amount:
            raise Conflict("they come to another amount by now: ask anew", code="payment.amount")
        known = payments.accounts_of(self._books.active().book, payer, institution)
        if (known.institution, known.payer) != (asked.institution_account, asked.payer_account):
            remedy = "name institution_account and payer_account as the rule book has them"
            raise Conflict(f"the bank accounts are others: ask anew, {remedy}", code="payment.account")

    def confirm(self, work: Work, action: Action) -> str:
        asked, known = _detail(_Confirm, action), _payment(work, action)
        done = payments.confirm(
            work.connection,
            known.payment_no,
            institution=known.institution,
            payer=known.payer,
            amount_fen=asked.amount,
            paid_on=asked.paid_on,
            bank_reference=asked.bank_reference or "",
            now=self._clock.now(),
        )
        return f"payment {known.payment_no} is {done.state if done else known.state}"

    def void(self, work: Work, action: Action) -> str:
        _detail(_Nothing, action)
        known = _payment(work, action)
        payments.check_not_sent(work.connection, known, since=action.requested_at)
        done = payments.void(work.connection, known.payment_no, reason=action.reason, now=self._clock.now())
        return f"payment {done.payment_no} is void: its claims wait to be ordered anew"

    def write(self, work: Work, action: Action) -> str:
        _detail(_Nothing, action)
        payer = _payer(self._books, action.subject.removeprefix("payments/"))
        made = files.write(
            work.connection, payer, self._books.active().book, by=action.requested_by, now=self._clock.now()
        )
        count = how_many(made.payments, "payment")
        told = f"file {made.file_no}: {count}, {yuan_of(made.total_fen)}, SHA-256 {made.sha256}"
        missing = files.without_account(fund_payments.in_file(work.connection, made.file_no))
        return f"{told}; no account to pay to: {', '.join(missing)}" if missing else told


def check_audit(work: Work, action: Action) -> None:
    """What the second person sees must be what is booked."""
    claim, asked = _claim(work.connection, _number(action)), _detail(_Audit, action)
    if claim.state is not ClaimState.APPLIED:
        raise Conflict(f"claim {claim.claim_no} is {claim.state}", code="claim.state")
    if sum(one.amount_fen for one in fund_audits.of_claim(work.connection, claim.claim_no)) != asked.deducted:
        raise Conflict("its deductions have changed: ask anew", code="claim.changed")


def _check_ordered(work: Work, action: Action) -> None:
    known = _payment(work, action)
    if known.state != "ordered":
        raise Conflict(f"payment {known.payment_no} is {known.state}", code="payment.state")


def _check_confirmed(work: Work, action: Action) -> None:
    """A wrong amount is told to who types it, not to the second person."""
    _check_ordered(work, action)
    known = _payment(work, action)
    payments.check(known, known.institution, known.payer, _detail(_Confirm, action).amount)


def told(claim: Claim) -> str:
    """A claim in one line."""
    days = f"{claim.first_day} to {claim.last_day}"
    asked = yuan_of(claim.asked_fen)
    return f"claim {claim.claim_no} to {claim.payer} for {days}: {how_many(claim.settlements, 'settlement')}, {asked}"


def claim_no_of(outcome: str) -> str:
    """The number of the claim that an outcome of `fund.apply` or `fund.year` begins with, as `told` writes it."""
    return outcome.split()[1]


def _detail(model: type[D], action: Action) -> D:
    try:
        return model.model_validate_json(orjson.dumps(dict(action.detail)))
    except ValidationError as error:
        raise InvalidMessage("wrong detail", *violations_of(error), code="operator.invalid") from None


def _number(action: Action) -> int:
    number = action.subject.removeprefix("claim/")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise InvalidMessage("no claim", Violation("subject", "claim.number", "name claim/<number>"))
    return int(number)


def _claim(connection: Connection, number: int) -> Claim:
    claim = funds.read(connection, number)
    if claim is None:
        raise NotFound("there is no such claim", code="claim.not_found", claim=number)
    return claim


def _pair(books: RuleBooks, action: Action) -> tuple[str, str]:
    _, _, rest = action.subject.partition("/")
    institution, _, payer = rest.partition("/")
    if institution not in books.active().book.institution_by_code:
        raise InvalidMessage("no such institution", Violation("institution", "party.unknown", "use its code"))
    return institution, _payer(books, payer)


def _payer(books: RuleBooks, payer: str) -> str:
    if payer not in books.active().book.party_by_code:
        raise InvalidMessage("no such payer", Violation("payer", "party.unknown", "use a payer's code"))
    return payer


def _payment(work: Work, action: Action) -> Payment:
    known = fund_payments.read(work.connection, action.subject.removeprefix("payment/"))
    if known is None:
        raise NotFound("there is no such payment", code="payment.not_found")
    return known
