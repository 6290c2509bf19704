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
from routing.states import UNDOING, CaseState, LegEvent, LegState
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


TAKES_A_WORD = (LegState.CLAIMED, LegState.IN_DOUBT, LegState.DEFERRED, LegState.REVERSING, LegState.REVERSED)


@pytest.mark.parametrize("state", [one for one in LegState if one not in TAKES_A_WORD])
@pytest.mark.parametrize("ending", list(Ending))
def test_an_answer_to_what_is_decided_or_was_not_asked_changes_nothing(state, ending):
    case, leg = a_claimed(state, leg_no=2)
    before = replace(leg)

    verdict = apply_outcome(case, leg, ended(leg, ending, Decision(Outcome.APPROVED, 1)), SAFE, MOMENT)

    assert (verdict, leg) == (ACK, before)


@pytest.mark.parametrize("state", [LegState.CLAIMED, LegState.IN_DOUBT])
@pytest.mark.parametrize("decision", [None, Decision(Outcome.UNKNOWN, 700)])
@pytest.mark.parametrize("can", [SAFE, UNSAFE])
def test_no_usable_answer_is_a_doubt_whose_command_comes_again(state, decision, can):
    """What may be said to the payer then, if anything, is decided when it comes: see `routing.doubt`."""
    case, leg = a_claimed(state, leg_no=2)
    ending = Ending.LOST if decision is None else Ending.DECIDED

    verdict = apply_outcome(case, leg, ended(leg, ending, decision), can, MOMENT)

    assert (leg.state, leg.reason_code, leg.amount_fen) == (LegState.IN_DOUBT, "answer_lost", 0)
    assert (leg.doubt_since, verdict.kind, verdict.delay_s) == (MOMENT, VerdictKind.RETRY, 1)


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
    leg.inquiries = 30

    assert apply_outcome(case, leg, ended(leg, Ending.LOST), SAFE, MOMENT) == ACK
    assert (leg.state, leg.next_at) == (LegState.IN_DOUBT, None)


def test_repeats_come_to_an_end_in_time_too():
    case, leg = a_claimed(LegState.IN_DOUBT, leg_no=2, doubt_since=MOMENT - timedelta(days=2), inquiries=3)

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


@pytest.mark.parametrize(
    ("said_min", "asked_min", "doubt_min", "expected_min"),
    [
        (-1, -1, None, -1),
        (-9, -1, None, -9),
        (-1_440, -1, None, -1),
        (-1_440, -1, -300, -300),
        (-299, -1, -300, -299),
        (-1_440, None, None, -1_440),
        (None, -1, None, 0),
        (2_000, -1, None, 0),
    ],
    ids=["then", "behind", "the settlement's", "the settlement's, said again", "then, said again", "queue", "none",
         "ahead"],
)  # fmt: skip
def test_an_undo_happened_no_earlier_than_it_was_asked_for(said_min, asked_min, doubt_min, expected_min):
    def at(minutes: int | None) -> datetime | None:
        return None if minutes is None else MOMENT + timedelta(minutes=minutes)

    case, leg = a_claimed(LegState.CANCELLING, leg_no=2, amount_fen=100, undo_attempts=1, doubt_since=at(doubt_min))
    done = ended(leg, Ending.DECIDED, Decision(Outcome.CANCELLED, 100, decided_at=at(said_min)),
                 operation=Operation.CANCEL, request_id=leg.cancel_id, asked_at=at(asked_min))  # fmt: skip

    assert apply_outcome(case, leg, done, SAFE, MOMENT) == ACK

    assert leg.effect_at == at(expected_min)


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


@pytest.mark.parametrize("state", [one for one in LegState if one not in UNDOING])
def test_an_undo_answered_twice_changes_nothing(state):
    case, leg = a_claimed(state, leg_no=2)
    before = replace(leg)
    done = ended(leg, Ending.DECIDED, Decision(Outcome.CANCELLED, 100), operation=Operation.CANCEL)

    assert apply_outcome(case, leg, done, SAFE, MOMENT) == ACK
    assert leg == before


def test_a_confirmed_reversal_ends_the_leg_with_nothing_borne():
    case, leg = a_claimed(LegState.REVERSING, leg_no=2, undo_attempts=1)
    done = ended(leg, Ending.DECIDED, Decision(Outcome.CANCELLED, 7_500), operation=Operation.REVERSE)

    assert apply_outcome(case, leg, done, SAFE, MOMENT) == ACK
    assert (leg.state, leg.amount_fen) == (LegState.REVERSED, 0)


def test_an_undo_begins_with_all_its_tries_and_time_whatever_the_doubt_before_it_took():
    """Its patience was measured from the doubt: after three days the first lost answer to an undo ended it."""
    case, leg = a_claimed(LegState.APPROVED, leg_no=2, doubt_since=MOMENT - timedelta(days=5), inquiries=29)
    leg.begin_undo(LegEvent.CANCEL, MOMENT)
    leg.undo_attempts = 1
    case.state = CaseState.CANCELLING

    verdict = apply_outcome(case, leg, ended(leg, Ending.LOST, operation=Operation.CANCEL), SAFE, MOMENT)

    assert (leg.inquiries, verdict.kind, verdict.delay_s) == (0, VerdictKind.RETRY, 1)


def test_an_undo_comes_to_an_end_in_count_and_in_time():
    for changes in ({"undo_attempts": 60}, {"undo_attempts": 2, "doubt_since": MOMENT - timedelta(days=3)}):
        case, leg = a_claimed(LegState.CANCELLING, leg_no=2, **changes)
        case.state = CaseState.CANCELLING

        assert apply_outcome(case, leg, ended(leg, Ending.LOST, operation=Operation.CANCEL), SAFE, MOMENT) == ACK
        assert leg.next_at is None


KNOWS = Capabilities(inquiry=True)
WINDOW_S = a_rule_book().parties[0].window_s


def inquired(leg: LegRecord, outcome: Outcome, asked_s: float, **changes: Any) -> Finished:
    asked_at = MOMENT + timedelta(seconds=asked_s)
    return ended(
        leg, Ending.DECIDED, Decision(outcome), operation=Operation.INQUIRE, **{"asked_at": asked_at} | changes
    )


def test_the_first_not_found_proves_nothing_however_late_it_comes():
    case, leg = a_claimed(LegState.IN_DOUBT, leg_no=2, claimed_at=MOMENT - timedelta(days=1))

    verdict = apply_outcome(case, leg, inquired(leg, Outcome.NOT_FOUND, 0), KNOWS, MOMENT)

    assert (leg.state, leg.not_found_since) == (LegState.IN_DOUBT, MOMENT)
    assert (verdict.kind, verdict.delay_s) == (VerdictKind.RETRY, WINDOW_S)


@pytest.mark.parametrize(
    ("can", "state"), [(KNOWS, LegState.DEFERRED), (replace(KNOWS, reversal=True), LegState.REVERSING)]
)
def test_the_second_not_found_counts_and_is_made_sure_of_where_the_payer_can(can, state):
    case, leg = a_claimed(LegState.IN_DOUBT, leg_no=2, claimed_at=MOMENT, not_found_since=MOMENT)
    now = MOMENT + timedelta(seconds=WINDOW_S)

    assert apply_outcome(case, leg, inquired(leg, Outcome.NOT_FOUND, WINDOW_S), can, now) == ACK
    assert (leg.state, leg.reason_code, leg.open_at_payer) == (state, "not_received", False)


def test_a_not_found_is_as_old_as_its_question():
    """An answer that was stored late (the database was away) says nothing about the moment of its storing."""
    case, leg = a_claimed(LegState.IN_DOUBT, leg_no=2, claimed_at=MOMENT, not_found_since=MOMENT)
    now = MOMENT + timedelta(seconds=10 * WINDOW_S)

    verdict = apply_outcome(case, leg, inquired(leg, Outcome.NOT_FOUND, WINDOW_S - 1), KNOWS, now)

    assert (leg.state, verdict.kind, verdict.delay_s) == (LegState.IN_DOUBT, VerdictKind.RETRY, 1)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.APPROVED, LegState.CANCELLING),
        (Outcome.DEFERRED, LegState.CANCELLING),
        (Outcome.DECLINED, LegState.REVERSED),
        (Outcome.CANCELLED, LegState.REVERSED),
        (Outcome.UNKNOWN, LegState.REVERSING),
        (Outcome.NOT_FOUND, LegState.REVERSING),
    ],
)
def test_what_cannot_be_reversed_is_asked_about_and_what_stands_is_cancelled(outcome, state):
    case, leg = a_claimed(LegState.REVERSING, leg_no=2, claimed_at=MOMENT, inquiries=3, doubt_since=MOMENT)
    case.state = CaseState.CANCELLING

    apply_outcome(case, leg, inquired(leg, outcome, 0), KNOWS, MOMENT)

    assert leg.state is state
    assert state is not LegState.CANCELLING or leg.inquiries == 0


def test_where_a_reversal_is_under_way_the_payers_word_on_the_claim_changes_nothing():
    case, leg = a_claimed(LegState.REVERSING, leg_no=2)
    before = replace(leg)

    can = Capabilities(reversal=True)
    assert apply_outcome(case, leg, ended(leg, Ending.DECIDED, Decision(Outcome.APPROVED, 1)), can, MOMENT) == ACK
    assert leg == before


@pytest.mark.parametrize("ending", list(Ending))
@pytest.mark.parametrize("can", [SAFE, Capabilities(reversal=True)])
def test_what_was_taken_for_never_received_is_undone_when_it_stands_after_all(ending, can):
    """Where the payer reversed it, the same word is an old answer that comes late."""
    case, leg = a_claimed(LegState.REVERSED, leg_no=2)
    case.state = CaseState.CANCELLED

    assert apply_outcome(case, leg, ended(leg, ending, Decision(Outcome.APPROVED, 7, "R")), can, MOMENT) == ACK

    stands = ending is Ending.DECIDED and can is SAFE
    assert leg.state is (LegState.CANCELLING if stands else LegState.REVERSED)
    assert (leg.amount_fen, leg.payer_reference) == ((7, "R") if stands else (0, None))
    assert case.state is (CaseState.CANCELLING if stands else CaseState.CANCELLED)


def late(case_state: CaseState, decision: Decision | None, ending: Ending = Ending.DECIDED, **changes: Any) -> Any:
    case, leg = a_claimed(LegState.DEFERRED, leg_no=2, **{"decided_at": MOMENT} | changes)
    case.state, case.revision = case_state, 1
    verdict = apply_outcome(case, leg, ended(leg, ending, decision), SAFE, MOMENT)
    assert verdict == ACK
    return case, leg


@pytest.mark.parametrize("decided_at", [MOMENT, None], ids=["it deferred", "it was not heard"])
@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        (CaseState.OPEN, CaseState.OPEN, LegState.APPROVED),
        (CaseState.SETTLED, CaseState.OPEN, LegState.APPROVED),
        (CaseState.DECLINED, CaseState.OPEN, LegState.CANCELLING),
        (CaseState.CANCELLING, CaseState.CANCELLING, LegState.APPROVED),
        (CaseState.CANCELLED, CaseState.CANCELLING, LegState.APPROVED),
    ],
)
def test_a_late_approval_counts_or_is_taken_back(before, after, state, decided_at):
    case, leg = late(before, Decision(Outcome.APPROVED, 100, "R"), decided_at=decided_at)

    assert (case.state, leg.state) == (after, state)
    assert case.watch_at is not None


def test_a_late_answer_that_contradicts_is_held_in_an_open_case():
    case, leg = late(CaseState.SETTLED, None, Ending.BROKEN)

    assert (case.state, leg.state) == (CaseState.OPEN, LegState.HELD)


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.NOT_SENT])
def test_a_late_try_without_a_word_leaves_a_deferral(ending):
    case, leg = late(CaseState.SETTLED, None, ending)

    assert (case.state, leg.state) == (CaseState.SETTLED, LegState.DEFERRED)


def test_a_late_deferral_is_open_at_the_payer_and_will_be_withdrawn_with_its_case():
    _, leg = late(CaseState.SETTLED, Decision(Outcome.DEFERRED, payer_reference="R"), decided_at=None)

    assert (leg.open_at_payer, leg.payer_reference, leg.decided) == (True, "R", True)


def test_what_still_stands_at_another_payer_cannot_be_approved_once_more():
    """Both would stand there, and a cancel of the case would show more than the bill."""
    case, leg = a_claimed(leg_no=3)
    basic, taken_back = case.legs[:2]
    basic.amount_fen, taken_back.amount_fen = 15_000, 10_000
    taken_back.state = LegState.CANCELLING

    apply_outcome(case, leg, ended(leg, Ending.DECIDED, Decision(Outcome.APPROVED, 5_001)), SAFE, MOMENT)

    assert leg.state is LegState.HELD


def test_a_basic_share_cannot_bear_what_an_independent_payer_bears_already():
    other = a_leg(2, LegState.APPROVED, amount_fen=20_000, left_fen=TOTAL)
    basic = a_leg(1, LegState.IN_DOUBT, attempts=1, left_fen=TOTAL)
    case = a_case(basic, other)

    apply_outcome(case, basic, ended(basic, Ending.DECIDED, GOOD_BASIC), SAFE, MOMENT)

    assert basic.state is LegState.HELD


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


def test_what_was_not_sent_before_says_nothing_about_the_attempt_under_way():
    case, leg = a_claimed(leg_no=2)
    leg.attempts = 2
    earlier = replace(ended(leg, Ending.NOT_SENT), attempt=1)

    assert apply_outcome(case, leg, earlier, UNSAFE, MOMENT) == ACK

    assert leg.state is LegState.CLAIMED


@pytest.mark.parametrize(("before", "after"), [("answer_held", "undone"), ("not_received", "not_received")])
def test_what_is_undone_is_with_nobody_any_more(before, after):
    case, leg = a_claimed(LegState.REVERSING, leg_no=2, reason_code=before)
    done = ended(leg, Ending.DECIDED, Decision(Outcome.CANCELLED), operation=Operation.REVERSE)

    apply_outcome(case, leg, done, Capabilities(reversal=True), MOMENT)

    assert (leg.state, leg.reason_code) == (LegState.REVERSED, after)
