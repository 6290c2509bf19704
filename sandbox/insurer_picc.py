"""An insurer of the PICC type: SOAP rpc/encoded with an XML string, transactions H210 to H304.

A settlement is known by hospital, visit and receipt; a receipt that was cancelled is used up. Fee lines that lie there
already are answered as success and listed in the text. Fee lines are kept in memory, settlements in the book. A person
number that ends in -PAUSED is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

from lxml import etree

from sandbox import clock, entries
from sandbox.adjudication import CriticalIllnessPlan, Ruling, adjudicate_critical_illness
from sandbox.book import Book
from sandbox.claims_desk import TOO_MUCH_FEN, Desk
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind, Faults
from sandbox.insurer_rest import InsurerApp
from sandbox.soap import ENVELOPE_11, SoapProblem
from sandbox.string_soap import fault_reply, read_call, rpc_reply, texts
from sandbox.web import Answer, Call
from schemas.money import fen_of, yuan_of
from schemas.payer import BasicFacts, Operation

PATH = "/services/direct-settlement"
NAMESPACE = "http://services.supplementary-insurer.example/direct-settlement"
_OPERATION = "transBusinessForPICC"
_OTHER_GUID = "000000-19990101000000-00000000-0000"
_RESPOND = {
    "H210": "UploadMedResult_Respond",
    "H213": "UploadFeeDetail_Respond",
    "H214": "CancelUploadMedResult_Respond",
    "H301": "HospitalInformationUpload_Respond",
    "H304": "StaffUpload_Respond",
}


@dataclass(frozen=True, slots=True)
class _Question:
    """One inner message and the trouble that its answer is to be given."""

    head: Mapping[str, str]
    body: etree._Element
    trouble: Fault | None = None

    def suffers(self, kind: FaultKind) -> bool:
        return self.trouble is not None and self.trouble.kind is kind


class PiccInsurer(InsurerApp):
    """The insurer."""

    def __init__(self, code: str, book: Book, desk: Desk, faults: Faults | None = None) -> None:
        super().__init__(code, book, desk, faults)
        self.routes[("POST", PATH)] = self._soap
        self._plan = next(iter(desk.critical_illness.values()), CriticalIllnessPlan())
        self._lines: dict[tuple[str, str], dict[str, int]] = {}
        """By hospital and visit: the lines by their number."""
        self._work: dict[str, tuple[str, Callable[[_Question], Awaitable[dict[str, str]]]]] = {
            "H210": (Operation.SETTLE.value, self._result),
            "H213": ("fees", self._fees),
            "H214": (Operation.CANCEL.value, self._cancel),
            "H301": ("institutions", self._records),
            "H304": ("persons", self._records),
        }

    async def _soap(self, call: Call) -> Answer:
        try:
            asked = read_call(call.body)
        except SoapProblem as problem:
            return fault_reply(problem)
        head, body = texts(asked.document.find("head")), asked.document.find("body")
        verb, work = self._work.get(head.get("TransactionCode", ""), ("", None))
        if asked.operation != _OPERATION or body is None or work is None:
            return fault_reply(SoapProblem(ENVELOPE_11, "Client", "operation", "no such transaction"))

        async def answered(trouble: Fault | None) -> Answer:
            try:
                told = await work(_Question(head, body, trouble))
            except (KeyError, ValueError):
                told = _said("-1", "报文内容不完整或格式错误")
            other = trouble is not None and trouble.kind is FaultKind.GARBAGE
            return rpc_reply(_OPERATION, _document(head, told, other=other), namespace=NAMESPACE)

        key = next((element.text for element in body.iter("ReceiptNum") if verb != "fees"), None)
        return await self.misbehaving(f"{verb}/{key or head.get('TransRefGUID')}", verb, answered)

    async def _records(self, question: _Question) -> dict[str, str]:
        return _said("1", f"接收{len(question.body)}条")

    async def _fees(self, question: _Question) -> dict[str, str]:
        """Stores what is new; what lies there already is listed, and the answer is a success all the same."""
        rows = [texts(row) for row in question.body.iter("FeeList")]
        stored_fen, listed = 0, []
        for row in rows:
            known = self._lines.setdefault((row["HospitalCode"], row["ClinicSerialNum"]), {})
            number, amount = row["ListSerialNum"], fen_of(row["Amount"]) * int(row["TransactionType"])
            if number in known:
                listed.append(",".join((row["SenderCode"], row["ClinicSerialNum"], row["HisCode"], number)))
                continue
            known[number] = amount
            stored_fen += amount
        description = f"上传成功, 以下明细此前已上传: |{'|'.join(listed)}|" if listed else "上传成功"
        counted = {"TotalNoCalculateDetail": str(len(rows)), "CalculateDetailAmount": yuan_of(stored_fen)}
        return _said("1", description) | counted

    async def _result(self, question: _Question) -> dict[str, str]:
        told, person = (
            texts(question.body.find("MedResultList/MedResult")),
            texts(question.body.find("StaffInformation")),
        )
        entry = self._judged(told, person)
        if entry.outcome != entries.DECLINED:
            known = await asyncio.to_thread(self.book.fate, entry.request_id)
            if known is not None and known.outcome == entries.CANCELLED:
                return _said("-1", "票据已撤销, 重新结算须更换票据号")
            if known is not None and told["FeeField3"] == "0":
                return _said("-1", "结算已存在, 不允许重复上传")
            entry = await self.book.recorded(entry)
        if entry.outcome != entries.APPROVED:
            return _said("-1", entry.reason_zh)
        wrong = TOO_MUCH_FEN if question.suffers(FaultKind.WRONG_TOTAL) else 0
        return _said("1", "上传成功") | {
            "MedicalPaymentTotalAmount": told["MedicalPaymentTotalAmount"],
            "ReceiptNum": told["ReceiptNum"],
            "BigDiseaseCompenFee": yuan_of(entry.amount_fen + wrong),
            "Formula": entry.detail,
            "ReserveField1": entry.reference,
        }

    async def _cancel(self, question: _Question) -> dict[str, str]:
        asked = texts(question.body)
        original = f"{asked['HospitalCode']}/{asked['ClinicSerialNum']}/{asked['ReceiptNum']}"
        wanted = Entry(
            request_id=f"{original}:cancel",
            operation=entries.CANCEL,
            outcome=entries.CANCELLED,
            amount_fen=entries.ANY_AMOUNT,
            institution=asked["HospitalCode"],
            original_request_id=original,
            decided_at=_now(),
            content=original,
        )
        known = await asyncio.to_thread(self.book.find, original)
        if question.suffers(FaultKind.REFUSE_UNDO):
            return _said("-1", entries.unwilling(wanted).reason_zh)
        if known is None:
            return _said("-1", "未找到结算记录")
        # The cancel names no settlement number of the hospital's: the book keeps that of the original.
        entry = await self.book.recorded(replace(wanted, settlement_no=known.settlement_no))
        if entry.outcome != entries.CANCELLED:
            return _said("-1", entry.reason_zh)
        if question.suffers(FaultKind.WRONG_TOTAL):
            return _said("1", "撤销成功") | {"BigDiseaseCompenFee": yuan_of(entry.amount_fen + TOO_MUCH_FEN)}
        return _said("1", "撤销成功")

    def _judged(self, told: Mapping[str, str], person: Mapping[str, str]) -> Entry:
        total = fen_of(told["MedicalPaymentTotalAmount"])
        lines = self._lines.get((told["HospitalCode"], told["ClinicSerialNum"]), {})
        ruling = self._ruling(told)
        if person["NrcID"].endswith("-PAUSED"):
            ruling = Ruling(entries.DECLINED, 0, "paused", "参保状态异常, 暂停享受待遇")
        elif sum(lines.values()) < total:
            ruling = Ruling(entries.DECLINED, 0, "fees", "费用明细与总额不符")
        key = f"{told['HospitalCode']}/{told['ClinicSerialNum']}/{told['ReceiptNum']}"
        return Entry(
            request_id=key,
            operation=entries.SETTLE,
            outcome=ruling.outcome,
            amount_fen=ruling.amount_fen,
            effect_fen=ruling.amount_fen,
            institution=told["HospitalCode"],
            settlement_no=told["ReserveField2"],
            reference=f"{self.desk.prefix}{blake2b(key.encode(), digest_size=8).hexdigest().upper()}",
            reason_code=ruling.reason_code,
            reason_zh=ruling.reason_zh,
            decided_at=_now(),
            content="|".join(told[name] for name in ("ReserveField2", "MedicalPaymentTotalAmount", "PlanFundBySI")),
            detail=ruling.calculation,
        )

    def _ruling(self, told: Mapping[str, str]) -> Ruling:
        if told["BigDiseaseCompenFee"]:
            return Ruling(entries.APPROVED, fen_of(told["BigDiseaseCompenFee"]))
        # FeeField1 is what basic insurance left of the compliant part; other payers' parts come off it.
        burden = max(0, fen_of(told["FeeField1"]) - fen_of(told["FeeField4"] or "0"))
        nothing = dict.fromkeys(("own_pay", "over_limit", "first_self_pay", "deductible", "account", "cash"), 0)
        facts = BasicFacts(in_scope=burden, fund_paid=0, **nothing)
        left = fen_of(told["ReserveField3"]) if told.get("ReserveField3") else burden
        return adjudicate_critical_illness(self._plan, facts, left)


def _document(head: Mapping[str, str], told: Mapping[str, str], *, other: bool) -> str:
    echoed = dict(head) | ({"TransRefGUID": _OTHER_GUID} if other else {})
    root = etree.Element(_RESPOND[head["TransactionCode"]])
    for name, fields in (("head", echoed), ("body", told)):
        part = etree.SubElement(root, name)
        for field, text in fields.items():
            etree.SubElement(part, field).text = text
    return '<?xml version="1.0" encoding="UTF-8"?>' + etree.tostring(root, encoding="unicode")


def _said(flag: str, description: str) -> dict[str, str]:
    return {"SuccessFlag": flag, "Description": description}


def _now() -> str:
    return clock.now().isoformat(timespec="seconds")
