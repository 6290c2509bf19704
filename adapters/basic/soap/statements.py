"""The basic system's books of a day by `QueryStatement`: pure translation, as in the codec beside it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from lxml import etree

from adapters.basic.soap.contract import Version, contract, schema
from adapters.basic.soap.envelope import Envelope
from adapters.safe_xml import check_schema, has_attributes
from adapters.statement_pages import page_of, read_line, refuse_status, refused
from adapters.xml_shapes import read
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Unavailable, Violation
from schemas.money import signed_fen_of
from schemas.payer import PreparedCall, RawAnswer
from schemas.statement import LineKind
from schemas.statement_pages import StatementPage, StatementQuestion
from schemas.wsdl import BASIC_NAMESPACE

CHINA = timezone(timedelta(hours=8), "CST")
_DONE, _REFUSED = "0", "-1"
_REQUEST_ID = f"{{{BASIC_NAMESPACE}}}request_id"
_KINDS = {"0": LineKind.SETTLE, "1": LineKind.REFUND}


class StatementCodec:
    """StatementQuestion -> bytes and bytes -> StatementPage, in one SOAP version."""

    def __init__(self, party: str, version: Version) -> None:
        self._party = party
        self._contract = contract(version)
        self._envelope = Envelope(version)

    def encode(self, question: StatementQuestion) -> PreparedCall:
        """The request, valid by the XSD by construction."""
        call = self._contract.statement
        values = {
            "request_id": question.request_id,
            "stmt_date": question.day.isoformat(),
            "page_num": str(question.page),
        }
        body = self._envelope.wrap(call.element, BASIC_NAMESPACE, call.writer.write(values))
        return PreparedCall(body, self._envelope.content_type(call.action))

    def decode(self, question: StatementQuestion, answer: RawAnswer) -> StatementPage:
        """See `hub.ports.StatementAdapter`."""
        media_type = answer.content_type.partition(";")[0].strip().lower()
        if media_type != self._envelope.media_type:
            if answer.status != 200:
                refuse_status(question, answer.status)
            raise Malformed("an answer that is not SOAP", code="soap.content_type", party=self._party)
        payload = self._envelope.open(answer.body, party=self._party)
        fault = self._envelope.fault_in(payload)
        if fault is not None:
            facts = {"party": self._party, "code": f"fault.{fault.code}"}
            if fault.by_sender:
                raise InvalidMessage("the party refuses the question", **facts)
            raise Unavailable("the party gives no statement now", **facts)
        if answer.status != 200:
            refuse_status(question, answer.status)
        return _page(question, self._fields(question, payload))

    def _fields(self, question: StatementQuestion, payload: etree._Element) -> dict[str, Any]:
        call = self._contract.statement
        if payload.tag != call.answer_tag:
            raise Malformed("an answer to another operation", code="soap.operation", party=self._party)
        if payload.findtext(_REQUEST_ID) != question.request_id:
            raise OutcomeUnknown("an answer to another request", party=self._party)
        check_schema(schema(), payload, self._contract.names, party=self._party)
        if has_attributes(payload):
            raise InvalidMessage("attributes where none belong", code="xml.attribute", party=self._party)
        return read(payload, call.answer_shape)


def _page(question: StatementQuestion, fields: dict[str, Any]) -> StatementPage:
    if fields["infcode"] == _REFUSED:
        raise refused(question, fields.get("err_code", ""), fields.get("err_msg", ""))
    if fields["infcode"] != _DONE:
        raise Unavailable("neither yes nor no", code="infcode", party=question.payer)
    info = fields.get("stmtinfo")
    if info is None:
        missing = Violation("stmtinfo", "missing", "add the field")
        raise InvalidMessage("done, but without its result", missing, party=question.payer)
    if (info["stmt_date"], int(info["page_num"])) != (question.day.isoformat(), question.page):
        wrong = Violation("stmtinfo", "statement.other_page", "answer the day and the page that were asked for")
        raise InvalidMessage("another page than the one asked for", wrong, party=question.payer)
    rows = fields.get("stmtdetail", ())
    return page_of(
        question,
        pages=int(info["page_cnt"]),
        count=int(info["setl_cnt"]),
        total=_fen(info, "fund_pay_sumamt", "stmtinfo"),
        lines=[read_line(_line(row, f"stmtdetail[{place}]"), place + 1) for place, row in enumerate(rows)],
    )


def _line(row: dict[str, str], at: str) -> dict[str, Any]:
    return {
        "kind": _KINDS[row["refd_setl_flag"]],
        "institution": row["fixmedins_code"],
        "settlement_no": row["settlement_no"],
        "request_id": row.get("omsgid"),
        "reference": row.get("setl_id"),
        "total": _fen(row, "medfee_sumamt", at),
        "amount": _fen(row, "fund_pay_sumamt", at),
        "account": _fen(row, "acct_pay", at),
        "at": _moment(row, at),
    }


def _fen(row: dict[str, str], name: str, at: str) -> int:
    try:
        return signed_fen_of(row[name])
    except ValueError:
        remedy = "write yuan with two decimals; nothing is 0.00, without a sign"
        raise InvalidMessage("not an amount", Violation(f"{at}.{name}", "money", remedy)) from None


def _moment(row: dict[str, str], at: str) -> datetime:
    try:
        return datetime.fromisoformat(row["setl_time"]).replace(tzinfo=CHINA)
    except ValueError:
        remedy = "write China Standard Time as yyyy-MM-dd HH:mm:ss"
        raise InvalidMessage("not a moment", Violation(f"{at}.setl_time", "moment", remedy)) from None
