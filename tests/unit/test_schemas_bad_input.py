"""What must be refused at the door, and that the refusal never repeats what was received."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.base import read_message
from schemas.errors import InvalidMessage, Malformed
from schemas.payer import ClaimDecision
from schemas.settlement import CancelRequest, CaseQuery, SettleRequest, TrialRequest
from tests.support.builders import a_settle_request, an_id_card, as_bytes

GOOD = a_settle_request()
CANARY = "7391-canary"


def refused(raw: bytes, model: type[Any] = SettleRequest) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as refusal:
        read_message(model, raw)
    return refusal.value


def said(error: InvalidMessage) -> str:
    return " ".join([str(error), *(f"{one.field} {one.code} {one.remedy}" for one in error.violations)])


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with another value at a dotted path."""
    message = json.loads(json.dumps(GOOD))
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    target = message
    for step in steps:
        target = target[step]
    target[last] = value
    return message


def test_the_good_message_is_good():
    assert read_message(SettleRequest, as_bytes(GOOD)).total == 30_000
    assert read_message(TrialRequest, as_bytes(GOOD)).total == 30_000


BODY = as_bytes(GOOD)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (BODY.replace(b'"total":', b'"total":"1.00","total":'), "message.malformed"),
        (BODY.replace(b'"total":', b'"total" :"1.00","total":'), "message.malformed"),
        (BODY.replace(b'"total":', b'"\\u0074otal":"1.00","total":'), "message.malformed"),
        (BODY.replace(b'"name":"\xe6', b'"name":"x","name":"\xe6'), "message.malformed"),
        (BODY.replace(b'"300.00"}', b"NaN}"), "message.malformed"),
        (BODY.replace(b'"300.00"}', b"Infinity}"), "message.malformed"),
        (BODY.replace(b'"300.00"}', b"-Infinity}"), "message.malformed"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "message.malformed"),
        (b"[" * 100_000 + b"]" * 100_000, "message.malformed"),
        (b'{"a":' * 50_000, "message.malformed"),
        (BODY.replace("欧阳".encode(), b"\\ud800"), "message.malformed"),
        (BODY.replace("欧阳".encode(), b"\\udc00\\ud800"), "message.malformed"),
        (BODY.replace("欧阳".encode(), b"\\u0000"), "message.malformed"),
        (BODY.replace("欧阳".encode(), b"\x00"), "message.malformed"),
        (BODY.replace("欧阳".encode(), b"\\b"), "message.malformed"),
        (BODY.replace("欧阳".encode(), b"\\f"), "message.malformed"),
        (BODY.replace("欧阳".encode(), b"\\u200b"), "message.malformed"),
        (BODY.replace("欧阳".encode(), "\u200b".encode()), "message.malformed"),
        (BODY.replace("欧阳".encode(), "\u202e".encode()), "message.malformed"),
        (BODY.replace("欧阳".encode(), b"\\u202E"), "message.malformed"),
        (BODY.replace("欧阳".encode(), b"\x7f"), "message.malformed"),
        (BODY.replace("欧阳".encode(), "\x85".encode()), "message.malformed"),
        (b"\xef\xbb\xbf" + BODY, "message.malformed"),
        (BODY.decode().encode("utf-16"), "message.malformed"),
        (BODY.decode().encode("gbk"), "message.malformed"),
        (BODY + b"x", "message.malformed"),
        (BODY + BODY, "message.malformed"),
        (BODY[:-1], "message.malformed"),
        (b"", "message.malformed"),
        (b"{'a': 1}", "message.malformed"),
        (b'{"a":1,}', "message.malformed"),
        (b'{"a":/* */1}', "message.malformed"),
        (b'{"a":"' + b"x" * 1024 * 1024 + b'"}', "message.too_large"),
    ],
    ids=range(33),
)
def test_what_is_no_strict_json_is_malformed(raw, code):
    error = refused(raw)

    assert isinstance(error, Malformed)
    assert error.code == code
    assert len(said(error)) < 200


@pytest.mark.parametrize(
    "raw", [b"[]", b"1", b"null", b'"x"', b"{}", b"9" * 5_000, b'{"total":' + b"9" * 5_000 + b"}"], ids=range(7)
)
def test_other_json_is_no_message(raw):
    assert "999" not in said(refused(raw))


@pytest.mark.parametrize(
    "amount",
    [
        300,
        300.0,
        True,
        None,
        [],
        {},
        "",
        " 300.00",
        "300.00 ",
        "300.00\n",
        "3E2",
        "1e5",
        "+300.00",
        "-300.00",
        "-0",
        "-0.00",
        "0.001",
        "300.000",
        ".5",
        "5.",
        "3_00",
        "300,00",
        "1,300.00",
        "３００.00",
        "٣٠٠.00",
        "NaN",
        "Infinity",
        "0x10",
        "100000000000.00",
        "9" * 5_000,
        "300.00元",
    ],
    ids=repr,
)
@pytest.mark.parametrize("field", ["total", "fees.0.amount"])
def test_money_is_yuan_text_with_at_most_two_decimals(field, amount):
    error = refused(as_bytes(changed(field, amount)))

    path = "total" if field == "total" else "fees[0].amount"
    assert [(one.field, one.code) for one in error.violations] == [(path, "money")]
    if isinstance(amount, str) and len(amount.strip()) > 3:
        assert amount.strip() not in said(error)


@pytest.mark.parametrize(
    ("field", "value", "where", "code"),
    [
        ("total", "299.99", "total", "bill.total"),
        ("total", "300.01", "total", "bill.total"),
        ("fees.0.amount", "300.01", "fees[0].amount", "fee.amount"),
        ("fees.0.quantity", "1.0001", "fees[0].amount", "fee.amount"),
        ("fees.0.quantity", "1e0", "fees[0].quantity", "decimal"),
        ("fees.0.quantity", "1.00001", "fees[0].quantity", "decimal"),
        ("fees.0.quantity", "-1", "fees[0].quantity", "decimal"),
        ("fees.0.price", "300.0000001", "fees[0].price", "decimal"),
        ("fees.0", GOOD["fees"][0] | {"price": "9" * 10, "quantity": "9" * 10}, "fees[0].amount", "fee.amount"),
        ("fees.0.price", 300, "fees[0].price", "decimal"),
        ("fees.0.category", "99", "fees[0].category", "enum"),
        ("fees", [], "fees", "too_short"),
        ("fees", GOOD["fees"] * 2, "fees", "fees.line_no"),
        ("fees", GOOD["fees"] * 2001, "fees", "too_long"),
        ("diagnoses", [], "diagnoses", "too_short"),
        ("diagnoses.0.main", False, "diagnoses", "diagnoses.main"),
        ("diagnoses", GOOD["diagnoses"] * 2, "diagnoses", "diagnoses.main"),
        ("diagnoses.0.code", "J00'; DROP TABLE x--", "diagnoses[0].code", "string_pattern_mismatch"),
        ("patient.id_no", an_id_card()[:-1] + "x", "patient.id_no", "patient.id_no"),
        ("patient.id_no", "110101990307123", "patient.id_no", "patient.id_no"),
        ("patient.id_no", "110101199902301234", "patient.id_no", "patient.id_no"),
        ("patient.id_no", "1" * 51, "patient.id_no", "string_too_long"),
        ("patient.id_no", "1 OR 1=1", "patient.id_no", "string_pattern_mismatch"),
        ("patient.birth_date", "1999-03-08", "patient.birth_date", "patient.birth_date"),
        ("patient.birth_date", "1999-02-30", "patient.birth_date", "date_from_datetime_parsing"),
        ("patient.name", "", "patient.name", "string_too_short"),
        ("patient.name", "某" * 101, "patient.name", "string_too_long"),
        ("patient.phone", "12345\r\nX-Evil: 1", "patient.phone", "string_pattern_mismatch"),
        ("settlement_no", "S 1", "settlement_no", "string_pattern_mismatch"),
        ("settlement_no", "S-1\n", "settlement_no", "string_pattern_mismatch"),
        ("settlement_no", "trial/M-1", "settlement_no", "string_pattern_mismatch"),
        ("settlement_no", "S" * 65, "settlement_no", "string_too_long"),
        ("settlement_no", 1, "settlement_no", "string_type"),
        ("institution", "H4403000000１", "institution", "string_pattern_mismatch"),
        ("region", "4403001", "region", "string_pattern_mismatch"),
        ("insurance.type", "311", "insurance.type", "enum"),
        ("visit.medical_type", "21", "visit.medical_type", "visit.medical_type"),
        ("visit.kind", "inpatient", "visit.medical_type", "visit.medical_type"),
        ("visit.started_at", "2026-03-02T09:15:00", "visit.started_at", "timezone_aware"),
        ("visit.started_at", "2026-02-30T09:15:00Z", "visit.started_at", "datetime_from_date_parsing"),
        ("visit.started_at", "0001-01-01T00:00:00+08:00", "visit.started_at", "datetime_range"),
        ("answer_by", "9999-12-31T23:59:59-12:00", "answer_by", "datetime_range"),
        ("visit.ended_at", "2026-03-01T09:15:00Z", "visit.ended_at", "visit.ended_at"),
        ("schema_version", "2", "schema_version", "literal_error"),
        ("case_id", CANARY, "case_id", "extra_forbidden"),
        ("patient.insurer", CANARY, "patient.insurer", "extra_forbidden"),
    ],
)
def test_a_wrong_field_is_named_with_its_rule_and_its_value_is_not_repeated(field, value, where, code):
    error = refused(as_bytes(changed(field, value)))

    assert type(error) is InvalidMessage
    assert error.code == "message.invalid"
    assert (where, code) in [(one.field, one.code) for one in error.violations]
    assert len(error.violations) == 1
    assert all(one.remedy for one in error.violations)
    if isinstance(value, str) and len(value) > 3:
        assert value not in said(error)


def test_an_inpatient_needs_its_discharge():
    visit = GOOD["visit"] | {"kind": "inpatient", "medical_type": "21"}

    error = refused(as_bytes(GOOD | {"visit": visit}))

    assert [(one.field, one.code) for one in error.violations] == [("visit.ended_at", "visit.ended_at")]


def test_every_wrong_field_is_named_at_once():
    message = changed("total", "1E5") | {"region": "x", "unknown": 1}
    message["patient"]["id_type"] = "77"

    fields = {one.field for one in refused(as_bytes(message)).violations}

    assert fields == {"total", "region", "unknown", "patient.id_type"}


def test_a_missing_field_is_named():
    message = {name: value for name, value in GOOD.items() if name != "patient"}

    assert [(one.field, one.code) for one in refused(as_bytes(message)).violations] == [("patient", "missing")]


def test_no_part_of_a_patient_stands_in_any_refusal():
    patient = {"name": "司马·测试", "id_type": "01", "id_no": "110101199903071239", "phone": "13900001111x"}
    error = refused(as_bytes(changed("patient", patient)))

    assert not any(value in said(error) for value in patient.values() if len(value) > 2)


@pytest.mark.parametrize("name", ["欧阳·娜娜", "𠮷田", "O'Brien", "阿卜杜拉·买买提", "<b>x</b>", "x'; DROP TABLE x;--"])
def test_unusual_names_are_kept_as_they_are(name):
    assert read_message(SettleRequest, as_bytes(changed("patient.name", name))).patient.name == name


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (CancelRequest, {"institution": GOOD["institution"], "settlement_no": "S", "cancel_no": "C", "reason": ""}),
        (CancelRequest, {"institution": GOOD["institution"], "settlement_no": "S", "reason": CANARY}),
        (CaseQuery, {"institution": GOOD["institution"], "settlement_no": "S", "x": CANARY}),
        (ClaimDecision, {"request_id": "r", "outcome": CANARY, "amount": "1", "decided_at": "2026-03-02T00:00:00Z"}),
        (ClaimDecision, {"request_id": "r", "outcome": "unknown", "amount": "1", "decided_at": "2026-03-02T00:00:00Z"}),
        (ClaimDecision, {"request_id": "r", "outcome": "approved", "amount": "-1", "decided_at": CANARY}),
    ],
)
def test_the_other_messages_are_as_strict(model, message):
    assert CANARY not in said(refused(as_bytes(message), model))


def test_of_an_unknown_fields_name_only_the_beginning_is_repeated():
    error = refused(as_bytes(GOOD | {"k" * 100_000: 1}))

    assert [one.field for one in error.violations] == ["k" * 64]
