"""How a doubt ends, by what the payer's interface can be trusted with: its own word, a reversal, or people."""

from __future__ import annotations

import random

import pytest

from routing.states import CaseState, LegState
from tests.support.builders import (
    BASIC_RULE,
    COMMERCIAL,
    COMMERCIAL_RULE,
    CRITICAL,
    CRITICAL_RULE,
    StubPayer,
    a_party,
    finds_nothing,
    lands_later,
    lost_after_effect,
    lost_after_refusal,
    lost_before_effect,
    unreachable,
)
from tests.support.hub_in_process import TestHub, a_hub

EVERYBODY = (BASIC_RULE, CRITICAL_RULE, COMMERCIAL_RULE)
DAY_S = 86_400.0


def operations(payer: StubPayer) -> list[str]:
    return [operation for operation, _ in payer.calls]


def share(hub: TestHub, case_id: str, index: int = 1) -> dict:
    return hub.answers(case_id)[-1]["shares"][index]


def inquirer(*script, **changes) -> StubPayer:
    return StubPayer(**{"idempotent": False, "inquiry": True, "script": list(script)} | changes)


@pytest.mark.parametrize(
    ("trouble", "state", "amount", "cash"),
    [(lost_after_effect, "approved", "75.00", "75.00"), (lost_after_refusal, "declined", "0.00", "150.00")],
)
def test_a_payer_that_can_be_asked_tells_what_became_of_the_claim(database_url, trouble, state, amount, cash):
    payers = {CRITICAL: inquirer(trouble)}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()

        answer = hub.answers(case_id)[-1]

        assert (share(hub, case_id)["state"], share(hub, case_id)["amount"]) == (state, amount)
        assert (answer["status"], answer["final"], answer["cash"]) == ("settled", True, cash)
        assert operations(payers[CRITICAL]) == ["settle", "inquire"]


def test_a_claim_that_surely_never_came_is_deferred_and_not_sent_again(database_url):
    payers = {CRITICAL: inquirer(lost_before_effect)}
    with a_hub(database_url, *EVERYBODY, payers=payers, running=False) as hub:
        hub.cover()
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 60, 60)

        assert (share(hub, case_id)["state"], share(hub, case_id)["reason_code"]) == ("deferred", "not_received")
        assert hub.answers(case_id)[-1]["final"]
        assert operations(payers[CRITICAL]) == ["settle", "inquire", "inquire"]
        assert len({request_id for _, request_id in payers[CRITICAL].calls}) == 3
        assert hub.payers[COMMERCIAL].calls == []


@pytest.mark.parametrize("reversal", [False, True])
def test_a_first_not_found_of_a_payer_that_booked_it_is_not_believed(database_url, reversal):
    payers = {CRITICAL: inquirer(lost_after_effect, finds_nothing, reversal=reversal)}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 60)

        assert (share(hub, case_id)["state"], share(hub, case_id)["amount"]) == ("approved", "75.00")
        assert payers[CRITICAL].net_fen == 7_500
        assert operations(payers[CRITICAL])[0] == "settle"
        assert set(operations(payers[CRITICAL])[1:]) == {"inquire"}


def test_a_claim_that_is_booked_between_two_inquiries_counts(database_url):
    payers = {CRITICAL: inquirer(lands_later)}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        (_, command), *_ = hub.commands()
        hub.handle("BASIC-440300", command)
        (_, command), *_ = hub.commands()
        assert hub.handle(CRITICAL, command)[0].kind.value == "retry"
        hub.clock.advance(1)
        assert hub.handle(CRITICAL, command)[0].delay_s == pytest.approx(10, abs=0.5)
        payers[CRITICAL].land()
        hub.let_pass(10, 60)

        assert share(hub, case_id)["state"] == "approved"
        assert payers[CRITICAL].net_fen == 7_500


def test_where_a_payer_can_a_claim_not_found_is_blocked_before_it_is_given_up(database_url):
    payers = {CRITICAL: inquirer(lands_later, reversal=True)}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, 60, 60)
        payers[CRITICAL].land()

        assert operations(payers[CRITICAL])[-1] == "reverse"
        assert hub.case(case_id).legs[1].state is LegState.REVERSED
        assert (payers[CRITICAL].net_fen, hub.answers(case_id)[-1]["cash"]) == (0, "150.00")


@pytest.mark.parametrize("trouble", [lost_after_effect, lost_before_effect, lands_later])
@pytest.mark.parametrize("policy", ["keep", "reverse"])
def test_a_payer_that_can_only_reverse_is_reversed_when_nobody_waits_any_more(database_url, trouble, policy):
    payers = {CRITICAL: StubPayer(idempotent=False, reversal=True, script=[trouble])}
    party = a_party(CRITICAL, late_approval=policy)
    with a_hub(database_url, payers=payers, parties=[party], running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        assert operations(payers[CRITICAL]) == ["settle"]
        hub.let_pass(20)
        payers[CRITICAL].land()

        first, last = hub.answers(case_id)[0], hub.answers(case_id)[-1]
        assert [first["shares"][1]["state"], last["shares"][1]["state"]] == ["in_doubt", "cancelled"]
        assert (first["final"], last["final"], last["cash"]) == (False, True, "150.00")
        assert operations(payers[CRITICAL]) == ["settle", "reverse"]
        assert payers[CRITICAL].net_fen == 0


def test_a_doubt_that_no_interface_can_end_is_left_to_people(database_url):
    payers = {CRITICAL: StubPayer(idempotent=False, script=[lost_after_effect])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.settle().case_id
        commands = [hub.commands()[0][1]]
        hub.handle("BASIC-440300", *commands)
        command = hub.commands()[0][1]
        hub.handle(CRITICAL, command)
        hub.let_pass(20, 120, 3_600, DAY_S, DAY_S, DAY_S)
        for _ in range(3):
            hub.handle(CRITICAL, command)

        case = hub.case(case_id)
        assert (case.state, case.legs[1].state, case.legs[1].next_at) == (CaseState.OPEN, LegState.IN_DOUBT, None)
        assert case.legs[1].doubt_since is not None
        assert operations(payers[CRITICAL]) == ["settle"]
        assert [one["final"] for one in hub.answers(case_id)] == [False]


@pytest.mark.parametrize("inquiry", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_payer_whose_repeats_are_not_harmless_never_hears_a_claim_twice(database_url, seed, inquiry):
    """Whatever is lost, delivered again, in another order, or swept."""
    chance = random.Random(seed)
    troubles = [lost_after_effect, lost_before_effect, lands_later, finds_nothing if inquiry else lost_after_refusal]
    payer = StubPayer(idempotent=False, inquiry=inquiry, script=[chance.choice(troubles) for _ in range(3)])
    with a_hub(database_url, payers={CRITICAL: payer}, running=False) as hub:
        for number in range(3):
            hub.settle(f"S-{number}")
        for _ in range(4):
            hub.pump(chance=chance)
            hub.clock.advance(chance.choice([1, 8, 40, 400]))
            hub.sweep()
            hub.sweep()
        payer.land()

    claims = [request_id for operation, request_id in payer.calls if operation == "settle"]
    assert len(claims) == len(set(claims)) == 3
    assert len(payer.settled) <= 3


def test_what_the_rule_book_denies_a_payer_is_not_used(database_url):
    """Its adapter knows how; this party's interface cannot be trusted with it."""
    payers = {CRITICAL: StubPayer(idempotent=True, inquiry=True, script=[lost_after_effect])}
    party = a_party(CRITICAL, lacks=["idempotent_submit"])
    with a_hub(database_url, payers=payers, parties=[party], running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()

        assert operations(payers[CRITICAL]) == ["settle", "inquire"]
        assert share(hub, case_id)["state"] == "approved"


def test_inquiries_that_bring_nothing_come_to_an_end_with_people(database_url):
    payers = {CRITICAL: inquirer(lost_after_effect, *[unreachable, lost_before_effect] * 50)}
    party = a_party(CRITICAL, breaker_failures=0)
    with a_hub(database_url, payers=payers, parties=[party], running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.let_pass(20, *[DAY_S] * 3)
        asked = len(payers[CRITICAL].calls)
        hub.let_pass(DAY_S, DAY_S)

        assert len(payers[CRITICAL].calls) == asked <= 31
        assert (hub.case(case_id).legs[1].state, hub.case(case_id).legs[1].next_at) == (LegState.IN_DOUBT, None)


def test_a_trial_that_nobody_waits_for_is_given_up(database_url):
    payers = {CRITICAL: inquirer(*[lost_before_effect] * 20)}
    with a_hub(database_url, payers=payers, running=False) as hub:
        case_id = hub.trial().case_id
        hub.pump()
        hub.let_pass(20, 60)

        assert set(operations(payers[CRITICAL])) == {"trial"}
        assert (share(hub, case_id)["state"], share(hub, case_id)["reason_code"]) == ("deferred", "time_up")
        assert hub.case(case_id).state is CaseState.SETTLED
