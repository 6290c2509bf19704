"""Undoing a settlement: before, while and after it happens, once and again; the payers' books end at zero."""

from __future__ import annotations

import json
import random
import threading

import pytest

from routing.states import CaseState, LegState
from schemas.errors import NotFound
from schemas.transactions import Transaction
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    COMMERCIAL,
    COMMERCIAL_RULE,
    CRITICAL,
    CRITICAL_RULE,
    OTHER_HOSPITAL,
    StubPayer,
    a_settle_request,
    babbles,
    declines,
    lost_after_effect,
    lost_before_effect,
    unreachable,
    when,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import a_hub

LAYERS = (BASIC_RULE, CRITICAL_RULE, COMMERCIAL_RULE)


def three_payers(**scripts) -> dict[str, StubPayer]:
    order: list[str] = []
    return {code: StubPayer(order=order, script=scripts.get(code, [])) for code in (BASIC, CRITICAL, COMMERCIAL)}


def test_a_cancel_undoes_the_legs_in_the_opposite_order(database_url):
    payers = three_payers()
    with a_hub(database_url, *LAYERS, payers=payers) as hub:
        hub.cover()
        case_id = hub.settle().case_id
        hub.answered(case_id)

        hub.cancel()
        answer = hub.answered(case_id, 2)

        assert [id_[33:] for id_ in payers[BASIC].order] == ["1", "2", "3", "3-c", "2-c", "1-c"]
        assert [payer.net_fen for payer in payers.values()] == [0, 0, 0]
        assert (answer["status"], answer["final"], answer["cash"], answer["deferred"]) == (
            "cancelled",
            True,
            "300.00",
            "0.00",
        )
        assert [share["state"] for share in answer["shares"]] == ["cancelled"] * 3


def test_a_second_cancel_gets_the_answer_of_the_first(database_url):
    payers = three_payers()
    with a_hub(database_url, payers=payers) as hub:
        case_id = hub.settle().case_id
        hub.answered(case_id)
        hub.cancel()
        hub.answered(case_id, 2)

        again = [hub.cancel(), hub.cancel(cancel_no="C-2")]

        assert {taken.answer for taken in again} == {hub.query().answer}
        assert len(payers[BASIC].order) == 4


def test_a_cancel_while_cancelling_adds_a_listener_and_no_undo(database_url):
    released = threading.Event()
    payers = three_payers()
    with a_hub(database_url, payers=payers) as hub:
        case_id = hub.settle().case_id
        hub.answered(case_id)
        payers[CRITICAL].script = [when(released)]

        hub.cancel(message_id="ask-1")
        eventually(lambda: len(payers[CRITICAL].calls) == 2)
        meanwhile = json.loads(hub.query().answer)
        assert (meanwhile["status"], meanwhile["final"]) == ("cancelling", False)
        hub.cancel(cancel_no="C-2", message_id="ask-2")
        released.set()
        hub.answered(case_id, 2)

        assert [call[0] for call in payers[CRITICAL].calls] == ["settle", "cancel"]
        with hub.database.connect() as connection:
            told = connection.exec_driver_sql("SELECT correlation_id FROM outbox WHERE queue LIKE 'out.%%'").scalars()
            assert sorted(told) == ["M-1", "M-1", "ask-1", "ask-2"]


@pytest.mark.parametrize("payer", [BASIC, CRITICAL, COMMERCIAL])
def test_a_cancel_while_a_payer_is_asked_undoes_what_it_then_says(database_url, payer):
    released = threading.Event()
    payers = three_payers(**{payer: [when(released)]})
    with a_hub(database_url, *LAYERS, payers=payers) as hub:
        hub.cover()
        case_id = hub.settle().case_id
        eventually(lambda: payers[payer].calls)

        hub.cancel()
        released.set()
        answer = hub.answered(case_id)

        assert (answer["status"], answer["revision"]) == ("cancelled", 1)
        assert [one.net_fen for one in payers.values()] == [0, 0, 0]
        settled = [id_ for id_ in payers[BASIC].order if not id_.endswith("-c")]
        undone = [id_ for id_ in payers[BASIC].order if id_.endswith("-c")]
        assert undone == [f"{id_}-c" for id_ in reversed(settled)]


def test_a_cancel_before_anybody_was_asked_asks_nobody(database_url):
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.cancel()
        hub.pump()

        assert hub.answers(case_id)[0]["status"] == "cancelled"
        assert [payer.calls for payer in payers.values()] == [[], [], []]


@pytest.mark.parametrize("trouble", [unreachable, lost_before_effect, lost_after_effect, babbles])
def test_an_undo_goes_on_until_the_payer_confirms_it(database_url, trouble):
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        payers[CRITICAL].script = [trouble, trouble]
        payers[BASIC].script = [trouble]
        hub.cancel()
        hub.pump()

        assert hub.answers(case_id)[-1]["status"] == "cancelled"
        assert [payer.net_fen for payer in payers.values()] == [0, 0, 0]
        assert len({call[1] for call in payers[CRITICAL].calls}) == 2


def test_a_payer_that_refuses_the_undo_stops_it_and_the_hospital_hears(database_url):
    payers = three_payers()
    with a_hub(database_url, *LAYERS, payers=payers, running=False) as hub:
        hub.cover()
        case_id = hub.settle().case_id
        hub.pump()
        reference = hub.case(case_id).legs[1].payer_reference
        payers[CRITICAL].script = [declines]
        hub.cancel()
        hub.pump()
        hub.clock.advance(120)
        hub.sweep()
        hub.pump()

        case = hub.case(case_id)
        answers = hub.answers(case_id)

        assert [leg.state for leg in case.legs] == [LegState.APPROVED, LegState.CANCEL_HELD, LegState.CANCELLED]
        assert case.state is CaseState.CANCELLING
        assert [(one["status"], one["final"]) for one in answers] == [("settled", True), ("cancelling", False)]
        assert answers[1]["shares"][1]["reason_code"] == "cancel_refused"
        assert answers[1]["shares"][1]["amount"] == "75.00"
        assert payers[BASIC].net_fen == 15_000
        assert case.legs[1].payer_reference == reference


def test_a_doubt_of_a_case_that_is_undone_is_cleared_and_what_stood_is_undone(database_url):
    """It cannot be reversed here, so its claim is said once more under its id; what it turns out to be is cancelled."""
    payers = three_payers(**{CRITICAL: [lost_after_effect]})
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        command = hub.commands()[0][1]
        hub.handle(CRITICAL, command)

        hub.cancel()
        assert hub.case(case_id).legs[1].state is LegState.REVERSING
        hub.handle(CRITICAL, command)
        hub.pump()

        assert hub.answers(case_id)[0]["status"] == "cancelled"
        assert [call[0] for call in payers[CRITICAL].calls] == ["settle", "settle", "cancel"]
        assert [payer.net_fen for payer in payers.values()] == [0, 0, 0]


def test_a_declined_case_may_be_cancelled_and_nothing_is_undone(database_url):
    payers = three_payers(**{BASIC: [declines]})
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.cancel()

        assert [one["status"] for one in hub.answers(case_id)] == ["declined", "cancelled"]
        assert len(payers[BASIC].calls) == 1


def test_an_unknown_and_a_foreign_settlement_are_not_found(database_url):
    with a_hub(database_url, running=False) as hub:
        hub.settle()
        foreign = {"institution": OTHER_HOSPITAL, "settlement_no": "S-1", "cancel_no": "C", "reason": "r"}

        assert isinstance(hub.cancel("S-2").error, NotFound)
        assert isinstance(hub.send(Transaction.CANCEL, foreign, party=OTHER_HOSPITAL).error, NotFound)
        assert hub.count("case_undo") == 0


def test_a_settlement_repeated_after_its_cancel_gets_the_cancelled_answer(database_url):
    with a_hub(database_url, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.cancel()
        hub.pump()

        again = hub.settle()

        assert again.case_id == case_id
        assert b'"cancelled"' in again.answer
        assert hub.commands() == []


@pytest.mark.parametrize("seed", range(8))
def test_shuffled_and_repeated_commands_change_nothing(database_url, seed):
    chance = random.Random(seed)
    troubles = [unreachable, lost_before_effect, lost_after_effect, babbles]
    payers = three_payers()
    with a_hub(database_url, *LAYERS, payers=payers, running=False) as hub:
        hub.cover()
        for payer in payers.values():
            payer.script = [chance.choice(troubles) for _ in range(chance.randrange(3))]
        cases = [hub.settle(f"S-{number}").case_id for number in range(3)]
        hub.pump(chance=chance)
        hub.cancel("S-1")
        hub.pump(chance=chance)

        answers = [hub.answers(case_id)[-1] for case_id in cases]

        assert [one["status"] for one in answers] == ["settled", "cancelled", "settled"]
        shares = [sum(round(float(one["shares"][index]["amount"]) * 100) for one in answers) for index in range(3)]
        assert [payer.net_fen for payer in payers.values()] == shares == [30_000, 15_000, 7_500]
        assert all(one["cash"] == "37.50" for one in answers if one["status"] == "settled")


def test_a_trial_is_not_undone_by_its_settlement_number(database_url):
    with a_hub(database_url, running=False) as hub:
        hub.send(Transaction.TRIAL, a_settle_request())
        hub.pump()

        assert isinstance(hub.cancel("S-1").error, NotFound)


def test_who_asked_for_an_undo_hears_that_it_takes_its_time_once(database_url):
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        payers[CRITICAL].script = [lost_before_effect, lost_before_effect]
        hub.cancel()
        hub.handle(CRITICAL, hub.commands()[0][1])
        for _ in range(3):
            hub.clock.advance(11)
            hub.sweep()

        assert [(one["status"], one["final"]) for one in hub.answers(case_id)] == [
            ("settled", True),
            ("cancelling", False),
        ]
        hub.pump()

        assert hub.answers(case_id)[-1]["status"] == "cancelled"
