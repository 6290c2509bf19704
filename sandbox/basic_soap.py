"""The basic medical-insurance system as a SOAP server: reads, adjudicates, books, answers.

Its own reading and writing of the service contract; nothing is shared with the hub's adapter. A person number that ends
in "-PAUSED" belongs to somebody whose insurance is suspended: refused with infcode -1.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from xml.sax.saxutils import escape

import orjson
from lxml import etree

from sandbox import clock, entries
from sandbox.adjudication import BED, MATERIALS, BillLine, adjudicate_basic, scheme_of
from sandbox.book import Book
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind, Faults
from sandbox.soap import MEDIA, SoapProblem, SoapReader, fault, fault_status, wrap
from sandbox.soap_statements import answer_of
from sandbox.statement_pages import page_of
from sandbox.web import Answer, Call, PartyApp, Reply
from schemas.codes import MEDICAL_TYPES_BY_VISIT, VisitKind
from schemas.money import fen_of, rounded_fen, yuan_of
from schemas.payer import BasicResult
from schemas.wsdl import BASIC_NAMESPACE, basic_wsdl, basic_xsd

PATH = "/soap/basic"
_TAG = f"{{{BASIC_NAMESPACE}}}"
_CEILED = {BED, MATERIALS}
# One pass in C for each column of the fee lines: a third of the time that a loop over their elements takes.
_COLUMNS: tuple[Any, ...] = tuple(
    etree.XPath(f"b:feedetail/b:{name}/text()", namespaces={"b": BASIC_NAMESPACE}, smart_strings=False)
    for name in ("det_item_fee_sumamt", "cnt", "pric", "med_chrgitm_type", "chrgitm_lv")
)
_VISIT_KIND = {code.value: kind.value for kind in VisitKind for code in MEDICAL_TYPES_BY_VISIT[kind]}
_VISIT_KIND["53"] = VisitKind.OUTPATIENT.value
NOBODY = "00000000-0000-0000-0000-000000000000"


class BasicSoapServer(PartyApp):
    """One region's basic system. `check_answers` holds every answer against the XSD before it leaves."""

    def __init__(self, code: str, book: Book, faults: Faults | None = None, *, check_answers: bool = True) -> None:
        super().__init__(code, book, faults)
        self._reader = SoapReader(basic_xsd())
        self._check_answers = check_answers
        self.routes[("POST", PATH)] = self._soap
        self.routes[("GET", PATH)] = self._wsdl
        self.routes[("GET", f"{PATH.rpartition('/')[0]}/{basic_xsd().name}")] = self._xsd
        self._operations = {
            f"{_TAG}SettleRequest": self._settle,
            f"{_TAG}TrialRequest": self._trial,
            f"{_TAG}CancelRequest": self._cancel,
            f"{_TAG}InquireRequest": self._inquire,
            f"{_TAG}QueryStatementRequest": self._statement,
        }

    async def _soap(self, call: Call) -> Answer:
        try:
            request = self._reader.read(call.body)
            operation = self._operations.get(str(request.payload.tag))
            if operation is None:
                raise SoapProblem(request.envelope, "Client", "operation", "no such operation")
        except SoapProblem as problem:
            return _fault_reply(problem)
        fields = _fields(request.payload)
        verb = etree.QName(request.payload).localname.removesuffix("Request").lower()
        if verb == entries.CANCEL and not _knows_what_stands(fields):
            verb = entries.REVERSE

        async def work(trouble: Fault | None) -> Answer:
            payload = await operation(_Question(request.payload, fields, trouble))
            if self._check_answers:
                self._reader.check(payload)
            return Reply(wrap(request.envelope, payload), 200, MEDIA[request.envelope])

        return await self.misbehaving(fields["request_id"], verb, work)

    async def _settle(self, question: _Question) -> str:
        entry = await self.book.recorded(_judged(question))
        return _answer("SettleResponse", question, entry, booked=True)

    async def _trial(self, question: _Question) -> str:
        return _answer("TrialResponse", question, _judged(question), booked=False)

    async def _cancel(self, question: _Question) -> str:
        wanted = _wanted_undo(question.fields)
        if question.suffers(FaultKind.REFUSE_UNDO):
            return _cancelled(question, entries.unwilling(wanted), None)
        entry = await self.book.recorded(wanted)
        original = self.book.find(wanted.original_request_id)
        return _cancelled(question, entry, original)

    async def _inquire(self, question: _Question) -> str:
        asked = question.fields["omsgid"]
        entry = self.book.fate(asked)
        if entry is None or question.suffers(FaultKind.NOT_FOUND_FIRST):
            return _fate(question, "0", "")
        if entry.outcome == entries.APPROVED:
            return _fate(question, "1", _settlement(entry, question))
        return _fate(question, "3" if entry.outcome == entries.CANCELLED else "2", "")

    async def _statement(self, question: _Question) -> str:
        asked = question.fields
        page = await page_of(
            self.statement, date.fromisoformat(asked["stmt_date"]), int(asked["page_num"]), self.statement_rows_max
        )
        return answer_of(page, question.echo, question.spoil_fen)

    async def _wsdl(self, call: Call) -> Answer:
        host = escape(call.host, {'"': "&quot;"})
        address = f"http://{host}{PATH}"
        text = basic_wsdl().read_text(encoding="utf-8").replace("http://localhost/soap/basic", address)
        return Reply(text.encode(), 200, "text/xml")

    async def _xsd(self, _: Call) -> Answer:
        return Reply(basic_xsd().read_bytes(), 200, "text/xml")


class _Question:
    """A validated request: its element, its simple fields, and the trouble that its answer is to be given."""

    __slots__ = ("element", "fields", "trouble")

    def __init__(self, element: etree._Element, fields: dict[str, str], trouble: Fault | None) -> None:
        self.element = element
        self.fields = fields
        self.trouble = trouble

    @property
    def echo(self) -> str:
        return NOBODY if self.suffers(FaultKind.GARBAGE) else self.fields["request_id"]

    @property
    def spoil_fen(self) -> int:
        return 100 if self.suffers(FaultKind.WRONG_TOTAL) else 0

    def suffers(self, kind: FaultKind) -> bool:
        return self.trouble is not None and self.trouble.kind is kind


def _fields(element: etree._Element) -> dict[str, str]:
    cut = len(_TAG)
    return {str(child.tag)[cut:]: child.text or "" for child in element if not len(child)}


def _judged(question: _Question) -> Entry:
    fields = question.fields
    entry = Entry(
        request_id=fields["request_id"],
        operation=entries.SETTLE,
        outcome=entries.DECLINED,
        institution=fields["fixmedins_code"],
        settlement_no=fields["settlement_no"],
        decided_at=_now(),
        content="|".join(
            fields[name] for name in ("fixmedins_code", "settlement_no", "psn_no", "medfee_sumamt", "acct_used_flag")
        ),
    )
    bill = _bill_lines(question.element)
    if bill is None:
        return replace(entry, reason_code="A2", reason_zh="明细金额不等于数量乘以单价")
    if sum(line.amount_fen for line in bill) != fen_of(fields["medfee_sumamt"]):
        return replace(entry, reason_code="A1", reason_zh="费用明细合计与总费用不一致")
    if fields["psn_no"].endswith("-PAUSED"):
        return replace(entry, reason_code="P1", reason_zh="参保状态异常, 暂停享受待遇")
    result = adjudicate_basic(
        scheme_of(fields["insutype"]),
        _VISIT_KIND.get(fields["med_type"], VisitKind.OUTPATIENT.value),
        bill,
        person_no=fields["psn_no"],
        use_account=fields["acct_used_flag"] == "1",
    )
    return replace(
        entry,
        outcome=entries.APPROVED,
        amount_fen=result.fund_fen,
        effect_fen=result.fund_fen,
        account_fen=result.account_fen,
        reference=f"SL{_digest(fields['request_id'])}",
        detail=_detail(result, fields),
    )


def _bill_lines(bill: etree._Element) -> list[BillLine] | None:
    """The fee lines; None when one does not multiply out. The XSD has seen to it that no field is missing."""
    lines = []
    for amount, count, price, category, level in zip(*(column(bill) for column in _COLUMNS), strict=True):
        quantity, amount_fen = Decimal(count), fen_of(amount)
        if rounded_fen(quantity * Decimal(price)) != amount_fen:
            return None
        quantity_1e4 = int(quantity * 10_000) if category in _CEILED else 10_000
        lines.append(BillLine(amount_fen, level, category, quantity_1e4))
    return lines


def _detail(result: BasicResult, fields: dict[str, str]) -> str:
    return orjson.dumps(
        {
            "mdtrt_id": f"MD{_digest(fields['fixmedins_code'] + '/' + fields['ipt_otp_no'])}",
            "psn_no": fields["psn_no"],
            "amounts": {
                "medfee_sumamt": result.total_fen,
                "fulamt_ownpay_amt": result.own_pay_fen,
                "overlmt_selfpay": result.over_limit_fen,
                "preselfpay_amt": result.first_self_pay_fen,
                "inscp_scp_amt": result.in_scope_fen,
                "act_pay_dedc": result.deductible_fen,
                "fund_pay_sumamt": result.fund_fen,
                "psn_part_amt": result.account_fen + result.cash_fen,
                "acct_pay": result.account_fen,
                "psn_cash_pay": result.cash_fen,
                "hosp_part_amt": result.hospital_fen,
            },
            "funds": result.funds,
        }
    ).decode()


def _answer(name: str, question: _Question, entry: Entry, *, booked: bool) -> str:
    head = f"<request_id>{question.echo}</request_id>"
    if entry.outcome != entries.APPROVED:
        return _element(name, head + _refusal(entry))
    return _element(name, f"{head}<infcode>0</infcode>{_settlement(entry, question, booked=booked)}")


def _settlement(entry: Entry, question: _Question, *, booked: bool = True) -> str:
    detail: dict[str, Any] = orjson.loads(entry.detail)
    detail["amounts"]["psn_cash_pay"] += question.spoil_fen
    amounts = "".join(f"<{name}>{yuan_of(fen)}</{name}>" for name, fen in detail["amounts"].items())
    funds = "".join(
        f"<setldetail><fund_pay_type>{fund}</fund_pay_type><fund_payamt>{yuan_of(fen)}</fund_payamt></setldetail>"
        for fund, fen in detail["funds"]
    )
    number = f"<setl_id>{entry.reference}</setl_id><setl_time>{_moment(entry)}</setl_time>" if booked else ""
    return (
        f"<setlinfo><mdtrt_id>{detail['mdtrt_id']}</mdtrt_id><psn_no>{detail['psn_no']}</psn_no>"
        f"{amounts}{number}</setlinfo>{funds}"
    )


def _knows_what_stands(fields: dict[str, str]) -> bool:
    """Whoever names neither our number nor the amount wants a reversal."""
    return "setl_id" in fields or "fund_pay_sumamt" in fields


def _wanted_undo(fields: dict[str, str]) -> Entry:
    amount = fields.get("fund_pay_sumamt")
    return Entry(
        request_id=fields["request_id"],
        operation=entries.CANCEL if _knows_what_stands(fields) else entries.REVERSE,
        outcome=entries.CANCELLED,
        amount_fen=entries.ANY_AMOUNT if amount is None else fen_of(amount),
        institution=fields["fixmedins_code"],
        settlement_no=fields["settlement_no"],
        original_request_id=fields["omsgid"],
        decided_at=_now(),
        # Not the amount: one id undoes one request, whether its sender knew what stands or not.
        content=f"{fields['omsgid']}|{fields['fixmedins_code']}",
    )


def _fate(question: _Question, state: str, told: str) -> str:
    return _element(
        "InquireResponse",
        f"<request_id>{question.echo}</request_id><infcode>0</infcode><omsgid>{question.fields['omsgid']}</omsgid>"
        f"<omsg_stas>{state}</omsg_stas>{told}",
    )


def _cancelled(question: _Question, entry: Entry, original: Entry | None) -> str:
    head = f"<request_id>{question.echo}</request_id>"
    if entry.outcome != entries.CANCELLED:
        return _element("CancelResponse", head + _refusal(entry))
    total = account = 0
    number = ""
    undone = entry.detail != ""
    if undone and original is not None:
        amounts = orjson.loads(entry.detail)["amounts"]
        total, account = amounts["medfee_sumamt"], amounts["acct_pay"]
        number = f"<setl_id>{original.reference}</setl_id>"
    return _element(
        "CancelResponse",
        f"{head}<infcode>0</infcode><cancelinfo><omsgid>{entry.original_request_id}</omsgid>"
        f"<refd_setl_flag>{int(undone)}</refd_setl_flag>{number}<setl_time>{_moment(entry)}</setl_time>"
        f"<medfee_sumamt>{yuan_of(total)}</medfee_sumamt>"
        f"<fund_pay_sumamt>{yuan_of(entry.amount_fen + question.spoil_fen)}</fund_pay_sumamt>"
        f"<acct_pay>{yuan_of(account)}</acct_pay></cancelinfo>",
    )


def _refusal(entry: Entry) -> str:
    return f"<infcode>-1</infcode><err_code>{entry.reason_code}</err_code><err_msg>{escape(entry.reason_zh)}</err_msg>"


def _element(name: str, inner: str) -> str:
    return f'<{name} xmlns="{BASIC_NAMESPACE}">{inner}</{name}>'


def _fault_reply(problem: SoapProblem) -> Reply:
    detail = _element(
        "BasicFault",
        f"<code>{problem.code}</code><message>{escape(problem.reason[:400])}</message><retryable>false</retryable>",
    )
    return Reply(fault(problem, detail), fault_status(problem), MEDIA[problem.envelope])


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=13).hexdigest().upper()


def _now() -> str:
    return clock.now().isoformat(timespec="seconds")


def _moment(entry: Entry) -> str:
    return entry.decided_at[:19].replace("T", " ")
