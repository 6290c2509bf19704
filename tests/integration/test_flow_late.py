"""Words that come after the cashier's deadline, or after the end: kept or taken back, and the hospital hears."""

from __future__ import annotations

import threading

import pytest

from hub.applier import Applier
from hub.outcomes import Ending, Finished
from routing.states import CaseState, LegState
from schemas.codes import Outcome
from schemas.payer import Decision, Operation
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    CRITICAL,
    QUEUE_INSURER,
    QUEUE_RULE,
    StubPayer,
    a_basic_decision,
    a_party,
    lands_later,
    lost_after_effect,
    lost_before_effect,
    when,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.queue_insurer import an_answer, answer, tasks

QUEUE_RULES = (BASIC_RULE, QUEUE_RULE)
REVERSED = a_party(CRITICAL, late_approval="reverse")
REVERSED_QUEUE = a_party(QUEUE_INSURER, adapter="insurer.queue", late_approval="reverse")


def operations(payer: StubPayer) -> list[str]:
    return [operation for operation, _ in payer.calls]


def told(hub: TestHub, case_id: str) -> list[tuple[str, str, bool]]:
    """(state of the second share, cash, final) of each revision."""
    return [(one["shares"][1]["state"], one["cash"], one["final"]) for one in hub.answers(case_id)]


def test_a_late_approval_is_taken_back_where_the_rule_book_says_so(database_url):
    released = threading.Event()
    payers = {CRITICAL: StubPayer(script=[when(released)])}
    with a_hub(database_url, payers=payers, parties=[REVERSED]) as hub:
        case_id = hub.settle().case_id
        eventually(lambda: payers[CRITICAL].calls)
        hub.clock.advance(20)
        hub.answered(case_id, 1)
        released.set()
        hub.answered(case_id, 2)

        assert told(hub, case_id) == [("pending", "150.00", False), ("cancelled", "150.00", True)]
        assert operations(payers[CRITICAL]) == ["settle", "cancel"]
        assert (payers[CRITICAL].net_fen, hub.payers[BASIC].net_fen) == (0, 15_000)


def test_a_doubt_that_an_inquiry_clears_late_is_kept_and_the_patient_is_paid_back(database_url):
    payers = {
        CRITICAL: StubPayer(idempotent=False, inquiry=True, script=[lost_after_effect, *[lost_before_effect] * 3])
    }
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        hub.handle(CRITICAL, hub.commands()[0][1])
        hub.clock.advance(16)
        hub.sweep()
        hub.pump()

        assert told(hub, case_id) == [("in_doubt", "150.00", False), ("approved", "75.00", True)]
        assert payers[CRITICAL].net_fen == 7_500


@pytest.mark.parametrize(
    ("abilities", "said"),
    [
        ({"reversal": True}, ["settle", "reverse"]),
        ({"idempotent": False, "inquiry": True}, ["settle", "inquire", "cancel"]),
        ({"idempotent": True}, ["settle", "settle", "cancel"]),
    ],
)
def test_a_doubt_after_the_deadline_is_undone_where_the_rule_book_says_so(database_url, abilities, said):
    payers = {CRITICAL: StubPayer(script=[lost_after_effect], **abilities)}
    with a_hub(database_url, payers=payers, parties=[REVERSED], running=False) as hub:
        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        hub.handle(CRITICAL, hub.commands()[0][1])
        hub.let_pass(20)

        assert operations(payers[CRITICAL]) == said
        assert told(hub, case_id)[-1] == ("cancelled", "150.00", True)
        assert payers[CRITICAL].net_fen == 0


def test_an_insurer_that_deferred_and_then_pays_is_one_more_revision_with_less_cash(database_url):
    with a_hub(database_url, *QUEUE_RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        (task,) = tasks(hub)
        answer(hub, an_answer(task, "deferred", "0.00"))
        hub.clock.advance(86_400)
        for _ in range(2):
            answer(hub, an_answer(task, "approved", "50.00"))

        assert told(hub, case_id) == [("deferred", "150.00", True), ("approved", "100.00", True)]
        assert len(tasks(hub)) == 1


def test_an_insurer_that_deferred_and_then_declines_ends_what_was_open(database_url):
    with a_hub(database_url, *QUEUE_RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        (task,) = tasks(hub)
        answer(hub, an_answer(task, "deferred", "0.00"))
        answer(hub, an_answer(task, "declined", "0.00"))

        assert told(hub, case_id) == [("deferred", "150.00", True), ("declined", "150.00", True)]
        assert hub.answers(case_id)[-1]["deferred"] == "0.00"


def test_a_deferral_approved_late_is_taken_back_where_the_rule_book_says_so(database_url):
    with a_hub(database_url, *QUEUE_RULES, parties=[REVERSED_QUEUE], running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        (task,) = tasks(hub)
        answer(hub, an_answer(task, "deferred", "0.00"))
        answer(hub, an_answer(task, "approved", "50.00"))
        hub.pump()
        undo = tasks(hub)[-1]
        answer(hub, an_answer(undo, "cancelled", "50.00"))

        assert (undo["operation"], undo["amount"]) == ("cancel", "50.00")
        assert told(hub, case_id) == [("deferred", "150.00", True), ("cancelled", "150.00", True)]


def a_late_word(hub: TestHub, case_id: str, leg_no: int, decision: Decision) -> None:
    """The answer of a call that a process held back longer than anybody waited."""
    leg = hub.case(case_id).leg(leg_no)
    word = Finished(case_id, leg_no, Operation.SETTLE, leg.request_id, 1, Ending.DECIDED, decision)
    Applier(hub.hub.work_units, hub.clock, hub.hub.payers).apply([word])


def test_a_basic_approval_that_comes_when_the_case_was_declined_is_taken_back(database_url):
    """The bill is the patient's, and was paid: nothing of it may stand at the basic system."""
    payers = {BASIC: StubPayer(idempotent=False, inquiry=True, script=[lands_later])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 60)
        assert hub.case(case_id).state is CaseState.DECLINED
        payers[BASIC].land()
        a_late_word(hub, case_id, 1, a_basic_decision(30_000, 15_000))
        hub.pump()

        answers = hub.answers(case_id)
        assert {(one["status"], one["cash"]) for one in answers[1:]} == {("declined", "300.00")}
        assert (answers[-1]["shares"][0]["state"], answers[-1]["final"]) == ("cancelled", True)
        assert payers[BASIC].net_fen == 0
        assert hub.payers[CRITICAL].calls == []


@pytest.mark.parametrize("moment", ["before its undo", "after its undo"])
def test_a_late_word_in_a_case_that_is_undone_leaves_nothing_behind(database_url, moment):
    payers = {CRITICAL: StubPayer(idempotent=False, inquiry=True, script=[lands_later])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 60)
        assert hub.case(case_id).legs[1].state is LegState.DEFERRED
        payers[CRITICAL].land()
        word = Decision(Outcome.APPROVED, 7_500, "REF")
        if moment == "before its undo":
            a_late_word(hub, case_id, 2, word)
            hub.cancel()
        else:
            hub.cancel()
            a_late_word(hub, case_id, 2, word)
        hub.pump()

        assert hub.answers(case_id)[-1]["status"] == "cancelled"
        assert [hub.payers[code].net_fen for code in (BASIC, CRITICAL)] == [0, 0]


def test_an_answer_to_a_task_in_doubt_is_taken_whenever_it_comes(database_url):
    with a_hub(database_url, *QUEUE_RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 60, *[86_400.0] * 4)
        assert hub.case(case_id).legs[1].state is LegState.IN_DOUBT
        answer(hub, an_answer(tasks(hub)[0]))

        assert told(hub, case_id) == [("pending", "150.00", False), ("approved", "100.00", True)]


def test_a_task_without_answer_is_reversed_at_the_deadline_where_the_rule_book_says_so(database_url):
    with a_hub(database_url, *QUEUE_RULES, parties=[REVERSED_QUEUE], running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20)
        task, undo = tasks(hub)
        # Its answers cross with our reversal, in the worst order.
        answer(hub, an_answer(task, "approved", "50.00"))
        answer(hub, an_answer(undo, "cancelled", "50.00"))
        answer(hub, an_answer(task, "approved", "50.00"))

        assert undo["operation"] == "reverse"
        assert told(hub, case_id) == [("pending", "150.00", False), ("cancelled", "150.00", True)]


def test_a_cancel_does_not_wait_for_a_task_that_is_still_in_the_insurers_queue(database_url):
    with a_hub(database_url, *QUEUE_RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.cancel()
        hub.pump()
        task, undo = tasks(hub)
        assert (undo["operation"], undo["original_request_id"]) == ("reverse", task["request_id"])
        answer(hub, an_answer(undo, "cancelled", "0.00"))
        answer(hub, an_answer(task, "declined", "0.00"))
        hub.pump()

        assert [one["status"] for one in hub.answers(case_id)] == ["cancelled"]
        assert hub.payers[BASIC].net_fen == 0


def test_a_deferral_is_withdrawn_with_its_case(database_url):
    with a_hub(database_url, *QUEUE_RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        (task,) = tasks(hub)
        answer(hub, an_answer(task, "deferred", "0.00"))
        hub.cancel()
        hub.pump()
        undo = tasks(hub)[1]
        answer(hub, an_answer(undo, "cancelled", "0.00"))
        hub.pump()
        answer(hub, an_answer(task, "approved", "50.00"))

        assert undo["operation"] == "reverse"
        assert [leg.state for leg in hub.case(case_id).legs] == [LegState.CANCELLED, LegState.REVERSED]
        assert hub.answers(case_id)[-1]["cash"] == "300.00"


def test_a_reversal_that_its_insurer_does_not_answer_is_said_again_and_ends(database_url):
    with a_hub(database_url, *QUEUE_RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.cancel()
        hub.pump()
        hub.let_pass(*[60.0] * 5)
        undos = tasks(hub)[1:]
        assert 2 <= len(undos) <= 6
        assert len({undo["request_id"] for undo in undos}) == 1
        hub.let_pass(*[86_400.0] * 4)
        said = len(tasks(hub))
        hub.let_pass(86_400)

        assert len(tasks(hub)) == said
        assert hub.case(case_id).legs[1].state is LegState.REVERSING
        assert hub.case(case_id).legs[1].next_at is None
