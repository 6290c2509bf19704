"""A payer that is stopped or down costs the cashier no time, and what was put off drains without a storm."""

from __future__ import annotations

from routing.breaker import OPEN_S, BreakerState
from routing.budget import BURST_MIN
from routing.states import LegState
from tests.support.builders import (
    BASIC,
    CRITICAL,
    StubPayer,
    a_party,
    lost_after_effect,
    lost_before_effect,
    unreachable,
)
from tests.support.hub_in_process import TestHub, a_hub

FAILURES = 5


def second_share(hub: TestHub, case_id: str) -> tuple[str, str]:
    share = hub.answers(case_id)[-1]["shares"][1]
    return share["state"], share["reason_code"]


def settled(hub: TestHub, number: str) -> str:
    """A case taken as far as it goes by itself; its id."""
    case_id = hub.settle(number).case_id
    hub.pump()
    return case_id


def gate(hub: TestHub, code: str = CRITICAL):
    return hub.hub.payers[code].gate


def test_a_stopped_payer_is_deferred_at_once_and_asked_again_after_its_release(database_url):
    with a_hub(database_url, running=False) as hub:
        gate(hub).stop(True)
        case_id = settled(hub, "S-1")

        assert second_share(hub, case_id) == ("deferred", "payer_stopped")
        assert hub.answers(case_id)[0]["status"] == "partly_settled"
        assert hub.payers[CRITICAL].calls == []
        gate(hub).stop(False)
        assert second_share(hub, settled(hub, "S-2")) == ("approved", "")


def test_a_stopped_basic_system_ends_the_case_with_nothing_booked(database_url):
    with a_hub(database_url, running=False) as hub:
        gate(hub, BASIC).stop(True)

        answer = hub.answers(settled(hub, "S-1"))[0]

        assert (answer["status"], answer["cash"]) == ("declined", "300.00")
        assert answer["shares"][0]["reason_code"] == "payer_stopped"
        assert all(payer.calls == [] for payer in hub.payers.values())


def test_a_doubt_rests_while_its_payer_is_stopped_and_is_cleared_after(database_url):
    with a_hub(database_url, payers={CRITICAL: StubPayer(script=[lost_after_effect])}, running=False) as hub:
        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        command = hub.commands()[0][1]
        hub.handle(CRITICAL, command)
        gate(hub).stop(True)
        for _ in range(5):
            hub.clock.advance(60)
            hub.sweep()
            hub.commands()
            assert hub.handle(CRITICAL, command)[0].kind.value in ("retry", "ack")
        assert len(hub.payers[CRITICAL].calls) == 1
        gate(hub).stop(False)
        hub.let_pass(60)

        assert second_share(hub, case_id) == ("approved", "")
        assert hub.payers[CRITICAL].net_fen == 7_500


def test_an_undo_rests_while_its_payer_is_stopped_and_is_done_after(database_url):
    with a_hub(database_url, running=False) as hub:
        case_id = settled(hub, "S-1")
        gate(hub).stop(True)
        hub.cancel()
        (_, command), *_ = hub.commands()
        assert hub.handle(CRITICAL, command)[0].cause == "payer_stopped"
        assert hub.case(case_id).legs[1].undo_attempts == 0
        gate(hub).stop(False)
        hub.let_pass(60)

        assert hub.answers(case_id)[-1]["status"] == "cancelled"
        assert all(payer.net_fen == 0 for payer in hub.payers.values())


def brought_down(hub: TestHub) -> None:
    """As many cases as it takes until the payer counts as down."""
    for number in range(FAILURES):
        hub.settle(f"D-{number}")
        hub.handle(BASIC, hub.commands()[0][1])
        hub.handle(CRITICAL, hub.commands()[0][1])
    assert gate(hub).view().breaker is BreakerState.OPEN


def silent(calls: int = FAILURES) -> StubPayer:
    return StubPayer(idempotent=False, script=[lost_before_effect] * calls)


def test_a_payer_that_is_down_is_deferred_at_once_until_a_probe_finds_it_back(database_url):
    with a_hub(database_url, payers={CRITICAL: silent()}, running=False) as hub:
        brought_down(hub)
        case_id = settled(hub, "S-1")

        assert second_share(hub, case_id) == ("deferred", "payer_down")
        assert len(hub.payers[CRITICAL].calls) == FAILURES
        hub.clock.advance(OPEN_S)
        assert second_share(hub, settled(hub, "S-2")) == ("approved", "")
        assert gate(hub).view().breaker is BreakerState.CLOSED
        assert second_share(hub, settled(hub, "S-3")) == ("approved", "")


def test_a_probe_that_fails_keeps_the_payer_shut_for_longer(database_url):
    with a_hub(database_url, payers={CRITICAL: silent(FAILURES + 1)}, running=False) as hub:
        brought_down(hub)
        hub.clock.advance(OPEN_S)
        hub.settle("S-1")
        hub.handle(BASIC, hub.commands()[0][1])
        hub.handle(CRITICAL, hub.commands()[0][1])
        hub.clock.advance(OPEN_S)

        assert second_share(hub, settled(hub, "S-2")) == ("deferred", "payer_down")
        assert len(hub.payers[CRITICAL].calls) == FAILURES + 1
        hub.clock.advance(OPEN_S)
        assert second_share(hub, settled(hub, "S-3")) == ("approved", "")


def test_a_payer_without_a_breaker_is_asked_however_often_it_fails(database_url):
    payers = {CRITICAL: silent(FAILURES + 3)}
    with a_hub(database_url, payers=payers, parties=[a_party(CRITICAL, breaker_failures=0)], running=False) as hub:
        for number in range(FAILURES + 3):
            settled(hub, f"S-{number}")

        assert len(payers[CRITICAL].calls) == FAILURES + 3


def test_a_claim_behind_a_breaker_that_opened_meanwhile_is_deferred(database_url):
    """Provably nothing left: there is no doubt, and no reason to wait for a payer that is down."""
    with a_hub(database_url, payers={CRITICAL: StubPayer(script=[unreachable] * 40)}, running=False) as hub:
        for number in range(3):
            case_id = settled(hub, f"S-{number}")

        assert second_share(hub, case_id) == ("deferred", "payer_down")
        assert hub.case(case_id).legs[1].state is LegState.DEFERRED


def test_repeats_beyond_the_budget_rest_and_drain(database_url):
    cases = 40
    payers = {CRITICAL: StubPayer(script=[lost_after_effect] * cases)}
    no_breaker = a_party(CRITICAL, breaker_failures=0)
    with a_hub(database_url, payers=payers, parties=[no_breaker], running=False) as hub:
        ids = [hub.settle(f"S-{number}").case_id for number in range(cases)]
        hub.handle(BASIC, *[body for _, body in hub.commands()])
        commands = [body for _, body in hub.commands()]
        hub.handle(CRITICAL, *commands)
        assert len(payers[CRITICAL].calls) == cases
        hub.clock.advance(1)
        verdicts = hub.handle(CRITICAL, *commands)

        rested = [verdict for verdict in verdicts if verdict.cause == "retry_budget"]
        assert len(payers[CRITICAL].calls) == 2 * cases - len(rested)
        # In that second the budget grew by half of the cases at most, beside a full bucket.
        assert len(rested) >= cases - cases / 2 - BURST_MIN > 0
        assert gate(hub).view().retries_held == len(rested)
        hub.let_pass(5, 5, 5, *[60.0] * 5)
        assert {second_share(hub, case_id) for case_id in ids} == {("approved", "")}
        assert len(payers[CRITICAL].settled) == cases
        assert payers[CRITICAL].net_fen == 7_500 * cases
