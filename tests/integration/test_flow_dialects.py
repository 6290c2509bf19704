"""Cases whose insurers speak dialects of their own, from the hospital's message to the parties' books."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from sandbox.faults import Fault, FaultKind
from sandbox.parties_dialects import (
    GUANGXI_BASIC,
    PINGJIA,
    RECORDED_BASIC,
    RECORDED_REGION,
    YONGTAI,
    YONGTAI_PRODUCT,
)
from sandbox.rules_dialects import dialect_rule_book
from sandbox.server import CastSettings, Sandbox
from schemas.payer import Operation
from schemas.transactions import Transaction
from tests.support.dialect_payers import a_stay
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub

HOSPITAL = a_stay().institution
RECORDING_HOSPITAL = f"H{RECORDED_REGION}00001"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CastSettings(dialects=True)) as started:
        yield started


@contextmanager
def a_dialect_hub(database_url: str, sandbox: Sandbox) -> Iterator[TestHub]:
    with a_hub(database_url, **dialect_rule_book(sandbox.endpoints())) as hub:
        yield hub


def a_message(settlement_no: str, **changes: Any) -> dict[str, Any]:
    message: dict[str, Any] = orjson.loads(a_stay(settlement_no=settlement_no).model_dump_json(exclude_none=True))
    message["visit"]["visit_no"] = f"V-{settlement_no}"
    return message | changes


def cancel(hub: TestHub, settlement_no: str, institution: str = HOSPITAL) -> str:
    message = {"institution": institution, "settlement_no": settlement_no, "cancel_no": "C-1", "reason": "退费"}
    return hub.send(Transaction.CANCEL, message, party=institution).case_id


def borne(sandbox: Sandbox, settlement_no: str) -> dict[str, int]:
    """What the parties' books say of one settlement, whole fen; nothing is left out."""
    found = {}
    for code in (GUANGXI_BASIC, YONGTAI, PINGJIA):
        entries = [one for one in sandbox.books[code].entries() if one.settlement_no == settlement_no]
        found[code] = sum(one.effect_fen for one in entries)
    return found


def told(answer: dict[str, Any]) -> dict[str, int]:
    return {share["payer"]: round(float(share["amount"]) * 100) for share in answer["shares"]}


def test_three_dialects_settle_a_stay_and_take_it_back(database_url, sandbox):
    with a_dialect_hub(database_url, sandbox) as hub:
        case_id = hub.send(Transaction.SETTLE, a_message("S-A"), party=HOSPITAL).case_id
        answer = hub.answered(case_id)

        assert answer["status"] == "settled"
        assert [share["payer"] for share in answer["shares"]] == [GUANGXI_BASIC, YONGTAI, PINGJIA]
        assert min(told(answer).values()) > 0
        assert borne(sandbox, "S-A") == told(answer)

        cancel(hub, "S-A")

        assert hub.answered(case_id, revision=2)["status"] == "cancelled"
        assert set(borne(sandbox, "S-A").values()) == {0}


def test_a_lost_answer_is_asked_for_by_the_query(database_url, sandbox):
    sandbox.set_faults(YONGTAI, [Fault(kind=FaultKind.LOST_ANSWER, count=1, operation=Operation.SETTLE)])
    with a_dialect_hub(database_url, sandbox) as hub:
        case_id = hub.send(Transaction.SETTLE, a_message("S-LOST"), party=HOSPITAL).case_id

        answer = hub.answered(case_id)

        assert (answer["status"], borne(sandbox, "S-LOST")) == ("settled", told(answer))


def test_what_the_basic_system_adjudicated_is_told_to_both_insurers_and_taken_back(database_url, sandbox):
    figures = {"own_pay": "1500.00", "first_self_pay": "1500.00", "in_scope": "27000.00", "deductible": "600.00"}
    message = a_message(
        "S-B",
        institution=RECORDING_HOSPITAL,
        region=RECORDED_REGION,
        adjudicated=[
            {"layer": "basic", "payer": RECORDED_BASIC, "amount": "15000.00", "figures": figures},
            {"layer": "critical_illness", "payer": YONGTAI, "product": YONGTAI_PRODUCT, "amount": "4321.00"},
            {"layer": "supplementary", "payer": PINGJIA, "amount": "1234.56"},
        ],
    )
    message["insurance"]["region"] = RECORDED_REGION
    with a_dialect_hub(database_url, sandbox) as hub:
        taken = hub.send(Transaction.ADJUDICATION_UPLOAD, message, party=RECORDING_HOSPITAL)
        assert taken.error is None
        case_id = taken.case_id

        assert hub.answered(case_id)["status"] == "settled"
        recorded = {GUANGXI_BASIC: 0, YONGTAI: 4_321_00, PINGJIA: 1_234_56}
        assert eventually(lambda: borne(sandbox, "S-B") == recorded)

        cancel(hub, "S-B", RECORDING_HOSPITAL)

        assert hub.answered(case_id, revision=2)["status"] == "cancelled"
        assert eventually(lambda: set(borne(sandbox, "S-B").values()) == {0})
