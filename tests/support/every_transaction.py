"""One whole life of hospitals, patients and master data, with every canonical transaction in it at least once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routing.days import CHINA_STANDARD_TIME
from schemas.transactions import SPECS, Channel, Transaction
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    CRITICAL,
    CRITICAL_RULE,
    HOSPITAL,
    QUEUE_INSURER,
    REGION,
    a_party,
    a_rule,
    a_settle_request,
)
from tests.support.master_data import a_mapping, a_person, an_enrolment, an_item
from tests.support.visit_builders import (
    a_discharge,
    a_fees_upload,
    a_line,
    a_stay_to_settle,
    an_admission,
    an_undo,
)

T = Transaction
TOTAL_FEN = 30_000
RECORDED_REGION = "450200"
RECORDED_BASIC = f"BASIC-{RECORDED_REGION}"
RECORDING_HOSPITAL = "H45020000001"
QUEUE_REGION = "440400"
QUEUE_HOSPITAL = "H44040000001"
RULES = (
    BASIC_RULE | {"when": {"regions": [REGION, QUEUE_REGION]}},
    CRITICAL_RULE | {"when": {"regions": [REGION]}},
    a_rule("queue", "supplementary", QUEUE_INSURER, when={"regions": [QUEUE_REGION]}),
    a_rule(
        "recorded",
        "basic",
        RECORDED_BASIC,
        when={"regions": [RECORDED_REGION]},
        adjudicated_by="basic",
        called="post_upload",
    ),
)
PARTIES = (
    a_party(BASIC, "basic", region=REGION, amqp=True),
    a_party(RECORDED_BASIC, "basic", region=RECORDED_REGION, link="files"),
)
_TABLE = {"amqp": True, "link": "staging", "staging": {"poll_s": 0.05}}
INSTITUTIONS = [
    {"code": HOSPITAL, "name": "一院", "region": REGION, "visits": "optional", **_TABLE},
    {"code": RECORDING_HOSPITAL, "name": "二院", "region": RECORDED_REGION, "visits": "optional", **_TABLE},
    {"code": QUEUE_HOSPITAL, "name": "三院", "region": QUEUE_REGION, "amqp": True},
]


@dataclass(frozen=True)
class Said:
    """One message and who sends it."""

    transaction: Transaction
    message: dict[str, Any]
    party: str = HOSPITAL


def a_life(way: str) -> Iterator[Said]:
    """The messages in an order that works; their numbers begin with `way`, so that lives do not meet."""
    yield from _master_data(way)
    yield from _a_visit_taken_back(way)
    yield from _a_stay(way)
    yield from _what_was_adjudicated_elsewhere(way)
    yield from _clearing(way)


def a_life_in(channel: Channel) -> Iterator[Said]:
    """What of a life may come by this way, without what was said again only because something was taken back."""
    said_of = set()
    for said in a_life(channel.name):
        visit = (said.transaction, said.message.get("visit_no"), said.message.get("settlement_no"))
        may_be_said = channel in SPECS[said.transaction].channels and said.transaction not in MASTER_ROWS
        undone = channel in SPECS[T.FEES_CANCEL].channels
        if may_be_said and (undone or visit not in said_of):
            yield said
        said_of.add(visit)


def by_the_basic_system(said: Said) -> Said:
    """The same about the hospital of the region whose basic system brings files, said by that system."""
    text = json.dumps(said.message).replace(HOSPITAL, RECORDING_HOSPITAL).replace(f'"{REGION}"', f'"{RECORDED_REGION}"')
    return Said(said.transaction, json.loads(text), RECORDED_BASIC)


def upload(way: str, row: Mapping[str, Any], sender: str = BASIC) -> dict[str, Any]:
    """A message with one row of master data."""
    return {"sender": sender, "request_no": f"{way}-U", "rows": [dict(row)]}


MASTER_ROWS: dict[Transaction, tuple[dict[str, Any], str]] = {
    T.POPULATION_IMPORT: (a_person(), BASIC),
    T.ENROLMENT_IMPORT: (an_enrolment(), BASIC),
    T.CATALOGUE_UPLOAD: (an_item(), BASIC),
    T.DISEASE_UPLOAD: ({"code": "J18", "name": "肺炎", "valid_from": "2026-01-01"}, BASIC),
    T.INSTITUTION_UPLOAD: ({"code": HOSPITAL, "name": "一院", "region": REGION, "valid_from": "2026-01-01"}, BASIC),
    T.STAFF_UPLOAD: ({"institution": HOSPITAL, "code": "D1", "name": "医师", "valid_from": "2026-01-01"}, HOSPITAL),
    T.MAPPING_UPLOAD: (a_mapping(), HOSPITAL),
    T.BLACKLIST_IMPORT: (
        {"kind": "staff", "subject": "D2", "action": "flag", "reason": "核查", "valid_from": "2026-01-01"},
        BASIC,
    ),
}
"""A row of each kind and who brings it."""


def _master_data(way: str) -> Iterator[Said]:
    for transaction, (row, sender) in MASTER_ROWS.items():
        yield Said(transaction, upload(way, row, sender), sender)
    who = a_person()
    yield Said(T.IDENTITY_CONFIRM, {"institution": HOSPITAL, **{key: who[key] for key in ("id_type", "id_no", "name")}})


def _a_visit_taken_back(way: str) -> Iterator[Said]:
    visit = f"{way}-0"
    yield Said(T.ADMISSION_REGISTER, an_admission(visit, f"{visit}-A"))
    yield Said(T.ADMISSION_CANCEL, an_undo(f"{visit}-AC", visit))


def _a_stay(way: str) -> Iterator[Said]:
    visit = f"{way}-1"
    lines = [a_line("1", TOTAL_FEN)]
    yield Said(T.ADMISSION_REGISTER, an_admission(visit, f"{visit}-A"))
    yield Said(T.ADMISSION_CHANGE, an_admission(visit, f"{visit}-B", bed="12"))
    yield Said(T.FEES_UPLOAD, a_fees_upload(lines, f"{visit}-F1", visit))
    yield Said(T.FEES_CANCEL, an_undo(f"{visit}-FC", visit))
    yield Said(T.FEES_UPLOAD, a_fees_upload(lines, f"{visit}-F2", visit))
    yield Said(T.FEES_QUERY, {"institution": HOSPITAL, "visit_no": visit})
    yield Said(T.TRIAL, a_stay_to_settle(TOTAL_FEN, f"{way}-T", visit))
    yield Said(T.DISCHARGE_REGISTER, a_discharge(visit, f"{visit}-D1"))
    yield Said(T.DISCHARGE_CANCEL, an_undo(f"{visit}-DC", visit))
    yield Said(T.DISCHARGE_REGISTER, a_discharge(visit, f"{visit}-D2"))
    for number, undo in (("S1", T.CANCEL), ("S2", T.REVERSE)):
        of = {"institution": HOSPITAL, "settlement_no": f"{way}-{number}"}
        yield Said(T.SETTLE, a_stay_to_settle(TOTAL_FEN, f"{way}-{number}", visit))
        yield Said(T.QUERY, of)
        undo_no = {"cancel_no" if undo is T.CANCEL else "reverse_no": f"{way}-{number}-U", "reason": "退费"}
        yield Said(undo, of | undo_no)


def _what_was_adjudicated_elsewhere(way: str) -> Iterator[Said]:
    message = a_settle_request(TOTAL_FEN, f"{way}-B", institution=RECORDING_HOSPITAL, region=RECORDED_REGION)
    message["insurance"]["region"] = RECORDED_REGION
    figures = {"own_pay": "0.00", "first_self_pay": "0.00", "in_scope": "300.00", "deductible": "0.00"}
    share = {"layer": "basic", "payer": RECORDED_BASIC, "amount": "200.00", "figures": figures}
    yield Said(T.ADJUDICATION_UPLOAD, message | {"adjudicated": [share]}, RECORDING_HOSPITAL)


def _clearing(way: str) -> Iterator[Said]:
    today = f"{datetime.now(CHINA_STANDARD_TIME):%Y-%m-%d}"
    period = {"first": today, "last": today}
    request = {"institution": HOSPITAL, "request_no": f"{way}-C", "period": period}
    yield Said(T.CASE_CHECK, request | {"cases": []})
    sums = dict.fromkeys(("total", "payers_paid", "account", "cash"), "0.00")
    yield Said(T.FEES_SETTLE, request | {"region": REGION, "count": 0} | sums)
    yield Said(
        T.FEES_SETTLE_CANCEL,
        {"institution": HOSPITAL, "request_no": f"{way}-CC", "settle_request_no": f"{way}-C", "reason": "更正"},
    )
    payment = {"payment_no": f"{way}-P", "payer": CRITICAL, "amount": "1.00", "paid_on": today}
    yield Said(T.PAYMENT_CONFIRM, request | payment)
    line = {"institution": HOSPITAL, "settlement_no": f"{way}-S1", "amount": "1.00"}
    statement = {"party": HOSPITAL, "day": today, "count": 1, "total": "1.00", "lines": [line]}
    yield Said(T.STATEMENT_UPLOAD, statement)


def a_waiting_bill(way: str) -> Said:
    """A bill that waits for the answer of the insurer that reads a queue."""
    bill = a_settle_request(TOTAL_FEN, f"{way}-Q", institution=QUEUE_HOSPITAL, region=QUEUE_REGION)
    bill["insurance"]["region"] = QUEUE_REGION
    return Said(T.SETTLE, bill, QUEUE_HOSPITAL)


def an_answer(task: Mapping[str, Any]) -> Said:
    """What that insurer says to its task."""
    message = {"request_id": task["request_id"], "outcome": "approved", "amount": "50.00", "payer_reference": "Q-1"}
    return Said(T.CLAIM_ANSWER, message | {"decided_at": "2026-03-02T09:16:00+08:00"}, QUEUE_INSURER)
