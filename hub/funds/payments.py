"""Payments: an order nets what was audited between a payer and an institution; the institution's confirmation ends it.

An order is booked when it is made (on its way) and when it is confirmed (in the bank), each time part by part, so that
regions, layers and products keep their own balances. Below zero it is the institution that pays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from hub.funds.claims import claims_named
from routing.days import day_of
from routing.funds import ClaimState, Part, Transfer, confirmed, ordered
from routing.rulebook import RuleBook
from schemas.bank import BankAccount
from schemas.errors import Conflict, NotFound
from schemas.money import yuan_of
from store import fund_payments, funds, ledger
from store.fund_payments import Payment
from store.funds import Claim
from store.ledger import Entry


def waiting(connection: Connection, payer: str, institution: str = "") -> dict[str, list[Claim]]:
    """The audited claims that no order has, by institution."""
    found: dict[str, list[Claim]] = {}
    for claim in reversed(funds.listed(connection, payer=payer, institution=institution, state="audited")):
        found.setdefault(claim.institution, []).append(claim)
    return found


@dataclass(frozen=True, slots=True)
class Accounts:
    """The bank accounts of a payment's two sides; None where nobody gave one."""

    institution: BankAccount | None = None
    payer: BankAccount | None = None


def accounts_of(book: RuleBook, payer: str, institution: str) -> Accounts:
    """As the rule book has them."""
    paid, paying = book.institution_by_code.get(institution), book.party_by_code.get(payer)
    return Accounts(paid.bank_account if paid else None, paying.bank_account if paying else None)


NO_ACCOUNTS = Accounts()


def order(
    connection: Connection,
    payer: str,
    institution: str,
    only: Collection[int],
    *,
    by: str,
    action: int,
    now: datetime,
    accounts: Accounts = NO_ACCOUNTS,
) -> Payment:
    """One order over these claims, which net each other. One that comes to nothing is confirmed at once.

    It keeps its `accounts`, whatever the rule book says when the bank gets it.
    Conflict: one of them is not audited, or ordered already.
    """
    claims = [one for one in funds.audited(connection, payer, institution) if one.claim_no in only]
    if missing := sorted(set(only) - {one.claim_no for one in claims}):
        verb = "does" if len(missing) == 1 else "do"
        raise Conflict(f"{claims_named(missing)} {verb} not wait for payment by {payer}", code="claim.state")
    amount_fen = sum(one.payable_fen for one in claims)
    numbers = [one.claim_no for one in claims]
    made = fund_payments.add(
        connection,
        payer,
        institution,
        amount_fen,
        numbers,
        by=by,
        action=action,
        now=now,
        institution_account=accounts.institution,
        payer_account=accounts.payer,
    )
    funds.move(connection, claims, ClaimState.ORDERED, payment_no=made.payment_no)
    moved = _transfers(connection, claims)
    _post(connection, made, moved, now)
    if amount_fen == 0:
        _confirm(connection, made, claims, moved, day_of(now), "", now)
    return fund_payments.read(connection, made.payment_no) or made


def confirm(
    connection: Connection,
    payment_no: str,
    *,
    institution: str,
    payer: str,
    amount_fen: int,
    paid_on: date,
    bank_reference: str,
    now: datetime,
) -> Payment | None:
    """The money has come (or is gone, for what is paid back); None when nobody ordered this payment here.

    One that people have confirmed already stays as it is. Conflict: ordered with another amount or between others, or
    taken back.
    """
    funds.lock(connection, institution)
    payment = fund_payments.hold(connection, payment_no)
    if payment is None:
        return None
    check(payment, institution, payer, amount_fen)
    if payment.state == "confirmed":
        return payment
    claims = funds.listed(connection, payment_no=payment_no, limit=len(payment.claims))
    _confirm(connection, payment, claims, _transfers(connection, claims), paid_on, bank_reference, now)
    return fund_payments.read(connection, payment_no)


def check_not_sent(connection: Connection, payment: Payment, *, since: datetime) -> None:
    """Hold an order. Conflict: a file for the bank carries it that was written after `since`, so that whoever wanted it
    taken back then did not know of it."""
    funds.lock(connection, payment.institution)
    held = fund_payments.hold(connection, payment.payment_no) or payment
    written = fund_payments.file(connection, held.file_no) if held.file_no is not None else None
    if written is not None and written.made_at > since:
        raise Conflict(
            f"file {written.file_no} carries {held.payment_no} to the bank by now: ask anew", code="payment.sent"
        )


def void(connection: Connection, payment_no: str, *, reason: str, now: datetime) -> Payment:
    """Take an order back that the bank did not carry out; its claims wait to be ordered anew.

    NotFound: no such order. Conflict: it is confirmed or void.
    """
    known = fund_payments.read(connection, payment_no)
    if known is None:
        raise NotFound("there is no such payment", code="payment.not_found")
    funds.lock(connection, known.institution)
    payment = fund_payments.hold(connection, payment_no) or known
    if payment.state != "ordered":
        raise Conflict(f"payment {payment_no} is {payment.state}", code="payment.state")
    claims = funds.listed(connection, payment_no=payment_no, limit=len(payment.claims))
    _post(connection, payment, [(claim, one.back()) for claim, one in _transfers(connection, claims)], now)
    funds.move(connection, claims, ClaimState.AUDITED)
    fund_payments.end(connection, payment_no, "void", now=now, reason=reason)
    return fund_payments.read(connection, payment_no) or payment


Moved = list[tuple[Claim, Transfer]]


def check(payment: Payment, institution: str, payer: str, amount_fen: int) -> None:
    """Conflict: taken back, between others, or ordered with another amount."""
    if payment.state == "void":
        raise Conflict("this order was taken back", code="payment.void")
    if (payment.institution, payment.payer) != (institution, payer):
        raise Conflict("this payment is between others", code="payment.parties")
    if abs(payment.amount_fen) != amount_fen:
        told = f"ordered are {yuan_of(abs(payment.amount_fen))}"
        raise Conflict(f"{told}: confirm this amount, or have the order taken back", code="payment.amount")


def _confirm(
    connection: Connection,
    payment: Payment,
    claims: Sequence[Claim],
    moved: Moved,
    paid_on: date,
    bank_reference: str,
    now: datetime,
) -> None:
    come = confirmed(one for _, one in moved)
    _post(connection, payment, list(zip((claim for claim, _ in moved), come, strict=True)), now)
    funds.move(connection, claims, ClaimState.PAID, payment_no=payment.payment_no, ended_at=now)
    fund_payments.end(
        connection, payment.payment_no, "confirmed", now=now, paid_on=paid_on, bank_reference=bank_reference
    )


def _transfers(connection: Connection, claims: Iterable[Claim]) -> Moved:
    return [
        (claim, one)
        for claim in sorted(claims, key=lambda claim: claim.claim_no)
        for one in ordered(funds.parts(connection, [claim.claim_no]))
    ]


def _post(connection: Connection, payment: Payment, moved: Moved, now: datetime) -> None:
    ledger.post(connection, [_entry(payment, claim, one, day_of(now)) for claim, one in moved])


def _entry(payment: Payment, claim: Claim, one: Transfer, today: date) -> Entry:
    return Entry(
        region=one.part.region,
        business_day=today,
        effective_day=today,
        about_day=claim.last_day,
        institution=payment.institution,
        payer=payment.payer,
        layer=one.part.layer,
        product=one.part.product,
        kind=one.kind,
        debit=one.debit,
        credit=one.credit,
        amount_fen=one.amount_fen,
        cause=payment.cause,
    )


@dataclass(frozen=True, slots=True)
class Explained:
    """One claim of a payment with its parts, for statements."""

    claim: Claim
    parts: list[Part]


def explained(connection: Connection, payment: Payment) -> list[Explained]:
    """What an order nets, claim by claim."""
    found = (funds.read(connection, number) for number in payment.claims)
    return [Explained(claim, funds.parts(connection, [claim.claim_no])) for claim in found if claim is not None]
