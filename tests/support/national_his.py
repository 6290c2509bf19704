"""A hospital's system that speaks the national envelope and knows nothing of the hub."""

from __future__ import annotations

import base64
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from schemas.money import signed_fen_of, yuan_of
from schemas.transactions import Transaction
from tests.support.builders import BASIC, HOSPITAL, REGION, an_id_card
from tests.support.http_client import Client, Reply
from tests.support.hub_in_process import TestHub
from tests.support.master_data import a_person

CHINA = timezone(timedelta(hours=8))
PERSON = "P-1"
Sign = Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, str]]]
_NUMBERS = itertools.count(1)


def insured(world: TestHub, **changes: Any) -> None:
    """Let the region's system say who the patient of the tests is."""
    rows = {"sender": BASIC, "request_no": "U-1", "rows": [a_person(**changes)]}
    taken = world.send(Transaction.POPULATION_IMPORT, rows, party=BASIC)
    assert taken.error is None, taken.error


@dataclass
class NationalHis:
    """One institution at the hub's address."""

    port: int
    institution: str = HOSPITAL
    headers: dict[str, str] = field(default_factory=dict)
    sign: Sign | None = None
    sign_no: str = ""

    def __post_init__(self) -> None:
        self.client = Client(self.port, self.institution)
        self.last_msgid = ""

    def envelope(self, infno: str, content: Any, **changes: Any) -> dict[str, Any]:
        """A whole envelope around `input`."""
        now = datetime.now(CHINA)
        self.last_msgid = changes.get("msgid") or f"{self.institution}{now:%Y%m%d%H%M%S}{next(_NUMBERS) % 10_000:04d}"
        head = {
            "infno": infno,
            "msgid": self.last_msgid,
            "mdtrtarea_admvs": REGION,
            "insuplc_admdvs": REGION,
            "recer_sys_code": "HUB",
            "infver": "V1.0",
            "opter_type": "1",
            "opter": "0001",
            "opter_name": "收费员",
            "inf_time": f"{now:%Y-%m-%d %H:%M:%S}",
            "fixmedins_code": self.institution,
            "fixmedins_name": "一院",
            "sign_no": self.sign_no,
            "input": content,
        }
        return head | changes

    def post(self, envelope: Mapping[str, Any] | bytes, **headers: str) -> Reply:
        """Any body; headers with _ for -."""
        if isinstance(envelope, Mapping) and self.sign is not None:
            envelope, signed = self.sign(dict(envelope))
            headers = signed | headers
        body = envelope if isinstance(envelope, bytes) else json.dumps(envelope, ensure_ascii=False).encode()
        return self.client.request("POST", "/national", body, **{**self.headers, **headers})

    def ask(self, infno: str, content: Any, **changes: Any) -> dict[str, Any]:
        """The answer's envelope."""
        reply = self.post(self.envelope(infno, content, **changes))
        return dict(json.loads(reply.body, parse_float=Decimal))

    def done(self, infno: str, content: Any, **changes: Any) -> dict[str, Any]:
        """The output of a transaction that must succeed."""
        answer = self.ask(infno, content, **changes)
        assert answer["infcode"] == 0, answer["err_msg"]
        return dict(answer["output"])

    def refused(self, infno: str, content: Any, **changes: Any) -> str:
        """The words of a transaction that must be refused."""
        answer = self.ask(infno, content, **changes)
        assert answer["infcode"] == -1, answer
        return str(answer["err_msg"])

    def identify(self) -> dict[str, Any]:
        """1101 with the identity card of the tests' patient."""
        card = {"mdtrt_cert_type": "02", "mdtrt_cert_no": an_id_card(), "psn_name": "欧阳·测试"}
        return self.done("1101", {"data": card}, insuplc_admdvs="")

    def register(self, visit_no: str = "V-1") -> str:
        """2201 after 1101; mdtrt_id."""
        self.identify()
        return str(self.done("2201", {"data": an_outpatient(visit_no)})["data"]["mdtrt_id"])

    def admit(self, visit_no: str = "Z-1") -> str:
        """2401 after 1101; mdtrt_id."""
        self.identify()
        return str(self.done("2401", a_stay(visit_no))["result"]["mdtrt_id"])

    def charged(self, *amounts_fen: int, visit_no: str = "V-1") -> str:
        """An outpatient visit with its diagnosis and lines; mdtrt_id."""
        mdtrt_id = self.register(visit_no)
        self.done("2203", a_diagnosis(mdtrt_id))
        self.done("2204", {"feedetail": [a_fee(mdtrt_id, f"{n}", fen) for n, fen in enumerate(amounts_fen, 1)]})
        return mdtrt_id

    def settle(self, mdtrt_id: str, total_fen: int, infno: str = "2207", **changes: Any) -> dict[str, Any]:
        """The output of 2207 or 2304; `content` changes the bill, the rest the envelope."""
        bill = a_bill(mdtrt_id, total_fen, **changes.pop("content", {}))
        return self.done(infno, {"data": bill}, **changes)


def an_outpatient(visit_no: str = "V-1", **changes: Any) -> dict[str, Any]:
    return {
        "psn_no": PERSON,
        "insutype": "310",
        "begntime": "2026-03-02 09:15:00",
        "mdtrt_cert_type": "02",
        "mdtrt_cert_no": an_id_card(),
        "ipt_otp_no": visit_no,
        "atddr_no": "D440300000001",
        "dr_name": "医师",
        "dept_code": "A03",
        "dept_name": "内科",
        "caty": "A03",
    } | changes


def a_diagnosis(mdtrt_id: str, **changes: Any) -> dict[str, Any]:
    visit = {"mdtrt_id": mdtrt_id, "psn_no": PERSON, "med_type": "11", "begntime": "2026-03-02 09:15:00"}
    disease = {"diag_type": "1", "diag_srt_no": 1, "diag_code": "J00", "diag_name": "急性鼻咽炎", "vali_flag": "1"}
    return {"mdtrtinfo": visit | changes, "diseinfo": [disease]}


def a_fee(mdtrt_id: str, number: str, amount_fen: int, count: str = "1", **changes: Any) -> dict[str, Any]:
    """A line of `count` pieces that come to `amount_fen` together."""
    price = Decimal(amount_fen) / 100 / Decimal(count)
    return {
        "feedetl_sn": number,
        "mdtrt_id": mdtrt_id,
        "psn_no": PERSON,
        "chrg_bchno": "B-1",
        "rx_circ_flag": "0",
        "fee_ocur_time": "2026-03-02 09:30:00",
        "med_list_codg": "XA01",
        "medins_list_codg": "L-1",
        "medins_list_name": "阿莫西林胶囊",
        "det_item_fee_sumamt": yuan_of(amount_fen),
        "cnt": count,
        "pric": f"{price:f}",
        "bilg_dept_codg": "A03",
        "bilg_dept_name": "内科",
        "bilg_dr_codg": "D440300000001",
        "bilg_dr_name": "医师",
        "hosp_appr_flag": "0",
    } | changes


def a_bill(mdtrt_id: str, total_fen: int, **changes: Any) -> dict[str, Any]:
    """What 2206, 2207, 2303 and 2304 send; numbers as numbers."""
    return {
        "psn_no": PERSON,
        "mdtrt_cert_type": "02",
        "mdtrt_cert_no": an_id_card(),
        "med_type": "11",
        "medfee_sumamt": total_fen / 100,
        "psn_setlway": "01",
        "mdtrt_id": mdtrt_id,
        "chrg_bchno": "B-1",
        "insutype": "310",
        "acct_used_flag": "1",
        "invono": "I-1",
    } | changes


def a_stay(visit_no: str = "Z-1", **changes: Any) -> dict[str, Any]:
    visit = {
        "psn_no": PERSON,
        "insutype": "310",
        "begntime": "2026-03-02 09:15:00",
        "mdtrt_cert_type": "02",
        "mdtrt_cert_no": an_id_card(),
        "med_type": "21",
        "ipt_otp_no": visit_no,
        "medrcdno": "R-1",
        "atddr_no": "D440300000001",
        "chfpdr_name": "医师",
        "adm_diag_dscr": "肺炎",
        "adm_dept_codg": "A03",
        "adm_dept_name": "内科",
        "adm_bed": "12",
        "dscg_maindiag_code": "J18.9",
        "dscg_maindiag_name": "肺炎",
    }
    disease = {"diag_type": "1", "diag_srt_no": 1, "diag_code": "J18.9", "diag_name": "肺炎", "maindiag_flag": "1"}
    return {"mdtrtinfo": visit | changes, "diseinfo": [disease]}


def a_discharge(mdtrt_id: str, **changes: Any) -> dict[str, Any]:
    visit = {
        "mdtrt_id": mdtrt_id,
        "psn_no": PERSON,
        "insutype": "310",
        "endtime": "2026-03-06 10:00:00",
        "dscg_dept_code": "A03",
        "dscg_dept_name": "内科",
        "dscg_way": "1",
    }
    disease = {"diag_type": "1", "diag_srt_no": 1, "diag_code": "J18.9", "diag_name": "肺炎", "maindiag_flag": "1"}
    return {"dscginfo": visit | changes, "diseinfo": [disease]}


def a_purchase(*amounts_fen: int, **changes: Any) -> dict[str, Any]:
    purchase = {
        "psn_no": PERSON,
        "mdtrt_cert_type": "02",
        "mdtrt_cert_no": an_id_card(),
        "begntime": "2026-03-02 09:15:00",
        "medfee_sumamt": yuan_of(sum(amounts_fen)),
        "insutype": "310",
        "acct_used_flag": "1",
        "med_type": "41",
    }
    lines = [a_fee("", f"{number}", fen) for number, fen in enumerate(amounts_fen, 1)]
    return {"druginfo": purchase | changes, "drugdetail": lines}


def fen(value: Any) -> int:
    """Money of an answer in whole fen."""
    return signed_fen_of(f"{Decimal(str(value)):.2f}")


def a_zip(rows: Sequence[Sequence[str]]) -> str:
    """The file of 3202 as 9101 takes it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("detail.txt", "".join("\t".join(row) + "\n" for row in rows))
    return base64.b64encode(packed.getvalue()).decode()
