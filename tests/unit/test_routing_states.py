"""The whole of both tables: every pair of state and event moves or is refused."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.states import (
    AWAITING_PAYER,
    AWAITING_PEOPLE,
    CASE_TRANSITIONS,
    LEG_TRANSITIONS,
    UNDECIDED,
    UNDOING,
    CaseEvent,
    CaseState,
    LegEvent,
    LegState,
    next_case_state,
    next_leg_state,
)
from schemas.errors import IllegalTransition

S, E = LegState, LegEvent
ANSWERS = {
    (E.APPROVE, S.APPROVED),
    (E.DECLINE, S.DECLINED),
    (E.DEFER, S.DEFERRED),
    (E.HOLD, S.HELD),
}
LEG_MOVES = {
    S.PLANNED: {(E.CLAIM, S.CLAIMED), (E.DEFER, S.DEFERRED), (E.WITHDRAW, S.NOT_NEEDED)},
    S.CLAIMED: {(E.NOT_SENT, S.PLANNED), (E.ANSWER_LOST, S.IN_DOUBT)} | ANSWERS,
    S.IN_DOUBT: {
        (E.NOT_SENT, S.IN_DOUBT),
        (E.ANSWER_LOST, S.IN_DOUBT),
        (E.NOT_HEARD, S.DEFERRED),
        (E.REVERSE, S.REVERSING),
    }
    | ANSWERS,
    S.HELD: {(E.APPROVE, S.APPROVED), (E.DECLINE, S.DECLINED), (E.REVERSE, S.REVERSING)},
    S.APPROVED: {(E.CANCEL, S.CANCELLING)},
    S.CANCELLING: {
        (E.NOT_SENT, S.CANCELLING),
        (E.ANSWER_LOST, S.CANCELLING),
        (E.CANCEL_CONFIRMED, S.CANCELLED),
        (E.CANCEL_REFUSED, S.CANCEL_HELD),
    },
    S.CANCEL_HELD: {(E.CANCEL, S.CANCELLING), (E.REVERSE, S.REVERSING), (E.CANCEL_CONFIRMED, S.CANCELLED)},
    S.REVERSING: {
        (E.NOT_SENT, S.REVERSING),
        (E.ANSWER_LOST, S.REVERSING),
        (E.APPROVE, S.CANCELLING),
        (E.DECLINE, S.REVERSED),
        (E.NOT_HEARD, S.REVERSED),
        (E.CANCEL_CONFIRMED, S.REVERSED),
        (E.CANCEL_REFUSED, S.CANCEL_HELD),
    },
    # A payer's late word counts.
    S.DEFERRED: {(E.APPROVE, S.APPROVED), (E.DECLINE, S.DECLINED), (E.HOLD, S.HELD), (E.REVERSE, S.REVERSING)},
    # What the payer's book still holds is undone when people have found it.
    S.REVERSED: {(E.APPROVE, S.CANCELLING), (E.TAKE_BACK, S.REVERSING)},
    S.DECLINED: {(E.TAKE_BACK, S.REVERSING)},
    S.CANCELLED: {(E.TAKE_BACK, S.REVERSING)},
}
C, V = CaseState, CaseEvent
CASE_MOVES = {
    C.OPEN: {(V.COMPLETE, C.SETTLED), (V.REFUSE, C.DECLINED), (V.CANCEL, C.CANCELLING)},
    C.SETTLED: {(V.CANCEL, C.CANCELLING), (V.REOPEN, C.OPEN)},
    C.DECLINED: {(V.CANCEL, C.CANCELLING), (V.REOPEN, C.OPEN)},
    C.CANCELLING: {(V.CANCEL, C.CANCELLING), (V.UNDONE, C.CANCELLED)},
    C.CANCELLED: {(V.CANCEL, C.CANCELLED), (V.REOPEN, C.CANCELLING)},
}


@pytest.mark.parametrize(("state", "event"), list(product(LegState, LegEvent)))
def test_an_event_moves_a_leg_as_agreed_or_is_refused(state, event):
    agreed = dict(LEG_MOVES.get(state, ()))
    if event in agreed:
        assert next_leg_state(state, event) is agreed[event]
    else:
        with pytest.raises(IllegalTransition) as refusal:
            next_leg_state(state, event)
        assert refusal.value.context == {"state": state.value, "event": event.value}


@pytest.mark.parametrize(("state", "event"), list(product(CaseState, CaseEvent)))
def test_an_event_moves_a_case_as_agreed_or_is_refused(state, event):
    agreed = dict(CASE_MOVES.get(state, ()))
    if event in agreed:
        assert next_case_state(state, event) is agreed[event]
    else:
        with pytest.raises(IllegalTransition) as refusal:
            next_case_state(state, event)
        assert refusal.value.context == {"state": state.value, "event": event.value}


def test_every_state_has_its_row():
    assert set(LEG_TRANSITIONS) == set(LegState)
    assert set(CASE_TRANSITIONS) == set(CaseState)


@given(st.lists(st.sampled_from(LegEvent), max_size=30))
def test_no_run_of_events_leaves_an_end_or_brings_back_what_was_asked_as_never_asked(events):
    state, lost = LegState.PLANNED, False
    for event in events:
        try:
            after = next_leg_state(state, event)
        except IllegalTransition:
            continue
        lost = lost or after is LegState.IN_DOUBT
        assert LEG_TRANSITIONS[state], "an end was left"
        assert not (lost and after is LegState.PLANNED)
        state = after


def undone(state: LegState, events: list[LegEvent]) -> LegState:
    for event in events:
        state = LEG_TRANSITIONS[state].get(event, state)
    return state


@given(st.sampled_from(sorted(UNDOING)), st.lists(st.sampled_from(LegEvent), max_size=30))
def test_what_is_on_its_way_back_never_bears_again(state, events):
    """An approval that is heard while its leg is being reversed is cancelled, not kept."""
    assert undone(state, events) in UNDOING | {LegState.CANCEL_HELD, LegState.CANCELLED, LegState.REVERSED}


@pytest.mark.parametrize("state", [S.IN_DOUBT, S.CANCELLING, S.REVERSING])
@pytest.mark.parametrize("event", [E.NOT_SENT, E.ANSWER_LOST])
def test_a_try_that_brought_nothing_says_nothing(state, event):
    assert next_leg_state(state, event) is state


def test_the_named_groups_do_not_overlap_where_they_must_not():
    assert not AWAITING_PAYER & AWAITING_PEOPLE
    assert LegState.APPROVED not in UNDECIDED
    assert UNDOING <= AWAITING_PAYER
    assert not UNDOING & UNDECIDED
    assert {state for state in LegState if not LEG_TRANSITIONS[state]}.isdisjoint(AWAITING_PAYER | UNDECIDED)
