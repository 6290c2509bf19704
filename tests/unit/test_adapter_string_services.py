"""SOAP services of one string: encodings, envelopes, inner messages, and the words insurers share."""

from __future__ import annotations

from contextlib import suppress

import pytest
import zeep
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapters.insurer.wording import (
    cleaned,
    compliant_fee_fen,
    fen_in,
    fen_or_none,
    is_reference,
    moment_in,
    non_compliant_fee_fen,
)
from adapters.string_service import StringService, fields_of, head_and_body, xml_fields
from adapters.xml_charset import in_utf8, inner_xml
from schemas.errors import InvalidMessage, Malformed
from schemas.payer import BasicResult, RawAnswer

TEXT = "结果: 成功"
BARE = f"<r>{TEXT}</r>"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
DOCUMENT, RPC = StringService("urn:x"), StringService("urn:x", "rpc")


def declared(encoding: str, bytes_in: str = "") -> bytes:
    return f'<?xml version="1.0" encoding="{encoding}"?>{BARE}'.encode(bytes_in or encoding)


def an_answer(body: str, status: int = 200, content_type: str = "text/xml", header: str = "") -> RawAnswer:
    whole = f'<e:Envelope xmlns:e="{SOAP}">{header}<e:Body>{body}</e:Body></e:Envelope>'
    return RawAnswer(whole.encode(), status, content_type)


def a_response(text: str = "x", operation: str = "excute", attributes: str = "") -> str:
    return f'<n:{operation}Response xmlns:n="urn:other"><return{attributes}>{text}</return></n:{operation}Response>'


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (BARE.encode(), ""),
        (declared("utf-8"), "text/xml; charset=UTF-8"),
        (declared("GBK"), "text/xml"),
        (declared("gb2312", "gbk"), 'text/xml; charset="GBK"'),
        (BARE.encode("gb18030"), "text/xml;charset=GB18030"),
    ],
)
def test_a_document_says_the_same_in_every_known_encoding(raw, content_type):
    assert in_utf8(raw, content_type).decode().endswith(BARE)


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (declared("Big5", "utf-8"), ""),
        (declared("UTF-16", "utf-8"), ""),
        (declared("utf-8"), "text/xml; charset=GBK"),
        (declared("GBK"), "text/xml; charset=UTF-8"),
        (declared("utf-8") + b"\xff", "text/xml; charset=latin-1"),
        (declared("GBK") + b"\xff\xff", ""),
    ],
)
def test_unknown_differing_and_broken_encodings_are_refused(raw, content_type):
    with pytest.raises(Malformed):
        in_utf8(raw, content_type)


@pytest.mark.parametrize("encoding", ["UTF-8", "GBK", "gb2312"])
def test_the_declaration_of_an_inner_document_has_no_say(encoding):
    assert inner_xml(f'\ufeff \n<?xml version="1.0" encoding="{encoding}"?>\n{BARE}').text == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not xml",
        '<?xml version="1.0" encoding="Big5"?><r/>',
        '<?xml version="1.0"?><?xml version="1.0"?><r/>',
        "<!DOCTYPE r><r/>",
        '<!DOCTYPE r [<!ENTITY x "y">]><r>&x;</r>',
        "<r>100<!-- -->9</r>",
        "<r/><r/>",
        "\ud800<r/>",
    ],
)
def test_an_inner_document_goes_through_the_same_strict_parser(text):
    with pytest.raises(Malformed):
        inner_xml(text)


def test_what_is_wrapped_comes_out_as_it_was():
    inner = xml_fields({"msg": "a<b> & ]]> \r\n 保", "blank": None})

    for service in (DOCUMENT, RPC):
        raw = service.wrap("excute", "root", inner)
        echoed = raw.replace(b"excute", b"excuteResponse").replace(b"<root", b"<return").replace(b"</root", b"</return")
        assert service.open("excute", RawAnswer(echoed, 200, "text/xml"), party="P").text == inner


def test_the_argument_is_in_the_namespace_where_the_wsdl_says_so():
    plain, qualified = DOCUMENT.wrap("op", "xml", "x"), StringService("urn:x", qualified=True).wrap("op", "xml", "x")

    assert b"<xml>x</xml>" in plain
    assert b'<m:op xmlns:m="urn:x"><m:xml>x</m:xml></m:op>' in qualified


WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:t="urn:x" targetNamespace="urn:x"
 xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:x="http://www.w3.org/2001/XMLSchema">
<types><x:schema elementFormDefault="%s" targetNamespace="urn:x"><x:element name="excute"><x:complexType><x:sequence>
<x:element name="root" type="x:string"/></x:sequence></x:complexType></x:element></x:schema></types>
<message name="m"><part element="t:excute" name="parameters"/></message>
<portType name="p"><operation name="excute"><input message="t:m"/></operation></portType>
<binding name="b" type="t:p"><s:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
<operation name="excute"><s:operation soapAction=""/><input><s:body use="literal"/></input></operation></binding>
<service name="v"><port binding="t:b" name="o"><s:address location="http://payer.invalid/"/></port></service>
</definitions>"""


@pytest.mark.parametrize("form", ["unqualified", "qualified"])
def test_an_independent_client_makes_the_same_message_of_the_wsdl(form, tmp_path):
    file = tmp_path / "service.wsdl"
    file.write_text(WSDL % form, encoding="utf-8")
    client = zeep.Client(str(file))

    theirs = client.create_message(client.service, "excute", "<a>保 & </a>")

    ours = StringService("urn:x", qualified=form == "qualified").wrap("excute", "root", "<a>保 & </a>")
    assert shape(etree.fromstring(ours)) == shape(theirs)


def shape(element) -> tuple:
    return element.tag, element.text, [shape(child) for child in element]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (an_answer(a_response(), 502), "http.502"),
        (an_answer(a_response(), 500), "http.500"),
        (an_answer(a_response(), 500, "text/html"), "http.500"),
        (an_answer("<e:Fault><faultcode>e:Client</faultcode></e:Fault>", 500), "fault.Client"),
        (an_answer("<e:Fault><faultcode>e:Server</faultcode></e:Fault>", 200), "fault.Server"),
        (an_answer("<e:Fault/>", 500), "fault."),
    ],
)
def test_failures_and_faults_are_no_word(answer, code):
    heard = DOCUMENT.open("excute", answer, party="P")

    assert (heard.text, heard.code) == (None, code)


@pytest.mark.parametrize(
    "answer",
    [
        RawAnswer(b"{}", 200, "application/json"),
        an_answer(a_response(operation="other")),
        an_answer(a_response() + a_response()),
        an_answer(a_response("<deeper/>")),
        an_answer(a_response(attributes=' href="#id0"')),
        an_answer(a_response(attributes=' a="1"')),
        an_answer(""),
        an_answer("<n:excuteResponse xmlns:n='urn:x'><result>x</result></n:excuteResponse>"),
        an_answer(a_response(), header='<e:Header><x e:mustUnderstand="1"/></e:Header>'),
        RawAnswer(b"<Envelope><Body/></Envelope>", 200, "text/xml"),
    ],
)
def test_what_is_no_answer_of_the_operation_is_refused(answer):
    with pytest.raises(Malformed):
        DOCUMENT.open("excute", answer, party="P")


def test_an_encoded_answer_may_say_its_type_and_a_literal_one_may_not():
    typed = an_answer(a_response(attributes=' xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="string"'))

    assert RPC.open("excute", typed, party="P").text == "x"
    with pytest.raises(Malformed):
        DOCUMENT.open("excute", typed, party="P")


@pytest.mark.parametrize(
    "text", ["<r><head/></r>", "<r><body/><head/></r>", "<r><head/><body a='1'/></r>", "<r><head/><body/><more/></r>"]
)
def test_an_inner_message_is_head_and_body(text):
    with pytest.raises(Malformed):
        head_and_body(text, party="P")


@pytest.mark.parametrize("text", ["<b><a>1</a><a>2</a></b>", "<b><a><c/></a></b>"])
def test_a_field_has_one_reading(text):
    with pytest.raises(InvalidMessage):
        fields_of(inner_xml(text), party="P")


@given(st.binary(max_size=300), st.sampled_from(["", "text/xml", "text/xml;charset=GBK"]), st.sampled_from([200, 500]))
def test_rubbish_is_refused_never_crashed_on(raw, content_type, status):
    with suppress(InvalidMessage):
        DOCUMENT.open("excute", RawAnswer(raw, status, content_type), party="P")


@given(st.text(max_size=200))
def test_rubbish_inside_is_refused_never_crashed_on(text):
    with suppress(InvalidMessage):
        head_and_body(text, party="P")


# words


def test_the_compliant_fee_is_net_of_basic_compensation_and_the_national_figure_is_gross():
    basic = BasicResult(
        total_fen=100_000,
        own_pay_fen=10_000,
        over_limit_fen=2_000,
        first_self_pay_fen=8_000,
        in_scope_fen=80_000,
        deductible_fen=5_000,
        fund_fen=50_000,
        account_fen=0,
        cash_fen=50_000,
        hospital_fen=0,
    )

    assert non_compliant_fee_fen(basic) == 20_000
    assert compliant_fee_fen(basic) == 30_000 == basic.in_scope_fen - basic.fund_fen
    assert compliant_fee_fen(basic) != basic.in_scope_fen


@pytest.mark.parametrize(("text", "fen"), [("0", 0), ("673.0800", 67_308), ("12.3", 1_230), ("5.10", 510)])
def test_amounts_may_have_zeros_past_the_fen(text, fen):
    assert fen_in({"a": text}, "a") == fen


@pytest.mark.parametrize("text", ["", "673.0801", "-1", "1,000.00", "1e3", "NaN", "\uff11"])
def test_other_amounts_are_refused_by_field(text):
    with pytest.raises(InvalidMessage) as refusal:
        fen_in({"a": text}, "a")
    assert [violation.field for violation in refusal.value.violations] == ["a"]


def test_an_amount_may_be_left_out():
    assert fen_or_none({}, "a") is fen_or_none({"a": ""}, "a") is None


def test_a_payers_words_are_kept_within_bounds():
    assert cleaned(" a\n\u202eb\x00c ") == "a b c"
    assert len(cleaned("长" * 5_000)) == 1_000


def test_references_and_moments_are_taken_only_when_they_can_be_kept():
    assert is_reference("2026-A_1.2")
    assert not any(map(is_reference, ("", "a:b", "a b", "赔案", "1" * 65)))
    assert moment_in("2026-03-09") is not None
    assert moment_in("0001-01-01") is moment_in("soon") is moment_in("") is None
