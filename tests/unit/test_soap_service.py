"""The SOAP service between HTTP and the desk: who may come, what is passed on under which id, what is said back."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from lxml import etree

from hub.gateway.courier import Brought, StoredButUnknown
from hub.gateway.identity import Doorkeeper
from hub.gateway.soap.versions import SOAP_11, SOAP_12
from schemas.errors import Conflict, Forbidden, HubError, IllegalTransition, NotFound, Unavailable
from schemas.soap import SERVICE_NAMESPACE
from schemas.transactions import Transaction
from tests.support.builders import HOSPITAL, OTHER_HOSPITAL, a_settle_request
from tests.support.soap_app import SECRET, SoapApp, basic, bearer
from tests.support.soap_messages import envelope, payload

REQUEST = a_settle_request()
SETTLE = payload("Settle", REQUEST)
QUERY = payload("QueryCase", {"institution": HOSPITAL, "settlement_no": "S-1"})
NS = f'xmlns="{SERVICE_NAMESPACE}"'
TOKEN = bearer().removeprefix("Bearer ")


class ShutDoors:
    def generation_of(self, _party: str) -> int:
        return 0

    def is_shut(self, _party: str) -> bool:
        return True


@pytest.mark.parametrize("version", [SOAP_11, SOAP_12])
def test_a_message_goes_to_the_desk_as_canonical_json_and_comes_back_as_an_answer(version):
    app = SoapApp()

    reply = app.post(envelope(SETTLE, version), version)

    ((transaction, party, _, body),) = app.courier.taken
    assert (transaction, party, orjson.loads(body)) == (Transaction.SETTLE, HOSPITAL, REQUEST)
    assert (reply.status, reply.headers["content-type"]) == (200, version.content_type)
    assert reply.root[0][0].tag == f"{{{SERVICE_NAMESPACE}}}SettleResponse"


@pytest.mark.parametrize("authorization", [bearer(), basic(), f"basic {basic()[6:]}"])
def test_a_party_comes_in_with_its_token_or_with_it_as_a_password(authorization):
    assert SoapApp().post(envelope(SETTLE), Authorization=authorization).status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer x",
        "Basic",
        "Basic !",
        "Basic /w==",
        "Digest username=x",
        basic(password="x"),
        basic(password=f"{HOSPITAL}.AAAA"),
        basic(OTHER_HOSPITAL, TOKEN),
        basic("", TOKEN),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stranger_gets_neither_description_nor_service(method, authorization):
    app = SoapApp()

    reply = app.request(method, envelope(SETTLE), "wsdl", Authorization=authorization, Content_Type="text/xml")

    assert (reply.status, reply.headers["www-authenticate"][:5]) == (401, "Basic")
    assert b"party.unauthenticated" in reply.body
    assert app.courier.taken == []


def test_a_party_that_is_shut_out_is_told_so():
    reply = SoapApp(Doorkeeper(SECRET, doors=ShutDoors())).post(envelope(SETTLE))

    assert (reply.status, reply.code, reply.blamed) == (500, "party.shut_out", "Client")


def test_the_description_names_where_it_came_from_or_what_it_is_told():
    asked, told = SoapApp().get(), SoapApp(address="https://hub.example/soap/settlement").get("WSDL")

    assert b'location="http://hub.example:8480/soap/settlement"' in asked.body
    assert b'location="https://hub.example/soap/settlement"' in told.body
    assert etree.fromstring(told.body).find(".//{*}import") is None
    assert asked.headers["content-type"] == "text/xml; charset=utf-8"


def test_the_description_may_be_public():
    assert SoapApp(wsdl_public=True).get(Authorization="").status == 200


@pytest.mark.parametrize("host", ['"><x', "a b", "x" * 300, "evil/path"])
def test_a_host_that_is_none_does_not_get_into_the_description(host):
    assert SoapApp().get(Host=host).status == 400


def test_without_the_question_there_is_nothing_to_get():
    assert SoapApp().get("").status == 404


def test_the_senders_id_is_the_messages_id():
    app = SoapApp()

    app.post(envelope(SETTLE, header=f"<MessageId {NS}>M-1</MessageId>"))

    assert app.courier.taken[0][2] == "M-1"


def test_without_one_the_same_content_is_the_same_message():
    app = SoapApp()
    other = payload("Settle", REQUEST | {"settlement_no": "S-2"})

    for raw in (envelope(SETTLE), soap_12_with_prefix(SETTLE), envelope(other)):
        app.post(raw, SOAP_12 if SOAP_12.namespace.encode() in raw else SOAP_11)

    first, again, another = (message_id for _, _, message_id, _ in app.courier.taken)
    assert first == again != another
    assert len(first) <= 64


def soap_12_with_prefix(content: str) -> bytes:
    spaced = content.replace("><", "> \n<").replace("<", "<h:").replace("<h:/", "</h:").replace("xmlns=", "xmlns:h=")
    return b"\xef\xbb\xbf" + envelope(spaced, SOAP_12)


@pytest.mark.parametrize("content", [QUERY, payload("Trial", REQUEST)])
def test_what_has_no_effect_is_asked_anew_each_time(content):
    app = SoapApp()

    app.post(envelope(content))
    app.post(envelope(content))

    assert len({message_id for _, _, message_id, _ in app.courier.taken}) == 2


@pytest.mark.parametrize(
    ("declared", "content_type"),
    [
        ("", "text/xml; charset=GBK"),
        ('<?xml version="1.0" encoding="gb2312"?>', "text/xml"),
        ('<?xml version="1.0" encoding="GB18030"?>', 'text/xml; charset="gbk"'),
    ],
)
def test_gbk_is_read_where_it_is_declared(declared, content_type):
    app = SoapApp()

    reply = app.post((declared + envelope(SETTLE).decode()).encode("gbk"), Content_Type=content_type)

    assert reply.status == 200
    assert orjson.loads(app.courier.taken[0][3]) == REQUEST


def test_a_moment_may_be_finer_than_a_microsecond():
    """.NET writes ten millionths of a second."""
    fine = SETTLE.replace("09:15:00+08:00", "09:15:00.1234567+08:00")

    assert SoapApp().post(envelope(fine)).status == 200


@pytest.mark.parametrize("action", ["", '""', f'"{SERVICE_NAMESPACE}:Settle"', f"{SERVICE_NAMESPACE}:Settle"])
def test_an_action_that_agrees_or_says_nothing_is_fine(action):
    assert SoapApp().post(envelope(SETTLE), SOAPAction=action).status == 200


@pytest.mark.parametrize(
    "header",
    [
        '<x xmlns="urn:x"/>',
        '<x xmlns="urn:x" s:mustUnderstand="0"/>',
        '<x xmlns="urn:x" s:mustUnderstand="1" s:actor="urn:somebody:else"/>',
    ],
)
def test_a_header_that_is_not_for_us_is_let_be(header):
    assert SoapApp().post(envelope(SETTLE, header=header)).status == 200


def test_a_large_message_is_opened_and_read_by_other_threads(monkeypatch):
    app, threads = SoapApp(), []
    original = asyncio.to_thread

    async def noted(*given):
        threads.append(given)
        return await original(*given)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    line = SETTLE[SETTLE.index("<fees>") : SETTLE.index("<total>")]

    assert app.post(envelope(SETTLE.replace(line, line * 500))).status == 200
    assert len(threads) == 2


@pytest.mark.parametrize(
    ("error", "status", "blamed"),
    [
        (Conflict("other content"), 500, "Client"),
        (NotFound(), 500, "Client"),
        (Forbidden(), 500, "Client"),
        (Unavailable(), 500, "Server"),
        (HubError(code="rate.exceeded"), 429, "Client"),
    ],
)
def test_what_the_desk_refuses_is_a_fault(error, status, blamed):
    app = SoapApp()
    app.courier.brought = Brought(error=error, case_id="K-1")

    reply = app.post(envelope(SETTLE))

    assert (reply.status, reply.code, reply.blamed, reply.text("case_id")) == (status, error.code, blamed, "K-1")


def test_a_sender_of_version_12_is_blamed_with_400():
    app = SoapApp()
    app.courier.brought = Brought(error=NotFound())

    reply = app.post(envelope(SETTLE, SOAP_12), SOAP_12)

    assert (reply.status, reply.blamed) == (400, "Sender")


@pytest.mark.parametrize(
    ("error", "code", "case_id"),
    [
        (Unavailable("the database is away"), "service.unavailable", ""),
        (StoredButUnknown("K-1"), "outcome.unknown", "K-1"),
        (IllegalTransition("secret"), "hub.error", ""),
        (ValueError("secret"), "hub.error", ""),
    ],
)
def test_what_breaks_inside_is_a_fault_that_tells_nothing(error, code, case_id):
    app = SoapApp()
    app.courier.error = error

    reply = app.post(envelope(SETTLE, SOAP_12), SOAP_12)

    assert (reply.status, reply.code, reply.blamed, reply.text("case_id")) == (500, code, "Receiver", case_id)
    assert b"secret" not in reply.body
