"""A case whose last insurer speaks the Taikang type: from the hospital's message to the parties' books and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import orjson
import pytest

from routing.states import LegState
from sandbox.cast_dialects import SECRETS
from sandbox.faults import Fault, FaultKind
from sandbox.insurer_taikang import TaikangInsurer
from sandbox.parties_dialects import TAIHE, TAIHE_PRODUCT
from sandbox.rules_dialects import dialect_rule_book
from sandbox.server import CastSettings, Sandbox
from schemas.payer import Operation
from schemas.transactions import Transaction
from store import coverage
from store.coverage import CoverageRow
from store.records import LegRecord
from tests.support.dialect_payers import a_stay
from tests.support.eventually import eventually
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub

HOSPITAL = a_stay().institution
REGION = a_stay().region


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CastSettings(dialects=True)) as started:
        yield started


@contextmanager
def a_covered_hub(database_url: str, sandbox: Sandbox, folder: Any, **told: Any) -> Iterator[TestHub]:
    """A hub with TAIHE's keys, and a policy of TAIHE for the patient of `a_stay`; `told` says what it hears of."""
    keys = folder / "secrets.json"
    keys.write_text(json.dumps(SECRETS))
    book = dialect_rule_book(sandbox.endpoints())
    for party in book["parties"]:
        party |= told if party["code"] == TAIHE else {}
    for institution in book["institutions"]:
        institution["visits"] = "optional"
    with a_hub(database_url, settings_changes={"party_secrets": str(keys)}, **book) as hub:
        person = coverage.person_key(PERSON_SECRET.encode(), "01", a_stay().patient.id_no)
        row = CoverageRow(person, TAIHE_PRODUCT, "TH-20250101-00000001", REGION, date(2020, 1, 1), None)
        with hub.database.begin() as connection:
            coverage.add(connection, [row])
        yield hub


def a_message(settlement_no: str) -> dict[str, Any]:
    message: dict[str, Any] = orjson.loads(a_stay(settlement_no=settlement_no).model_dump_json(exclude_none=True))
    message["visit"]["visit_no"] = f"V-{settlement_no}"
    return message


def settled(hub: TestHub, settlement_no: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The case, its answer, and TAIHE's share in it."""
    case_id = hub.send(Transaction.SETTLE, a_message(settlement_no), party=HOSPITAL).case_id
    answer = hub.answered(case_id)
    return case_id, answer, next(share for share in answer["shares"] if share["payer"] == TAIHE)


def borne(sandbox: Sandbox, settlement_no: str) -> int:
    """What TAIHE's own book says, whole fen."""
    return sum(one.effect_fen for one in sandbox.books[TAIHE].entries() if one.settlement_no == settlement_no)


def test_a_stay_is_settled_with_what_the_others_left_and_taken_back(database_url, sandbox, tmp_path):
    with a_covered_hub(database_url, sandbox, tmp_path) as hub:
        case_id, answer, share = settled(hub, "S-T1")

        assert answer["status"] == "settled"
        assert (share["state"], share["sequence"]) == ("approved", len(answer["shares"]))
        assert borne(sandbox, "S-T1") == round(float(share["amount"]) * 100) > 0

        undo = {"institution": HOSPITAL, "settlement_no": "S-T1", "cancel_no": "C-1", "reason": "退费"}
        hub.send(Transaction.CANCEL, undo, party=HOSPITAL)

        assert hub.answered(case_id, revision=2)["status"] == "cancelled"
        assert borne(sandbox, "S-T1") == 0


def test_a_lost_answer_waits_for_a_person_and_is_booked_by_nobody(database_url, sandbox, tmp_path):
    sandbox.set_faults(TAIHE, [Fault(kind=FaultKind.LOST_ANSWER, count=1, operation=Operation.SETTLE)])
    with a_covered_hub(database_url, sandbox, tmp_path) as hub:
        case_id = hub.send(Transaction.SETTLE, a_message("S-T2"), party=HOSPITAL).case_id

        def leg() -> LegRecord:
            return next(one for one in hub.case(case_id).legs if one.payer == TAIHE)

        eventually(lambda: leg().state is LegState.IN_DOUBT, 60)
        hub.let_pass(60, 600)

        assert (leg().state, leg().amount_fen, leg().attempts) == (LegState.IN_DOUBT, 0, 1)
        assert borne(sandbox, "S-T2") > 0


def test_a_visit_is_told_as_it_goes(database_url, sandbox, tmp_path):
    sandbox.set_faults(TAIHE, [])
    told = ["admission.register", "fees.upload"]
    bill = a_message("S-T3")
    about = {"institution": HOSPITAL, "visit_no": "V-S-T3"}
    admission = about | {name: bill[name] for name in ("region", "patient", "insurance", "diagnoses")}
    admission |= {
        "request_no": "Q-1",
        "kind": "inpatient",
        "medical_type": "21",
        "admitted_at": "2026-03-02T09:15:00+08:00",
    }
    upload = about | {"request_no": "Q-2", "batch_no": "B-1", "lines": bill["fees"]}
    with a_covered_hub(database_url, sandbox, tmp_path, notices=told) as hub:
        assert hub.send(Transaction.ADMISSION_REGISTER, admission, party=HOSPITAL).error is None
        assert hub.send(Transaction.FEES_UPLOAD, upload, party=HOSPITAL).error is None

        insurer = sandbox.cast.apps[TAIHE]
        assert isinstance(insurer, TaikangInsurer)
        eventually(lambda: len(insurer.lines_of("V-S-T3")) == len(bill["fees"]), 60)
