"""What the basic system answers: nothing is believed that contradicts itself or the request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from zeep.helpers import serialize_object
from zeep.xsd.context import XmlParserContext

from adapters.basic.soap.codec import CHINA, Codec
from adapters.basic.soap.contract import contract, schema, wsdl
from adapters.xml_shapes import read
from schemas.codes import Outcome
from schemas.errors import HubError, InvalidMessage, Malformed, OutcomeUnknown
from schemas.payer import Operation, RawAnswer
from schemas.wsdl import BASIC_NAMESPACE
from tests.support.basic_soap import BINDINGS, ENVELOPES, MEDIA, NAMES, a_cancel_answer, a_fate, an_answer, soap
from tests.support.payer_tasks import a_request, a_task


@pytest.mark.parametrize("version", BINDINGS)
@pytest.mark.parametrize("operation", [Operation.SETTLE, Operation.TRIAL, Operation.INQUIRE])
def test_an_answer_is_read_as_zeep_reads_it(operation, version):
    task = a_task(operation)
    payload = etree.fromstring(an_answer(task, version).body)[0][0]
    call = contract(version).calls[operation]
    parsed = (
        wsdl()
        .bindings[BINDINGS[version]]
        .get(NAMES[operation])
        .output.body.parse(payload, wsdl().types, context=XmlParserContext(settings=wsdl().settings))
    )

    ours, theirs = read(payload, call.answer_shape), serialize_object(parsed, dict)

    assert as_text(ours) == as_text(theirs)
    assert schema().validate(payload)


def as_text(value):
    if isinstance(value, dict):
        return {key: as_text(each) for key, each in value.items() if each not in (None, [])}
    return [as_text(each) for each in value] if isinstance(value, list) else str(value)


@pytest.mark.parametrize("version", BINDINGS)
def test_a_settlement_is_approved_to_the_fen(version):
    task = a_task()

    decision = Codec("B", version).decode(task, an_answer(task, version))

    assert decision.outcome is Outcome.APPROVED
    assert decision.amount_fen == 3500
    assert decision.payer_reference == "SETL-1"
    assert decision.decided_at == datetime(2026, 3, 2, 9, 20, tzinfo=CHINA)
    assert decision.basic.account_fen == 100
    assert decision.basic.cash_fen == 1400
    assert decision.basic.funds == (("310100", 3500),)


def test_a_trial_is_approved_without_a_reference():
    task = a_task(Operation.TRIAL)

    decision = Codec("B").decode(task, an_answer(task))

    assert (decision.outcome, decision.payer_reference) == (Outcome.APPROVED, None)


BROKEN = {
    "another person": ({"psn_no": "other"}, "psn_no"),
    "another total": ({"medfee_sumamt": "50.01", "inscp_scp_amt": "50.01", "hosp_part_amt": "0.01"}, "medfee_sumamt"),
    "scope off by a fen": ({"inscp_scp_amt": "49.99"}, "inscp_scp_amt"),
    "payers off by a fen": ({"psn_part_amt": "15.01", "psn_cash_pay": "14.01"}, "psn_part_amt"),
    "hospital part forgotten": ({"hosp_part_amt": "0.01"}, "psn_part_amt"),
    "person's part off by a fen": ({"psn_cash_pay": "13.99"}, "psn_cash_pay"),
    "account counted twice": ({"psn_cash_pay": "15.00"}, "psn_cash_pay"),
    "funds off by a fen": ({"funds": [("310100", "34.99")]}, "setldetail"),
    "funds without detail": ({"funds": []}, "setldetail"),
    "a day that is none": ({"setl_time": "2026-02-30 00:00:00"}, "setl_time"),
    "an hour that is none": ({"setl_time": "2026-02-20 24:00:00"}, "setl_time"),
    "no settlement number": ({"setl_id": None}, "setl_time"),
    "three decimals": ({"acct_pay": "1.000"}, "acct_pay"),
    "no decimals": ({"acct_pay": "1"}, "acct_pay"),
    "minus": ({"hosp_part_amt": "-0.00"}, "hosp_part_amt"),
    "plus": ({"hosp_part_amt": "+0.00"}, "hosp_part_amt"),
    "exponent": ({"hosp_part_amt": "0E0"}, "hosp_part_amt"),
    "full-width digits": ({"hosp_part_amt": "０.００"}, "hosp_part_amt"),
    "spaces around": ({"hosp_part_amt": " 0.00 "}, "hosp_part_amt"),
    "not a number": ({"hosp_part_amt": "NaN"}, "hosp_part_amt"),
    "empty": ({"hosp_part_amt": ""}, "hosp_part_amt"),
    "too large": ({"hosp_part_amt": "100000000000.00"}, "hosp_part_amt"),
    "markup inside": ({"hosp_part_amt": "<b>0.00</b>"}, "hosp_part_amt"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_contradiction_is_refused_by_the_field_and_never_corrected(kind):
    changes, field = BROKEN[kind]
    task = a_task()

    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").decode(task, an_answer(task, **changes))

    assert field in {violation.field for violation in refusal.value.violations}


def test_an_account_that_may_not_be_used_is_not_used():
    task = a_task(request=a_request(use_account=False))

    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").decode(task, an_answer(task))

    assert [violation.field for violation in refusal.value.violations] == ["acct_pay"]


def test_no_more_than_what_is_left_is_taken():
    task = a_task(left_fen=3499)

    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").decode(task, an_answer(task))

    assert [violation.code for violation in refusal.value.violations] == ["amount.exceeds_left"]


def test_an_answer_to_another_request_leaves_the_outcome_unknown():
    task = a_task()

    with pytest.raises(OutcomeUnknown):
        Codec("B").decode(task, an_answer(task, request_id="R-9999"))


@pytest.mark.parametrize("infcode", ["1", "-2", "9999", "-0", "00"])
def test_a_code_nobody_documented_is_no_answer(infcode):
    task = a_task()

    decision = Codec("B").decode(task, an_answer(task, infcode=infcode))

    assert (decision.outcome, decision.raw_code, decision.amount_fen) == (Outcome.UNKNOWN, infcode, 0)


def test_a_refusal_keeps_the_payers_words():
    task = a_task()
    body = f"<request_id>{task.request_id}</request_id><infcode>-1</infcode>"
    body += "<err_code>E100</err_code><err_msg>参保状态异常 &amp; 停保</err_msg>"
    raw = RawAnswer(soap(f"<SettleResponse>{body}</SettleResponse>"), 200, "text/xml")

    decision = Codec("B").decode(task, raw)

    assert (decision.outcome, decision.reason_code) == (Outcome.DECLINED, "E100")
    assert decision.reason_zh == "参保状态异常 & 停保"
    assert decision.reason_en


def test_done_without_a_result_is_no_answer():
    task = a_task()
    body = f"<request_id>{task.request_id}</request_id><infcode>0</infcode>"

    with pytest.raises(InvalidMessage):
        Codec("B").decode(task, RawAnswer(soap(f"<SettleResponse>{body}</SettleResponse>"), 200, "text/xml"))


def test_a_cancellation_mirrors_its_original():
    task = a_task(Operation.CANCEL)

    decision = Codec("B").decode(task, a_cancel_answer(task))

    assert (decision.outcome, decision.amount_fen) == (Outcome.CANCELLED, task.original_amount_fen)


def test_a_reversal_of_what_was_never_booked_is_harmless():
    task = a_task(Operation.REVERSE)
    nothing = {"refd_setl_flag": "0", "setl_id": None, "medfee_sumamt": "0.00", "fund_pay_sumamt": "0.00"}

    decision = Codec("B").decode(task, a_cancel_answer(task, **nothing))

    assert (decision.outcome, decision.amount_fen) == (Outcome.CANCELLED, 0)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fund_pay_sumamt": "0.01"}, "cancel.mirror"),
        ({"omsgid": "R-other"}, "cancel.original"),
        ({"refd_setl_flag": "0"}, "cancel.nothing_undone"),
    ],
)
def test_a_cancellation_that_mirrors_nothing_is_refused(changes, code):
    task = a_task(Operation.CANCEL)

    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").decode(task, a_cancel_answer(task, **changes))

    assert code in {violation.code for violation in refusal.value.violations}


def test_a_reversal_takes_the_payers_amount():
    task = a_task(Operation.REVERSE)

    decision = Codec("B").decode(task, a_cancel_answer(task, fund_pay_sumamt="34.00"))

    assert (decision.outcome, decision.amount_fen) == (Outcome.CANCELLED, 3400)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"omsgid": "R-other"}, "cancel.original"),
        ({"refd_setl_flag": "0", "fund_pay_sumamt": "0.01"}, "cancel.amount"),
    ],
)
def test_a_reversal_that_contradicts_itself_is_refused(changes, code):
    task = a_task(Operation.REVERSE)

    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").decode(task, a_cancel_answer(task, **changes))

    assert [violation.code for violation in refusal.value.violations] == [code]


@pytest.mark.parametrize("version", BINDINGS)
def test_an_inquiry_finds_a_settlement_to_the_fen(version):
    settle, inquiry = a_task(), a_task(Operation.INQUIRE)

    settled = Codec("B", version).decode(settle, an_answer(settle, version))
    found = Codec("B", version).decode(inquiry, an_answer(inquiry, version))

    assert replace(found, raw_code=settled.raw_code) == settled


@pytest.mark.parametrize("kind", BROKEN)
def test_a_settlement_found_by_an_inquiry_is_held_against_the_request_like_any_other(kind):
    changes, field = BROKEN[kind]
    task = a_task(Operation.INQUIRE)

    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").decode(task, an_answer(task, **changes))

    assert field in {violation.field for violation in refusal.value.violations}


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("0", Outcome.NOT_FOUND),
        ("2", Outcome.DECLINED),
        ("3", Outcome.CANCELLED),
        ("4", Outcome.UNKNOWN),
        ("5", Outcome.UNKNOWN),
        ("9", Outcome.UNKNOWN),
    ],
)
def test_what_does_not_stand_has_no_amount(state, outcome):
    task = a_task(Operation.INQUIRE)

    decision = Codec("B").decode(task, a_fate(task, state))

    assert (decision.outcome, decision.amount_fen, decision.raw_code) == (outcome, 0, f"omsg_stas.{state}")


@pytest.mark.parametrize("state", ["0", "2", "3", "4"])
def test_a_result_of_what_does_not_stand_is_refused(state):
    task = a_task(Operation.INQUIRE)

    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").decode(task, an_answer(task, omsg_stas=state))

    assert [violation.code for violation in refusal.value.violations] == ["inquiry.not_standing"]


@pytest.mark.parametrize("named", [{"request_id": "R-9"}, {"omsgid": "R-9"}])
def test_an_inquiry_that_is_answered_about_another_request_leaves_the_outcome_unknown(named):
    task = a_task(Operation.INQUIRE)

    with pytest.raises(OutcomeUnknown):
        Codec("B").decode(task, an_answer(task, **named))


@pytest.mark.parametrize("infcode", ["-1", "1", "99"])
def test_a_refused_inquiry_says_nothing_about_the_request(infcode):
    task = a_task(Operation.INQUIRE)

    decision = Codec("B").decode(task, a_fate(task, "0", infcode=infcode, err_code="Q1", err_msg="暂停"))

    assert (decision.outcome, decision.raw_code) == (Outcome.UNKNOWN, infcode)


@pytest.mark.parametrize(("version", "code"), [("1.1", "Client"), ("1.2", "Sender")])
def test_a_fault_on_an_inquiry_says_nothing_about_the_request(version, code):
    raw = RawAnswer(a_fault(version, code, "false"), 500, MEDIA[version])

    assert Codec("B", version).decode(a_task(Operation.INQUIRE), raw).outcome is Outcome.UNKNOWN


def a_fault(version: str, code: str, retryable: str | None, namespace: str | None = None) -> bytes:
    typed = ""
    if retryable is not None:
        typed = f"<BasicFault><code>F1</code><message>报文有误</message><retryable>{retryable}</retryable></BasicFault>"
    other = f' xmlns:s="{namespace}"' if namespace else ""
    if version == "1.1":
        detail = f'<detail xmlns="">{typed.replace("<BasicFault>", f"<BasicFault xmlns={BASIC_NAMESPACE!r}>")}</detail>'
        fault = f'<faultcode xmlns=""{other}>s:{code}</faultcode><faultstring xmlns="">x</faultstring>{detail}'
    else:
        fault = (
            f"<s:Code><s:Value{other}>s:{code}</s:Value></s:Code><s:Reason><s:Text xml:lang='zh'>x</s:Text></s:Reason>"
            f"<s:Detail>{typed}</s:Detail>"
        )
    return soap(f"<s:Fault>{fault}</s:Fault>", version)


@pytest.mark.parametrize(("version", "code"), [("1.1", "Client"), ("1.2", "Sender")])
def test_a_typed_fault_that_blames_the_message_for_good_is_a_no(version, code):
    raw = RawAnswer(a_fault(version, code, "false"), 500, MEDIA[version])

    decision = Codec("B", version).decode(a_task(), raw)

    assert (decision.outcome, decision.reason_code, decision.reason_zh) == (Outcome.DECLINED, "F1", "报文有误")


@pytest.mark.parametrize(
    ("version", "code", "retryable"),
    [
        ("1.1", "Client", "true"),
        ("1.1", "Client", None),
        ("1.1", "Server", "false"),
        ("1.1", "Client.Authentication", "false"),
        ("1.2", "Sender", "1"),
        ("1.2", "Receiver", "false"),
        ("1.2", "Sender", None),
    ],
)
def test_any_other_fault_leaves_the_outcome_unknown(version, code, retryable):
    raw = RawAnswer(a_fault(version, code, retryable), 500, MEDIA[version])

    assert Codec("B", version).decode(a_task(), raw).outcome is Outcome.UNKNOWN


def test_a_fault_code_of_another_namespace_blames_nobody():
    raw = RawAnswer(a_fault("1.1", "Client", "false", namespace="urn:other"), 500, MEDIA["1.1"])

    assert Codec("B").decode(a_task(), raw).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504])
def test_an_http_error_is_not_a_refusal(status):
    raw = RawAnswer(b"<html>no</html>", status, "text/html")

    decision = Codec("B").decode(a_task(), raw)

    assert (decision.outcome, decision.raw_code) == (Outcome.UNKNOWN, f"http.{status}")


def test_a_settlement_inside_an_error_is_not_believed():
    task = a_task()

    assert Codec("B").decode(task, an_answer(task, status=500)).outcome is Outcome.UNKNOWN


RIGHT = an_answer(a_task()).body.decode()
XSI = "http://www.w3.org/2001/XMLSchema-instance"
NOT_ANSWERS = {
    "html": "<html><body>login</body></html>",
    "empty": "",
    "no envelope": f'<SettleResponse xmlns="{BASIC_NAMESPACE}"/>',
    "other version": RIGHT.replace(ENVELOPES["1.1"], ENVELOPES["1.2"]),
    "two bodies": RIGHT.replace("</s:Body>", "</s:Body><s:Body/>"),
    "two messages": RIGHT.replace("</s:Body>", "<SettleResponse/></s:Body>"),
    "empty body": soap("").decode(),
    "body after the end": RIGHT.replace("</s:Envelope>", "<x/></s:Envelope>"),
    "other operation": RIGHT.replace("SettleResponse", "TrialResponse"),
    "other namespace": RIGHT.replace(BASIC_NAMESPACE, "urn:other"),
    "unknown field": RIGHT.replace("<infcode>", "<extra>1</extra><infcode>"),
    "field twice": RIGHT.replace("<infcode>0</infcode>", "<infcode>0</infcode><infcode>-1</infcode>"),
    "fields swapped": RIGHT.replace("<infcode>0</infcode>", "").replace("<setlinfo>", "<setlinfo><infcode>0</infcode>"),
    "must understand": RIGHT.replace("<s:Body>", '<s:Header><h xmlns="u" s:mustUnderstand="1"/></s:Header><s:Body>'),
    "encoding style": RIGHT.replace("<s:Body>", '<s:Body s:encodingStyle="http://example.org/">'),
    "comment in an amount": RIGHT.replace("<acct_pay>1.00", "<acct_pay>1.0<!-- -->0"),
    "schema location": RIGHT.replace(
        "<SettleResponse>", f'<SettleResponse xmlns:i="{XSI}" i:schemaLocation="urn:x file:///etc/passwd">'
    ),
    "nil": RIGHT.replace("<acct_pay>1.00", f'<acct_pay xmlns:i="{XSI}" i:nil="true">'),
    "other type": RIGHT.replace("<setlinfo>", f'<setlinfo xmlns:i="{XSI}" i:type="SettlementInfo">'),
    "include": RIGHT.replace(
        "<setlinfo>", '<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="/x"/><setlinfo>'
    ),
    "rows without end": RIGHT.replace(
        "<setldetail>",
        "<setldetail><fund_pay_type>310100</fund_pay_type><fund_payamt>0.00</fund_payamt></setldetail>" * 60
        + "<setldetail>",
    ),
}


@pytest.mark.parametrize("kind", NOT_ANSWERS)
def test_bytes_that_are_no_answer_are_refused(kind):
    with pytest.raises(InvalidMessage):
        Codec("B").decode(a_task(), RawAnswer(NOT_ANSWERS[kind].encode(), 200, "text/xml"))


@pytest.mark.parametrize("content_type", ["", "text/html", "application/json", "application/soap+xml"])
def test_an_answer_of_another_type_is_refused(content_type):
    task = a_task()

    with pytest.raises(InvalidMessage):
        Codec("B").decode(task, RawAnswer(an_answer(task).body, 200, content_type))


def test_a_refusal_quotes_no_value_of_the_answer():
    task = a_task()
    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").decode(task, an_answer(task, psn_no="PATIENT NAME", hosp_part_amt="SECRET"))

    texts = [str(refusal.value), *(str(violation.as_dict()) for violation in refusal.value.violations)]
    assert not any("SECRET" in text or "PATIENT" in text for text in texts)


@given(st.binary(max_size=2048))
def test_rubbish_is_refused_never_crashed_on(raw):
    with suppress(InvalidMessage):
        assert Codec("B").decode(a_task(), RawAnswer(raw, 200, "text/xml")).outcome is Outcome.UNKNOWN


@given(st.integers(0, len(RIGHT) - 1), st.integers(1, 40), st.text(alphabet="<>/&;019.-=\"'!?abs ", max_size=6))
def test_a_damaged_answer_is_refused_or_says_the_same_amounts(start, length, inserted):
    task = a_task()
    damaged = (RIGHT[:start] + inserted + RIGHT[start + length :]).encode()

    with suppress(HubError):
        decision = Codec("B").decode(task, RawAnswer(damaged, 200, "text/xml"))
        if decision.outcome is Outcome.APPROVED:
            basic = decision.basic
            person = basic.account_fen + basic.cash_fen
            assert basic.fund_fen + person + basic.hospital_fen == task.request.total


UNREADABLE = sorted(
    NOT_ANSWERS.keys() & {"html", "empty", "no envelope", "other version", "two bodies", "other operation"}
)


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_answer_at_all_is_asked_about_again_not_held(kind):
    with pytest.raises(Malformed):
        Codec("B").decode(a_task(), RawAnswer(NOT_ANSWERS[kind].encode(), 200, "text/xml"))


def test_threads_do_not_share_a_verdict():
    """A validator keeps its errors on itself: one thread's broken answer must not blame another's."""
    codec, task = Codec("B"), a_task()
    right, wrong = an_answer(task), an_answer(task, acct_pay="1")

    def decode(number: int) -> bool:
        try:
            return codec.decode(task, wrong if number % 2 else right).outcome is Outcome.APPROVED
        except InvalidMessage as error:
            return [violation.field for violation in error.violations] == ["acct_pay"] * len(error.violations)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(decode, range(400)))
