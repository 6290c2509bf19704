"""The month: every institution asks for what it advanced, people audit and order, the money comes and is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import orjson
from sqlalchemy import Engine

from hub.demo.days_close import LI, WANG, Found
from hub.demo.mixed_day import HTTP
from hub.demo.mixed_ways import Senders
from hub.demo.stage import DemoFailed
from hub.people.actions import Actions
from routing.funds import ClaimState
from sandbox.his import HospitalRequest
from sandbox.his_book import HospitalBook, Movement
from schemas.money import yuan_of
from schemas.transactions import Transaction
from store import fund_audits, fund_figures, fund_payments, funds
from store.actions import Action, ActionState
from store.fund_figures import Standing
from store.funds import Claim

SAMPLED_BASIS_POINTS = 1_000
_UNSPECIFIC_FEN = 12_34


@dataclass(frozen=True, slots=True)
class Deducted:
    """One settlement of which an audit refused a part."""

    claim_no: int
    payer: str
    settlement_no: str
    fen: int
    reason: str


@dataclass(slots=True)
class PaidMonth:
    """What became of the sealed days' money; the standings are by payer, then by institution, whole fen."""

    claims: int = 0
    asked_fen: int = 0
    sampled: int = 0
    deductions: list[Deducted] = field(default_factory=list)
    payments: int = 0
    files: int = 0
    confirmed_fen: int = 0
    by_payer: list[Standing] = field(default_factory=list)
    by_institution: list[Standing] = field(default_factory=list)

    @property
    def paid(self) -> bool:
        """Nothing is left to be settled, and everything that was advanced is settled or deducted."""
        return bool(self.by_payer) and all(one.to_be_settled_fen == 0 for one in self.by_payer)


@dataclass(slots=True)
class Month:
    """Institutions and people over claims and payments of some sealed days."""

    engine: Engine
    actions: Actions
    senders: Senders
    book: HospitalBook
    regions: Mapping[str, str]
    """By institution."""
    now_day: Callable[[], date]
    paid: PaidMonth = field(default_factory=PaidMonth)

    def settle(self, days: Sequence[date], to_deduct: Iterable[Found]) -> PaidMonth:
        """From the applications to the confirmations. DemoFailed when somebody is refused."""
        for first, last in _months(days):
            for institution in sorted(self.regions):
                self._apply(institution, first, last)
        claims = self._claims(ClaimState.APPLIED)
        self.paid.claims, self.paid.asked_fen = len(claims), sum(one.asked_fen for one in claims)
        self._deduct(claims, list(to_deduct))
        for claim in claims:
            self._audit(claim)
        self._order()
        self._confirm(days)
        with self.engine.connect() as connection:
            self.paid.by_payer = fund_figures.standing(connection, ("payer",), first=days[0], last=days[-1])
            self.paid.by_institution = fund_figures.standing(connection, ("institution",), first=days[0], last=days[-1])
        return self.paid

    def _apply(self, institution: str, first: date, last: date) -> None:
        """By message, with the totals out of the institution's own day book.

        What it was told later of a share may count on the day on which the payer took it: where the totals differ, what
        was told since about these days' settlements is claimed with them.
        """
        moved = [one for day in _days(first, last) for one in self.book.movements(institution, day)]
        if not moved:
            return
        mine = {one.settlement_no for one in moved}
        since = [
            one
            for one in self.book.movements(institution, last + timedelta(days=1))
            if one.total_fen == 0 and one.settlement_no in mine
        ]
        answer = self._claim(institution, first, last, moved)
        if not answer["balanced"] and since:
            answer = self._claim(institution, first, last, [*moved, *since])
        if not answer["balanced"]:
            raise DemoFailed(f"{institution} claims other totals than ours: {answer}")

    def _claim(self, institution: str, first: date, last: date, moved: Sequence[Movement]) -> dict[str, object]:
        body = {
            "institution": institution,
            "request_no": f"CLAIM-{first:%Y%m%d}-{last:%Y%m%d}-{len(moved)}",
            "period": {"first": first.isoformat(), "last": last.isoformat()},
            "region": self.regions[institution],
            "count": sum((one.total_fen > 0) - (one.total_fen < 0) for one in moved),
            "total": yuan_of(sum(one.total_fen for one in moved)),
            "payers_paid": yuan_of(sum(one.amount_fen for one in moved)),
            "account": yuan_of(sum(one.account_fen for one in moved)),
            "cash": yuan_of(sum(one.cash_fen for one in moved)),
            "claim": {"way": "01"},
        }
        return self._say(institution, Transaction.FEES_SETTLE, body)

    def _deduct(self, claims: Sequence[Claim], to_deduct: list[Found]) -> None:
        """What a payer has undone is refused whole; where there is nothing of the kind, a little of one settlement."""
        by_pair = {(one.institution, one.payer): one for one in claims}
        for found in to_deduct:
            claim = by_pair.get((found.item.institution, found.payer))
            if claim is not None:
                said = "undone in the payer's books"
                self._refuse(claim, found.item.settlement_no, None, "undone_there", said)
        if not self.paid.deductions and claims:
            largest = max(claims, key=lambda one: one.amount_fen)
            drawn = self._sample(largest, count=1)
            self._refuse(largest, drawn[0], _UNSPECIFIC_FEN, "price_limit", "above the agreed price")

    def _refuse(self, claim: Claim, settlement_no: str, fen: int | None, code: str, reason: str) -> None:
        with self.engine.connect() as connection:
            shares = fund_audits.shares(connection, claim, settlement_no)
        left = sum(one.amount_fen for one in shares)
        fen = left if fen is None else min(fen, left)
        if fen <= 0:
            return
        detail = {"settlement_no": settlement_no, "amount": yuan_of(fen), "code": code}
        self._act("fund.deduct", f"claim/{claim.claim_no}", detail, reason)
        self.paid.deductions.append(Deducted(claim.claim_no, claim.payer, settlement_no, fen, reason))

    def _sample(self, claim: Claim, **size: int) -> list[str]:
        seed = f"demo-{claim.claim_no}"
        asked = {"seed": seed, **size}
        said = self._act("fund.sample", f"claim/{claim.claim_no}", asked, "the month's audit").outcome
        count = int(said.split()[0])
        self.paid.sampled += count
        with self.engine.connect() as connection:
            return [one.settlement_no for one in fund_audits.draw(connection, claim, seed, count)]

    def _audit(self, claim: Claim) -> None:
        with self.engine.connect() as connection:
            refused = sum(one.amount_fen for one in fund_audits.of_claim(connection, claim.claim_no))
        if not refused:
            self._sample(claim, basis_points=SAMPLED_BASIS_POINTS)
        self._act("fund.audit", f"claim/{claim.claim_no}", {"deducted": yuan_of(refused)}, "the audit is done")

    def _order(self) -> None:
        """One order for each payer and institution, and one file for each payer."""
        audited = self._claims(ClaimState.AUDITED)
        for payer, institution in sorted({(one.payer, one.institution) for one in audited}):
            mine = [one for one in audited if (one.payer, one.institution) == (payer, institution)]
            detail = {
                "claims": [one.claim_no for one in mine],
                "amount": yuan_of(sum(one.payable_fen for one in mine)),
            }
            self._act("fund.pay", f"fund/{institution}/{payer}", detail, "the month is audited")
        with self.engine.connect() as connection:
            orders = fund_payments.listed(connection)
            self.paid.payments = len(orders)
            payers = sorted({one.payer for one in orders if one.state == "ordered" and one.amount_fen > 0})
        for payer in payers:
            self._act("fund.file", f"payments/{payer}", {}, "for the bank")
            self.paid.files += 1

    def _confirm(self, days: Sequence[date]) -> None:
        """By message of each institution, once the money is in its bank."""
        with self.engine.connect() as connection:
            orders = [one for one in fund_payments.listed(connection) if one.state == "ordered"]
        for one in orders:
            body = {
                "institution": one.institution,
                "request_no": f"PAID-{one.payment_no}",
                "payment_no": one.payment_no,
                "payer": one.payer,
                "amount": yuan_of(abs(one.amount_fen)),
                "paid_on": self.now_day().isoformat(),
                "period": {"first": days[0].isoformat(), "last": days[-1].isoformat()},
            }
            self._say(one.institution, Transaction.PAYMENT_CONFIRM, body)
            self.paid.confirmed_fen += one.amount_fen

    def _claims(self, state: ClaimState) -> list[Claim]:
        with self.engine.connect() as connection:
            return funds.listed(connection, state=state.value, limit=100_000)

    def _say(self, institution: str, transaction: Transaction, body: Mapping[str, object]) -> dict[str, object]:
        key = f"{institution}-{body['request_no']}"
        request = HospitalRequest(institution, transaction.value, key, orjson.dumps(body))
        result = self.senders.say(HTTP, request)
        if result.answer is None:
            raise DemoFailed(f"{transaction} of {institution} was refused: {result.error}")
        return result.answer

    def _act(self, kind: str, subject: str, detail: Mapping[str, object], reason: str) -> Action:
        action = self.actions.request(kind, subject, detail, reason, LI)
        if action.state is ActionState.REQUESTED:
            action = self.actions.approve(action.id, WANG)
        if action.state is not ActionState.EXECUTED:
            raise DemoFailed(f"{kind} {subject}: {action.outcome}")
        return action


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _months(days: Sequence[date]) -> list[tuple[date, date]]:
    """First and last day in each month: a claim is for days of one."""
    months = sorted({(one.year, one.month) for one in days})
    within = [[one for one in days if (one.year, one.month) == month] for month in months]
    return [(min(some), max(some)) for some in within]
