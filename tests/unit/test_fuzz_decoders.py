"""Damaged messages at every decoder: a clean refusal or a value that can be true, never anything else.

More of it: `pytest --hypothesis-profile=soak tests/unit/test_fuzz_decoders.py`. A failure prints the seed that made it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.conversation import calls_of
from adapters.registry import make_adapter
from adapters.safe_xml import parse_xml
from hub.gateway.national.calls import Call
from hub.gateway.national.doors import Entered
from hub.gateway.national.endpoint import read_call
from hub.gateway.national.words import refusal_text
from hub.imports.job import judge
from hub.imports.layout import InvalidFile, Layout
from hub.imports.source import source_of
from hub.master_rows import ROW_KINDS, operator
from hub.sent import fields_of
from routing.rulebook import Institution, RuleBook
from routing.rulebook_file import InvalidRuleBook, read_rule_book
from schemas.base import read_message
from schemas.codes import Layer, Outcome
from schemas.errors import HubError, InvalidMessage, Malformed, OutcomeUnknown
from schemas.national.envelope import Response, dump_json, read_json, read_response
from schemas.payer import Decision, Operation, PayerTask, RawAnswer
from schemas.transactions import MESSAGES
from tests.support.builders import HOSPITAL, REGION, a_rule_book_text
from tests.support.every_transaction import a_life
from tests.support.examples import times
from tests.support.national_his import (
    NationalHis,
    a_bill,
    a_diagnosis,
    a_discharge,
    a_fee,
    a_purchase,
    a_stay,
    an_outpatient,
)
from tests.support.samples import ADAPTERS, name_of, read_answer, read_settings, sample_answers
from tests.support.soap_app import NOW, SoapApp
from tests.support.soap_messages import envelope, payload
from tests.support.vandal import CANARY, Vandal
from tests.unit.test_import_files import FORMS

SEEDS = st.integers(0, 2**48)
WORDS_MAX = 12_000
"""Characters of a refusal, however large what it refuses."""


def come_of(read: Callable[[], Any], *expected: type[Exception]) -> Any:
    """What was read, or the refusal, which says shortly what to do and repeats nothing. Any other error goes on."""
    try:
        return read()
    except expected as refusal:
        violations = refusal.violations if isinstance(refusal, InvalidMessage) else ()
        said = " ".join([str(refusal), *(f"{one.field} {one.code} {one.remedy}" for one in violations)])
        # In files of operators, columns and parties are named where they are wrong.
        echoed = CANARY in said and not isinstance(refusal, InvalidFile | InvalidRuleBook)
        if len(said) > WORDS_MAX + 400 * len(violations) or echoed:
            raise AssertionError("a refusal that is too long or repeats what it received") from refusal
        return refusal


# payers' answers


@cache
def recorded(path: Path) -> tuple[Any, PayerTask, RawAnswer]:
    """The adapter, the task and the answer of a sample."""
    expected, task, answer = read_answer(path)
    given = read_settings(path.parent / f"{expected['task']}.task.json", expected["adapter"])
    return make_adapter(given), task, answer


def can_be_true(task: PayerTask, decision: Decision) -> bool:
    """What the engine relies on without looking again; an AssertionError where it does not hold."""
    assert isinstance(decision.outcome, Outcome)
    amounts = [decision.amount_fen]
    if task.operation in (Operation.SETTLE, Operation.TRIAL):
        assert decision.amount_fen <= task.left_fen
        assert decision.outcome not in (Outcome.CANCELLED, Outcome.NOT_FOUND)
    if task.operation is Operation.CANCEL and decision.outcome is Outcome.CANCELLED:
        assert decision.amount_fen == task.original_amount_fen
    if decision.outcome in (Outcome.DECLINED, Outcome.UNKNOWN, Outcome.DEFERRED, Outcome.NOT_FOUND):
        assert decision.amount_fen == 0
    if decision.basic is not None:
        basic = decision.basic
        amounts += [basic.fund_fen, basic.account_fen, basic.cash_fen, basic.hospital_fen]
        assert basic.total_fen == task.request.total
        assert sum(amounts[1:]) == basic.total_fen
    if task.layer is Layer.BASIC and decision.outcome is Outcome.APPROVED:
        assert decision.basic is not None
    assert min(amounts) >= 0
    assert all(type(amount) is int for amount in amounts)
    words = (decision.payer_reference or "", decision.reason_zh, decision.reason_en, decision.raw_code)
    assert all(len(word) <= WORDS_MAX for word in words)
    assert decision.decided_at is None or decision.decided_at.astimezone(UTC).year >= 1899
    return True


@times(2)
@given(sample=st.sampled_from(sample_answers()), seed=SEEDS)
def test_a_damaged_answer_of_a_payer(sample, seed):
    adapter, task, answer = recorded(sample)
    raw = RawAnswer(Vandal(seed).damaged(answer.body), answer.status, answer.content_type)

    decision = come_of(lambda: adapter.decode(task, raw), InvalidMessage, OutcomeUnknown)

    assert isinstance(decision, HubError) or can_be_true(task, decision)


@times(0.5)
@given(sample=st.sampled_from(sample_answers()), other=st.sampled_from(sample_answers()), status=st.integers(0, 999))
def test_the_answer_to_another_task(sample, other, status):
    adapter, task, _ = recorded(sample)
    _, _, answer = recorded(other)
    raw = RawAnswer(answer.body, status, answer.content_type)

    decision = come_of(lambda: adapter.decode(task, raw), InvalidMessage, OutcomeUnknown)

    assert isinstance(decision, HubError) or can_be_true(task, decision)


@times(0.5)
@given(sample=st.sampled_from(sample_answers()), seed=SEEDS)
def test_a_damaged_transcript(sample, seed):
    _, _, answer = recorded(sample)
    raw = RawAnswer(Vandal(seed).damaged(answer.body), answer.status, answer.content_type)

    calls = come_of(lambda: calls_of(raw), Malformed)

    assert isinstance(calls, Malformed) or all(isinstance(one.answer, bytes) for one in calls)


@times(0.5)
@given(sample=st.sampled_from(sample_answers()), seed=SEEDS)
def test_whatever_left_for_a_payer_is_told_by_fields(sample, seed):
    _, _, answer = recorded(sample)

    assert all(field.path or field.value for field in fields_of(Vandal(seed).damaged(answer.body)))


# what hospitals, regions and insurers send

LIFE = list({said.transaction: said for said in a_life("F")}.values())


@times(2)
@given(said=st.sampled_from(LIFE), seed=SEEDS)
def test_a_damaged_canonical_message(said, seed):
    model = MESSAGES[said.transaction]
    raw = Vandal(seed).damaged(orjson.dumps(said.message))

    message = come_of(lambda: read_message(model, raw), InvalidMessage)

    if not isinstance(message, HubError):
        assert read_message(model, message.model_dump_json(exclude_none=True).encode()) == message


SOAP_MESSAGES = {
    "Settle": next(said.message for said in LIFE if said.transaction == "settlement.settle"),
    "RegisterAdmission": next(said.message for said in LIFE if said.transaction == "admission.register"),
    "UploadFees": next(said.message for said in LIFE if said.transaction == "fees.upload"),
}


@times(0.5)
@given(operation=st.sampled_from(sorted(SOAP_MESSAGES)), seed=SEEDS)
def test_a_damaged_soap_request(operation, seed):
    app = SoapApp()

    reply = app.post(Vandal(seed).damaged(envelope(payload(operation, SOAP_MESSAGES[operation]))), SOAPAction="")

    assert reply.status == 200 or (reply.code != "hub.error" and reply.blamed in ("Client", "VersionMismatch"))
    assert len(app.courier.taken) == (reply.status == 200)
    assert reply.status == 200 or CANARY.encode() not in reply.body


HIS = NationalHis(0)
NATIONAL = {
    "2201": {"data": an_outpatient()},
    "2203": a_diagnosis("1"),
    "2204": {"feedetail": [a_fee("1", "1", 30_000)]},
    "2207": {"data": a_bill("1", 30_000)},
    "2102": a_purchase(30_000),
    "2401": a_stay("Z-1"),
    "2402": a_discharge("1"),
    "1101": {"data": {"mdtrt_cert_type": "02", "mdtrt_cert_no": "1", "psn_name": "欧阳·测试"}},
}
NATIONAL_INSTITUTION = Institution(code=HOSPITAL, name="n", region=REGION)


def a_call(raw: bytes) -> Call:
    """The message in an envelope, as the service reads it once the sender is proven."""
    entered = Entered(NATIONAL_INSTITUTION, read_json(raw), lambda answer: (answer, {}))
    return read_call(entered, NOW)


@times(2)
@given(infno=st.sampled_from(sorted(NATIONAL)), seed=SEEDS)
def test_a_damaged_national_envelope(infno, seed):
    raw = Vandal(seed).damaged(orjson.dumps(HIS.envelope(infno, NATIONAL[infno])))

    call = come_of(lambda: a_call(raw), HubError)

    assert isinstance(call, Call) or 0 < len(refusal_text(call)) <= 200


@times(0.5)
@given(seed=SEEDS)
def test_a_damaged_national_answer(seed):
    said = {"infcode": 0, "inf_refmsgid": "1" * 30, "respond_time": "1", "err_msg": "", "output": {"setlinfo": {}}}
    raw = Vandal(seed).damaged(orjson.dumps({"code": 0, "type": "success", "data": said}))

    assert isinstance(come_of(lambda: read_response(read_json(raw)), InvalidMessage), Response | InvalidMessage)


@times(0.5)
@given(seed=SEEDS)
def test_numbers_are_written_again_as_they_came(seed):
    """Signatures are taken over the envelope written again: it must not become longer than what was read."""
    raw = Vandal(seed).damaged(orjson.dumps(HIS.envelope("2207", NATIONAL["2207"])))

    # A whole number of more than 64 bits cannot be written.
    written = come_of(lambda: dump_json(read_json(raw)), InvalidMessage, TypeError)

    assert isinstance(written, Exception) or len(written) < 3 * len(raw) + 1_000


# files


@cache
def good_files() -> dict[str, bytes]:
    """The forms of a file of master data: name and content."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (form, make) in enumerate(FORMS.items()):
            inside = Path(folder) / str(number)
            inside.mkdir()
            made = make(inside)
            found[f"{form}{made.suffix}"] = made.read_bytes()
    return found


def imported(path: Path) -> tuple[list[Any], list[Any]]:
    """The good rows of a catalogue and the problems of the others."""
    source, kind = source_of(path), ROW_KINDS["catalogue"]
    with source.opened() as (headings, records):
        lines = Layout(kind, headings, dates_from_1904=source.dates_from_1904).lines(records)
        return judge(kind, operator(), lines)


@times(1)
@given(name=st.sampled_from(sorted(FORMS)), seed=SEEDS)
def test_a_damaged_file_of_master_data(name, seed):
    (found,) = (file for file in good_files() if file.startswith(f"{name}."))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{Path(found).suffix}"
        path.write_bytes(Vandal(seed).file(good_files()[found]))

        read = come_of(lambda: imported(path), InvalidFile)

    assert isinstance(read, InvalidFile) or CANARY not in str(read[1])


BOOK = a_rule_book_text().encode()


@times(1)
@given(seed=SEEDS)
def test_a_damaged_rule_book(seed):
    text = Vandal(seed).damaged(BOOK).decode("utf-8", "replace")

    book = come_of(lambda: read_rule_book(text), InvalidRuleBook)

    assert isinstance(book, RuleBook) or book.complaints


# what all of them stand on


@times(1)
@given(sample=st.sampled_from(sorted(ADAPTERS.glob("**/samples/*.xml"))), seed=SEEDS)
def test_a_damaged_tree(sample, seed):
    raw = Vandal(seed).damaged(sample.read_bytes())

    root = come_of(lambda: parse_xml(raw), InvalidMessage)

    assert isinstance(root, HubError) or all(isinstance(element.tag, str) for element in root.iter())


@pytest.mark.parametrize("sample", sample_answers(), ids=name_of)
def test_the_answers_that_are_damaged_could_be_true(sample):
    adapter, task, answer = recorded(sample)

    decision = come_of(lambda: adapter.decode(task, answer), InvalidMessage, OutcomeUnknown)

    assert isinstance(decision, HubError) or can_be_true(task, decision)


@pytest.mark.parametrize("said", LIFE, ids=lambda said: said.transaction.value)
def test_the_messages_that_are_damaged_were_good(said):
    assert read_message(MESSAGES[said.transaction], orjson.dumps(said.message))
