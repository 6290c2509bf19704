"""A command that overtakes the end of the call before it: the answer is stored, and its process has not said so yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hub.outcomes import Finished
from routing.states import LegState
from tests.support.builders import BASIC, CRITICAL, StubPayer, lost_after_effect, pays
from tests.support.hub_in_process import TestHub, a_hub


def right_after_each_commit(hub: TestHub, look: Callable[[], None]) -> None:
    """Do something each time answers have been stored, before their calls count as over."""
    assert hub.hub.legs is not None
    applier = hub.hub.legs._applier
    original = applier.apply

    def apply(batch: Sequence[Finished]) -> list:
        verdicts = original(batch)
        look()
        return verdicts

    applier.apply = apply


def first_command(hub: TestHub, seen: list[tuple[str, bytes, Any]]) -> Callable[[], None]:
    """Handle the first command the moment that it is in the outbox: payer, body and verdict go into `seen`."""

    def look() -> None:
        if not seen:
            seen.extend((payer, body, hub.handle(payer, body)[0]) for payer, body in hub.commands())

    return look


def come_again(hub: TestHub, seen: list[tuple[str, bytes, Any]]) -> None:
    """A second later, and without a sweep."""
    hub.clock.advance(seen[0][2].delay_s)
    for payer, body, _ in seen:
        hub.handle(payer, body)
    hub.pump()


@pytest.mark.parametrize("undo", ["cancel", "reverse"])
def test_an_undo_that_overtakes_the_end_of_the_claim_comes_again_by_itself(database_url, undo):
    seen: list[tuple[str, bytes, Any]] = []
    with a_hub(database_url, running=False) as hub:

        def undone_meanwhile(payer: StubPayer, task):
            getattr(hub, undo)()
            return pays(payer, task)

        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        hub.payers[CRITICAL].script.append(undone_meanwhile)
        (_, claim), *_ = hub.commands()
        right_after_each_commit(hub, first_command(hub, seen))
        hub.handle(CRITICAL, claim)

        assert hub.case(case_id).legs[1].state is LegState.CANCELLING
        # One command for the claim that was under way when the undo came, one for the undo itself.
        assert [(payer, verdict.kind.value, verdict.delay_s) for payer, _, verdict in seen] == 2 * [
            (CRITICAL, "retry", 1)
        ]
        come_again(hub, seen)
        assert hub.answers(case_id)[-1]["status"] == "cancelled"
        assert [operation for operation, _ in hub.payers[CRITICAL].calls] == ["settle", "cancel"]
        assert [payer.net_fen for payer in hub.payers.values()] == [0, 0]


def test_a_reversal_that_comes_while_an_inquiry_is_under_way_follows_it(database_url):
    seen: list[tuple[str, bytes, Any]] = []
    payers = {CRITICAL: StubPayer(idempotent=False, inquiry=True, reversal=True, script=[lost_after_effect])}
    with a_hub(database_url, payers=payers, running=False) as hub:

        def undone_meanwhile(payer: StubPayer, task):
            hub.cancel()
            first_command(hub, seen)()
            return pays(payer, task)

        case_id = hub.settle().case_id
        hub.handle(BASIC, hub.commands()[0][1])
        (_, command), *_ = hub.commands()
        hub.handle(CRITICAL, command)
        hub.payers[CRITICAL].script.append(undone_meanwhile)
        hub.clock.advance(1)
        hub.handle(CRITICAL, command)

        assert hub.case(case_id).legs[1].state is LegState.REVERSING
        assert [(payer, verdict.kind.value, verdict.delay_s) for payer, _, verdict in seen] == [(CRITICAL, "retry", 1)]
        come_again(hub, seen)
        assert hub.answers(case_id)[-1]["status"] == "cancelled"
        assert [payer.net_fen for payer in hub.payers.values()] == [0, 0]


def test_a_second_command_for_an_undo_under_way_does_not_come_again_and_again(database_url):
    seen: list[tuple[str, bytes, Any]] = []
    with a_hub(database_url, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.cancel()
        (payer, command), *_ = hub.commands()

        def doubled(stub: StubPayer, task):
            hub.clock.advance(60)  # a call that outlives its own time is still under way
            seen.append((payer, command, hub.handle(payer, command)[0]))
            return pays(stub, task)

        hub.payers[CRITICAL].script.append(doubled)
        hub.handle(payer, command)
        hub.pump()

        assert [verdict.kind.value for _, _, verdict in seen] == ["ack"]
        assert hub.answers(case_id)[-1]["status"] == "cancelled"
