"""Whatever is out of the ordinary around a SOAP message is refused, with a code, before anything comes of it."""

from __future__ import annotations

import gzip
import random
import re
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.safe_xml import BYTES_MAX, NODES_MAX
from hub.gateway.soap.versions import SOAP_11, SOAP_12, SoapVersion
from schemas.soap import OPERATIONS, SERVICE_NAMESPACE
from schemas.soap_types import service_types
from schemas.texts import ERRORS
from tests.support.builders import HOSPITAL, a_settle_request
from tests.support.soap_app import SoapApp
from tests.support.soap_messages import SoapReply, envelope, payload

SECRET = "PATIENT-NAME"
SETTLE = payload("Settle", a_settle_request())
GOOD = envelope(SETTLE)
QUERY = payload("QueryCase", {"institution": HOSPITAL, "settlement_no": "S-1"})
ENV = f'xmlns:s="{SOAP_11.namespace}"'
NS = f'xmlns="{SERVICE_NAMESPACE}"'
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
ACTION = f"{SERVICE_NAMESPACE}:"


@dataclass(frozen=True)
class Row:
    """Bytes and headers, and what must become of them."""

    raw: bytes
    code: str
    status: int = 500
    blamed: str = "Client"
    version: SoapVersion = SOAP_11
    headers: dict[str, str] = field(default_factory=dict)


def with_doctype(doctype: str, inside: str = "") -> bytes:
    return doctype.encode() + GOOD.replace("急性鼻咽炎".encode(), inside.encode() or "急性鼻咽炎".encode())


def with_amount(text: str) -> bytes:
    return GOOD.replace(b"<total>300.00</total>", f"<total>{text}</total>".encode())


def with_query(**changes: str) -> bytes:
    return envelope(payload("QueryCase", {"institution": HOSPITAL, "settlement_no": "S-1"} | changes))


def soap_12(raw: bytes) -> bytes:
    return raw.replace(SOAP_11.namespace.encode(), SOAP_12.namespace.encode())


LAUGHS = "<!DOCTYPE x [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9)
)

XML = {
    "empty": Row(b"", "xml.syntax"),
    "json": Row(b'{"institution": "H1"}', "xml.syntax"),
    "half a message": Row(GOOD[:-20], "xml.syntax"),
    "billion laughs": Row(with_doctype(f"{LAUGHS}]>", "&j;"), "xml.doctype"),
    "quadratic blow-up": Row(with_doctype(f"<!DOCTYPE x [<!ENTITY a '{'a' * 10_000}'>]>", "&a;" * 1000), "xml.doctype"),
    "external entity": Row(
        with_doctype("<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>", "&e;"), "xml.doctype"
    ),
    "external dtd": Row(with_doctype("<!DOCTYPE x SYSTEM 'http://127.0.0.1:9/x.dtd'>"), "xml.doctype"),
    "parameter entity": Row(with_doctype("<!DOCTYPE x [<!ENTITY % p SYSTEM 'file:///etc/passwd'>%p;]>"), "xml.doctype"),
    "entity that nobody declared": Row(GOOD.replace("急性鼻咽炎".encode(), b"&nbsp;"), "xml.syntax"),
    "stylesheet": Row(b'<?xml version="1.0"?><?xml-stylesheet href="file:///etc/passwd"?>' + GOOD, "xml.instruction"),
    "xinclude": Row(
        GOOD.replace(
            "急性鼻咽炎".encode(), b'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>'
        ),
        "xml.attribute",
    ),
    "schema location": Row(
        GOOD.replace(NS.encode(), f'{NS} {XSI} xsi:schemaLocation="{SERVICE_NAMESPACE} http://127.0.0.1:9/x"'.encode()),
        "xml.attribute",
    ),
    "schema inside": Row(envelope('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>' + SETTLE), "soap.body"),
    "a comment in an amount": Row(with_amount("300<!--x-->.00"), "xml.doctype"),
    "an instruction in an amount": Row(with_amount("300<?x?>.00"), "xml.instruction"),
    "deep": Row(GOOD.replace("急性鼻咽炎".encode(), b"<a>" * 10_000 + b"</a>" * 10_000), "xml.syntax"),
    "too many nodes": Row(
        GOOD.replace(b"<diagnoses>", b"<a/>" * (NODES_MAX + 1) + b"<diagnoses>"), "xml.too_many_nodes"
    ),
    "too many attributes": Row(
        GOOD.replace(NS.encode(), (NS + "".join(f' a{n}="1"' for n in range(65))).encode()), "xml.too_many_attributes"
    ),
    "too large": Row(GOOD.replace("急性鼻咽炎".encode(), b"x" * BYTES_MAX), "message.too_large", 413),
    "an attribute": Row(GOOD.replace(b"<total>", b'<total a="1">'), "xml.attribute"),
    "nil": Row(GOOD.replace(b"<total>300.00</total>", f'<total {XSI} xsi:nil="true"/>'.encode()), "xml.attribute"),
    "another type": Row(GOOD.replace(NS.encode(), f'{NS} {XSI} xsi:type="TrialRequest"'.encode()), "message.invalid"),
    "xpath": Row(with_query(settlement_no="' or '1'='1"), "message.invalid"),
    "an element twice": Row(GOOD.replace(b"</total>", b"</total><total>1.00</total>"), "message.invalid"),
    "an unknown element": Row(GOOD.replace(b"</total>", b"</total><discount>1.00</discount>"), "message.invalid"),
    "a missing element": Row(GOOD.replace(b"<total>300.00</total>", b""), "message.invalid"),
    "wrong order": Row(
        GOOD.replace(b"<total>300.00</total>", b"").replace(b"<diagnoses>", b"<total>300.00</total><diagnoses>"),
        "message.invalid",
    ),
    "text between elements": Row(GOOD.replace(b"<total>", b"x<total>"), "message.invalid"),
    "xml in a text": Row(with_query(settlement_no="<a/>"), "message.invalid"),
    "xml in a cdata": Row(GOOD.replace(b"<line_no>1", b"<line_no><![CDATA[<a>1</a>]]>"), "message.invalid"),
    "five thousand lines": Row(
        GOOD.replace(b"</fees>", b"</fees>" + SETTLE[SETTLE.index("<fees>") : SETTLE.index("<total>")].encode() * 2000),
        "message.invalid",
    ),
}
MONEY = {
    text: Row(with_amount(text), "message.invalid")
    for text in (
        "",
        "1E5",
        "-0",
        "-1",
        "0.001",
        "３００",
        "1_000",
        "NaN",
        "INF",
        "+300",
        ".5",
        "300,00",
        "100000000000",
    )
}
SOAP = {
    "not an envelope": Row(SETTLE.encode(), "soap.version", blamed="VersionMismatch"),
    "1.2 in a 1.1 request": Row(soap_12(GOOD), "soap.version", blamed="VersionMismatch"),
    "1.1 in a 1.2 request": Row(GOOD, "soap.version", blamed="VersionMismatch", version=SOAP_12),
    "a version of tomorrow": Row(
        GOOD.replace(b"soap/envelope", b"soap/2030"), "soap.version", blamed="VersionMismatch"
    ),
    "no body": Row(f"<s:Envelope {ENV}/>".encode(), "soap.envelope"),
    "two bodies": Row(GOOD.replace(b"</s:Body>", b"</s:Body><s:Body/>"), "soap.envelope"),
    "something behind the body": Row(GOOD.replace(b"</s:Body>", b"</s:Body><a/>"), "soap.envelope"),
    "a header behind the body": Row(GOOD.replace(b"</s:Body>", b"</s:Body><s:Header/>"), "soap.envelope"),
    "text beside the body": Row(GOOD.replace(b"</s:Body>", b"</s:Body>x"), "soap.envelope"),
    "text in the body": Row(GOOD.replace(b"<s:Body>", b"<s:Body>x"), "soap.envelope"),
    "an empty body": Row(envelope(""), "soap.body"),
    "two messages": Row(envelope(QUERY + QUERY), "soap.body"),
    "an unknown operation": Row(envelope(f"<DropTables {NS}/>"), "transaction.unknown"),
    "an operation of another namespace": Row(envelope('<Settle xmlns="urn:x"/>'), "transaction.unknown"),
    "an answer": Row(envelope(f"<SettleResponse {NS}/>"), "transaction.unknown"),
    "another action": Row(GOOD, "soap.action", headers={"SOAPAction": f'"{ACTION}Trial"'}),
    "another action in 1.2": Row(
        soap_12(GOOD),
        "soap.action",
        400,
        "Sender",
        SOAP_12,
        {"Content_Type": f'application/soap+xml; charset=utf-8; action="{ACTION}Trial"'},
    ),
    "must be understood": Row(
        envelope(SETTLE, header='<x xmlns="urn:x" s:mustUnderstand="1"/>'),
        "soap.must_understand",
        500,
        "MustUnderstand",
    ),
    "must be understood in 1.2": Row(
        soap_12(envelope(SETTLE, header='<x xmlns="urn:x" s:mustUnderstand="true"/>')),
        "soap.must_understand",
        500,
        "MustUnderstand",
        SOAP_12,
    ),
    "maybe be understood": Row(envelope(SETTLE, header='<x xmlns="urn:x" s:mustUnderstand="maybe"/>'), "soap.header"),
    "a crowd of headers": Row(envelope(SETTLE, header='<x xmlns="urn:x"/>' * 21), "soap.header"),
    "two ids": Row(envelope(SETTLE, header=f"<MessageId {NS}>1</MessageId>" * 2), "soap.header"),
    "an id that is none": Row(envelope(SETTLE, header=f"<MessageId {NS}>a b</MessageId>"), "soap.message_id"),
    "encoding style of the envelope": Row(
        GOOD.replace(ENV.encode(), f'{ENV} s:encodingStyle="urn:x"'.encode()), "soap.encoding_style"
    ),
    "encoding style of the body": Row(
        GOOD.replace(b"<s:Body>", b'<s:Body s:encodingStyle="urn:x">'), "soap.encoding_style"
    ),
    "encoding style of the message": Row(
        GOOD.replace(NS.encode(), f'{NS} s:encodingStyle="urn:x"'.encode()), "soap.encoding_style"
    ),
    "an attribute of the body": Row(GOOD.replace(b"<s:Body>", b'<s:Body a="1">'), "xml.attribute"),
    "a huge declared array": Row(
        GOOD.replace(
            b"<fees>",
            b'<fees xmlns:e="http://schemas.xmlsoap.org/soap/encoding/" e:arrayType="FeeLine[1000000000]">',
        ),
        "xml.attribute",
    ),
}
HTTP = {
    "no content type": Row(GOOD, "soap.content_type", 415, headers={"Content_Type": ""}),
    "json": Row(b"{}", "soap.content_type", 415, headers={"Content_Type": "application/json"}),
    "attachments": Row(
        GOOD, "soap.content_type", 415, headers={"Content_Type": "multipart/related; type=text/xml; boundary=x"}
    ),
    "mtom": Row(GOOD, "soap.content_type", 415, headers={"Content_Type": "application/xop+xml; type=text/xml"}),
    "parameters that cannot be read": Row(
        GOOD, "soap.content_type", 415, headers={"Content_Type": "text/xml; charset=utf-8; charset=gbk"}
    ),
    "compressed": Row(gzip.compress(GOOD), "soap.content_type", 415, headers={"Content_Encoding": "gzip"}),
    "an encoding that nobody knows": Row(GOOD, "xml.encoding", headers={"Content_Type": "text/xml; charset=utf-7"}),
    "utf-16": Row(GOOD.decode().encode("utf-16"), "xml.syntax"),
    "two encodings": Row(
        b'<?xml version="1.0" encoding="GBK"?>' + GOOD.decode().encode("gbk"),
        "xml.encoding",
        headers={"Content_Type": "text/xml; charset=utf-8"},
    ),
    "bytes of another encoding": Row(GOOD.decode().encode("gbk"), "xml.syntax"),
    "bytes that break gbk": Row(
        GOOD.replace("急".encode(), b"\xff\xff"), "xml.encoding", headers={"Content_Type": "text/xml; charset=gbk"}
    ),
}
ROWS = {
    f"{kind}: {name}": row
    for kind, rows in (("xml", XML), ("money", MONEY), ("soap", SOAP), ("http", HTTP))
    for name, row in rows.items()
}


def refused(reply: SoapReply, row: Row) -> None:
    assert (reply.status, reply.code, reply.blamed) == (row.status, row.code, row.blamed)
    assert reply.headers["content-type"] == row.version.content_type
    assert reply.text("message_zh")
    assert reply.text("message_en")


@pytest.mark.parametrize("name", ROWS)
def test_it_is_refused_without_an_effect(name):
    app, row = SoapApp(), ROWS[name]

    reply = app.post(row.raw, row.version, **row.headers)

    refused(reply, row)
    assert app.courier.taken == []


@pytest.mark.parametrize(
    "raw",
    [
        with_query(settlement_no=f"{SECRET} x"),
        envelope(f"<{SECRET} {NS}/>"),
        envelope(payload("QueryCase", {SECRET: SECRET})),
        GOOD.replace(b"<total>", f'<total {SECRET}="{SECRET}">'.encode()),
        envelope(SETTLE, header=f'<{SECRET} xmlns="urn:{SECRET}" s:mustUnderstand="1">{SECRET}</{SECRET}>'),
        envelope(SETTLE, header=f"<MessageId {NS}>{SECRET} x</MessageId>"),
        f"<a>{SECRET}</b>".encode(),
        f"<{SECRET}/>".encode(),
    ],
)
def test_a_refusal_repeats_nothing(raw):
    assert SECRET.encode() not in SoapApp().post(raw, SOAPAction="").body


@pytest.mark.parametrize(
    ("raw", "field_", "code"),
    [
        (with_query(settlement_no="a b"), "settlement_no", "string_pattern_mismatch"),
        (with_query(settlement_no="x" * 65), "settlement_no", "string_too_long"),
        (with_amount("1.005"), "total", "money"),
        (GOOD.replace(b"<quantity>1<", b"<quantity>x<"), "fees[0].quantity", "decimal"),
        (GOOD.replace(b"<category>09<", b"<category>99<"), "fees[0].category", "enum"),
        (GOOD.replace(b"<main>true<", b"<main>yes<"), "diagnoses[0].main", "bool_type"),
        (GOOD.replace(b"+08:00<", b"<"), "visit.started_at", "datetime_parsing"),
        (GOOD.replace(b"<total>300.00</total>", b""), "total", "xml.missing"),
        (GOOD.replace(b"<total>300.00</total>", b"<sum>300.00</sum>"), "total", "xml.missing"),
        (GOOD.replace(b"<main>", b"<total>1</total><main>"), "diagnoses[0]", "xml.unexpected"),
        (
            GOOD.replace(b"<main>true</main>", b"").replace(b"<name>\xe6\x80", b"<main>true</main><name>\xe6\x80"),
            "diagnoses[0]",
            "xml.order",
        ),
        (GOOD.replace(b"</quantity>", b"</quantity><a/>"), "fees[0]", "xml.unexpected"),
        (
            envelope(f"<QueryCase {NS}><institution>{HOSPITAL}</institution></QueryCase>"),
            "settlement_no",
            "xml.missing",
        ),
        (with_query(more="1"), "message", "xml.unexpected"),
    ],
)
def test_a_breach_of_the_schema_names_the_field_and_the_remedy(raw, field_, code):
    reply = SoapApp().post(raw)

    (violation, *_) = reply.root.findall(".//{*}violations")
    found = {str(child.tag).rpartition("}")[2]: child.text for child in violation}
    assert (found["field"], found["code"]) == (field_, code)
    assert found["remedy"]
    assert found["remedy_zh"]


def test_prefixes_make_no_difference_to_where_a_breach_is():
    raw = re.sub(rb"<(/?)(?!/|s:)", rb"<\1h:", with_query(settlement_no="a b")).replace(b"xmlns=", b"xmlns:h=")

    assert SoapApp().post(raw).text("field") == "settlement_no"


def test_mutated_messages_are_taken_or_refused_in_order():
    """Random damage to a good message: never a crash, which would be told as an internal error."""
    app, chance = SoapApp(), random.Random(20)
    for _ in range(400):
        raw = bytearray(GOOD)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(raw))
            raw[place : place + chance.randint(0, 3)] = bytes(
                chance.choices(b"<>/&;\"'=a0 \x00\xe6", k=chance.randint(0, 3))
            )
        reply = app.post(bytes(raw))
        assert reply.status == 200 or (reply.code != "hub.error" and reply.blamed in ("Client", "VersionMismatch"))


NAMES = sorted({element.name for record in service_types().values() for element in record.elements} | {"junk"})
TEXTS = ["", " ", "1", "300.00", "true", "01", "2026-03-02", "2026-03-02T09:15:00Z", "欧阳", "basic", HOSPITAL, "'"]


def a_tree(chance: random.Random, depth: int = 0) -> str:
    """Elements of the schema in an order of chance, with texts and attributes of chance."""
    if depth > 4 or chance.random() < 0.4:
        return escape(chance.choice(TEXTS))
    children = []
    for _ in range(chance.randint(0, 5)):
        name = chance.choice(NAMES)
        prefix = chance.choice(["", "", "", f' xmlns="urn:other{depth}"', ' s:x="1"'])
        children.append(f"<{name}{prefix}>{a_tree(chance, depth + 1)}</{name}>")
    return "".join(children)


def test_messages_of_chance_are_refused_with_the_fields_that_are_wrong():
    app, chance = SoapApp(), random.Random(21)
    for operation in list(OPERATIONS.values()) * 8:
        reply = app.post(envelope(f"<{operation} {NS}>{a_tree(chance)}</{operation}>"))
        assert reply.code in ("message.invalid", "xml.attribute")
        assert reply.code == "xml.attribute" or reply.text("field")
    assert app.courier.taken == []


@settings(max_examples=60, deadline=None, database=None)
@given(st.binary(max_size=400))
def test_rubbish_is_refused(raw):
    assert SoapApp().post(raw).blamed in ("Client", "VersionMismatch")


def test_every_code_of_the_service_has_its_sentences():
    told = {row.code for row in ROWS.values() if row.code.startswith("soap.")}

    assert told <= ERRORS.keys()
