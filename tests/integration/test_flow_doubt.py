"""Answers that are lost, late, twice or wrong: one effect in the payer's book, and never a guess."""

from __future__ import annotations

import threading

import pytest

from hub.applier import Applier
from hub.outcomes import Ending, Finished
from hub.sweeps import CaseSweep
from routing.states import LegState
from schemas.codes import Outcome
from schemas.errors import InvalidMessage
from schemas.payer import Decision, Operation
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    COMMERCIAL,
    COMMERCIAL_RULE,
    CRITICAL,
    CRITICAL_RULE,
    StubPayer,
    a_party,
    babbles,
    declines,
    lost_after_effect,
    lost_before_effect,
    pays,
    pays_too_much,
    unreachable,
    when,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import a_hub

EVERYBODY = (BASIC_RULE, CRITICAL_RULE, COMMERCIAL_RULE)


@pytest.mark.parametrize("trouble", [lost_after_effect, lost_before_effect, babbles])
@pytest.mark.parametrize("payer", [BASIC, CRITICAL])
def test_a_lost_answer_is_asked_for_again_and_counts_once(database_url, payer, trouble):
    with a_hub(database_url, payers={payer: StubPayer(script=[trouble])}, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()

        answer = hub.answers(case_id)[0]

        assert (answer["status"], answer["final"], answer["cash"]) == ("settled", True, "75.00")
        assert [share["reason_code"] for share in answer["shares"]] == ["", ""]
        assert len({call[1] for call in hub.payers[payer].calls}) == 1
        assert len(hub.payers[payer].settled) == 1
        assert hub.case(case_id).legs[0 if payer == BASIC else 1].attempts == 2


def test_a_payer_whose_repeats_are_not_harmless_is_not_asked_twice(database_url):
    payers = {CRITICAL: StubPayer(idempotent=False, script=[lost_after_effect])}
    with a_hub(database_url, *EVERYBODY, payers=payers, running=False) as hub:
        hub.cover()
        case_id = hub.settle().case_id
        hub.pump()
        hub.clock.advance(20)
        hub.sweep()
        for _ in range(3):
            hub.clock.advance(120)
            hub.sweep()
            hub.pump()

        answer = hub.answers(case_id)

        assert len(hub.payers[CRITICAL].calls) == 1
        assert [share["state"] for share in answer[0]["shares"]] == ["approved", "in_doubt", "deferred"]
        assert len(answer) == 1
        assert hub.payers[COMMERCIAL].calls == []


def test_at_the_deadline_the_hospital_hears_and_the_final_word_follows(database_url):
    released = threading.Event()
    payers = {CRITICAL: StubPayer(script=[when(released)])}
    with a_hub(database_url, *EVERYBODY, payers=payers) as hub:
        hub.cover()
        case_id = hub.settle().case_id
        eventually(lambda: hub.payers[CRITICAL].calls)
        hub.clock.advance(20)

        first = hub.answered(case_id, 1)
        released.set()
        second = hub.answered(case_id, 2)

        assert [share["state"] for share in first["shares"]] == ["approved", "pending", "deferred"]
        assert (first["final"], first["cash"], first["deferred"]) == (False, "150.00", "150.00")
        assert [share["state"] for share in second["shares"]] == ["approved", "approved", "deferred"]
        assert (second["final"], second["cash"], second["revision"]) == (True, "75.00", 2)
        assert [one["revision"] for one in hub.outbox("out.H44030000001")] == [1, 2]


def test_a_basic_system_silent_at_the_deadline_is_processing_then_settled_alone(database_url):
    released = threading.Event()
    with a_hub(database_url, payers={BASIC: StubPayer(script=[when(released)])}) as hub:
        case_id = hub.settle().case_id
        eventually(lambda: hub.payers[BASIC].calls)
        hub.clock.advance(20)

        first = hub.answered(case_id, 1)
        released.set()
        second = hub.answered(case_id, 2)

        assert (first["status"], first["final"], first["cash"]) == ("processing", False, "300.00")
        assert (second["status"], second["final"], second["cash"]) == ("partly_settled", True, "150.00")
        assert hub.payers[CRITICAL].calls == []


def test_a_case_that_is_late_before_anybody_was_asked_books_nothing(database_url):
    with a_hub(database_url, running=False) as hub:
        case_id = hub.settle().case_id
        hub.clock.advance(60)
        hub.pump()

        answer = hub.answers(case_id)[0]

        assert (answer["status"], answer["final"], answer["deferred"]) == ("declined", True, "0.00")
        assert all(payer.calls == [] for payer in hub.payers.values())


def test_a_held_answer_behind_the_deadline_is_not_answered_twice(database_url):
    with a_hub(database_url, payers={CRITICAL: StubPayer(script=[pays_too_much])}, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.clock.advance(20)
        hub.sweep()

        assert [one["status"] for one in hub.answers(case_id)] == ["partly_settled"]


def test_a_command_for_a_call_under_way_neither_repeats_it_nor_doubts_it(database_url):
    released = threading.Event()
    payers = {CRITICAL: StubPayer(idempotent=False, script=[when(released, unreachable)])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        command = hub.commands()[0][1]
        calling = threading.Thread(target=hub.handle, args=(CRITICAL, command))
        calling.start()
        eventually(lambda: hub.payers[CRITICAL].calls)

        hub.handle(CRITICAL, command)
        released.set()
        calling.join()
        hub.handle(CRITICAL, command)

        assert hub.answers(case_id)[0]["status"] == "settled"
        assert len(hub.payers[CRITICAL].calls) == 2


def test_a_lost_and_a_good_answer_in_one_batch_move_the_case_on(database_url):
    with a_hub(database_url, *EVERYBODY, running=False) as hub:
        hub.cover()
        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        case = hub.case(case_id)
        leg = case.legs[1]
        with hub.database.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE settlement_leg SET state = 'claimed', attempts = 1, left_fen = 15000 WHERE leg_no = 2"
            )
        hub.commands()
        lost = Finished(case_id, 2, Operation.SETTLE, leg.request_id, 1, Ending.LOST)
        good = Finished(
            case_id, 2, Operation.SETTLE, leg.request_id, 2, Ending.DECIDED, Decision(Outcome.APPROVED, 100, "R")
        )

        verdicts = Applier(hub.hub.work_units, hub.clock, hub.hub.payers).apply([lost, good])

        assert [verdict.kind.value for verdict in verdicts] == ["retry", "ack"]
        assert [payer for payer, _ in hub.commands()] == [COMMERCIAL]


def test_a_sweep_sends_lost_commands_again(database_url):
    with a_hub(database_url, running=False) as hub:
        case_id = hub.settle().case_id
        assert len(hub.commands()) == 1
        hub.clock.advance(6)

        assert hub.sweep() == 1
        hub.pump()

        assert hub.answers(case_id)[0]["status"] == "settled"


def test_one_case_that_cannot_be_moved_does_not_stop_the_sweep(database_url):
    with a_hub(database_url, running=False) as hub:
        broken, sound = (hub.settle(number).case_id for number in ("S-1", "S-2"))
        with hub.database.begin() as connection:
            # More borne than billed: no answer can be made of it.
            connection.exec_driver_sql(
                "UPDATE settlement_leg SET state = 'approved', left_fen = 90000, amount_fen = 90000 "
                "WHERE leg_no = 1 AND case_id = %s::uuid",
                (broken,),
            )
        hub.clock.advance(20)

        sweep = CaseSweep(hub.hub.work_units, hub.clock)
        sweep()

        assert [one["final"] for one in hub.answers(sound)] == [True]
        assert hub.answers(broken) == []
        assert sweep() == 0


def test_a_declined_payer_leaves_its_part_to_the_next(database_url):
    with a_hub(database_url, *EVERYBODY, payers={CRITICAL: StubPayer(script=[declines])}) as hub:
        hub.cover()

        answer = hub.answered(hub.settle().case_id)

    assert [share["amount"] for share in answer["shares"]] == ["150.00", "0.00", "75.00"]
    assert answer["status"] == "settled"


def test_two_answers_of_one_payer_change_nothing_the_second_time(database_url):
    with a_hub(database_url, payers={CRITICAL: StubPayer(script=[pays, declines])}, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        before = hub.case(case_id)
        with hub.database.begin() as connection:
            connection.exec_driver_sql("UPDATE settlement_case SET watch_at = received_at")
        hub.sweep()
        hub.pump()

        after = hub.case(case_id)

    assert [(leg.state, leg.amount_fen) for leg in after.legs] == [(leg.state, leg.amount_fen) for leg in before.legs]
    assert len(hub.payers[CRITICAL].calls) == 1


def test_a_call_that_waited_too_long_for_its_turn_is_not_begun(database_url):
    released = threading.Event()
    payers = {CRITICAL: StubPayer(script=[when(released)])}
    narrow = a_party(CRITICAL, concurrency=1)
    with a_hub(database_url, payers=payers, parties=[narrow]) as hub:
        first = hub.settle("S-1").case_id
        eventually(lambda: hub.payers[CRITICAL].calls)
        second = hub.settle("S-2").case_id
        eventually(lambda: hub.case(second).legs[1].attempts)
        hub.clock.advance(20)
        hub.answered(second)
        released.set()

        assert hub.answered(first, 2)["cash"] == "75.00"
        assert hub.answered(second, 2)["shares"][1]["state"] == "deferred"
        assert len(hub.payers[CRITICAL].calls) == 1


class Speechless(StubPayer):
    """A payer whose language has no words for what is asked."""

    def prepare(self, task):
        if task.operation in self.unspeakable:
            raise InvalidMessage("no words for it")
        return super().prepare(task)


def speechless(*operations):
    payer = Speechless()
    payer.unspeakable = operations
    return payer


def test_a_claim_that_the_payers_language_cannot_say_is_deferred_and_nothing_is_sent(database_url):
    with a_hub(database_url, payers={CRITICAL: speechless(Operation.SETTLE)}) as hub:
        answer = hub.answered(hub.settle().case_id)

        assert [(share["state"], share["reason_code"]) for share in answer["shares"]][1] == (
            "deferred",
            "not_expressible",
        )
        assert (answer["status"], answer["final"]) == ("partly_settled", True)
        assert hub.payers[CRITICAL].calls == []


def test_an_undo_that_the_payers_language_cannot_say_goes_to_people(database_url):
    with a_hub(database_url, payers={CRITICAL: speechless(Operation.CANCEL)}) as hub:
        settled = hub.settle()
        hub.answered(settled.case_id)

        hub.cancel()

        answer = hub.answered(settled.case_id, revision=2)
        assert (answer["status"], answer["final"]) == ("cancelling", False)
        assert hub.case(settled.case_id).leg(2).state is LegState.CANCEL_HELD
        assert hub.payers[BASIC].net_fen > 0
