"""Reversing a settlement whose outcome the hospital does not know: before, while and after it happens, and again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from hub.inbound import Taken
from routing.states import CaseState, LegState
from schemas.errors import Conflict, NotFound
from schemas.transactions import Transaction
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    COMMERCIAL,
    COMMERCIAL_RULE,
    CRITICAL,
    CRITICAL_RULE,
    StubPayer,
    a_settle_request,
    declines,
    lost_after_effect,
    lost_before_effect,
    pays_too_much,
    when,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub

LAYERS = (BASIC_RULE, CRITICAL_RULE, COMMERCIAL_RULE)
RACES = 25


def three_payers(**changes) -> dict[str, StubPayer]:
    order: list[str] = []
    return {code: StubPayer(order=order, **changes.get(code, {})) for code in (BASIC, CRITICAL, COMMERCIAL)}


def operations(payer: StubPayer) -> list[str]:
    return [operation for operation, _ in payer.calls]


def test_a_reversal_undoes_the_legs_in_the_opposite_order(database_url):
    payers = three_payers()
    with a_hub(database_url, *LAYERS, payers=payers, running=False) as hub:
        hub.cover()
        case_id = hub.settle().case_id
        hub.pump()
        hub.reverse()
        hub.pump()

        assert [id_[33:] for id_ in payers[BASIC].order] == ["1", "2", "3", "3-c", "2-c", "1-c"]
        assert [one["status"] for one in hub.answers(case_id)] == ["settled", "cancelled"]
        assert [payer.net_fen for payer in payers.values()] == [0, 0, 0]


Ask = Callable[[TestHub], Taken]
UNDOS: dict[str, Ask] = {
    "the same reversal": lambda hub: hub.reverse(),
    "another reversal": lambda hub: hub.reverse(reverse_no="R-2"),
    "a cancel": lambda hub: hub.cancel(),
    "a cancel of the same number": lambda hub: hub.cancel(cancel_no="R-1"),
}


@pytest.mark.parametrize("again", UNDOS)
def test_an_undo_of_what_is_undone_gets_its_answer_and_asks_nobody(database_url, again):
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.reverse()
        hub.pump()
        asked = [len(payer.calls) for payer in payers.values()]

        taken = UNDOS[again](hub)
        hub.pump()

        assert (taken.error, taken.case_id, taken.answer) == (None, case_id, hub.query().answer)
        assert json.loads(taken.answer)["status"] == "cancelled"
        assert [len(payer.calls) for payer in payers.values()] == asked


@pytest.mark.parametrize("again", UNDOS)
def test_an_undo_while_an_undo_is_under_way_adds_nothing_to_it(database_url, again):
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        hub.settle()
        hub.pump()
        hub.reverse()
        assert UNDOS[again](hub).error is None
        hub.pump()

        assert operations(payers[CRITICAL]) == operations(payers[BASIC]) == ["settle", "cancel"]
        assert json.loads(hub.query().answer)["status"] == "cancelled"


def test_a_settlement_that_comes_after_its_reversal_is_refused_and_nobody_is_asked(database_url):
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        reversed_ = hub.reverse()
        hub.pump()
        refused = [hub.settle(), hub.settle(total_fen=20_000)]
        hub.let_pass(20, 120)

        assert reversed_.error is None
        assert [type(taken.error) for taken in refused] == [Conflict, Conflict]
        assert {taken.error.code for taken in refused} == {"settlement.reversed_before"}
        assert [payer.calls for payer in payers.values()] == [[], [], []]
        answer = json.loads(hub.query().answer)
        assert (answer["status"], answer["final"], answer["total"], answer["shares"]) == ("cancelled", True, "0.00", [])
        assert hub.count("settlement_case") == 1
        assert hub.settle("S-2").error is None


@pytest.mark.parametrize("again", UNDOS)
def test_an_undo_of_what_never_came_is_harmless_as_often_as_it_comes(database_url, again):
    with a_hub(database_url, running=False) as hub:
        first = hub.reverse()
        taken = UNDOS[again](hub)

        assert (taken.error, taken.case_id) == (None, first.case_id)
        assert json.loads(taken.answer)["status"] == "cancelled"
        assert len(hub.answers(first.case_id)) == 1


def test_a_cancel_of_what_never_came_is_refused_and_blocks_nothing(database_url):
    """Who cancels has seen the settlement's answer; a number without one is a mistake."""
    with a_hub(database_url, running=False) as hub:
        assert isinstance(hub.cancel().error, NotFound)
        assert hub.settle().error is None


def test_a_reversal_of_what_was_cancelled_changes_nothing(database_url):
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.cancel()
        hub.pump()
        taken = hub.reverse()
        hub.pump()

        assert (taken.case_id, taken.repeated) == (case_id, True)
        assert operations(payers[BASIC]) == ["settle", "cancel"]


@pytest.mark.parametrize("undo", ["cancel", "reverse"])
@pytest.mark.parametrize("reversal", [False, True])
@pytest.mark.parametrize(
    ("trouble", "state"),
    [(lost_after_effect, "in_doubt"), (lost_before_effect, "in_doubt")],
)
def test_what_nobody_knows_is_undone_with_its_case(database_url, undo, reversal, trouble, state):
    payers = three_payers(**{CRITICAL: {"script": [trouble], "reversal": reversal, "idempotent": not reversal}})
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        hub.handle(CRITICAL, hub.commands()[0][1])
        assert hub.case(case_id).legs[1].state == state
        getattr(hub, undo)()
        hub.pump()

        assert hub.case(case_id).state is CaseState.CANCELLED
        assert [payers[code].net_fen for code in (BASIC, CRITICAL)] == [0, 0]
        assert (operations(payers[CRITICAL])[1] == "reverse") == reversal


@pytest.mark.parametrize(("reversal", "state"), [(True, LegState.REVERSED), (False, LegState.CANCEL_HELD)])
def test_an_answer_that_was_held_is_reversed_with_its_case_or_stays_with_people(database_url, reversal, state):
    """What was approved cannot be true, so there is no amount by which it could be cancelled."""
    payers = three_payers(**{CRITICAL: {"script": [pays_too_much], "reversal": reversal}})
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        assert hub.case(case_id).legs[1].state is LegState.HELD
        hub.reverse()
        hub.pump()

        assert hub.case(case_id).legs[1].state is state
        assert (payers[CRITICAL].net_fen == 0) == reversal


@pytest.mark.parametrize("payer", [BASIC, CRITICAL, COMMERCIAL])
@pytest.mark.parametrize("then", [lost_after_effect, lost_before_effect])
def test_a_reversal_while_a_payer_is_asked_undoes_what_it_may_have_made_of_it(database_url, payer, then):
    released = threading.Event()
    payers = three_payers(**{payer: {"script": [when(released, then)], "reversal": True}})
    with a_hub(database_url, *LAYERS, payers=payers) as hub:
        hub.cover()
        case_id = hub.settle().case_id
        eventually(lambda: payers[payer].calls)
        hub.reverse()
        released.set()

        # The command to reverse may come while the lost call is still being put away; then the sweep brings it again.
        assert hub.answered(case_id, within_s=30)["status"] == "cancelled"
        assert [one.net_fen for one in payers.values()] == [0, 0, 0]
        assert operations(payers[payer]) == ["settle", "reverse"]


def test_a_doubt_that_can_neither_be_reversed_nor_cleared_waits_for_people_with_all_before_it(database_url):
    payers = three_payers(**{CRITICAL: {"script": [lost_after_effect], "idempotent": False}})
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.reverse()
        hub.pump()
        hub.let_pass(20, 120, 3_600)

        case, answer = hub.case(case_id), hub.answers(case_id)[-1]
        assert [leg.state for leg in case.legs] == [LegState.APPROVED, LegState.CANCEL_HELD]
        assert (answer["status"], answer["final"]) == ("cancelling", False)
        assert operations(payers[CRITICAL]) == ["settle"]


def test_a_refused_reversal_waits_for_people_and_a_second_one_asks_nobody(database_url):
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        payers[CRITICAL].script = [declines]
        hub.reverse()
        hub.pump()
        hub.reverse(reverse_no="R-2")
        hub.cancel()
        hub.let_pass(20, 120, 3_600)

        assert [leg.state for leg in hub.case(case_id).legs] == [LegState.APPROVED, LegState.CANCEL_HELD]
        assert operations(payers[CRITICAL]) == ["settle", "cancel"]
        assert hub.answers(case_id)[-1]["status"] == "cancelling"


def test_an_undo_days_later_counts_and_leaves_the_day_of_the_settlement(database_url):
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        settled = hub.case(case_id)
        hub.clock.advance(5 * 86_400)
        payers[CRITICAL].script = [lost_after_effect, lost_before_effect]
        hub.reverse()
        hub.pump()

        undone = hub.case(case_id)
        assert undone.business_day == settled.business_day is not None
        assert (undone.ended_at - settled.ended_at).days == 5
        assert hub.answers(case_id)[1]["business_day"] == hub.answers(case_id)[0]["business_day"]
        assert [payer.net_fen for payer in payers.values()] == [0, 0, 0]


def test_a_settlement_and_its_reversal_at_once_are_either_blocked_or_undone(database_url):
    """One unique key decides between them, whoever comes first: never a settlement that outlives its reversal."""
    payers = three_payers()
    with a_hub(database_url, payers=payers, running=False) as hub:
        ends = []
        for number in range(RACES):
            settled, reversed_ = race(hub, f"S-{number}", turned=number % 2 == 1)
            assert reversed_.error is None
            ends.append(settled.error.code if settled.error else "undone")
            assert reversed_.case_id == settled.case_id, settled.error
        hub.pump()

        assert set(ends) <= {"settlement.reversed_before", "undone"}
        assert hub.count("settlement_case") == RACES
        for number in range(RACES):
            assert json.loads(hub.query(f"S-{number}").answer)["status"] == "cancelled"
        assert [payer.net_fen for payer in payers.values()] == [0, 0, 0]


def race(hub: TestHub, number: str, *, turned: bool) -> tuple[Taken, Taken]:
    """Both messages at the same moment on two threads."""
    together, taken = threading.Barrier(2), {}

    def send(what: str) -> None:
        together.wait()
        # Ids of their own: the hub of the tests counts its messages for one thread.
        if what == "settle":
            message = a_settle_request(settlement_no=number)
            taken[what] = hub.send(Transaction.SETTLE, message, message_id=f"settle-{number}")
        else:
            taken[what] = hub.reverse(number, message_id=f"reverse-{number}")

    names = ("reverse", "settle") if turned else ("settle", "reverse")
    threads = [threading.Thread(target=send, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken["settle"], taken["reverse"]


def test_settlements_and_reversals_race_while_the_hub_works(database_url):
    """The reversal falls into every moment of a running case: nothing may stand in any payer's book."""
    payers = three_payers()
    with a_hub(database_url, payers=payers) as hub:
        for number in range(RACES):
            settled, reversed_ = race(hub, f"S-{number}", turned=number % 3 == 0)
            assert reversed_.error is None
            assert settled.error is None or settled.error.code == "settlement.reversed_before"

        def undone() -> bool:
            return all(json.loads(hub.query(f"S-{n}").answer)["status"] == "cancelled" for n in range(RACES))

        eventually(undone, 60)
        assert [payer.net_fen for payer in payers.values()] == [0, 0, 0]
