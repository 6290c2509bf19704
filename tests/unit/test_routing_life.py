"""Cases played to their end: random plans, payers, deadlines and cancels against a tiny interpreter."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.life import (
    Ask,
    CaseFacts,
    Finish,
    LegFacts,
    Reverse,
    SetAside,
    Undo,
    Wait,
    left_for,
    next_step,
    totals,
    unclaimed_fen,
)
from routing.states import (
    AWAITING_PAYER,
    AWAITING_PEOPLE,
    UNDECIDED,
    UNDOING,
    CaseEvent,
    CaseState,
    LegEvent,
    LegState,
    next_case_state,
    next_leg_state,
)
from schemas.codes import Layer
from schemas.money import split_fen
from tests.support.examples import times

STEPS_MAX = 400
SET_ASIDE = {LegState.DEFERRED: LegEvent.DEFER, LegState.NOT_NEEDED: LegEvent.WITHDRAW}
FINISH = {
    CaseState.SETTLED: CaseEvent.COMPLETE,
    CaseState.DECLINED: CaseEvent.REFUSE,
    CaseState.CANCELLED: CaseEvent.UNDONE,
}
TAKES_LATE_WORDS = (CaseState.OPEN, CaseState.SETTLED, CaseState.DECLINED)
ANSWERS = (LegEvent.APPROVE, LegEvent.DECLINE, LegEvent.DEFER, LegEvent.HOLD)


@dataclass
class Player:
    """Does what `next_step` says and lets payers and people behave as drawn."""

    case: CaseFacts
    data: st.DataObject
    asked: list[int] = field(default_factory=list)
    taken_back: list[int] = field(default_factory=list)
    """Legs in the order in which their undo began while the whole case was being undone."""
    left_when_asked: dict[int, int] = field(default_factory=dict)
    late_words: int = 0
    """How often a payer may still decide after it deferred."""
    steps: int = 0

    def leg(self, leg_no: int) -> LegFacts:
        return self.case.legs[leg_no - 1]

    def change(self, leg_no: int, event: LegEvent, **changes: Any) -> None:
        leg = replace(self.leg(leg_no), state=next_leg_state(self.leg(leg_no).state, event), **changes)
        legs = (*self.case.legs[: leg_no - 1], leg, *self.case.legs[leg_no:])
        self.case = replace(self.case, legs=legs)

    def move(self, event: CaseEvent) -> None:
        self.case = replace(self.case, state=next_case_state(self.case.state, event))

    def play(self, cancel_at: int | None, overdue_at: int | None) -> None:
        while True:
            self.check()
            self.steps += 1
            assert self.steps < STEPS_MAX, "the case does not come to an end"
            if self.steps == overdue_at and self.case.state is CaseState.OPEN:
                self.case = replace(self.case, overdue=True)
            if self.steps == cancel_at:
                self.move(CaseEvent.CANCEL)
            if self.step() or self.hear_late():
                continue
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
                self.undo(step.leg_no, LegEvent.CANCEL)
            case Reverse():
                assert self.case.state is CaseState.CANCELLING
                self.undo(step.leg_no, LegEvent.REVERSE)
            case Finish():
                self.move(FINISH[step.state])
            case Wait():
                return self.hear()
        return True

    def undo(self, leg_no: int, event: LegEvent) -> None:
        if self.case.state is CaseState.CANCELLING:
            self.taken_back.append(leg_no)
        self.change(leg_no, event)

    def ask(self, step: Ask) -> None:
        leg = self.leg(step.leg_no)
        assert leg.state is LegState.PLANNED
        assert step.left_fen == left_for(self.case, leg) > 0
        assert not self.case.overdue
        basic = self.case.legs[0]
        if leg is not basic and basic.layer is Layer.BASIC:
            assert basic.state not in (LegState.DECLINED, LegState.DEFERRED, LegState.REVERSED, LegState.CANCELLED)
        self.asked.append(step.leg_no)
        self.left_when_asked[step.leg_no] = step.left_fen
        self.change(step.leg_no, LegEvent.CLAIM)

    def hear(self) -> bool:
        if self.case.state not in (CaseState.OPEN, CaseState.CANCELLING):
            return False
        if self.data.draw(st.booleans()) and self.hear_late():
            return True
        waiting = [leg for leg in self.case.legs if leg.state in AWAITING_PAYER]
        people = [leg for leg in self.case.legs if leg.state in AWAITING_PEOPLE]
        assert waiting or people, "everybody waits for nobody"
        assert len([leg for leg in waiting if leg.state not in UNDOING]) <= 1, "two payers asked at once"
        leg = self.data.draw(st.sampled_from(waiting or people))
        match leg.state:
            case LegState.CANCELLING:
                answers = (LegEvent.CANCEL_CONFIRMED, LegEvent.ANSWER_LOST, LegEvent.CANCEL_REFUSED)
                self.change(leg.leg_no, self.data.draw(st.sampled_from(answers)))
            case LegState.REVERSING:
                self.hear_reversing(leg)
            case LegState.CANCEL_HELD:
                events = (LegEvent.CANCEL_CONFIRMED, LegEvent.CANCEL, LegEvent.REVERSE)
                self.change(leg.leg_no, self.data.draw(st.sampled_from(events)))
            case LegState.HELD:
                event = self.data.draw(st.sampled_from((LegEvent.DECLINE, LegEvent.APPROVE, LegEvent.REVERSE)))
                self.say(leg, event)
            case _:
                self.hear_asked(leg)
        return True

    def hear_asked(self, leg: LegFacts) -> None:
        events = [*ANSWERS, LegEvent.APPROVE, LegEvent.NOT_SENT, LegEvent.ANSWER_LOST]
        if leg.state is LegState.IN_DOUBT:
            events += [LegEvent.NOT_HEARD, LegEvent.REVERSE]
        self.say(leg, self.data.draw(st.sampled_from(events)))

    def hear_reversing(self, leg: LegFacts) -> None:
        events = (
            LegEvent.ANSWER_LOST,
            LegEvent.APPROVE,
            LegEvent.DECLINE,
            LegEvent.NOT_HEARD,
            LegEvent.CANCEL_CONFIRMED,
            LegEvent.CANCEL_REFUSED,
        )
        self.say(leg, self.data.draw(st.sampled_from(events)))

    def hear_late(self) -> bool:
        """A payer that deferred, or was taken for never asked, decides after all; False when there is none."""
        late = [leg for leg in self.case.legs if leg.state is LegState.DEFERRED and leg.leg_no in self.left_when_asked]
        if not late or not self.late_words or self.case.state not in TAKES_LATE_WORDS:
            return False
        self.late_words -= 1
        unwanted = self.case.state is CaseState.DECLINED or self.data.draw(st.booleans())
        leg = self.data.draw(st.sampled_from(late))
        if self.case.state is not CaseState.OPEN:
            self.move(CaseEvent.REOPEN)
        self.say(leg, self.data.draw(st.sampled_from((LegEvent.APPROVE, LegEvent.DECLINE, LegEvent.HOLD))))
        if unwanted and self.leg(leg.leg_no).state is LegState.APPROVED:
            self.undo(leg.leg_no, LegEvent.CANCEL)
        return True

    def say(self, leg: LegFacts, event: LegEvent) -> None:
        """A payer's or a person's word, with amounts that the handler lets pass."""
        decided = leg.decided or event in ANSWERS
        if event is not LegEvent.APPROVE:
            self.change(leg.leg_no, event, decided=decided)
            return
        left = min(self.left_when_asked[leg.leg_no], unclaimed_fen(self.case, leg))
        amount = self.data.draw(st.integers(0, left))
        account = self.data.draw(st.integers(0, left - amount)) if leg.layer is Layer.BASIC else 0
        hospital = self.data.draw(st.integers(0, left - amount - account)) if leg.layer is Layer.BASIC else 0
        self.change(leg.leg_no, event, decided=True, amount_fen=amount, account_fen=account, hospital_fen=hospital)

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


@times(4)
@given(case=plans(), cancel_at=moments, overdue_at=moments, late_words=st.integers(0, 3), data=st.data())
def test_every_case_comes_to_a_right_end(case, cancel_at, overdue_at, late_words, data):
    player = Player(case, data, late_words=late_words)

    player.play(cancel_at, overdue_at)

    ended = player.case
    assert ended.state in (CaseState.SETTLED, CaseState.DECLINED, CaseState.CANCELLED)
    assert (ended.state is CaseState.CANCELLED) == (cancel_at is not None)
    assert not any(leg.state in UNDECIDED | UNDOING | AWAITING_PEOPLE for leg in ended.legs)
    if ended.state is not CaseState.SETTLED:
        assert totals(ended).cash_fen == ended.total_fen
        assert totals(ended).deferred_fen == 0
        assert not any(leg.state is LegState.APPROVED for leg in ended.legs)
    if ended.state is CaseState.CANCELLED:
        assert not any(leg.open_at_payer for leg in ended.legs), "a deferral would be decided after the cancel"
    assert player.taken_back == sorted(player.taken_back, reverse=True)
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


ON_ITS_WAY_BACK = (LegState.CANCELLING, LegState.CANCEL_HELD)


@pytest.mark.parametrize("state", ON_ITS_WAY_BACK)
def test_a_share_that_is_taken_back_was_promised_only_if_the_whole_case_is_undone(state):
    legs = (leg(1, LegState.APPROVED, 400), leg(2, state, 100))

    assert totals(a_case(*legs)).cash_fen == 600
    assert totals(a_case(*legs, state=CaseState.CANCELLING)).cash_fen == 500


@pytest.mark.parametrize("state", ON_ITS_WAY_BACK)
def test_what_still_stands_at_one_payer_is_not_left_for_another(state):
    """Both stand until the undo is confirmed, and a cancel of the case would show both."""
    case = a_case(leg(1, LegState.APPROVED, 400), leg(2, state, 500), leg(3, LegState.DEFERRED, decided=True))

    assert totals(case).cash_fen == 600
    assert unclaimed_fen(case, case.legs[2]) == 100


@pytest.mark.parametrize("state", [LegState.IN_DOUBT, LegState.HELD])
def test_what_nobody_knows_is_reversed_with_its_case(state):
    case = a_case(leg(1, LegState.APPROVED, 400), leg(2, state), state=CaseState.CANCELLING)

    assert next_step(case) == Reverse(2)


def test_a_deferral_that_is_open_at_the_payer_is_reversed_and_one_of_ours_is_not():
    basic = leg(1, LegState.APPROVED, 400)
    case = a_case(basic, leg(2, LegState.DEFERRED, decided=True), state=CaseState.CANCELLING)

    assert next_step(case) == Reverse(2)
    assert next_step(a_case(basic, leg(2, LegState.DEFERRED), state=CaseState.CANCELLING)) == Undo(1)


@pytest.mark.parametrize("state", [LegState.REVERSED, LegState.CANCELLED])
def test_a_basic_share_that_was_undone_takes_an_independent_one_with_it(state):
    case = a_case(leg(1, state), leg(2, LegState.APPROVED, 400, independent=True))

    assert next_step(case) == Undo(2)


def test_behind_a_reversed_payer_nobody_is_asked_about_what_it_may_have_borne():
    case = a_case(leg(1, LegState.APPROVED, 400), leg(2, LegState.REVERSED), leg(3, LegState.PLANNED))

    assert next_step(case) == SetAside(3, LegState.DEFERRED, "earlier_payer_undecided")
