"""A critical-illness insurer of the China Life type: SOAP with an XML string, transactions by bus_code.

Answers every operation under its own name too, as the variant with seven operations does. Registrations and fee lines
are kept in memory, what is settled in the book. A person number that ends in -PAUSED is refused, -REVIEW turned to a
claim that is decided by hand, -EXCLUDED excluded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import orjson
from lxml import etree

from sandbox import clock, entries
from sandbox.adjudication import CriticalIllnessPlan, Ruling, adjudicate_critical_illness
from sandbox.book import Book
from sandbox.claims_desk import TOO_MUCH_FEN, Desk
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind, Faults
from sandbox.insurer_rest import InsurerApp
from sandbox.soap import ENVELOPE_11, SoapProblem
from sandbox.string_soap import document_reply, fault_reply, read_call, texts
from sandbox.web import Answer, Call
from schemas.money import fen_of, yuan_of
from schemas.payer import BasicFacts, Operation

PATH = "/cis/services/settlement"
NAMESPACE = "http://webservice.critical-illness.example/"
NOT_FOUND = "未找到补偿记录"
_OTHER_GROUP = "19990101000000000"
_REVIEW_ABOVE_FEN = 150_000_00
_LINE, _REGISTRATION, _COMPENSATION = "hospitalFeeInfo", "hospitalRegistrationInfo", "compensationInfo"


@dataclass(slots=True)
class _Visit:
    """What is known of a stay before it is settled."""

    person: str = ""
    lines: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Question:
    """One inner message: its head, its body and the trouble that its answer is to be given."""

    head: Mapping[str, str]
    body: etree._Element
    trouble: Fault | None = None

    def suffers(self, kind: FaultKind) -> bool:
        return self.trouble is not None and self.trouble.kind is kind

    def first(self, name: str) -> dict[str, str]:
        return texts(next(self.body.iter(name), None))


class ChinaLifeInsurer(InsurerApp):
    """The insurer; `encoding` is what its answers are written in."""

    def __init__(self, code: str, book: Book, desk: Desk, faults: Faults | None = None) -> None:
        super().__init__(code, book, desk, faults)
        self.encoding = "UTF-8"
        self.routes[("POST", PATH)] = self._soap
        self._plan = next(iter(desk.critical_illness.values()), CriticalIllnessPlan())
        self._visits: dict[tuple[str, str], _Visit] = {}
        self._work: dict[str, tuple[str, Callable[[_Question], Awaitable[str]]]] = {
            "100005": ("persons", self._persons),
            "100007": ("register", self._register),
            "100020": ("fees", self._fees),
            "100013": (Operation.SETTLE.value, self._compensate),
            "100018": (Operation.SETTLE.value, self._all_at_once),
            "100014": (Operation.CANCEL.value, self._cancel),
            "100015": (Operation.INQUIRE.value, self._query),
        }

    async def _soap(self, call: Call) -> Answer:
        try:
            asked = read_call(call.body)
        except SoapProblem as problem:
            return fault_reply(problem)
        head = texts(asked.document.find("head"))
        body = asked.document.find("body")
        verb, work = self._work.get(head.get("bus_code", ""), ("", None))
        if body is None or work is None:
            return fault_reply(SoapProblem(ENVELOPE_11, "Client", "bus_code", "no such transaction"))

        async def answered(trouble: Fault | None) -> Answer:
            try:
                told = await work(_Question(head, body, trouble))
            except (KeyError, ValueError):
                told = _unreadable(verb)
            group = _OTHER_GROUP if trouble is not None and trouble.kind is FaultKind.GARBAGE else head["group_id"]
            returned = "return" if asked.operation == "excute" else f"{asked.operation}Return"
            text = _document(head, group, told)
            return document_reply(asked.operation, returned, text, namespace=NAMESPACE, encoding=self.encoding)

        return await self.misbehaving(_draw_key(head, body), verb, answered)

    async def _persons(self, question: _Question) -> str:
        return _plain("1", f"接收{len(question.body)}人")

    async def _register(self, question: _Question) -> str:
        refusal = self._registered(question)
        return _plain("0", refusal) if refusal else _plain("1", "登记成功")

    async def _fees(self, question: _Question) -> str:
        return _plain("1", f"接收{self._uploaded(question)}条")

    async def _all_at_once(self, question: _Question) -> str:
        if refusal := self._registered(question):
            return _result({"status": "0", "msg": refusal})
        self._uploaded(question)
        return await self._compensate(question)

    async def _compensate(self, question: _Question) -> str:
        entry = self._judged(question)
        known = await asyncio.to_thread(self.book.fate, entry.request_id)
        if known is not None and known.outcome == entries.CANCELLED:
            return _result({"status": "0", "msg": "结算单号已回退"})
        if entry.outcome != entries.DECLINED:
            entry = await self.book.recorded(entry)
        return _result(_told(entry, question))

    async def _cancel(self, question: _Question) -> str:
        asked = question.first("hospitalCompensationCancelInfo")
        wanted = _wanted_undo(question.head, asked)
        original = await asyncio.to_thread(self.book.find, wanted.original_request_id)
        if question.suffers(FaultKind.REFUSE_UNDO):
            return _plain("0", entries.unwilling(wanted).reason_zh)
        if original is None or f"{asked['contract_number']}:{asked['case_number']}" != original.reference:
            return _plain("0", "未找到赔案")
        # The cancel does not name the hospital's own number: the book keeps that of the original.
        entry = await self.book.recorded(replace(wanted, settlement_no=original.settlement_no))
        if entry.outcome != entries.CANCELLED:
            return _plain("0", entry.reason_zh)
        if question.suffers(FaultKind.WRONG_TOTAL):
            return _plain("1", "回退成功", db_compensation=yuan_of(entry.amount_fen + TOO_MUCH_FEN))
        return _plain("1", "回退成功")

    async def _query(self, question: _Question) -> str:
        asked = question.first("compensationSearchInfo")
        entry = await asyncio.to_thread(self.book.fate, asked.get("arg1", ""))
        if entry is None or entry.outcome not in (entries.APPROVED, entries.DEFERRED):
            return _result({"status": "0", "msg": NOT_FOUND})
        if question.suffers(FaultKind.NOT_FOUND_FIRST):
            return _result({"status": "0", "msg": NOT_FOUND})
        return _result(_told(entry, question))

    def _visit(self, question: _Question, serial: str) -> _Visit:
        return self._visits.setdefault((question.head["ding_hosp_code"], serial), _Visit())

    def _registered(self, question: _Question) -> str:
        """Take a registration; why not, else nothing."""
        told = question.first(_REGISTRATION)
        if told["medical_record_no"].endswith("-PAUSED"):
            return "参保状态异常, 暂停享受待遇"
        self._visit(question, told["hospital_registration_sn"]).person = told["medical_record_no"]
        return ""

    def _uploaded(self, question: _Question) -> int:
        """Take fee lines; a line that came before under its number is stored once."""
        whole = next(question.body.iter("hospitalFeeDetailInfo"), None)
        told = texts(whole) if whole is not None else question.first(_REGISTRATION)
        visit = self._visit(question, told["hospital_registration_sn"])
        lines = [texts(line) for line in question.body.iter(_LINE)]
        for line in lines:
            visit.lines[line["his_fee_detail_code"]] = _signed(line["total_amount"])
        return len(lines)

    def _judged(self, question: _Question) -> Entry:
        told = question.first("hospitalCompensationInfo") or question.first(_COMPENSATION)
        entry = Entry(
            request_id=told["settlement_number"],
            operation=entries.SETTLE,
            outcome=entries.DECLINED,
            institution=question.head["ding_hosp_code"],
            settlement_no=told["arg1"],
            decided_at=clock.now().isoformat(timespec="seconds"),
            content="|".join(told[name] for name in ("arg1", "medical_record_no", "total_payment", "db_compensation")),
        )
        visit = self._visits.get((entry.institution, told["hospital_registration_sn"]), _Visit())
        if not visit.person:
            return _declined(entry, "未登记", told)
        if sum(visit.lines.values()) < fen_of(told["total_payment"]):
            return _declined(entry, "费用明细不完整", told)
        if told["db_compensation"]:
            return _ruled(entry, Ruling(entries.APPROVED, fen_of(told["db_compensation"])), told, self.desk.prefix)
        return _ruled(entry, self._ruling(told), told, self.desk.prefix)

    def _ruling(self, told: Mapping[str, str]) -> Ruling:
        if told["medical_record_no"].endswith("-EXCLUDED"):
            return Ruling(entries.DECLINED, 0, "excluded", "责任免除")
        total, in_scope = fen_of(told["total_payment"]), fen_of(told["fit_into_yb_amount"] or "0")
        fund = fen_of(told["yb_compensation"] or "0")
        others = fen_of(told["third_party_compensation"] or "0")
        left = fen_of(told["arg2"]) if told.get("arg2") else total - fund - others
        nothing = dict.fromkeys(("own_pay", "over_limit", "first_self_pay", "deductible", "account", "cash"), 0)
        facts = BasicFacts(in_scope=in_scope, fund_paid=fund + others, **nothing)
        ruling = adjudicate_critical_illness(self._plan, facts, max(0, left))
        if told["medical_record_no"].endswith("-REVIEW") or ruling.amount_fen > _REVIEW_ABOVE_FEN:
            return Ruling(entries.DEFERRED, 0, "manual_review", "金额较大, 转人工审核")
        return ruling


def _ruled(entry: Entry, ruling: Ruling, told: Mapping[str, str], prefix: str) -> Entry:
    digest = int.from_bytes(blake2b(entry.request_id.encode(), digest_size=8).digest(), "big")
    detail: dict[str, Any] = {
        "total": fen_of(told["total_payment"]),
        "fund": fen_of(told["yb_compensation"] or "0"),
        "deducted": fen_of(told["total_payment"]) - fen_of(told["fit_into_yb_amount"] or told["total_payment"]),
        "told": {name: told[name] for name in ("medical_record_no", "hospital_registration_sn", "name", "id_number")},
        "trace": ruling.calculation,
    }
    return Entry(
        request_id=entry.request_id,
        operation=entry.operation,
        outcome=ruling.outcome,
        amount_fen=ruling.amount_fen,
        effect_fen=ruling.amount_fen,
        institution=entry.institution,
        settlement_no=entry.settlement_no,
        reference=f"{prefix}20260001:{prefix}{digest:020d}",
        reason_code=ruling.reason_code,
        reason_zh=ruling.reason_zh,
        decided_at=entry.decided_at,
        content=entry.content,
        detail=orjson.dumps(detail).decode(),
    )


def _declined(entry: Entry, reason: str, told: Mapping[str, str]) -> Entry:
    return _ruled(entry, Ruling(entries.DECLINED, 0, "refused", reason), told, "")


def _told(entry: Entry, question: _Question) -> dict[str, str]:
    """An entry in the words of outExportHospitalCompensation."""
    if entry.outcome == entries.DECLINED and entry.reason_code != "excluded":
        return {"status": "0", "msg": entry.reason_zh}
    known: dict[str, Any] = orjson.loads(entry.detail) if entry.detail else {}
    total, fund, deducted = (known.get(name, 0) for name in ("total", "fund", "deducted"))
    wrong = 100 if question.suffers(FaultKind.WRONG_TOTAL) else 0
    contract, _, case = entry.reference.partition(":")
    person: dict[str, str] = known.get("told", {})
    return person | {
        "status": "1",
        "msg": "补偿成功",
        "contract_number": contract,
        "case_number": case or contract,
        "settlement_number": entry.request_id,
        "total_payment": yuan_of(total + wrong) if known else "",
        "fit_into_db_amount": yuan_of(max(0, total - fund - deducted)) if known else "",
        "deduction_payment": yuan_of(deducted) if known else "",
        "yb_compensation": yuan_of(fund) if known else "",
        "db_compensation": yuan_of(entry.amount_fen),
        "compensate_date": entry.decided_at[:19].replace("T", " "),
        "nonreal_time_reason": entry.reason_zh if entry.outcome == entries.DEFERRED else "",
        "whether_ignore": "1" if entry.reason_code == "excluded" else "0",
        "compensate_information": known.get("trace") or entry.reason_zh,
    }


def _wanted_undo(head: Mapping[str, str], asked: Mapping[str, str]) -> Entry:
    original = asked["settlement_number"]
    return Entry(
        request_id=f"{original}:cancel",
        operation=entries.CANCEL,
        outcome=entries.CANCELLED,
        amount_fen=entries.ANY_AMOUNT,
        institution=head["ding_hosp_code"],
        original_request_id=original,
        decided_at=clock.now().isoformat(timespec="seconds"),
        content=f"{original}|{asked['case_number']}",
    )


def _draw_key(head: Mapping[str, str], body: etree._Element) -> str:
    """What a fault script draws by: the settlement, or one package of something else."""
    number = next((element.text for element in body.iter("settlement_number")), None)
    return number or f"{head.get('group_id')}/{head.get('bus_code')}/{head.get('package_id')}"


def _document(head: Mapping[str, str], group: str, body: str) -> str:
    echoed = {name: head.get(name, "") for name in ("bus_code", "bus_sub_code", "package_id")}
    return f"<root><head><group_id>{group}</group_id>{_elements(echoed)}</head><body>{body}</body></root>"


def _unreadable(verb: str) -> str:
    """The refusal of a message with a field that is missing or no value."""
    refusal = {"status": "0", "msg": "报文内容不完整或格式错误"}
    return _result(refusal) if verb in (Operation.SETTLE, Operation.INQUIRE) else _elements(refusal)


def _plain(status: str, message: str, **more: str) -> str:
    return _elements({"status": status, "msg": message} | more)


def _result(fields: Mapping[str, str]) -> str:
    return f"<outExportHospitalCompensation>{_elements(fields)}</outExportHospitalCompensation>"


def _elements(fields: Mapping[str, str]) -> str:
    parts = []
    for name, text in fields.items():
        element = etree.Element(name)
        element.text = text
        parts.append(etree.tostring(element, encoding="unicode"))
    return "".join(parts)


def _signed(yuan: str) -> int:
    return -fen_of(yuan[1:]) if yuan.startswith("-") else fen_of(yuan)
