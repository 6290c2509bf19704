"""The ledger's rules: every way that a case can go, booked transfer by transfer. Seeds are printed when one fails."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pytest

from routing.postings import STANDING, Account, Borne, Kind, Posting, borne, postings
from routing.states import LEG_TRANSITIONS, CaseState, LegState

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 3, 17, 30, tzinfo=UTC)


@dataclass
class Leg:
    leg_no: int
    state: LegState = LegState.PLANNED
    amount_fen: int = 0
    account_fen: int = 0
    hospital_fen: int = 0
    posted: Borne | None = None
    effect_at: datetime | None = AT

    def approve(self, amount: int, account: int = 0, hospital: int = 0) -> Leg:
        self.state, self.amount_fen, self.account_fen, self.hospital_fen = LegState.APPROVED, amount, account, hospital
        return self


@dataclass
class Case:
    legs: list[Leg]
    total_fen: int = 10_000
    state: CaseState = CaseState.OPEN
    answered: bool = False
    business_day: date | None = DAY
    book: list[Posting] = field(default_factory=list)

    def post(self) -> list[Posting]:
        made = postings(self)
        self.book += made
        for leg in self.legs:
            leg.posted = borne(leg)
        assert postings(self) == [], "what is posted is not posted again"
        return made

    def balance(self, account: Account, leg_no: int | None = None) -> int:
        return sum(
            one.amount_fen * ((one.debit is account) - (one.credit is account))
            for one in self.book
            if leg_no is None or one.leg_no == leg_no
        )


def said(made: list[Posting]) -> list[tuple[Kind, Account, Account, int, int]]:
    return [(one.kind, one.debit, one.credit, one.amount_fen, one.leg_no) for one in made]


def test_the_first_share_brings_the_bill_with_it() -> None:
    case = Case([Leg(1).approve(6_000, account=1_000, hospital=500), Leg(2)])
    assert said(case.post()) == [
        (Kind.SETTLE, Account.PATIENT, Account.CHARGES, 10_000, 0),
        (Kind.SETTLE, Account.RECEIVABLE, Account.PATIENT, 6_000, 1),
        (Kind.SETTLE, Account.PERSONAL, Account.PATIENT, 1_000, 1),
        (Kind.SETTLE, Account.HOSPITAL, Account.PATIENT, 500, 1),
    ]
    case.legs[1].approve(2_000)
    assert said(case.post()) == [(Kind.SETTLE, Account.RECEIVABLE, Account.PATIENT, 2_000, 2)]
    assert case.balance(Account.PATIENT) == 500
    assert {one.business_day for one in case.book} == {DAY}


def test_a_share_of_nothing_still_charges_the_bill() -> None:
    case = Case([Leg(1).approve(0)])
    assert said(case.post()) == [(Kind.SETTLE, Account.PATIENT, Account.CHARGES, 10_000, 0)]
    case.legs[0].state, case.state = LegState.CANCELLED, CaseState.CANCELLED
    assert said(case.post()) == [(Kind.CANCEL, Account.CHARGES, Account.PATIENT, 10_000, 0)]


def test_a_share_after_the_answer_counts_on_its_own_day() -> None:
    case = Case([Leg(1).approve(6_000), Leg(2, LegState.DEFERRED)])
    case.post()
    case.answered = True
    case.legs[1].approve(1_500)
    (late,) = case.post()
    assert (late.kind, late.business_day, late.effective_at) == (Kind.LATE_APPROVAL, None, AT)


def test_a_share_taken_back_while_the_case_stands_is_a_reversal_and_leaves_the_bill() -> None:
    case = Case([Leg(1).approve(6_000), Leg(2).approve(1_000)], answered=True)
    case.post()
    case.legs[1].state = LegState.CANCELLING
    assert case.post() == []  # it stands at the payer until that says otherwise
    case.legs[1].state = LegState.CANCELLED
    assert said(case.post()) == [(Kind.REVERSAL, Account.PATIENT, Account.RECEIVABLE, 1_000, 2)]


@pytest.mark.parametrize("state", [LegState.IN_DOUBT, LegState.HELD, LegState.DEFERRED, LegState.REVERSING])
def test_what_nobody_knows_is_not_booked(state: LegState) -> None:
    assert Case([Leg(1, state)]).post() == []


def test_any_life_balances_mirrors_and_ends_as_the_legs_stand() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    events: Counter[str] = Counter()
    for _ in range(2_000):
        case = Case([Leg(number) for number in range(1, chance.randint(2, 5))], total_fen=chance.randint(1, 10**9))
        for _ in range(chance.randint(1, 25)):
            _any_step(chance, case, events)
            case.post()
            _check(case)
        for leg in case.legs:
            leg.state = LegState.CANCELLED
        case.state = CaseState.CANCELLED
        case.post()
        assert all(case.balance(account) == 0 for account in Account), "an undo mirrors what it undoes"
        _mirrored(case)
    assert min(events["approve"], events["cancel_confirmed"]) > 100, events


def _any_step(chance: random.Random, case: Case, events: Counter[str]) -> None:
    leg = chance.choice(case.legs)
    moves = LEG_TRANSITIONS[leg.state]
    if not moves:
        return
    event = chance.choice(sorted(moves))
    events[event.value] += 1
    before, leg.state = leg.state, moves[event]
    if leg.state in STANDING and before not in STANDING:
        left = case.total_fen - sum(
            one.amount_fen + one.account_fen + one.hospital_fen
            for one in case.legs
            if one is not leg and one.state in STANDING
        )
        leg.amount_fen = chance.randint(0, left)
        leg.account_fen = chance.randint(0, left - leg.amount_fen)
        leg.hospital_fen = chance.choice([0, left - leg.amount_fen - leg.account_fen])
    case.answered = case.answered or chance.random() < 0.2


def _check(case: Case) -> None:
    stands = [leg for leg in case.legs if leg.state in STANDING]
    assert -case.balance(Account.CHARGES) == (case.total_fen if stands else 0)
    for leg in case.legs:
        parts = (Account.RECEIVABLE, Account.PERSONAL, Account.HOSPITAL)
        assert tuple(case.balance(one, leg.leg_no) for one in parts) == tuple(borne(leg) or (0, 0, 0))
    shares = sum(leg.amount_fen + leg.account_fen + leg.hospital_fen for leg in stands)
    assert case.balance(Account.PATIENT) == (case.total_fen - shares if stands else 0)
    assert all(one.amount_fen > 0 and one.debit is not one.credit for one in case.book)


def _mirrored(case: Case) -> None:
    """Each transfer has its opposite, of the same amount and leg."""
    moved = Counter((one.leg_no, one.debit, one.credit, one.amount_fen) for one in case.book)
    assert moved == Counter((one.leg_no, one.credit, one.debit, one.amount_fen) for one in case.book)
