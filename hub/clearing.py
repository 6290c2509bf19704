"""Comparing, claiming and confirming what is done: settlements one by one, totals of a period, payments that came.

Answers say what both sides have; nothing is corrected here. Days are those in whose books the ledger's entries count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

from hub.books import RuleBooks
from hub.funds import claims, payments
from hub.funds.claims import Application
from hub.inbound import Inbound, Taken
from hub.intake import content_hash
from hub.ports import Clock
from hub.senders import check_sender
from hub.visits import repeated
from hub.work import Work, WorkUnits
from routing.rulebook import Institution
from schemas.base import Bilingual, Value, read_message_and_content
from schemas.clearing import (
    DIFFERENCES_MAX,
    CaseCheck,
    CaseCheckAnswer,
    CaseDifference,
    CheckedCase,
    ClaimPart,
    DayFigures,
    Difference,
    FeesSettle,
    FeesSettleAnswer,
    FeesSettleCancel,
    FeesSettleCancelAnswer,
    MadeClaim,
    PaymentAnswer,
    PaymentConfirm,
)
from schemas.errors import Conflict, HubError, InvalidMessage, NotFound, Violation
from schemas.transactions import SPECS, Transaction
from store import clearing, fund_figures, funds, requests
from store.clearing import Booked
from store.fund_figures import Scope, Sums
from store.requests import Kept

Message = CaseCheck | FeesSettle | FeesSettleCancel | PaymentConfirm


class Clearing:
    """Takes case.check, fees.settle and its undo, and payment.confirm."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks, clock: Clock) -> None:
        self._work_units = work_units
        self._books = books
        self._clock = clock
        self._answers: dict[Transaction, Callable[[Work, Message], Value]] = {
            Transaction.CASE_CHECK: self._check,
            Transaction.FEES_SETTLE: self._settle,
            Transaction.FEES_SETTLE_CANCEL: self._cancel,
            Transaction.PAYMENT_CONFIRM: self._confirm,
        }

    def take(self, inbound: Inbound) -> Taken:
        """The answer as bytes. Errors come back, not out, except a missing database."""
        try:
            message, content = read_message_and_content(SPECS[inbound.transaction].message, inbound.body)
            assert isinstance(message, CaseCheck | FeesSettle | FeesSettleCancel | PaymentConfirm)
            institution = check_sender(self._books.active(), inbound.party, message.institution)
            return self._take(inbound, message, content_hash(content), institution)
        except HubError as error:
            return Taken(error=error)

    def _take(self, inbound: Inbound, message: Message, digest: str, institution: Institution) -> Taken:
        transaction = inbound.transaction
        with self._work_units.begin("clearing") as work:
            kept = requests.find(work.connection, message.institution, transaction.value, message.request_no)
            if kept is not None:
                work.store.inbox.leave_a_mark(work.connection)
                return repeated(kept, digest)
            answer = self._answers[transaction](work, message).model_dump_json(exclude_none=True).encode()
            requests.keep(
                work.connection,
                Kept(
                    party=message.institution,
                    transaction=transaction.value,
                    request_no=message.request_no,
                    region=institution.region,
                    sender=inbound.party,
                    content_hash=digest,
                    body=inbound.body,
                    answer=answer,
                    received_at=inbound.received_at,
                ),
            )
            return Taken(answer=answer)

    def _check(self, work: Work, message: Message) -> CaseCheckAnswer:
        assert isinstance(message, CaseCheck)
        period = message.period
        numbers = [case.settlement_no for case in message.cases]
        ours = clearing.booked(work.connection, message.institution, numbers)
        differences = compare(message.cases, ours, lambda one: period.first <= one.day <= period.last)
        matched = len(message.cases) - len(differences)
        room = DIFFERENCES_MAX - len(differences)
        unnamed = clearing.unnamed(
            work.connection, message.institution, period.first, period.last, numbers, limit=room + 1
        )
        differences += [_said(number, Difference.MISSING_THERE, fen, None) for number, fen in unnamed[:room]]
        return CaseCheckAnswer(
            institution=message.institution,
            request_no=message.request_no,
            period=period,
            balanced=not differences,
            matched=matched,
            differences=tuple(differences),
            more=len(unnamed) > room,
            answered_at=self._clock.now(),
        )

    def _settle(self, work: Work, message: Message) -> FeesSettleAnswer:
        assert isinstance(message, FeesSettle)
        scope = _scope(message)
        fund_figures.read_whole_periods(work.connection)
        days = fund_figures.by_day(work.connection, scope)
        sums = fund_figures.total(days.values())
        theirs = (message.count, message.total, message.payers_paid, message.account, message.cash)
        balanced = theirs == (sums.count, sums.total_fen, sums.paid_fen, sums.account_fen, sums.cash_fen)
        made = self._claim(work, message, message.claim, scope) if balanced and message.claim is not None else []
        agreed = balanced and made is not None
        return FeesSettleAnswer(
            institution=message.institution,
            request_no=message.request_no,
            period=message.period,
            balanced=agreed,
            count=sums.count,
            total=sums.total_fen,
            payers_paid=sums.paid_fen,
            account=sums.account_fen,
            cash=sums.cash_fen,
            difference=message.payers_paid - sums.paid_fen,
            claims=tuple(made or ()),
            days=() if agreed or message.claim is None else _side_by_side(days, message.claim),
            meaning=_BALANCED if agreed else _UNBALANCED,
            answered_at=self._clock.now(),
        )

    def _claim(self, work: Work, message: FeesSettle, part: ClaimPart, scope: Scope) -> list[MadeClaim] | None:
        """The claims; None when they come to something else than what is asked for."""
        if scope.payer is not None:
            self._check_payer(scope.payer)
        asked = Application(scope, message.request_no, part.way, part.recognised)
        with work.connection.begin_nested() as point:
            book, now = self._books.active().book, self._clock.now()
            found = claims.apply(work.connection, book, asked, by=message.institution, now=now)
            made = [MadeClaim(claim_no=one.claim_no, payer=one.payer, amount=one.asked_fen) for one in found]
            if part.applied is not None and part.applied != sum(one.amount for one in made):
                point.rollback()
                return None
        return made

    def _cancel(self, work: Work, message: Message) -> FeesSettleCancelAnswer:
        assert isinstance(message, FeesSettleCancel)
        number = message.settle_request_no
        settled = Transaction.FEES_SETTLE.value
        if requests.find(work.connection, message.institution, settled, number) is None:
            raise NotFound("no totals were sent under this number", code="claim.not_found", request_no=number)
        standing = funds.of_application(work.connection, message.institution, number)
        withdrawn = claims.withdraw(work.connection, standing, reason=message.reason, now=self._clock.now())
        return FeesSettleCancelAnswer(
            institution=message.institution,
            request_no=message.request_no,
            settle_request_no=number,
            withdrawn=tuple(one.claim_no for one in withdrawn),
            answered_at=self._clock.now(),
        )

    def _confirm(self, work: Work, message: Message) -> PaymentAnswer:
        assert isinstance(message, PaymentConfirm)
        self._check_payer(message.payer)
        if not clearing.add_payment(work.connection, message, self._clock.now()):
            raise Conflict("this payment is confirmed already under another request", code="payment.confirmed")
        ordered = payments.confirm(
            work.connection,
            message.payment_no,
            institution=message.institution,
            payer=message.payer,
            amount_fen=message.amount,
            paid_on=message.paid_on,
            bank_reference=message.bank_reference or "",
            now=self._clock.now(),
        )
        return PaymentAnswer(
            institution=message.institution,
            request_no=message.request_no,
            payment_no=message.payment_no,
            payer=message.payer,
            amount=message.amount,
            confirmed=clearing.confirmed_fen(work.connection, message),
            ordered=ordered is not None,
            repayment=ordered is not None and ordered.amount_fen < 0,
            answered_at=self._clock.now(),
        )

    def _check_payer(self, payer: str) -> None:
        if payer not in self._books.active().book.party_by_code:
            raise InvalidMessage("no such payer", Violation("payer", "party.unknown", "use a payer's code"))


def _scope(message: FeesSettle) -> Scope:
    return Scope(
        message.institution,
        message.period.first,
        message.period.last,
        message.payer,
        message.region,
        message.visit_kind or "",
        message.insurance_type or "",
    )


def _side_by_side(ours: Mapping[date, Sums], claim: ClaimPart) -> tuple[DayFigures, ...]:
    """Our totals by day, with theirs where they sent them."""
    theirs = {one.day: one for one in claim.days}
    figures = []
    for day in sorted(ours.keys() | theirs.keys()):
        one, sums = theirs.get(day), ours.get(day, Sums())
        figures.append(
            DayFigures(
                day=day,
                count=sums.count,
                payers_paid=sums.paid_fen,
                their_count=one.count if one else None,
                their_payers_paid=one.payers_paid if one else None,
            )
        )
    return tuple(figures)


def compare(
    theirs: tuple[CheckedCase, ...], ours: dict[str, Booked], in_period: Callable[[Booked], bool]
) -> list[CaseDifference]:
    """Every settlement of theirs that the two sides see differently."""
    return [one for case in theirs if (one := _difference(case, ours.get(case.settlement_no), in_period)) is not None]


def _difference(case: CheckedCase, booked: Booked | None, in_period: Callable[[Booked], bool]) -> CaseDifference | None:
    number, theirs = case.settlement_no, 0 if case.cancelled else case.payers_paid
    if booked is None or not in_period(booked):
        return _said(number, Difference.UNKNOWN_HERE, None, theirs)
    if booked.cancelled != case.cancelled:
        return _said(number, Difference.STATE, booked.paid_fen, theirs)
    if not case.cancelled and (booked.paid_fen, booked.total_fen, booked.cash_fen) != (theirs, case.total, case.cash):
        return _said(number, Difference.AMOUNT, booked.paid_fen, theirs)
    return None


def _said(number: str, kind: Difference, ours: int | None, theirs: int | None) -> CaseDifference:
    return CaseDifference(settlement_no=number, kind=kind, ours=ours, theirs=theirs, meaning=_MEANINGS[kind])


_MEANINGS = {
    Difference.UNKNOWN_HERE: Bilingual(zh="本平台该期间无此结算", en="no such settlement in this period here"),
    Difference.MISSING_THERE: Bilingual(zh="本平台有结算，贵方未列", en="settled here and not in your list"),
    Difference.AMOUNT: Bilingual(zh="金额不一致", en="the amounts differ"),
    Difference.STATE: Bilingual(zh="一方已撤销，另一方未撤销", en="cancelled on one side only"),
}
_BALANCED = Bilingual(zh="对账平", en="the totals agree")
_UNBALANCED = Bilingual(
    zh="对账不平，请以 case.check 逐笔核对", en="the totals differ: compare the settlements one by one (case.check)"
)
