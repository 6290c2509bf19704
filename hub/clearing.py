"""Comparing and confirming what is done: settlements one by one, totals of a period, payments that came.

Answers say what both sides have; nothing is corrected here. Days are business days as the basic system dates them.
"""

from __future__ import annotations

from collections.abc import Callable

from hub.books import RuleBooks
from hub.inbound import Inbound, Taken
from hub.intake import content_hash
from hub.ports import Clock
from hub.senders import check_sender
from hub.visits import repeated
from hub.work import Work, WorkUnits
from routing.rulebook import Institution
from schemas.base import Bilingual, Value, read_message_and_content
from schemas.clearing import (
    CaseCheck,
    CaseCheckAnswer,
    CaseDifference,
    CheckedCase,
    Difference,
    FeesSettle,
    FeesSettleAnswer,
    PaymentAnswer,
    PaymentConfirm,
)
from schemas.errors import Conflict, HubError, InvalidMessage, Violation
from schemas.transactions import SPECS, Transaction
from store import clearing, requests
from store.clearing import Booked
from store.requests import Kept

Message = CaseCheck | FeesSettle | PaymentConfirm


class Clearing:
    """Takes case.check, fees.settle and payment.confirm."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks, clock: Clock) -> None:
        self._work_units = work_units
        self._books = books
        self._clock = clock
        self._answers: dict[Transaction, Callable[[Work, Message], Value]] = {
            Transaction.CASE_CHECK: self._check,
            Transaction.FEES_SETTLE: self._settle,
            Transaction.PAYMENT_CONFIRM: self._confirm,
        }

    def take(self, inbound: Inbound) -> Taken:
        """The answer as bytes. Errors come back, not out, except a missing database."""
        try:
            message, content = read_message_and_content(SPECS[inbound.transaction].message, inbound.body)
            assert isinstance(message, CaseCheck | FeesSettle | PaymentConfirm)
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
        ours = clearing.booked(work.connection, message.institution, period.first, period.last, numbers)
        differences = compare(message.cases, ours, lambda one: period.first <= one.day <= period.last)
        return CaseCheckAnswer(
            institution=message.institution,
            request_no=message.request_no,
            period=period,
            balanced=not differences,
            matched=len(message.cases) - sum(one.kind is not Difference.MISSING_THERE for one in differences),
            differences=tuple(differences),
            answered_at=self._clock.now(),
        )

    def _settle(self, work: Work, message: Message) -> FeesSettleAnswer:
        assert isinstance(message, FeesSettle)
        sums = clearing.totals(work.connection, message)
        theirs = (message.count, message.total, message.payers_paid, message.account, message.cash)
        balanced = theirs == (sums.count, sums.total_fen, sums.paid_fen, sums.account_fen, sums.cash_fen)
        return FeesSettleAnswer(
            institution=message.institution,
            request_no=message.request_no,
            period=message.period,
            balanced=balanced,
            count=sums.count,
            total=sums.total_fen,
            payers_paid=sums.paid_fen,
            account=sums.account_fen,
            cash=sums.cash_fen,
            difference=message.payers_paid - sums.paid_fen,
            meaning=_BALANCED if balanced else _UNBALANCED,
            answered_at=self._clock.now(),
        )

    def _confirm(self, work: Work, message: Message) -> PaymentAnswer:
        assert isinstance(message, PaymentConfirm)
        if message.payer not in self._books.active().book.party_by_code:
            raise InvalidMessage("no such payer", Violation("payer", "party.unknown", "use a payer's code"))
        if not clearing.add_payment(work.connection, message, self._clock.now()):
            raise Conflict("this payment is confirmed already under another request", code="payment.confirmed")
        return PaymentAnswer(
            institution=message.institution,
            request_no=message.request_no,
            payment_no=message.payment_no,
            payer=message.payer,
            amount=message.amount,
            confirmed=clearing.confirmed_fen(work.connection, message),
            answered_at=self._clock.now(),
        )


def compare(
    theirs: tuple[CheckedCase, ...], ours: dict[str, Booked], in_period: Callable[[Booked], bool]
) -> list[CaseDifference]:
    """Every settlement that the two sides see differently, theirs first, then what they did not name."""
    found = [one for case in theirs if (one := _difference(case, ours.get(case.settlement_no), in_period)) is not None]
    named = {case.settlement_no for case in theirs}
    for number, booked in sorted(ours.items()):
        if number not in named and in_period(booked) and not booked.cancelled:
            found.append(_said(number, Difference.MISSING_THERE, booked.paid_fen, None))
    return found


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
