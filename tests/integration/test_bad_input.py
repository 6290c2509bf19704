"""The matrix of bad input: each case through its real channel, refused as it should be, and nothing comes of it."""

from __future__ import annotations

import base64
import importlib
import json
import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from hub.engine import Engine
from schemas.transactions import Transaction
from tests.support import servers
from tests.support.bad_input import MATRIX, PAGE, ROW, Open, page
from tests.support.builders import (
    CRITICAL,
    HOSPITAL,
    OTHER_HOSPITAL,
    a_settle_request,
    an_id_card,
    as_bytes,
)
from tests.support.eventually import eventually
from tests.support.http_client import Client, Reply
from tests.support.hub_in_process import FakeDelivery, TestHub, a_hub
from tests.support.national_his import NationalHis, a_fee, an_outpatient, insured
from tests.support.soap_client import send
from tests.support.soap_messages import SoapReply
from tests.unit.test_soap_bad_input import ROWS as SOAP_ROWS

KIBIBYTES_MAX = 64 * 1024
ANSWER_MAX = 8 * 1024
SECRET = "CANARY7391"
TABLES = (
    "settlement_case", "settlement_leg", "case_answer", "case_undo", "visit", "fee_line", "party_request", "notice",
    "payment_confirmation", "outbox", "dead_letter", "national_file", "message_number",
)  # fmt: skip
COUNTS = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
GOOD = a_settle_request(settlement_no="S-NEW")
BODY = as_bytes(GOOD)


@dataclass(frozen=True)
class Answer:
    """What came back by any channel."""

    status: int
    code: str
    body: bytes


@dataclass(frozen=True)
class World:
    """One hub with one settled case, and the ways into it."""

    hub: TestHub
    case_id: str

    @property
    def port(self) -> int:
        assert self.hub.hub.gateway is not None
        return int(self.hub.hub.gateway.port)

    def counts(self) -> dict[str, int]:
        with self.hub.database.connect() as connection:
            return dict(zip(TABLES, connection.exec_driver_sql(COUNTS).one(), strict=True))


Send = Callable[[World], Answer]


@dataclass(frozen=True)
class Row:
    """A case: how it is sent, and the status and the code that it is refused with."""

    send: Send
    status: int
    code: str


# the channels


def _of(reply: Reply) -> Answer:
    return Answer(reply.status, str(reply.json.get("code", "")), reply.body)


def http(body: bytes, transaction: str = "settlement.settle", party: str = HOSPITAL, key: str = "K-NEW") -> Send:
    return lambda world: _of(Client(world.port, party).post(transaction, body, key))


def changed(path: str, value: Any) -> bytes:
    """GOOD with another value at a dotted path."""
    message = json.loads(BODY)
    *steps, last = path.split(".")
    target = message
    for step in steps:
        target = target[int(step) if step.isdigit() else step]
    target[last] = value
    return as_bytes(message)


def said(old: bytes, new: bytes) -> bytes:
    assert old in BODY
    return BODY.replace(old, new, 1)


def malformed(body: bytes) -> Row:
    return Row(http(body), 400, "message.malformed")


def invalid(path: str, value: Any) -> Row:
    return Row(http(changed(path, value)), 422, "message.invalid")


def get(path: str, **headers: str) -> Send:
    def ask(world: World) -> Answer:
        return _of(Client(world.port, OTHER_HOSPITAL).get(path.format(case=world.case_id), **headers))

    return ask


def undo(transaction: str, settlement_no: str, institution: str, **more: str) -> Send:
    message = {"institution": institution, "settlement_no": settlement_no, "reason": "错"} | more
    return http(as_bytes(message), transaction, institution)


def soap(name: str) -> Row:
    """The row of the same name of the SOAP service's own test, at the real door."""
    row = SOAP_ROWS[name]

    def ask(world: World) -> Answer:
        reply: SoapReply = send(Client(world.port), row.raw, row.version, **row.headers)
        return Answer(reply.status, reply.code, reply.body)

    return Row(ask, row.status, row.code)


def national(infno: str, content: Any) -> Send:
    """The code is the infcode with the field that the words name first."""

    def ask(world: World) -> Answer:
        his = NationalHis(world.port)
        body = content if isinstance(content, bytes) else as_bytes(content)
        reply = his.post(as_bytes(his.envelope(infno, "INPUT")).replace(b'"INPUT"', body))
        answer = json.loads(reply.body)
        return Answer(reply.status, f"{answer['infcode']} {answer['err_msg'].partition('：')[0]}", reply.body)

    return ask


def queued(body: bytes = BODY, **changes: Any) -> Send:
    """A message from RabbitMQ in the hands of the engine; the code is that of its end or of the answer to it."""

    def ask(world: World) -> Answer:
        hub = world.hub.hub
        values = {"exchange": f"in.{HOSPITAL}", "routing_key": Transaction.SETTLE.value, "message_id": "D-NEW"}
        delivery = FakeDelivery(body, **{**values, **changes})
        Engine(hub.work_units, hub.books, world.hub.clock, hub.desk).handle([delivery])
        verdict = delivery.wait()
        if verdict.kind.value == "dead":
            return Answer(0, verdict.cause, str(verdict).encode())
        answer = world.hub.outbox(f"out.{HOSPITAL}")[-1]
        with world.hub.database.begin() as connection:
            connection.exec_driver_sql("DELETE FROM outbox")
        return Answer(0, answer["error"], as_bytes(answer))

    return ask


FORGED = base64.urlsafe_b64encode(b'{"alg":"none"}').decode() + "." + base64.urlsafe_b64encode(b'{"sub":"x"}').decode()
LINE = GOOD["fees"][0]
BASIC_SHARE = {"layer": "basic", "payer": CRITICAL, "amount": "100.00", "figures": {
    "own_pay": "0.00", "first_self_pay": "0.00", "in_scope": "300.00", "deductible": "0.00"}}  # fmt: skip
ROWS: dict[str, dict[str, Row]] = {
    "JSON": {
        "duplicate keys": malformed(said(b'"total":', b'"total":"1.00","total":')),
        "NaN": malformed(said(b'"total":"300.00"', b'"total":NaN')),
        "Infinity": malformed(said(b'"total":"300.00"', b'"total":-Infinity')),
        "deep nesting": malformed(b'{"a":' * 50_000),
        "5,000-digit integer": malformed(said(b'"total":"300.00"', b'"total":' + b"9" * 5_000)),
        "lone surrogate": malformed(said("欧阳".encode(), b"\\ud800")),
        "NUL": malformed(said("欧阳".encode(), b"\\u0000")),
        "BOM": malformed(b"\xef\xbb\xbf" + BODY),
        "UTF-16": malformed(BODY.decode().encode("utf-16")),
        "GBK": malformed(BODY.decode().encode("gbk")),
        "unknown field": invalid("discount", SECRET),
        "mass assignment": invalid("visit.state", "settled"),
        "trailing bytes": malformed(BODY + b"{}"),
        "more than 1 MiB": Row(http(BODY + b" " * 1024 * 1024), 413, "message.too_large"),
    },
    "Money": {
        "float": invalid("total", 300.0),
        "1E5": invalid("total", "1E5"),
        "-0": invalid("fees.0.amount", "-0"),
        "-1": invalid("total", "-1"),
        "0.001": invalid("fees.0.amount", "0.001"),
        "full-width digits": invalid("total", "３００"),
        "1_000": invalid("total", "1_000"),
        "NaN": invalid("total", "NaN"),
        "more than 10^13 fen": invalid("total", "100000000000.00"),
        "sum off by 1 fen": invalid("total", "300.01"),
        "NULL": invalid("total", None),
        "exponents in a national amount": Row(
            national("2204", {"feedetail": [a_fee("1", "1", 100) | {"det_item_fee_sumamt": "1E9999999"}]}), 200,
            "-1 input.feedetail[0].det_item_fee_sumamt",
        ),
        "digits without end in a national number": Row(
            national("2204", b'{"feedetail":[' + b",".join([b"1.0e-999999"] * 5_000) + b"]}"),
            200,
            "-1 报文格式错误，无法读取。",
        ),
    },
    "Identity, text": {
        "bad check digit": invalid("patient.id_no", an_id_card()[:-1] + ("1" if an_id_card()[-1] != "1" else "2")),
        "15-digit number": invalid("patient.id_no", "110101990307123"),
        "lower-case x": invalid("patient.id_no", "11010519491231002x"),
        "zero-width": malformed(changed("patient.name", "欧\u200b阳")),
        "right-to-left": malformed(changed("patient.name", "欧\u202e阳")),
        "over-long": invalid("patient.name", SECRET * 100),
        "SQL injection": invalid("settlement_no", "S-1'; DROP TABLE settlement_case;--"),
        "header injection": invalid("patient.phone", f"12345\r\nX-{SECRET}: 1"),
        "impossible date": invalid("patient.birth_date", "1999-02-30"),
        "future date": invalid("patient.birth_date", "2999-03-07"),
        "a moment at the end of the calendar": invalid("visit.started_at", "0001-01-01T00:00:00+08:00"),
        "a moment at the other end": invalid("answer_by", "9999-12-31T23:59:59-12:00"),
        "a national moment at the end of the calendar": Row(
            national("2201", {"data": an_outpatient(begntime="0001-01-01 00:00:00")}), 200, "-1 input.data.begntime"
        ),
    },
    "Semantics": {
        "same id, other body": Row(http(as_bytes(a_settle_request(30_001)), key="K-2"), 409, "case.conflict"),
        "same key, other body": Row(http(BODY, key="K-1"), 409, "message.id_reused"),
        "cancel of a foreign settlement": Row(
            undo("settlement.cancel", "S-1", OTHER_HOSPITAL, cancel_no="C-1"), 404, "case.not_found"
        ),
        "cancel of an unknown settlement": Row(
            undo("settlement.cancel", "S-0", HOSPITAL, cancel_no="C-1"), 404, "case.not_found"
        ),
        "wrong payer": invalid("adjudicated", [BASIC_SHARE]),
        "version skip": invalid("schema_version", "2"),
        "10,000 lines": Row(http(as_bytes(GOOD | {"fees": [LINE] * 10_000})), 413, "message.too_large"),
    },
    "XML bombs": {name: soap(f"xml: {name}") for name in MATRIX["XML bombs"]},
    "XML differential": {name: soap(f"xml: {name}") for name in MATRIX["XML differential"]},
    "XPath": {"xpath": soap("xml: xpath")},
    "SOAP": {
        **{name: soap(f"soap: {name}") for name in MATRIX["SOAP"] if f"soap: {name}" in SOAP_ROWS},
        "attachments": soap("http: attachments"),
        "WSDL fetched by a stranger": Row(
            lambda world: _of(Client(world.port).get("/soap/settlement?wsdl", Authorization="")),
            401,
            "party.unauthenticated",
        ),
    },
    "Auth": {
        "forged token, alg none": Row(get("/api/v1/cases/{case}", Authorization=f"Bearer {FORGED}."), 401,
                                      "party.unauthenticated"),
        "A's key on B's object": Row(get("/api/v1/cases/{case}"), 404, "case.not_found"),
        "changed party in the body": Row(http(BODY, party=OTHER_HOSPITAL), 403, "party.forbidden"),
        "changed party in an AMQP header": Row(
            queued(headers={"x-party": HOSPITAL, "x-hub-exchange": f"in.{HOSPITAL}"}, exchange=f"in.{OTHER_HOSPITAL}"),
            0,
            "party.forbidden",
        ),
    },
    "AMQP": {
        "body above the cap": Row(queued(BODY + b" " * 1024 * 1024), 0, "message.too_large"),
        "no message id": Row(queued(message_id=""), 0, "message.no_message_id"),
        "no transaction": Row(queued(routing_key=f"x.{SECRET}"), 0, "message.unknown_transaction"),
        "JSON that is none": Row(queued(f'{{"{SECRET}'.encode(), content_type="text/xml"), 0, "message.malformed"),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def world(postgres_server: servers.PostgresServer, database_template: str) -> Iterator[World]:
    """One hub for all rows; nothing that they do leaves a trace in it."""
    with servers.fresh_database(postgres_server, database_template) as url, a_hub(url) as hub:
        insured(hub)
        assert hub.hub.gateway is not None
        settled = Client(hub.hub.gateway.port).settle("S-1", "K-1").json
        eventually(lambda: hub.count("outbox") == 0)
        NationalHis(hub.hub.gateway.port).identify()
        yield World(hub, settled["case_id"])


@pytest.mark.parametrize(("cell", "case"), [(cell, case) for cell, rows in ROWS.items() for case in rows])
def test_it_is_refused_without_an_effect(world, cell, case):
    row = ROWS[cell][case]
    before, memory = world.counts(), _kibibytes()

    answer = row.send(world)

    assert (answer.status, answer.code) == (row.status, row.code), answer.body[:500]
    assert len(answer.body) < ANSWER_MAX
    assert SECRET.encode() not in answer.body
    assert b"Traceback" not in answer.body
    assert world.counts() == before
    assert _kibibytes() - memory < KIBIBYTES_MAX
    assert Client(world.port).get(f"/api/v1/cases/{world.case_id}").status == 200


def _kibibytes() -> int:
    """The most memory that this process, gateway included, has ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("cell", MATRIX)
def test_every_case_of_the_matrix_is_proven_or_open_for_a_reason(cell):
    assert {case for case, proof in MATRIX[cell].items() if proof == ROW} == ROWS.get(cell, {}).keys()
    for proof in MATRIX[cell].values():
        if isinstance(proof, Open):
            assert proof.why
        elif proof != ROW:
            _exists(proof)


def answers() -> dict[str, dict[str, str]]:
    """What each row is refused with, for the page."""
    return {cell: {case: _told(row) for case, row in rows.items()} for cell, rows in ROWS.items()}


def _told(row: Row) -> str:
    if row.code.startswith("-1 "):
        return f"200, infcode {row.code}"
    return f"{row.status or 'queue'}, `{row.code}`"


def test_the_page_is_written_from_the_rows():
    assert PAGE.read_text(encoding="utf-8") == page(answers())


def _exists(node: str) -> None:
    """A test of that name is there, and runs through that key where one is named: `file::test@TABLE[key]`."""
    path, _, name = node.partition("::")
    test, _, table = name.partition("@")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    assert callable(getattr(module, test)), node
    named, _, key = table.partition("[")
    rows: Mapping[str, Any] = getattr(module, named) if named else {}
    assert not key or key.removesuffix("]") in rows, node
