"""What each safety mechanism is for: the same story with it, and with it switched off, told by the payers' books.

A story ends with True when the payers' books and the hub's agree to the fen and nothing stands that was reversed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from hub import outcomes
from hub.applier import Applier
from hub.attempts import Attempt
from hub.outcomes import Ending, Finished
from hub.undo import Undo
from routing import life, states
from routing.doubt import Move
from routing.states import CaseState, LegEvent, LegState
from schemas.codes import Outcome
from schemas.payer import Decision, Operation
from store.records import LegRecord
from tests.support.builders import (
    BASIC,
    CRITICAL,
    StubPayer,
    a_basic_decision,
    finds_nothing,
    lands_later,
    lost_after_effect,
    pays_too_much,
    when,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub

Story = Callable[[str], bool]
Switch = Callable[[pytest.MonkeyPatch], None]


def books_agree(hub: TestHub, *case_ids: str) -> bool:
    """Whether every payer's book says what the last answers say."""
    answers = [hub.answers(case_id)[-1] for case_id in case_ids]
    for code, payer in hub.payers.items():
        shares = [share for answer in answers for share in answer["shares"] if share["payer"] == code]
        if payer.net_fen != sum(round(float(share["amount"]) * 100) for share in shares):
            return False
    return True


def an_answer_is_lost(database_url: str) -> bool:
    """And the payer books whatever it hears, once more each time."""
    payers = {CRITICAL: StubPayer(idempotent=False, script=[lost_after_effect])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 120)
        share = hub.answers(case_id)[-1]["shares"][1]
        return len(payers[CRITICAL].settled) == 1 and share["state"] in ("approved", "in_doubt")


def a_booked_claim_is_not_found_at_first(database_url: str) -> bool:
    payers = {CRITICAL: StubPayer(idempotent=False, inquiry=True, script=[lost_after_effect, finds_nothing])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 120)
        return books_agree(hub, case_id)


def a_claim_lands_after_it_was_not_found(database_url: str) -> bool:
    payers = {CRITICAL: StubPayer(idempotent=False, inquiry=True, reversal=True, script=[lands_later])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 120)
        payers[CRITICAL].land()
        return books_agree(hub, case_id)


def a_command_comes_twice_while_its_call_is_under_way(database_url: str) -> bool:
    released = threading.Event()
    payers = {CRITICAL: StubPayer(idempotent=False, script=[when(released)])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        command = hub.commands()[0][1]
        calling = threading.Thread(target=hub.handle, args=(CRITICAL, command))
        calling.start()
        eventually(lambda: payers[CRITICAL].calls)
        hub.handle(CRITICAL, command)
        released.set()
        calling.join()
        hub.pump()
        return books_agree(hub, case_id)


def a_settlement_comes_after_its_reversal(database_url: str) -> bool:
    with a_hub(database_url, running=False) as hub:
        hub.reverse()
        hub.settle()
        hub.pump()
        return all(payer.net_fen == 0 for payer in hub.payers.values())


def an_undo_is_lost_and_said_again(database_url: str) -> bool:
    with a_hub(database_url, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.payers[CRITICAL].script = [lost_after_effect]
        hub.cancel()
        hub.pump()
        return books_agree(hub, case_id)


def a_case_in_doubt_is_reversed(database_url: str) -> bool:
    payers = {CRITICAL: StubPayer(reversal=True, script=[lost_after_effect])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        hub.handle(CRITICAL, hub.commands()[0][1])
        hub.reverse()
        hub.pump()
        ended = hub.case(case_id).state is CaseState.CANCELLED
        return ended and all(payer.net_fen == 0 for payer in hub.payers.values())


def a_declined_case_is_approved_late(database_url: str) -> bool:
    payers = {BASIC: StubPayer(idempotent=False, inquiry=True, script=[lands_later])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 60)
        payers[BASIC].land()
        word = a_basic_decision(30_000, 15_000)
        finished = Finished(case_id, 1, Operation.SETTLE, hub.case(case_id).legs[0].request_id, 1, Ending.DECIDED, word)
        Applier(hub.hub.work_units, hub.clock, hub.hub.payers).apply([finished])
        hub.pump()
        return books_agree(hub, case_id)


def a_settled_case_is_approved_late(database_url: str) -> bool:
    payers = {CRITICAL: StubPayer(idempotent=False, inquiry=True, script=[lands_later])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 60)
        payers[CRITICAL].land()
        word = Decision(Outcome.APPROVED, 7_500, "REF")
        finished = Finished(case_id, 2, Operation.SETTLE, hub.case(case_id).legs[1].request_id, 1, Ending.DECIDED, word)
        Applier(hub.hub.work_units, hub.clock, hub.hub.payers).apply([finished])
        return books_agree(hub, case_id)


def more_than_was_left_is_approved(database_url: str) -> bool:
    payers = {CRITICAL: StubPayer(script=[pays_too_much])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        return hub.case(case_id).legs[1].state is LegState.HELD


def no_doubt_state(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outcomes, "_apply_lost", lambda case, leg, asked, now: outcomes._apply_not_sent(case, leg, now))


def no_look_at_what_the_payer_can(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("hub.attempts.move_in_doubt", lambda situation, can: Move.REPEAT)


def no_second_ask(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("hub.outcomes.not_found_counts_from", lambda *facts: None)


def no_reversal_of_what_was_not_found(patch: pytest.MonkeyPatch) -> None:
    def not_heard(leg: LegRecord, event: LegEvent, now: object, *, reason_code: str = "") -> None:
        leg.apply(LegEvent.NOT_HEARD, reason_code=reason_code)

    patch.setattr(LegRecord, "begin_undo", not_heard)


def no_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Attempt, "_claimed", lambda attempt: Operation.SETTLE)


def no_tombstone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Undo, "_bury_unborn", lambda *arguments: False)


def no_fixed_id_of_the_undo(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LegRecord, "cancel_id", property(lambda leg: f"{leg.request_id}-c{leg.undo_attempts}"))


def no_undo_of_doubts(patch: pytest.MonkeyPatch) -> None:
    def next_undo(case: life.Case) -> life.Step:
        approved = [leg for leg in reversed(case.legs) if leg.state is LegState.APPROVED]
        waits = any(leg.state in states.UNDOING for leg in case.legs)
        return life.Wait() if waits else life.Undo(approved[0].leg_no) if approved else life.Finish(CaseState.CANCELLED)

    patch.setattr(life, "_next_undo", next_undo)


def no_late_words(patch: pytest.MonkeyPatch) -> None:
    asked = (LegState.CLAIMED, LegState.IN_DOUBT)
    patch.setattr(outcomes, "_awaits_word", lambda case, leg, can: leg.state in asked)


def no_sum_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outcomes, "adds_up", lambda case, leg, decision: True)


PAIRS: list[tuple[Story, Switch]] = [
    (an_answer_is_lost, no_doubt_state),
    (an_answer_is_lost, no_look_at_what_the_payer_can),
    (a_booked_claim_is_not_found_at_first, no_second_ask),
    (a_claim_lands_after_it_was_not_found, no_reversal_of_what_was_not_found),
    (a_command_comes_twice_while_its_call_is_under_way, no_claim),
    (a_settlement_comes_after_its_reversal, no_tombstone),
    (an_undo_is_lost_and_said_again, no_fixed_id_of_the_undo),
    (a_case_in_doubt_is_reversed, no_undo_of_doubts),
    (a_declined_case_is_approved_late, no_late_words),
    (a_settled_case_is_approved_late, no_late_words),
    (more_than_was_left_is_approved, no_sum_check),
]


@pytest.mark.parametrize("story", dict.fromkeys(story for story, _ in PAIRS), ids=lambda one: one.__name__)
def test_with_everything_on_the_books_agree(database_url, story):
    assert story(database_url)


@pytest.mark.parametrize(("story", "switch_off"), PAIRS, ids=lambda one: one.__name__)
def test_without_it_the_books_do_not_agree(database_url, monkeypatch, story, switch_off):
    switch_off(monkeypatch)

    assert not story(database_url)
