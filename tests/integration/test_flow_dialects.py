"""Cases whose insurers speak dialects of their own, from the hospital's message to the parties' books."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from sqlalchemy import text

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
def a_dialect_hub(database_url: str, sandbox: Sandbox, *, running: bool = True) -> Iterator[TestHub]:
    with a_hub(database_url, running=running, **dialect_rule_book(sandbox.endpoints())) as hub:
        yield hub


def a_book_of_notices(sandbox: Sandbox) -> dict[str, Any]:
    """YONGTAI and PINGJIA are told of stays and lines as they come; the hospitals keep visits."""
    options = {YONGTAI: {"flow": "after_notices"}, PINGJIA: {"fees": "by_notice", "fee_lines_max": "2"}}
    book = dialect_rule_book(sandbox.endpoints(), options=options)
    for institution in book["institutions"]:
        institution["visits"] = "optional"
    for party in book["parties"]:
        if party["code"] in options:
            party["notices"] += ["fees.upload"] + ["admission.register"] * (party["code"] == YONGTAI)
    return book


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


def test_what_visits_told_before_is_not_told_again_with_the_settlement(database_url, sandbox):
    message = a_message("S-V")
    who = {"institution": HOSPITAL, "visit_no": "V-S-V"}
    admission = who | {name: message[name] for name in ("region", "patient", "insurance", "diagnoses")}
    admission |= {"kind": "inpatient", "medical_type": "21", "admitted_at": message["visit"]["started_at"]}
    diagnoses = message["diagnoses"]
    discharge = who | {"request_no": "D", "discharged_at": message["visit"]["ended_at"], "diagnoses": diagnoses}
    upload = who | {"request_no": "F", "batch_no": "B", "lines": message["fees"]}
    told_of = [
        (Transaction.ADMISSION_REGISTER, admission | {"request_no": "A"}),
        (Transaction.FEES_UPLOAD, upload),
        (Transaction.DISCHARGE_REGISTER, discharge),
    ]
    with a_hub(database_url, **a_book_of_notices(sandbox)) as hub:
        for transaction, body in told_of:
            assert hub.send(transaction, body, party=HOSPITAL).error is None
        assert eventually(lambda: states_of_notices(hub) == {"taken"})

        answer = hub.answered(hub.send(Transaction.SETTLE, message, party=HOSPITAL).case_id)

        assert (answer["status"], borne(sandbox, "S-V")) == ("settled", told(answer))
        assert min(told(answer).values()) > 0


def test_a_lost_answer_that_nobody_can_be_asked_about_stays_open(database_url, sandbox):
    sandbox.set_faults(PINGJIA, [Fault(kind=FaultKind.LOST_ANSWER, count=1, operation=Operation.SETTLE)])
    with a_dialect_hub(database_url, sandbox, running=False) as hub:
        case_id = hub.send(Transaction.SETTLE, a_message("S-OPEN"), party=HOSPITAL).case_id
        hub.pump()
        hub.let_pass(30, 600)

        answer = hub.answers(case_id)[-1]

        assert [share["state"] for share in answer["shares"]] == ["approved", "approved", "in_doubt"]
        assert borne(sandbox, "S-OPEN")[PINGJIA] > 0, "the insurer has paid, and the hub did not guess"


def states_of_notices(hub: TestHub) -> set[str]:
    with hub.database.connect() as connection:
        return {row.state for row in connection.execute(text("SELECT state FROM notice"))}
