"""An insurer behind a direct-billing platform of the Taikang type: packages in AES, tokens, visit files, fee lines.

It reads and writes the dialect by itself. A settlement is refused unless the lines that stand come to the total that it
names, so a line lost, doubled or left over shows at once. Settlements are in the durable book; visit files, fee lines
and tokens live in memory and are built anew by every script.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import orjson

from crypto import aes
from crypto.errors import CannotDecrypt
from sandbox import clock, entries
from sandbox.adjudication import CommercialClaim, CommercialPlan, Ruling, adjudicate_commercial
from sandbox.book import Book
from sandbox.claims_desk import TOO_MUCH_FEN, Desk
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind, Faults
from sandbox.insurer_rest import InsurerApp
from sandbox.web import Answer, Call, Reply, as_json
from schemas.money import fen_of, rounded_fen, yuan_of

INBOUND = "/biz/inbound/s"
TOKEN = "/api/token/access_token"
PRODUCT = "ZHIPEI-MEDICAL"
ROWS_MAX = 100
OK = "0"
NOT_TAKEN, NO_FILE, BAD_LINE, TOO_MANY, UNKNOWN, TOTAL = "E100", "E210", "E250", "E251", "E270", "E291"
REFUSED_CODES = (NOT_TAKEN, NO_FILE, BAD_LINE, TOO_MANY, UNKNOWN, TOTAL)
"""What this insurer documents as "refused, nothing was done"."""
SETTLED_BEFORE = "E409"
"""A settle under a bill number that is known: says nothing about what became of the first, so it is no refusal."""
POLICY_FROM = date(2025, 1, 1)
_OPERATIONS = {"S291": entries.SETTLE, "S290": "trial", "S270": entries.CANCEL}


@dataclass(frozen=True, slots=True)
class PlatformKeys:
    """What the platform has agreed with its senders."""

    app_id: str
    app_secret: str = field(repr=False)
    aes_key: str = field(repr=False)


SANDBOX_KEYS = PlatformKeys("hub-sandbox", "an app secret of nobody", "a-sandbox-aeskey")
OPTIONS = {
    "app_id": SANDBOX_KEYS.app_id,
    "receiver_code": "TH001",
    "receiver_name": "泰和健康保险",
    "refused_codes": ",".join(REFUSED_CODES),
}
"""What a hub's rule book says of this insurer."""
SECRETS = {"app_secret": SANDBOX_KEYS.app_secret, "aes_key": SANDBOX_KEYS.aes_key}
"""What a hub's file of secrets says of it: make-believe, like everything here."""


class Refused(Exception):
    """A call that is refused and has done nothing."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(slots=True)
class _File:
    """One visit: its registration, and the fee lines that stand by serial."""

    facts: dict[str, Any]
    lines: dict[str, dict[str, Any]] = field(default_factory=dict)
    settled: bool = False

    def total_fen(self) -> int:
        return sum(_signed_fen(line["money"]) for line in self.lines.values())


Package = Mapping[str, Any]


class TaikangInsurer(InsurerApp):
    """One insurer. `repeats`: a settle under a known bill number gets the first answer instead of E409.

    `asks_acceptance`: the customer accepts (S310, 1) or declines (0), and declining takes the settlement back.
    `uninsured`: identity numbers of people without a policy; `refused_items`: items that no fee line may carry.
    """

    def __init__(
        self,
        code: str,
        book: Book,
        keys: PlatformKeys,
        faults: Faults | None = None,
        *,
        plan: CommercialPlan | None = None,
        repeats: bool = False,
        token_life_s: int = 7200,
    ) -> None:
        super().__init__(code, book, Desk("TK"), faults)
        self.plan = plan or CommercialPlan(PRODUCT, deductible_fen=0, percent=80, cap_fen=50_000_00)
        self.repeats = repeats
        self.uninsured: set[str] = set()
        self.refused_items: set[str] = set()
        self.calls: list[str] = []
        self._keys = keys
        self._token_life_s = token_life_s
        self._tokens: dict[str, float] = {}
        self._files: dict[str, _File] = {}
        self._by_reference = {entry.reference: entry.request_id for entry in book.entries() if entry.reference}
        self.routes[("GET", TOKEN)] = self._token
        self.routes[("POST", INBOUND)] = self._inbound
        self._calls: dict[str, Callable[[Package], dict[str, Any]]] = {
            "S200": self._identity,
            "S210": self._open_file,
            "S230": self._change_file,
            "S240": self._cancel_file,
            "S250": self._take_lines,
            "S260": self._drop_lines,
            "S300": self._claim,
        }

    def lines_of(self, medical_no: str) -> dict[str, int]:
        """The lines that stand for a visit, whole fen by serial; empty without a file."""
        found = self._files.get(medical_no)
        return {serial: _signed_fen(line["money"]) for serial, line in found.lines.items()} if found else {}

    def has_file(self, medical_no: str) -> bool:
        """Whether a visit file stands."""
        return medical_no in self._files

    def forget_tokens(self) -> None:
        """Every token given out has expired."""
        self._tokens.clear()

    async def _token(self, call: Call) -> Answer:
        asked = dict(parse_qsl(call.query.decode()))
        if asked.get("appId") != self._keys.app_id or asked.get("secret") != self._keys.app_secret:
            return as_json({"result": {"code": "ERR0004", "msg": "APPID信息不存在"}})
        token = secrets.token_hex(16)
        self._tokens[token] = time.monotonic() + self._token_life_s
        data = {"access_token": token, "expires_in": self._token_life_s}
        return as_json({"data": data, "result": {"code": "0", "msg": ""}})

    async def _inbound(self, call: Call) -> Answer:
        if time.monotonic() >= self._tokens.get(call.headers.get("access_token", ""), 0.0):
            return _expired()
        try:
            package = json.loads(self._decrypted(call.body), parse_float=Decimal)["package"]
            name = package["head"]["busseID"]
            self.calls.append(name)
            handler = self._handler(name)
        except (CannotDecrypt, ValueError, KeyError, TypeError):
            return as_json({"result": {"code": "ERR0001", "msg": "报文无法解密"}}, 400)
        return await handler(package)

    def _handler(self, name: str) -> Callable[[Package], Awaitable[Answer]]:
        if name in _OPERATIONS:
            return {"S291": self._settle, "S290": self._trial, "S270": self._cancel}[name]
        if name == "S310":
            return self._accept
        work = self._calls[name]

        async def plainly(package: Package) -> Answer:
            return self._judged(package, lambda: work(package))

        return plainly

    async def _settle(self, package: Package) -> Answer:
        async def work(trouble: Fault | None) -> Answer:
            if trouble is not None and trouble.kind is FaultKind.TOKEN_EXPIRED:
                return self._token_gone()
            try:
                entry = self._ruled(package)
                kept = await self.book.recorded(entry)
                self._note(package, kept)
            except Refused as refusal:
                return self._sealed(package, {}, refusal.code, refusal.text)
            if kept is not entry and (not self.repeats or kept.reason_code == entries.REUSED):
                return self._sealed(package, {}, SETTLED_BEFORE, "该单据已结算, 请勿重复结算")
            return self._told(package, kept, trouble)

        return await self._troubled(package, _record(package)["businessSerialNum"], work)

    async def _trial(self, package: Package) -> Answer:
        async def work(trouble: Fault | None) -> Answer:
            if trouble is not None and trouble.kind is FaultKind.TOKEN_EXPIRED:
                return self._token_gone()
            try:
                entry = replace(self._ruled(package), reference="")
            except Refused as refusal:
                return self._sealed(package, {}, refusal.code, refusal.text)
            return self._told(package, entry, trouble)

        return await self._troubled(package, package["head"]["sendTradeNum"], work)

    async def _cancel(self, package: Package) -> Answer:
        record = _record(package)
        original = self._by_reference.get(record["settleSerialNum"], "")

        async def work(trouble: Fault | None) -> Answer:
            if trouble is not None and trouble.kind is FaultKind.TOKEN_EXPIRED:
                return self._token_gone()
            if trouble is not None and trouble.kind is FaultKind.REFUSE_UNDO:
                return self._sealed(package, {}, UNKNOWN, "已月结, 不予撤销")
            entry = await self._taken_back(original)
            if entry is None or entry.outcome != entries.CANCELLED:
                return self._sealed(package, {}, UNKNOWN, "未找到该结算")
            body = {"settleSerialNum": record["settleSerialNum"], "sbFundPay": _spoiled(entry.amount_fen, trouble)}
            return self._sealed(package, body, trouble=trouble)

        return await self._troubled(package, f"{record['settleSerialNum']}-", work)

    async def _accept(self, package: Package) -> Answer:
        record = _record(package)
        original = self._by_reference.get(record["settleSerialNum"], "")
        if not original:
            return self._sealed(package, {}, UNKNOWN, "未找到该结算")
        if record["acceptFlag"] != "1":
            await self._taken_back(original)
        return self._sealed(package, {"settleSerialNum": record["settleSerialNum"]})

    async def _taken_back(self, original: str) -> Entry | None:
        """What became of undoing a settlement; the same for every repeat."""
        first = await asyncio.to_thread(self.book.find, original) if original else None
        if first is None:
            return None
        wanted = Entry(
            request_id=f"{original}-cancel",
            operation=entries.CANCEL,
            outcome=entries.CANCELLED,
            amount_fen=entries.ANY_AMOUNT,
            case_id=first.case_id,
            institution=first.institution,
            settlement_no=first.settlement_no,
            original_request_id=original,
            reference=f"{first.reference}-C",
            decided_at=_now(),
            content=original,
        )
        return await self.book.recorded(wanted)

    def _identity(self, package: Package) -> dict[str, Any]:
        asked = _record(package)
        valid = "0" if asked["credentialNum"] in self.uninsured else "1"
        policy = {
            "commercialBillNum": asked.get("commercialBillNum") or "TK-20250101-00000001",
            "insuranceProductName": self.plan.product,
            "residualAmount": yuan_of(self.plan.cap_fen),
            "beginDate": f"{POLICY_FROM:%Y%m%d}000000",
            "endDate": "20991231235959",
        }
        offer = {
            "professionalCode": asked.get("professionalCode", ""),
            "professionalName": asked.get("professionalName", ""),
            "identifyCustomers": valid,
            "claimWay": "2",
            "polDetailList": [policy] if valid == "1" else [],
        }
        return {**{name: asked[name] for name in ("name", "gender", "birthday")}, "commercialInsuranceList": [offer]}

    def _open_file(self, package: Package) -> dict[str, Any]:
        facts = _record(package)
        known = self._files.get(facts["medicalNum"])
        if known is not None and known.facts["credentialNum"] != facts["credentialNum"]:
            raise Refused(NOT_TAKEN, "就诊流水号已用于其他患者")
        if known is None:
            self._files[facts["medicalNum"]] = _File(facts)
        return {"indemnitySign": "2", "promptInformation": ""}

    def _change_file(self, package: Package) -> dict[str, Any]:
        facts = _record(package)
        self._file(facts["medicalNum"]).facts = facts
        return {"indemnitySign": "2"}

    def _cancel_file(self, package: Package) -> dict[str, Any]:
        medical_no = _record(package)["medicalNum"]
        if self._file(medical_no).lines:
            raise Refused(NOT_TAKEN, "仍有费用明细, 不能撤销就诊档案")
        del self._files[medical_no]
        return {}

    def _take_lines(self, package: Package) -> dict[str, Any]:
        rows = package["body"]
        if len(rows) > ROWS_MAX:
            raise Refused(TOO_MANY, "每次最多上传100条明细")
        visit = self._file(rows[0]["medicalNum"])
        for row in rows:
            if row["medicareFeeitemCode"] in self.refused_items:
                raise Refused(BAD_LINE, "项目编码不存在")
            if row["recipeSerialNum"] in visit.lines:
                raise Refused(BAD_LINE, "处方流水号重复")
            if rounded_fen(abs(row["price"] * row["quantity"])) != abs(_signed_fen(row["money"])):
                raise Refused(BAD_LINE, "金额不等于单价乘数量")
        visit.lines.update({row["recipeSerialNum"]: row for row in rows})
        return {}

    def _drop_lines(self, package: Package) -> dict[str, Any]:
        for asked in package["body"]:
            visit = self._file(asked["medicalNum"])
            serial, batch = asked.get("recipeSerialNum"), asked.get("recipeNum")
            visit.lines = {
                number: line
                for number, line in visit.lines.items()
                if not ((serial in (None, "", number)) and (batch in (None, "", line["recipeNum"])))
            }
        return {}

    def _claim(self, package: Package) -> dict[str, Any]:
        serial = _record(package)["settleSerialNum"]
        entry = self.book.find(self._by_reference.get(serial, ""))
        if entry is None or entry.outcome != entries.APPROVED:
            raise Refused(UNKNOWN, "未找到该结算")
        return {"settleSerialNum": serial, "mngFinalPay": yuan_of(entry.amount_fen), "caseStatus": "1"}

    def _file(self, medical_no: str) -> _File:
        if medical_no not in self._files:
            raise Refused(NO_FILE, "未建立就诊档案")
        return self._files[medical_no]

    def _ruled(self, package: Package) -> Entry:
        """The entry that answers a settle or pre-settle; Refused when file, lines and total do not fit."""
        asked = _record(package)
        visit = self._file(asked["medicalNum"])
        if "sumMoney" not in asked:
            raise Refused(TOTAL, "缺少总金额")
        total_fen = _signed_fen(asked["sumMoney"])
        if visit.total_fen() != total_fen or sum(_signed_fen(asked[name]) for name in _SHARES) != total_fen:
            raise Refused(TOTAL, "费用总额与明细或各方支付不一致")
        ruling = self._decided(asked, visit)
        serial = f"TK{asked['medicalNum']}{asked['billNum']}".replace("-", "")
        return Entry(
            request_id=asked["businessSerialNum"],
            operation=entries.SETTLE,
            outcome=ruling.outcome,
            amount_fen=ruling.amount_fen,
            effect_fen=ruling.amount_fen,
            institution=package["head"]["providerCode"],
            settlement_no=asked["billNum"],
            reference=serial,
            reason_code=ruling.reason_code,
            reason_zh=ruling.reason_zh,
            reason_en=ruling.reason_en,
            decided_at=_now(),
            content=f"{asked['medicalNum']}|{asked['billNum']}|{asked['sumMoney']}|{asked['cashMoney']}",
            detail=ruling.calculation,
        )

    def _decided(self, asked: Mapping[str, Any], visit: _File) -> Ruling:
        diagnoses = asked["dischDiagnosisList"]
        seen_at = asked.get("dischDate") or visit.facts["treatDate"]
        claim = CommercialClaim(
            left_fen=_signed_fen(asked["cashMoney"]),
            in_scope_fen=_signed_fen(asked["inInsureMoney"]),
            fund_fen=_signed_fen(asked["medicareFundCost"]),
            earlier_fen=_signed_fen(asked["commercialInsurancePayment"]),
            main_diagnosis=next((one["diagnosisCode"] for one in diagnoses if one["diagSort"] == "0"), ""),
            visit_on=datetime.strptime(seen_at, "%Y%m%d%H%M%S").date(),
            policy_from=POLICY_FROM,
        )
        return adjudicate_commercial(self.plan, claim)

    def _note(self, package: Package, entry: Entry) -> None:
        self._by_reference[entry.reference] = entry.request_id
        self._file(_record(package)["medicalNum"]).settled = True

    def _told(self, package: Package, entry: Entry, trouble: Fault | None) -> Answer:
        asked = _record(package)
        approved = entry.outcome == entries.APPROVED
        pays_fen = entry.amount_fen if approved else 0
        body = {
            "medicalNum": asked["medicalNum"],
            "billNum": asked["billNum"],
            "settleSerialNum": entry.reference,
            "settleDate": asked["settleDate"],
            "medicalCost": orjson.Fragment(str(asked["sumMoney"])),
            "commercialInsuranceCost": orjson.Fragment(str(asked["cashMoney"])),
            "sbFundPay": _spoiled(pays_fen, trouble),
            "personalAmount": orjson.Fragment(yuan_of(_signed_fen(asked["cashMoney"]) - pays_fen)),
            "residualAmount": orjson.Fragment(yuan_of(self.plan.cap_fen - pays_fen)),
            "indemnitySign": "2" if approved else "0",
            "nonImmediateReason": entry.reason_zh if entry.outcome == entries.DEFERRED else "",
            "waiverSign": "1" if entry.outcome == entries.DECLINED else "0",
            "waiverReason": entry.reason_zh if entry.outcome == entries.DECLINED else "",
            "calculateInformation": entry.detail,
            "promptInformation": "",
        }
        return self._sealed(package, body, trouble=trouble)

    def _judged(self, package: Package, work: Callable[[], dict[str, Any]]) -> Answer:
        try:
            return self._sealed(package, work())
        except Refused as refusal:
            return self._sealed(package, {}, refusal.code, refusal.text)

    async def _troubled(
        self, package: Package, request_id: str, work: Callable[[Fault | None], Awaitable[Answer]]
    ) -> Answer:
        return await self.misbehaving(request_id, _OPERATIONS[package["head"]["busseID"]], work)

    def _token_gone(self) -> Answer:
        self.forget_tokens()
        return _expired()

    def _sealed(
        self,
        package: Package,
        body: dict[str, Any],
        code: str = OK,
        text: str = "",
        *,
        trouble: Fault | None = None,
    ) -> Answer:
        head = dict(package["head"])
        foreign = trouble is not None and trouble.kind is FaultKind.GARBAGE
        head |= {"sendTradeNum": "00000000000000-NOBODY-000000"} if foreign else {}
        addition = {"errorCode": code, "errorMsg": text, "receiverTradeNum": f"TK{secrets.token_hex(8)}"}
        answer = orjson.dumps({"package": {"head": head, "body": [body], "additionInfo": addition}})
        return Reply(base64.b64encode(aes.encrypt(self._keys.aes_key.encode(), answer)), content_type="text/plain")

    def _decrypted(self, body: bytes) -> bytes:
        return aes.decrypt(self._keys.aes_key.encode(), base64.b64decode(body, validate=True))


_SHARES = (
    "fundMoney",
    "civilServantFundMoney",
    "seriousFundMoney",
    "accountFundMoney",
    "civilSubsidy",
    "commercialInsurancePayment",
    "otherFundMoney",
    "hosBearMoney",
    "cashMoney",
)


def _record(package: Package) -> dict[str, Any]:
    first: dict[str, Any] = package["body"][0]
    return first


def _signed_fen(value: object) -> int:
    text = str(value)
    return -fen_of(text[1:]) if text.startswith("-") else fen_of(text)


def _spoiled(amount_fen: int, trouble: Fault | None) -> orjson.Fragment:
    wrong = trouble is not None and trouble.kind is FaultKind.WRONG_TOTAL
    return orjson.Fragment(yuan_of(amount_fen + (TOO_MUCH_FEN if wrong else 0)))


def _expired() -> Reply:
    return as_json({"result": {"code": "ERR0003", "msg": "Token已过期"}})


def _now() -> str:
    return clock.now().isoformat(timespec="milliseconds")
