"""Refusals on the way to a settlement: they decide a first attempt, and nothing about one that may stand already."""

from __future__ import annotations

from dataclasses import replace

import orjson

from adapters.conversation import Said, transcript
from hub.broker.transport import VerdictKind
from hub.outcomes import Asked, Ending, Finished, apply_outcome
from routing.states import LegState
from schemas.codes import Outcome
from schemas.payer import Capabilities, Decision, Operation
from tests.support.builders import MOMENT, a_case, a_leg, a_rule_book
from tests.support.national_region import Client, Region, a_claim, a_region, cancel_of


def refused(call: Said, why: str) -> Said:
    answer = orjson.loads(call.answer) | {"infcode": -1, "err_msg": why, "output": {}}
    return replace(call, answer=orjson.dumps(answer))


def told(region: Region, last: str, **refusals: str) -> Decision:
    """What a client makes of a settlement that was said up to `last`, where these calls were refused."""
    client: Client = region.client(repeats_harmless="yes")
    said = client.calls(a_claim())
    kept = said[: [call.name for call in said].index(last) + 1]
    calls = [refused(call, refusals[f"i{call.name}"]) if f"i{call.name}" in refusals else call for call in kept]
    return client.adapter.decode(a_claim(), transcript(calls))


def test_a_settlement_that_is_being_worked_on_is_in_doubt_whatever_its_steps_were_told() -> None:
    with a_region() as region:
        decision = told(region, "2207", i2204="费用明细已存在", i2207="该笔业务正在结算，请稍后查询")

        assert decision.outcome is Outcome.UNKNOWN


def test_a_refusal_before_the_settlement_says_so() -> None:
    with a_region() as region:
        decision = told(region, "2201", i2201="患者已登记")

        assert (decision.outcome, decision.before_effect) == (Outcome.DECLINED, True)


def test_it_decides_a_first_attempt_and_no_repeat() -> None:
    no = Decision(Outcome.DECLINED, reason_zh="患者已登记", before_effect=True)
    asked = Asked(a_rule_book().parties[0], Capabilities(idempotent_submit=True))
    found = {}
    for state in (LegState.CLAIMED, LegState.IN_DOUBT):
        leg = a_leg(1, state, attempts=1, left_fen=30_000)
        done = Finished(leg.case_id, 1, Operation.SETTLE, leg.request_id, 1, Ending.DECIDED, no)
        verdict = apply_outcome(a_case(leg), leg, done, asked, MOMENT)
        found[state] = leg.state, verdict.kind

    assert found == {
        LegState.CLAIMED: (LegState.DECLINED, VerdictKind.ACK),
        LegState.IN_DOUBT: (LegState.IN_DOUBT, VerdictKind.RETRY),
    }


def test_a_reversal_and_a_cancellation_of_one_undo_are_two_messages() -> None:
    with a_region() as region:
        client, claim = region.client(reversal_proves="yes"), a_claim()
        undo = cancel_of(claim, client.ask(claim))
        reverse = replace(undo, operation=Operation.REVERSE, original_reference=None)

        (said,), (then,) = client.calls(reverse), client.calls(undo)

        msgids = [orjson.loads(call.sent)["msgid"] for call in (said, then)]
        assert (said.name, then.name) == ("2601", "2208")
        assert len(set(msgids)) == 2
