"""A basic system with the national interface: one address, one JSON envelope, a transaction per infno.

Its own reading and writing of the interface; nothing is shared with the hub's adapter but the cryptography. A person
number that ends in "-PAUSED" belongs to somebody whose insurance is suspended.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any

import orjson

from crypto.errors import CryptoError
from crypto.signing import Signing, Unsigned
from sandbox import clock, entries
from sandbox.adjudication import BillLine, adjudicate_basic, scheme_of
from sandbox.book import Book
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind, Faults
from sandbox.national_answers import (
    Output,
    detail_of,
    line_result,
    moment,
    now,
    other_shape,
    plain_number,
    stored_line,
    yuan,
)
from sandbox.national_statements import NationalStatements
from sandbox.national_visits import Refused, Visit, Visits, bill_of, fen, kind_of, line_of, number_of
from sandbox.web import Answer, Call, PartyApp, Reply, as_json
from schemas.money import yuan_of

PATH = "/fsi/api"
TOKEN_PATH = "/oauth/token"
FOREIGN = "H00000000000" + "0" * 18
TOKEN_EXPIRED = {"code": 401, "type": "error", "message": "Token expired", "data": None}
_OPERATIONS = {
    **dict.fromkeys(("2102", "2207", "2304"), entries.SETTLE),
    **dict.fromkeys(("2101", "2206", "2303"), "trial"),
    **dict.fromkeys(("2103", "2208", "2305"), entries.CANCEL),
    **dict.fromkeys(("5201", "5203", "5204"), "inquire"),
    "2601": entries.REVERSE,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What this region does its own way. `token` is the client's secret where a bearer token is asked for."""

    region: str = "360100"
    signing: Signing = field(default_factory=Unsigned)
    sign_in: bool = False
    token: str = ""
    picky: bool = False
    fund_includes_account: bool = False
    unknown_items: frozenset[str] = frozenset()
    """Catalogue codes that the region does not know: a chunk that holds one is refused."""
    extra_money: Mapping[str, int] = field(default_factory=dict)
    """Amounts that no table knows, put into every setlinfo."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request envelope that was accepted."""

    infno: str
    msgid: str
    institution: str
    input: Mapping[str, Any]
    trouble: Fault | None = None

    def suffers(self, kind: FaultKind) -> bool:
        return self.trouble is not None and self.trouble.kind is kind

    def node(self, name: str = "data") -> Mapping[str, Any]:
        node = self.input.get(name)
        if not isinstance(node, Mapping):
            raise Refused(f"缺少节点{name}")
        return node

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        rows = self.input.get(name)
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise Refused(f"缺少节点{name}")
        return rows


class BasicNationalServer(PartyApp):
    """One region's basic system."""

    def __init__(self, code: str, book: Book, faults: Faults | None = None, policy: Policy | None = None) -> None:
        super().__init__(code, book, faults)
        self.policy = policy or Policy()
        self.visits = Visits(picky=self.policy.picky)
        self._sign_nos: set[str] = set()
        self._tokens: set[str] = set()
        self._serial = 0
        self._settled_by: dict[str, str] = {}
        self.routes[("POST", PATH)] = self._national
        self.routes[("POST", TOKEN_PATH)] = self._token
        self._handlers: dict[str, Callable[[_Asked], Any]] = {
            "9001": self._sign_in,
            "1101": self._person,
            "2201": self._register,
            "2401": self._register,
            "2203": self._encounter,
            "2403": self._encounter,
            "2202": self._unregister,
            "2404": self._unregister,
            "2204": self._upload,
            "2301": self._upload,
            "2205": self._take_back,
            "2302": self._take_back,
            "2402": self._discharge,
            "2405": self._readmit,
            **dict.fromkeys(("2206", "2207", "2303", "2304"), self._settle),
            **dict.fromkeys(("2101", "2102"), self._pharmacy),
            **dict.fromkeys(("2103", "2208", "2305"), self._cancel),
            "2601": self._reverse,
            "5201": self._visits_of,
            "5203": self._settlement_of,
            "5204": self._lines_of,
        }
        statements = NationalStatements(book, self.statement, fund_includes_account=self.policy.fund_includes_account)
        self._handlers |= statements.handlers
        for entry in self.book.entries():
            self._remember(entry)

    async def _national(self, call: Call) -> Answer:
        try:
            envelope = json.loads(call.body, parse_float=Decimal)
            opened = self.policy.signing.verify(envelope, call.headers)
            asked = _asked(opened)
        except CryptoError:
            return self._answer("-1", {}, "验签失败")
        except (ValueError, TypeError, KeyError, AttributeError):
            return self._answer("-1", {}, "报文格式错误")
        if self.policy.token and call.headers.get("authorization", "").removeprefix("Bearer ") not in self._tokens:
            return as_json(TOKEN_EXPIRED)
        operation = _OPERATIONS.get(asked.infno, "prepare")

        async def work(trouble: Fault | None) -> Answer:
            return await self._worked(replace(asked, trouble=trouble), str(opened.get("sign_no", "")))

        return await self.misbehaving(f"{asked.msgid}/{asked.infno}", operation, work)

    async def _worked(self, asked: _Asked, sign_no: str) -> Answer:
        handler = self._handlers.get(asked.infno)
        if handler is None:
            return self._answer("-1", {}, f"交易{asked.infno}不存在")
        if asked.suffers(FaultKind.TOKEN_EXPIRED) and self.policy.token:
            self._tokens.clear()
            return as_json(TOKEN_EXPIRED)
        if self.policy.sign_in and asked.infno != "9001":
            if asked.suffers(FaultKind.SIGN_IN_LOST):
                self._sign_nos.clear()
            if sign_no not in self._sign_nos:
                return self._answer("-1", {}, "操作员未签到或签到失效")
        try:
            output = handler(asked)
            if asyncio.iscoroutine(output):
                output = await output
        except Refused as refusal:
            return self._answer("-1", {}, str(refusal), asked)
        except (KeyError, ValueError, InvalidOperation):
            return self._answer("-1", {}, "输入参数不完整或格式错误", asked)
        return output if isinstance(output, Reply) else self._answer("0", output, "", asked)

    def _answer(self, code: str, output: Output, message: str, asked: _Asked | None = None) -> Reply:
        self._serial += 1
        moment = clock.now()
        if asked is not None and asked.suffers(FaultKind.OTHER_SHAPE):
            output = other_shape(output)
        envelope = {
            "infcode": int(code),
            "inf_refmsgid": f"{self.policy.region}{moment:%Y%m%d%H%M%S}{self._serial:010d}",
            "refmsg_time": f"{moment:%Y%m%d%H%M%S}000",
            "respond_time": f"{moment:%Y%m%d%H%M%S}001",
            "err_msg": message,
            "output": output,
        }
        signed, _ = self.policy.signing.sign(envelope, "output")
        if asked is not None and asked.suffers(FaultKind.WRONG_SIGNATURE) and signed.get("cainfo"):
            signed["cainfo"] = "00" + str(signed["cainfo"])[2:]
        if asked is not None and asked.suffers(FaultKind.OTHER_WRAPPER):
            signed = {"code": 0, "type": "success", "message": "", "data": signed}
        return Reply(orjson.dumps(signed, default=plain_number))

    async def _token(self, call: Call) -> Answer:
        if not self.policy.token or f"client_secret={self.policy.token}".encode() not in call.body:
            return as_json({"error": "invalid_client"}, 401)
        token = secrets.token_hex(16)
        self._tokens.add(token)
        return as_json({"access_token": token, "token_type": "bearer", "expires_in": 7200})

    def _sign_in(self, asked: _Asked) -> Output:
        if not asked.node("signIn").get("opter_no"):
            raise Refused("缺少操作员")
        sign_no = secrets.token_hex(12)
        self._sign_nos.add(sign_no)
        return {"signinoutb": {"sign_time": now(), "sign_no": sign_no}}

    def _person(self, asked: _Asked) -> Output:
        certificate = str(asked.node()["certno"])
        base = {"psn_no": certificate, "psn_cert_type": "01", "certno": certificate, "psn_name": "参保人", "gend": "0"}
        insured = {"balc": 0, "insutype": "310", "psn_type": "11", "psn_insu_stas": "1", "cvlserv_flag": "0"}
        return {"baseinfo": base, "insuinfo": [{**insured, "insuplc_admdvs": self.policy.region}], "idetinfo": []}

    def _register(self, asked: _Asked) -> Output:
        stay = asked.infno == "2401"
        told = asked.node("mdtrtinfo" if stay else "data")
        number = str(told["ipt_otp_no"])
        visit = self.visits.open(
            Visit(
                mdtrt_id=number_of(asked.institution, number),
                institution=asked.institution,
                number=number,
                psn_no=str(told["psn_no"]),
                insutype=str(told["insutype"]),
                kind="inpatient" if stay else "outpatient",
                begun=str(told["begntime"]),
                med_type=str(told["med_type"]) if stay else "11",
            )
        )
        answer = {"mdtrt_id": visit.mdtrt_id}
        return {"result": answer} if stay else {"data": {**answer, "psn_no": visit.psn_no, "ipt_otp_no": number}}

    def _encounter(self, asked: _Asked) -> Output:
        told = asked.node("mdtrtinfo" if asked.infno == "2203" else "adminfo")
        self._open_visit(told).med_type = str(told["med_type"])
        return {}

    def _unregister(self, asked: _Asked) -> Output:
        self.visits.close(self._open_visit(asked.node()))
        return {}

    def _upload(self, asked: _Asked) -> Output:
        rows = asked.rows("feedetail")
        if not 1 <= len(rows) <= 100:
            raise Refused("每次上传1至100条明细")
        visit = self._open_visit(rows[0])
        lines = [line_of(row) for row in rows]
        if any(line.item in self.policy.unknown_items for line in lines):
            raise Refused("目录编码不存在")
        self.visits.upload(visit, lines)
        scheme = scheme_of(visit.insutype)
        return {"result": [line_result(line, scheme) for line in lines]}

    def _take_back(self, asked: _Asked) -> Output:
        told = asked.node()
        visit = self._open_visit(told)
        self.visits.take_back(visit, str(told.get("feedetl_sn", "-")), str(told.get("chrg_bchno", "-")))
        return {}

    def _discharge(self, asked: _Asked) -> Output:
        told = asked.node("dscginfo")
        self.visits.discharge(self._open_visit(told), str(told["endtime"]))
        return {}

    def _readmit(self, asked: _Asked) -> Output:
        self.visits.readmit(self._open_visit(asked.node()))
        return {}

    async def _settle(self, asked: _Asked) -> Output:
        told, booked = asked.node(), asked.infno in ("2207", "2304")
        known = self.book.find(asked.msgid) if booked else None
        visit = self.visits.find(str(told["mdtrt_id"]), str(told["psn_no"]))
        lines = list(visit.lines.values())
        if known is None:
            if self._is_settled(visit):
                raise Refused("该就诊已结算, 不能重复操作")
            if asked.infno == "2304" and not visit.ended:
                raise Refused("该患者未办理出院, 不能结算")
            if visit.kind == "outpatient":
                lines = [line for line in lines if line.batch == str(told["chrg_bchno"])]
            if sum(line.amount_fen for line in lines) != fen(told["medfee_sumamt"]):
                raise Refused("医疗费总额与已上传费用明细合计不一致")
        entry = self._judged(asked, told, visit, bill_of(lines))
        return await self._booked(asked, visit, entry) if booked else self._told(asked, entry)

    async def _pharmacy(self, asked: _Asked) -> Output:
        told, rows = asked.node("druginfo"), asked.rows("drugdetail")
        number = str(told.get("ipt_otp_no") or asked.msgid)
        visit = Visit(
            mdtrt_id=number_of(asked.institution, number),
            institution=asked.institution,
            number=number,
            psn_no=str(told["psn_no"]),
            insutype=str(told["insutype"]),
            kind="pharmacy",
            begun=str(told["begntime"]),
            med_type="41",
        )
        self.visits.upload(visit, [line_of(row) for row in rows])
        if sum(line.amount_fen for line in visit.lines.values()) != fen(told["medfee_sumamt"]):
            raise Refused("医疗费总额与费用明细合计不一致")
        entry = self._judged(asked, told, visit, bill_of(visit.lines.values()))
        if asked.infno == "2101":
            return self._told(asked, entry)
        self.visits.restore(visit)
        return await self._booked(asked, self.visits.find(visit.mdtrt_id, visit.psn_no), entry)

    async def _booked(self, asked: _Asked, visit: Visit, entry: Entry) -> Output:
        visit.settled = visit.settled if self._is_settled(visit) else asked.msgid
        recorded = await self.book.recorded(entry)
        self._remember(recorded)
        fate = self.book.fate(asked.msgid)
        if fate is not None and fate.outcome == entries.CANCELLED:
            raise Refused("该交易已被撤销或冲正")
        return self._told(asked, recorded)

    def _judged(self, asked: _Asked, told: Mapping[str, Any], visit: Visit, bill: list[BillLine]) -> Entry:
        entry = Entry(
            request_id=asked.msgid,
            operation=entries.SETTLE,
            outcome=entries.DECLINED,
            institution=asked.institution,
            settlement_no=str(told.get("order_no") or told.get("chrg_bchno") or visit.number),
            decided_at=now(),
            content="|".join(str(told[name]) for name in ("psn_no", "medfee_sumamt", "acct_used_flag")),
        )
        if visit.psn_no.endswith("-PAUSED"):
            return replace(entry, reason_code="P1", reason_zh="参保状态异常, 暂停享受待遇")
        use_account = str(told["acct_used_flag"]) == "1"
        scheme = scheme_of(str(told["insutype"]))
        result = adjudicate_basic(
            scheme, kind_of(str(told["med_type"])), bill, person_no=visit.psn_no, use_account=use_account
        )
        return replace(
            entry,
            outcome=entries.APPROVED,
            amount_fen=result.fund_fen,
            effect_fen=result.fund_fen,
            account_fen=result.account_fen,
            # Two institutions may send at the same moment under the same running number.
            reference=f"SL{blake2b(asked.msgid.encode(), digest_size=14).hexdigest().upper()}",
            detail=detail_of(visit, result, str(told["insutype"])),
        )

    def _told(self, asked: _Asked, entry: Entry) -> Output:
        if entry.outcome != entries.APPROVED:
            raise Refused(entry.reason_zh or "交易已被撤销")
        return self._settlement(asked, entry, booked=asked.infno in ("2102", "2207", "2304", "5203"))

    def _settlement(self, asked: _Asked, entry: Entry, *, booked: bool) -> Output:
        detail: dict[str, Any] = orjson.loads(entry.detail)
        amounts = dict(detail["amounts"])
        if self.policy.fund_includes_account:
            amounts["fund_pay_sumamt"] += amounts["acct_pay"]
        amounts["psn_cash_pay"] += 100 if asked.suffers(FaultKind.WRONG_TOTAL) else 0
        info: Output = {name: yuan(amount) for name, amount in {**amounts, **self.policy.extra_money}.items()}
        info |= {name: detail[name] for name in ("mdtrt_id", "psn_no", "insutype")}
        info["medins_setl_id"] = FOREIGN if asked.suffers(FaultKind.GARBAGE) else entry.request_id
        info |= {"setl_id": entry.reference, "setl_time": moment(entry)} if booked else {"setl_id": ""}
        rows = [
            {
                "fund_pay_type": kind,
                "inscp_scp_amt": yuan(amounts["inscp_scp_amt"]),
                "crt_payb_lmt_amt": 0,
                "fund_payamt": yuan(amount),
                "setl_proc_info": f"基金{kind}支付{yuan_of(amount)}",
            }
            for kind, amount in detail["funds"]
        ]
        return {"setlinfo": info, "setldetail": rows}

    async def _cancel(self, asked: _Asked) -> Output:
        told = asked.node()
        original = self._settled_by.get(str(told["setl_id"]), "")
        entry = self.book.find(original) if original else None
        if entry is None or orjson.loads(entry.detail)["mdtrt_id"] != told["mdtrt_id"]:
            raise Refused("未找到结算信息")
        wanted = self._undo(asked, entries.CANCEL, original, entry.settlement_no)
        if asked.suffers(FaultKind.REFUSE_UNDO):
            raise Refused("已月结, 不予撤销")
        repeated = self.book.find(asked.msgid) is not None
        fate = self.book.fate(original)
        if not repeated and fate is not None and fate.outcome == entries.CANCELLED:
            raise Refused("该结算已撤销")
        recorded = await self.book.recorded(wanted)
        if recorded.outcome != entries.CANCELLED:
            raise Refused(recorded.reason_zh)
        output = self._settlement(replace(asked, infno="5203"), entry, booked=True)
        info = {name: -value if isinstance(value, Decimal) else value for name, value in output["setlinfo"].items()}
        # When it was undone, not when it was settled: the day of the refund follows from it.
        return {"setlinfo": info | {"setl_time": moment(recorded)}, "setldetail": []}

    async def _reverse(self, asked: _Asked) -> Output:
        told = asked.node()
        if str(told["oinfno"]) not in ("2102", "2103", "2207", "2208", "2304", "2305", "2401"):
            raise Refused("该交易不支持冲正")
        if asked.suffers(FaultKind.REFUSE_UNDO):
            raise Refused("已月结, 不予冲正")
        original = str(told["omsgid"])
        entry = self.book.find(original)
        wanted = self._undo(asked, entries.REVERSE, original, entry.settlement_no if entry else "")
        await self.book.recorded(wanted)
        return {}

    def _undo(self, asked: _Asked, operation: str, original: str, settlement_no: str) -> Entry:
        return Entry(
            request_id=asked.msgid,
            operation=operation,
            outcome=entries.CANCELLED,
            amount_fen=entries.ANY_AMOUNT,
            institution=asked.institution,
            settlement_no=settlement_no,
            original_request_id=original,
            decided_at=now(),
            content=f"{operation}|{original}",
        )

    def _visits_of(self, asked: _Asked) -> Output:
        told = asked.node()
        if asked.suffers(FaultKind.NOT_FOUND_FIRST):
            return {"mdtrtinfo": []}
        begun = str(told["begntime"])[:10], str(told.get("endtime") or "9999-12-31")[:10]
        rows = [
            {
                "mdtrt_id": one.mdtrt_id,
                "psn_no": one.psn_no,
                "ipt_otp_no": one.number,
                "begntime": one.begun,
                "endtime": one.ended,
                "med_type": one.med_type,
            }
            for one in self.visits.of_person(str(told["psn_no"]), str(told["med_type"]))
            if one.institution == asked.institution and begun[0] <= one.begun[:10] <= begun[1]
        ]
        return {"mdtrtinfo": rows}

    def _lines_of(self, asked: _Asked) -> Output:
        told = asked.node()
        visit = self.visits.find(str(told["mdtrt_id"]), str(told["psn_no"]))
        entry = self.book.find(visit.settled) if self._is_settled(visit) else None
        rows = [
            {
                "mdtrt_id": visit.mdtrt_id,
                "setl_id": entry.reference if entry else "",
                "feedetl_sn": line.number,
                "chrg_bchno": line.batch,
                "med_list_codg": line.item,
                "det_item_fee_sumamt": yuan(line.amount_fen),
                "cnt": line.count,
                "pric": line.price,
            }
            for line in visit.lines.values()
        ]
        return {"feedetail": rows}

    def _settlement_of(self, asked: _Asked) -> Output:
        told = asked.node()
        original = self._settled_by.get(str(told["setl_id"]), "")
        fate = self.book.fate(original) if original else None
        if fate is None or fate.outcome != entries.APPROVED:
            raise Refused("未找到结算信息")
        return self._settlement(asked, fate, booked=True)

    def _open_visit(self, told: Mapping[str, Any]) -> Visit:
        visit = self.visits.find(str(told["mdtrt_id"]), str(told["psn_no"]))
        if self._is_settled(visit):
            raise Refused("该就诊已结算, 不能操作")
        return visit

    def _is_settled(self, visit: Visit) -> bool:
        fate = self.book.fate(visit.settled) if visit.settled else None
        return fate is not None and fate.outcome == entries.APPROVED

    def _remember(self, entry: Entry) -> None:
        """What a settlement needs to be found by: also after a restart."""
        if entry.operation != entries.SETTLE or entry.outcome != entries.APPROVED:
            return
        self._settled_by[entry.reference] = entry.request_id
        stored: dict[str, Any] = orjson.loads(entry.detail)["visit"]
        lines = {raw["number"]: stored_line(raw) for raw in stored.pop("lines")}
        self.visits.restore(Visit(**stored, lines=lines, settled=entry.request_id))


def _asked(envelope: Mapping[str, Any]) -> _Asked:
    content = envelope["input"]
    if not isinstance(content, Mapping):
        raise TypeError("input is an object")
    msgid, institution = envelope["msgid"], envelope["fixmedins_code"]
    if len(msgid) != 30 or not msgid.startswith(institution) or len(envelope["mdtrtarea_admvs"]) != 6:
        raise ValueError("the message number")
    if not envelope["recer_sys_code"] or not envelope["infver"] or not envelope["opter"]:
        raise ValueError("the head")
    return _Asked(str(envelope["infno"]), msgid, institution, content)
