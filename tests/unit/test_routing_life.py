"""Cases played to their end: random plans, payers, deadlines and cancels against a tiny interpreter."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from routing.life import Ask, CaseFacts, Finish, LegFacts, SetAside, Undo, Wait, left_for, next_step, totals
from routing.states import CaseEvent, CaseState, LegEvent, LegState, next_case_state, next_leg_state
from schemas.codes import Layer
from schemas.money import split_fen

STEPS_MAX = 400
SET_ASIDE = {LegState.DEFERRED: LegEvent.DEFER, LegState.NOT_NEEDED: LegEvent.WITHDRAW}
FINISH = {
    CaseState.SETTLED: CaseEvent.COMPLETE,
    CaseState.DECLINED: CaseEvent.REFUSE,
    CaseState.CANCELLED: CaseEvent.UNDONE,
}
ANSWERS = (LegEvent.APPROVE, LegEvent.DECLINE, LegEvent.DEFER, LegEvent.HOLD)


@dataclass
class Player:
    """Does what `next_step` says and lets payers and people behave as drawn."""

    case: CaseFacts
    data: st.DataObject
    asked: list[int] = field(default_factory=list)
    undone: list[int] = field(default_factory=list)
    left_when_asked: dict[int, int] = field(default_factory=dict)
    steps: int = 0

    def leg(self, leg_no: int) -> LegFacts:
        return self.case.legs[leg_no - 1]

    def change(self, leg_no: int, event: LegEvent, **amounts: int) -> None:
        leg = replace(self.leg(leg_no), state=next_leg_state(self.leg(leg_no).state, event), **amounts)
        legs = (*self.case.legs[: leg_no - 1], leg, *self.case.legs[leg_no:])
        self.case = replace(self.case, legs=legs)

    def play(self, cancel_at: int | None, overdue_at: int | None) -> None:
        while True:
            self.check()
            self.steps += 1
            assert self.steps < STEPS_MAX, "the case does not come to an end"
            if self.steps == overdue_at and self.case.state is CaseState.OPEN:
                self.case = replace(self.case, overdue=True)
            if self.steps == cancel_at:
                self.case = replace(self.case, state=next_case_state(self.case.state, CaseEvent.CANCEL))
            if not self.step():
                if cancel_at is None or self.steps >= cancel_at:
                    return
                self.steps = cancel_at - 1

    def step(self) -> bool:
        """One step; False when the case rests in an end."""
        match step := next_step(self.case):
            case Ask():
                self.ask(step)
            case SetAside():
                self.change(step.leg_no, SET_ASIDE[step.state])
            case Undo():
                self.undone.append(step.leg_no)
                self.change(step.leg_no, LegEvent.CANCEL)
            case Finish():
                self.case = replace(self.case, state=next_case_state(self.case.state, FINISH[step.state]))
            case Wait():
                return self.hear()
        return True

    def ask(self, step: Ask) -> None:
        leg = self.leg(step.leg_no)
        assert leg.state is LegState.PLANNED
        assert step.left_fen == left_for(self.case, leg) > 0
        assert not self.case.overdue
        basic = self.case.legs[0]
        if leg is not basic and basic.layer is Layer.BASIC:
            assert basic.state not in (LegState.DECLINED, LegState.DEFERRED)
        self.asked.append(step.leg_no)
        self.left_when_asked[step.leg_no] = step.left_fen
        self.change(step.leg_no, LegEvent.CLAIM)

    def hear(self) -> bool:
        waiting = [
            leg for leg in self.case.legs if leg.state in (LegState.CLAIMED, LegState.IN_DOUBT, LegState.CANCELLING)
        ]
        people = [leg for leg in self.case.legs if leg.state in (LegState.HELD, LegState.CANCEL_HELD)]
        if self.case.state not in (CaseState.OPEN, CaseState.CANCELLING):
            return False
        assert waiting or people, "everybody waits for nobody"
        assert len(waiting) <= 1, "two payers at once"
        leg = self.data.draw(st.sampled_from(waiting or people))
        if leg.state is LegState.CANCELLING:
            confirmed = (LegEvent.CANCEL_CONFIRMED, LegEvent.ANSWER_LOST, LegEvent.CANCEL_REFUSED)
            self.change(leg.leg_no, self.data.draw(st.sampled_from(confirmed)))
        elif leg.state is LegState.CANCEL_HELD:
            self.change(leg.leg_no, LegEvent.CANCEL_CONFIRMED)
        elif leg.state is LegState.HELD:
            self.change(leg.leg_no, LegEvent.DECLINE)
        else:
            self.answer(leg)
        return True

    def answer(self, leg: LegFacts) -> None:
        event = self.data.draw(st.sampled_from((*ANSWERS, LegEvent.APPROVE, LegEvent.NOT_SENT, LegEvent.ANSWER_LOST)))
        if event is not LegEvent.APPROVE:
            self.change(leg.leg_no, event)
            return
        left = self.left_when_asked[leg.leg_no]
        amount = self.data.draw(st.integers(0, left))
        account = self.data.draw(st.integers(0, left - amount)) if leg.layer is Layer.BASIC else 0
        hospital = self.data.draw(st.integers(0, left - amount - account)) if leg.layer is Layer.BASIC else 0
        self.change(leg.leg_no, event, amount_fen=amount, account_fen=account, hospital_fen=hospital)

    def check(self) -> None:
        sums = totals(self.case)
        parts = (sums.shares_fen, sums.account_fen, sums.hospital_fen, sums.cash_fen)
        assert min(parts) >= 0
        assert sum(parts) == sums.total_fen == self.case.total_fen
        assert 0 <= sums.deferred_fen <= sums.cash_fen
        for leg in self.case.legs:
            assert leg.amount_fen + leg.account_fen + leg.hospital_fen <= self.left_when_asked.get(leg.leg_no, 0)


@st.composite
def plans(draw: st.DrawFn) -> CaseFacts:
    total = draw(st.integers(1, 10_000))
    legs = [LegFacts(1, "BASIC", Layer.BASIC, LegState.PLANNED)]
    layers = sorted(draw(st.lists(st.sampled_from(list(Layer)[1:]), max_size=4)), key=lambda layer: layer.rank)
    for layer in layers:
        weights = draw(st.lists(st.integers(1, 100), min_size=1, max_size=3))
        split = len(legs) + 1 if len(weights) > 1 else 0
        independent = draw(st.booleans())
        for weight in weights:
            number = len(legs) + 1
            legs.append(
                LegFacts(
                    number,
                    f"P{number}",
                    layer,
                    LegState.PLANNED,
                    split=split,
                    weight=weight,
                    independent=independent,
                )
            )
    return CaseFacts(CaseState.OPEN, total, tuple(legs))


moments = st.none() | st.integers(1, 40)


@settings(max_examples=400)
@given(case=plans(), cancel_at=moments, overdue_at=moments, data=st.data())
def test_every_case_comes_to_a_right_end(case, cancel_at, overdue_at, data):
    player = Player(case, data)

    player.play(cancel_at, overdue_at)

    ended = player.case
    assert ended.state in (CaseState.SETTLED, CaseState.DECLINED, CaseState.CANCELLED)
    assert (ended.state is CaseState.CANCELLED) == (cancel_at is not None)
    if cancel_at is not None:
        assert totals(ended).cash_fen == ended.total_fen
        assert totals(ended).deferred_fen == 0
        assert not any(leg.state is LegState.APPROVED for leg in ended.legs)
    assert player.undone == sorted(player.undone, reverse=True)
    first_asked = list(dict.fromkeys(player.asked))
    assert first_asked == sorted(first_asked)


def leg(number: int, state: LegState, amount_fen: int = 0, **changes) -> LegFacts:
    layer = Layer.BASIC if number == 1 else Layer.COMMERCIAL
    return LegFacts(number, f"P{number}", layer, state, amount_fen, **changes)


def a_case(*legs: LegFacts, total_fen: int = 1_000, **changes) -> CaseFacts:
    return CaseFacts(changes.pop("state", CaseState.OPEN), total_fen, legs, **changes)


@given(
    total=st.integers(1, 10**13),
    weights=st.lists(st.integers(1, 10_000), min_size=2, max_size=10),
    paid_percent=st.integers(0, 99),
)
def test_coinsurers_parts_add_up_to_what_was_left_whoever_answered_before(total, weights, paid_percent):
    paid = total * paid_percent // 100
    basic = leg(1, LegState.APPROVED, paid)
    parts = split_fen(total - paid, weights)
    asked = []
    for index in range(len(weights)):
        group = [
            leg(
                number + 2,
                LegState.APPROVED if number < index else LegState.PLANNED,
                parts[number] // 2 if number < index else 0,
                split=2,
                weight=weight,
            )
            for number, weight in enumerate(weights)
        ]
        case = a_case(basic, *group, total_fen=total)
        asked.append(left_for(case, group[index]))

    assert asked == parts
    assert sum(asked) == total - paid


def test_nothing_left_is_nothing_asked():
    case = a_case(leg(1, LegState.APPROVED, 1_000), leg(2, LegState.PLANNED))

    assert next_step(case) == SetAside(2, LegState.NOT_NEEDED, "nothing_left")


def test_behind_an_undecided_payer_only_an_independent_one_is_asked():
    before = (leg(1, LegState.APPROVED, 400), leg(2, LegState.HELD))

    assert next_step(a_case(*before, leg(3, LegState.PLANNED))) == SetAside(
        3, LegState.DEFERRED, "earlier_payer_undecided"
    )
    assert next_step(a_case(*before, leg(3, LegState.PLANNED, independent=True))) == Ask(3, 600)


def test_a_coinsurer_does_not_wait_for_another_but_the_next_layer_does():
    held = leg(2, LegState.HELD, split=2, weight=60)
    before = (leg(1, LegState.APPROVED, 400), held)

    assert next_step(a_case(*before, leg(3, LegState.PLANNED, split=2, weight=40))) == Ask(3, 240)
    assert next_step(
        a_case(*before, leg(3, LegState.APPROVED, 240, split=2, weight=40), leg(4, LegState.PLANNED))
    ) == SetAside(4, LegState.DEFERRED, "earlier_payer_undecided")


def test_at_the_deadline_nobody_new_is_asked_and_the_one_asked_is_waited_for():
    case = a_case(leg(1, LegState.CLAIMED), leg(2, LegState.PLANNED), overdue=True)

    assert next_step(case) == SetAside(2, LegState.DEFERRED, "time_up")
    assert next_step(a_case(leg(1, LegState.CLAIMED), leg(2, LegState.DEFERRED), overdue=True)) == Wait()


def test_a_declined_case_leaves_nothing_open():
    case = a_case(leg(1, LegState.DEFERRED), leg(2, LegState.NOT_NEEDED), state=CaseState.DECLINED)

    assert totals(case).deferred_fen == 0


def test_an_ended_case_has_no_next_step():
    for state in (CaseState.SETTLED, CaseState.DECLINED, CaseState.CANCELLED):
        assert next_step(a_case(leg(1, LegState.APPROVED, 10), state=state)) == Wait()
