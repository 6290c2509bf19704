"""What came of a call, applied to its leg: amounts checked, doubts kept, repeats planned."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.broker.transport import ACK, Verdict, VerdictKind
from hub.outcomes import SWEEP_GRACE_S, Asked, Ending, Finished
from hub.outcomes import apply_outcome as apply_outcome_of
from hub.tasks import leg_of_request_id
from routing.states import CaseState, LegState
from schemas.codes import Layer, Outcome
from schemas.payer import Capabilities, Decision, Operation
from store.records import CaseRecord, LegRecord
from tests.support.builders import MOMENT, a_basic_decision, a_case, a_leg, a_rule_book


def apply_outcome(case: CaseRecord, leg: LegRecord, done: Finished, can: Capabilities, now: datetime) -> Verdict:
    return apply_outcome_of(case, leg, done, Asked(a_rule_book().parties[0], can), now)


SAFE, UNSAFE = Capabilities(idempotent_submit=True), Capabilities()
TOTAL = 30_000


def ended(leg: LegRecord, ending: Ending, decision: Decision | None = None, **changes: Any) -> Finished:
    values: dict[str, Any] = {
        "case_id": leg.case_id,
        "leg_no": leg.leg_no,
        "operation": Operation.SETTLE,
        "request_id": leg.request_id,
        "attempt": leg.attempts,
        "ending": ending,
        "decision": decision,
    }
    return Finished(**values | changes)


def a_claimed(state: LegState = LegState.CLAIMED, leg_no: int = 1, **changes: Any) -> tuple[CaseRecord, LegRecord]:
    legs = [a_leg(number, LegState.APPROVED) for number in range(1, leg_no)]
    leg = a_leg(leg_no, state, attempts=1, left_fen=TOTAL, **changes)
    return a_case(*legs, leg), leg


def decided(decision: Decision, leg_no: int = 1, can: Capabilities = SAFE, **changes: Any) -> LegRecord:
    case, leg = a_claimed(leg_no=leg_no, **changes)
    assert apply_outcome(case, leg, ended(leg, Ending.DECIDED, decision), can, MOMENT) == ACK
    return leg


GOOD_BASIC = a_basic_decision(TOTAL, 18_000, 1_000, 501)


def test_a_basic_approval_that_adds_up_is_booked_whole():
    leg = decided(GOOD_BASIC)

    assert (leg.state, leg.amount_fen, leg.account_fen, leg.hospital_fen) == (LegState.APPROVED, 18_000, 1_000, 501)
    assert (leg.payer_reference, leg.decided_at) == ("B-1", MOMENT)


@pytest.mark.parametrize(
    ("decision_changes", "basic_changes"),
    [
        ({"amount_fen": 17_999}, {}),
        ({}, {"fund_fen": 18_001}),
        ({}, {"cash_fen": GOOD_BASIC.basic.cash_fen + 1}),
        ({}, {"account_fen": 999}),
        ({}, {"hospital_fen": 0}),
        ({}, {"total_fen": TOTAL - 1}),
        ({}, {"account_fen": -1, "cash_fen": GOOD_BASIC.basic.cash_fen + 1_001}),
        ({"amount_fen": -1}, {"fund_fen": -1, "cash_fen": GOOD_BASIC.basic.cash_fen + 18_001}),
        ({}, {"cash_fen": -1, "hospital_fen": GOOD_BASIC.basic.cash_fen + 502}),
        ({"basic": None}, None),
    ],
)
def test_a_basic_approval_that_does_not_add_up_is_held_with_nothing_booked(decision_changes, basic_changes):
    basic = None if basic_changes is None else replace(GOOD_BASIC.basic, **basic_changes)

    leg = decided(replace(GOOD_BASIC, **{"basic": basic} | decision_changes))

    assert (leg.state, leg.reason_code) == (LegState.HELD, "answer_held")
    assert (leg.amount_fen, leg.account_fen, leg.hospital_fen) == (0, 0, 0)


@given(st.integers(-TOTAL, 3 * TOTAL), st.integers(0, TOTAL))
def test_an_insurer_bears_what_was_left_at_most_or_is_held(amount, left):
    case, leg = a_claimed(leg_no=2)
    leg.left_fen = left
    apply_outcome(case, leg, ended(leg, Ending.DECIDED, Decision(Outcome.APPROVED, amount)), SAFE, MOMENT)

    assert leg.state is (LegState.APPROVED if 0 <= amount <= left else LegState.HELD)
    assert leg.amount_fen == (amount if 0 <= amount <= left else 0)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.DECLINED, LegState.DECLINED),
        (Outcome.DEFERRED, LegState.DEFERRED),
        (Outcome.CANCELLED, LegState.HELD),
    ],
)
def test_a_word_that_is_no_approval_books_nothing(outcome, state):
    leg = decided(Decision(outcome, 5_000, "R", "X1", "原因", "reason"), leg_no=2)

    assert (leg.state, leg.amount_fen) == (state, 0)
    assert leg.reason_zh == "原因"


@pytest.mark.parametrize("before", ["answer_lost", "not_reachable"])
def test_the_payers_word_replaces_older_trouble(before):
    leg = decided(Decision(Outcome.APPROVED, 100), leg_no=2, reason_code=before)

    assert leg.reason_code == ""


@pytest.mark.parametrize("state", [one for one in LegState if one not in (LegState.CLAIMED, LegState.IN_DOUBT)])
@pytest.mark.parametrize("ending", list(Ending))
def test_an_answer_to_what_is_decided_or_was_not_asked_changes_nothing(state, ending):
    case, leg = a_claimed(state, leg_no=2)
    before = replace(leg)

    verdict = apply_outcome(case, leg, ended(leg, ending, Decision(Outcome.APPROVED, 1)), SAFE, MOMENT)

    assert (verdict, leg) == (ACK, before)


@pytest.mark.parametrize("state", [LegState.CLAIMED, LegState.IN_DOUBT])
@pytest.mark.parametrize("decision", [None, Decision(Outcome.UNKNOWN, 700)])
@pytest.mark.parametrize("can", [SAFE, UNSAFE])
def test_no_usable_answer_is_a_doubt_and_only_harmless_repeats_come(state, decision, can):
    case, leg = a_claimed(state, leg_no=2)
    ending = Ending.LOST if decision is None else Ending.DECIDED

    verdict = apply_outcome(case, leg, ended(leg, ending, decision), can, MOMENT)

    assert (leg.state, leg.reason_code, leg.amount_fen) == (LegState.IN_DOUBT, "answer_lost", 0)
    assert verdict.kind is (VerdictKind.RETRY if can is SAFE else VerdictKind.ACK)


def test_a_broken_answer_is_held():
    case, leg = a_claimed(leg_no=2)

    assert apply_outcome(case, leg, ended(leg, Ending.BROKEN), SAFE, MOMENT) == ACK
    assert (leg.state, leg.reason_code) == (LegState.HELD, "answer_held")


def test_a_call_that_never_left_is_repeated_while_the_cashier_waits():
    case, leg = a_claimed(leg_no=2)

    verdict = apply_outcome(case, leg, ended(leg, Ending.NOT_SENT), SAFE, MOMENT)

    assert (leg.state, verdict.kind, verdict.delay_s) == (LegState.PLANNED, VerdictKind.RETRY, 1)
    assert case.watch_at == case.answer_by


@pytest.mark.parametrize("late_by", [0.0, 5.0])
def test_a_call_that_never_left_is_deferred_when_the_next_would_come_too_late(late_by):
    case, leg = a_claimed(leg_no=2)
    now = case.answer_by - timedelta(seconds=1.5) + timedelta(seconds=late_by)

    assert apply_outcome(case, leg, ended(leg, Ending.NOT_SENT), SAFE, now) == ACK
    assert (leg.state, leg.reason_code) == (LegState.DEFERRED, "not_reachable")


def test_a_call_that_never_left_is_deferred_in_a_case_that_is_being_undone():
    case, leg = a_claimed(leg_no=2)
    case.state = CaseState.CANCELLING

    assert apply_outcome(case, leg, ended(leg, Ending.NOT_SENT), SAFE, MOMENT) == ACK
    assert leg.state is LegState.DEFERRED


def test_a_repeat_that_never_left_leaves_the_doubt():
    case, leg = a_claimed(LegState.IN_DOUBT, leg_no=2, reason_code="answer_lost")

    verdict = apply_outcome(case, leg, ended(leg, Ending.NOT_SENT), SAFE, MOMENT)

    assert (leg.state, leg.reason_code, verdict.kind) == (LegState.IN_DOUBT, "answer_lost", VerdictKind.RETRY)


def test_repeats_come_to_an_end():
    case, leg = a_claimed(LegState.IN_DOUBT, leg_no=2)
    leg.attempts = 30

    assert apply_outcome(case, leg, ended(leg, Ending.LOST), SAFE, MOMENT) == ACK


def undone(ending: Ending, decision: Decision | None = None, **changes: Any) -> tuple[LegRecord, Any, CaseRecord]:
    case, leg = a_claimed(
        LegState.CANCELLING, leg_no=2, amount_fen=100, undo_attempts=1, payer_reference="R-1", **changes
    )
    case.state, case.overdue = CaseState.CANCELLING, True
    done = ended(leg, ending, decision, operation=Operation.CANCEL, request_id=leg.cancel_id)
    return leg, apply_outcome(case, leg, done, SAFE, MOMENT), case


def test_a_confirmed_undo_ends_the_leg():
    leg, verdict, _ = undone(Ending.DECIDED, Decision(Outcome.CANCELLED, 100, "R-2"))

    assert (leg.state, leg.amount_fen, verdict) == (LegState.CANCELLED, 100, ACK)


def test_a_refused_undo_is_with_people_and_keeps_the_number_to_undo_by():
    leg, verdict, _ = undone(Ending.DECIDED, Decision(Outcome.DECLINED, 0, "R-2"))

    assert (leg.state, leg.reason_code, verdict) == (LegState.CANCEL_HELD, "cancel_refused", ACK)
    assert (leg.payer_reference, leg.amount_fen) == ("R-1", 100)


def test_a_broken_answer_to_an_undo_is_with_people():
    leg, verdict, _ = undone(Ending.BROKEN)

    assert (leg.state, leg.reason_code, verdict) == (LegState.CANCEL_HELD, "cancel_refused", ACK)


@pytest.mark.parametrize(
    ("ending", "decision"),
    [
        (Ending.NOT_SENT, None),
        (Ending.LOST, None),
        (Ending.DECIDED, None),
        (Ending.DECIDED, Decision(Outcome.UNKNOWN)),
        (Ending.DECIDED, Decision(Outcome.APPROVED, 100)),
        (Ending.DECIDED, Decision(Outcome.DEFERRED)),
    ],
)
def test_an_undo_without_a_clear_word_goes_on(ending, decision):
    leg, verdict, case = undone(ending, decision)

    assert (leg.state, verdict.kind, verdict.delay_s) == (LegState.CANCELLING, VerdictKind.RETRY, 1)
    assert case.watch_at == MOMENT + timedelta(seconds=1 + SWEEP_GRACE_S)


@pytest.mark.parametrize("state", [one for one in LegState if one is not LegState.CANCELLING])
def test_an_undo_answered_twice_changes_nothing(state):
    case, leg = a_claimed(state, leg_no=2)
    before = replace(leg)
    done = ended(leg, Ending.DECIDED, Decision(Outcome.CANCELLED, 100), operation=Operation.CANCEL)

    assert apply_outcome(case, leg, done, SAFE, MOMENT) == ACK
    assert leg == before


def test_a_request_id_leads_back_to_its_leg():
    case, leg = a_claimed(leg_no=2)

    assert leg_of_request_id(leg.request_id) == (case.case_id, 2, False)
    assert leg_of_request_id(leg.cancel_id) == (case.case_id, 2, True)


@given(st.text(st.sampled_from("0123456789abcdefABCDEFxX_+- c１"), max_size=40))
def test_no_other_text_is_a_request_id(text):
    found = leg_of_request_id(text)

    assert found is None or text == f"{found[0].replace('-', '')}-{found[1]}{'-c' if found[2] else ''}"


def test_layers_have_the_order_in_which_they_work():
    assert sorted(Layer, key=lambda layer: layer.rank) == list(Layer)
