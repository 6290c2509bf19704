"""Cases of a region with the national interface, from the hospital's message to the region's book."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import orjson
import psycopg2
import pytest

from sandbox.basic_national import BasicNationalServer
from sandbox.faults import Fault, FaultKind
from sandbox.national_visits import Visit
from sandbox.parties_dialects import NATIONAL_BASIC
from sandbox.rules_dialects import dialect_rule_book
from sandbox.server import CastSettings, Sandbox
from schemas.codes import VisitKind
from schemas.payer import Operation
from schemas.transactions import Transaction
from tests.support.eventually import eventually
from tests.support.hub_in_process import a_hub
from tests.support.national_region import INSTITUTION, a_bill

FIRST_NUMBERS = count(0, 1_000)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CastSettings(dialects=True)) as started:
        yield started


@pytest.fixture(autouse=True)
def numbers_of_this_test(database_url: str) -> None:
    """Message numbers that no other test has used. Every test has a database of its own, which would begin at 0, and
    one region: what two tests say in the same second would have the same number, and count there as said twice."""
    with psycopg2.connect(database_url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO message_number_sequence (payer, institution, next) VALUES (%s, %s, %s)",
            (NATIONAL_BASIC, INSTITUTION, next(FIRST_NUMBERS)),
        )
    connection.close()


def a_message(settlement_no: str, kind: VisitKind = VisitKind.OUTPATIENT) -> dict[str, Any]:
    bill = a_bill(kind, settlement_no=settlement_no, visit_no=f"V-{settlement_no}")
    message: dict[str, Any] = orjson.loads(bill.model_dump_json(exclude_none=True))
    return message


def borne(sandbox: Sandbox, settlement_no: str) -> int:
    entries = sandbox.books[NATIONAL_BASIC].entries()
    return sum(one.effect_fen for one in entries if one.settlement_no == settlement_no)


def told(answer: dict[str, Any]) -> int:
    return sum(round(float(one["amount"]) * 100) for one in answer["shares"] if one["payer"] == NATIONAL_BASIC)


def test_a_stay_is_settled_and_taken_back(database_url, sandbox):
    with a_hub(database_url, **dialect_rule_book(sandbox.endpoints())) as hub:
        message = a_message("S-A", VisitKind.INPATIENT)
        case_id = hub.send(Transaction.SETTLE, message, party=INSTITUTION).case_id
        answer = hub.answered(case_id)

        assert answer["status"] == "settled"
        assert told(answer) == borne(sandbox, "S-A") > 0

        undo = {"institution": INSTITUTION, "settlement_no": "S-A", "cancel_no": "C-1", "reason": "退费"}
        hub.send(Transaction.CANCEL, undo, party=INSTITUTION)

        assert hub.answered(case_id, revision=2)["status"] == "cancelled"
        assert borne(sandbox, "S-A") == 0


def test_a_lost_answer_is_found_by_the_message_number(database_url, sandbox):
    lost = Fault(kind=FaultKind.LOST_ANSWER, count=1, operation=Operation.SETTLE)
    sandbox.set_faults(NATIONAL_BASIC, [lost])
    with a_hub(database_url, **dialect_rule_book(sandbox.endpoints())) as hub:
        case_id = hub.send(Transaction.SETTLE, a_message("S-LOST"), party=INSTITUTION).case_id

        answers = eventually(lambda: hub.answers(case_id), within_s=60)

        assert told(answers[-1]) == borne(sandbox, "S-LOST") > 0
        assert [one.settlement_no for one in sandbox.books[NATIONAL_BASIC].entries()].count("S-LOST") == 1


def test_a_conversation_whose_time_is_up_before_it_settles_books_nothing_on_either_side(database_url, sandbox):
    # A settlement is six calls here. Each of them is in time by itself.
    sandbox.set_faults(NATIONAL_BASIC, [Fault(kind=FaultKind.SLOW, seconds=0.3)])
    try:
        with a_hub(database_url, **dialect_rule_book(sandbox.endpoints())) as hub:
            due = hub.clock.now() + timedelta(seconds=1.5)
            message = a_message("S-SLOW") | {"answer_by": due.isoformat()}
            case_id = hub.send(Transaction.SETTLE, message, party=INSTITUTION).case_id

            answer = hub.answered(case_id)

            share = next(one for one in answer["shares"] if one["payer"] == NATIONAL_BASIC)
            assert (share["state"], share["reason_code"]) == ("deferred", "not_reachable")
            assert told(answer) == borne(sandbox, "S-SLOW") == 0
    finally:
        sandbox.set_faults(NATIONAL_BASIC, [])


def test_two_cases_never_share_a_message_number(database_url, sandbox):
    sandbox.set_faults(NATIONAL_BASIC, [])
    with a_hub(database_url, **dialect_rule_book(sandbox.endpoints())) as hub:
        numbers = [f"S-{number}" for number in range(6)]
        cases = [hub.send(Transaction.SETTLE, a_message(number), party=INSTITUTION).case_id for number in numbers]

        answers = [hub.answered(case_id) for case_id in cases]

        assert [told(answer) for answer in answers] == [borne(sandbox, number) for number in numbers]
        assert all(answer["status"] == "settled" for answer in answers)


TOLD = ("admission.register", "fees.upload", "fees.cancel", "discharge.register")


def a_book_that_tells(sandbox: Sandbox) -> dict[str, Any]:
    book = dialect_rule_book(sandbox.endpoints())
    for party in book["parties"]:
        if party["code"] == NATIONAL_BASIC:
            party["notices"] = list(TOLD)
            party["options"] = {**party["options"], "visits": "told"}
    for institution in book["institutions"]:
        institution["visits"] = "required"
    return book


def test_a_stay_that_was_told_of_step_by_step_is_settled_from_what_stands(database_url, sandbox):
    message = a_message("S-TOLD", VisitKind.INPATIENT)
    visit = {"schema_version": "1", "institution": INSTITUTION, "visit_no": "V-S-TOLD"}
    line = {name: message["fees"][0][name] for name in ("item_code", "item_name", "category", "level")}
    priced = {"price": "300.00", "quantity": "2", "amount": "600.00"}
    admission = {
        **visit,
        "request_no": "A-1",
        **{name: message[name] for name in ("region", "patient", "insurance", "diagnoses")},
        "kind": "inpatient",
        "medical_type": "21",
        "admitted_at": message["visit"]["started_at"],
        "department": "内科",
    }
    lines = [{**line, **priced, "line_no": number} for number in ("L1", "L2", "L3", "L4")]
    refund = {**line, **priced, "quantity": "-2", "amount": "-600.00", "line_no": "L5", "refunds": "L4"}
    discharge = {
        **visit,
        "request_no": "D-1",
        "discharged_at": message["visit"]["ended_at"],
        "diagnoses": message["diagnoses"],
    }
    with a_hub(database_url, **a_book_that_tells(sandbox)) as hub:
        told_of = (
            (Transaction.ADMISSION_REGISTER, admission),
            (Transaction.FEES_UPLOAD, {**visit, "request_no": "F-1", "batch_no": "B-1", "lines": lines}),
            (Transaction.FEES_UPLOAD, {**visit, "request_no": "F-2", "batch_no": "B-2", "lines": [refund]}),
            (Transaction.DISCHARGE_REGISTER, discharge),
        )
        for transaction, content in told_of:
            assert hub.send(transaction, content, party=INSTITUTION).error is None
        app = sandbox.cast.apps[NATIONAL_BASIC]
        assert isinstance(app, BasicNationalServer)
        person_no = message["insurance"]["person_no"]

        def standing() -> Visit | None:
            return next((one for one in app.visits.of_person(person_no, "21") if one.number == "V-S-TOLD"), None)

        eventually(lambda: (found := standing()) is not None and found.ended and len(found.lines) == 5, within_s=60)

        answer = hub.answered(hub.send(Transaction.SETTLE, message, party=INSTITUTION).case_id)

    assert answer["status"] == "settled"
    assert told(answer) == borne(sandbox, "S-TOLD") > 0
    found = standing()
    assert found is not None
    assert sorted(found.lines) == ["L1", "L2", "L3", "L4", "L5"]
