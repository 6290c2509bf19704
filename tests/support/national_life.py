"""One life by the national interface alone, with every number that the hub serves in it; the outputs by number."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime
from typing import Any

from routing.days import CHINA_STANDARD_TIME
from tests.support.builders import HOSPITAL, REGION
from tests.support.national_his import (
    PERSON,
    NationalHis,
    a_bill,
    a_diagnosis,
    a_discharge,
    a_fee,
    a_purchase,
    a_stay,
    a_zip,
    an_outpatient,
)

Outputs = dict[str, Any]
TOTAL_FEN = 30_000
SEALED_DAY = date(2020, 1, 31)
"""A day on which nothing was booked: what can be claimed for it is nothing."""


class _Life:
    def __init__(self, his: NationalHis) -> None:
        self.his = his
        self.outputs: Outputs = {}

    def done(self, infno: str, content: Any, **changes: Any) -> Outputs:
        """Say it, keep the output."""
        self.outputs[infno] = self.his.done(infno, content, **changes)
        return dict(self.outputs[infno])


def national_outputs(port: int) -> Outputs:
    """What each number answered; an AssertionError with the hub's words where one was refused. SEALED_DAY is sealed."""
    life = _Life(NationalHis(port))
    _session(life)
    _an_outpatient(life)
    _a_stay(life)
    _a_purchase(life)
    _clearing(life)
    return life.outputs


def _session(life: _Life) -> None:
    signed = life.done("9001", {"signIn": {"opter_no": "0001", "mac": "00", "ip": "127.0.0.1"}})
    life.outputs["1101"] = life.his.identify()
    benefit = {"psn_no": PERSON, "insutype": "310", "fixmedins_code": HOSPITAL, "med_type": "11"}
    life.done("2001", {"data": {**benefit, "begntime": "2026-03-02 00:00:00"}})
    item = {"list_type": "101", "fixmedins_hilist_id": "L-1", "fixmedins_hilist_name": "阿莫西林",
            "begndate": "2026-01-01", "enddate": "2099-12-31", "med_list_codg": "XA01"}  # fmt: skip
    life.done("3301", {"catalogcompin": [item]})
    life.done("9002", {"signOut": {"sign_no": signed["signinoutb"]["sign_no"], "opter_no": "0001"}})


def _an_outpatient(life: _Life) -> None:
    visit = life.done("2201", {"data": an_outpatient("NV-1")})["data"]["mdtrt_id"]
    which = {"mdtrt_id": visit, "psn_no": PERSON}
    fees = {"feedetail": [a_fee(visit, "1", TOTAL_FEN)]}
    life.done("2203", a_diagnosis(visit))
    life.done("2204", fees)
    life.done("2205", {"data": {**which, "chrg_bchno": "0000"}})
    life.done("2204", {"feedetail": [a_fee(visit, "2", TOTAL_FEN)]})
    life.done("2206", {"data": a_bill(visit, TOTAL_FEN)})
    settled = life.done("2207", {"data": a_bill(visit, TOTAL_FEN)})["setlinfo"]
    life.done("5203", {"data": {**which, "setl_id": settled["setl_id"]}})
    life.done("5204", {"data": which})
    period = {"begntime": "2026-03-01 00:00:00", "endtime": "2026-03-31 00:00:00", "med_type": "11"}
    life.done("5201", {"data": {"psn_no": PERSON, **period}})
    life.done("2208", {"data": {**which, "setl_id": settled["setl_id"]}})
    life.his.done("2207", {"data": a_bill(visit, TOTAL_FEN)})
    life.done("2601", {"data": {"psn_no": PERSON, "omsgid": life.his.last_msgid, "oinfno": "2207"}})
    life.his.done("2205", {"data": {**which, "chrg_bchno": "0000"}})
    life.done("2202", {"data": {**which, "ipt_otp_no": "NV-1"}})


def _a_stay(life: _Life) -> None:
    stay = life.done("2401", a_stay("NZ-1"))["result"]["mdtrt_id"]
    which = {"mdtrt_id": stay, "psn_no": PERSON}
    bill = a_bill(stay, TOTAL_FEN, med_type="21")
    changed = {**a_stay("NZ-1")["mdtrtinfo"], "mdtrt_id": stay, "adm_bed": "13"}
    life.done("2403", {"adminfo": changed, "diseinfo": []})
    life.done("2301", {"feedetail": [a_fee(stay, "1", TOTAL_FEN)]})
    life.done("2303", {"data": bill})
    life.done("2402", a_discharge(stay))
    settled = life.done("2304", {"data": bill})["setlinfo"]
    life.done("2305", {"data": {**which, "setl_id": settled["setl_id"]}})
    life.done("2405", {"data": which})
    life.done("2302", {"data": {**which, "feedetl_sn": "0000"}})
    life.done("2404", {"data": which})


def _a_purchase(life: _Life) -> None:
    life.done("2101", a_purchase(TOTAL_FEN))
    settled = life.done("2102", a_purchase(TOTAL_FEN))["setlinfo"]
    life.done("2103", {"data": {"setl_id": settled["setl_id"], "mdtrt_id": settled["mdtrt_id"], "psn_no": PERSON}})


def _clearing(life: _Life) -> None:
    today = f"{datetime.now(CHINA_STANDARD_TIME):%Y-%m-%d}"
    period = {"setl_optins": REGION, "clr_type": "11", "stmt_begndate": today, "stmt_enddate": today}
    sums = dict.fromkeys(("medfee_sumamt", "fund_pay_sumamt", "fixmedins_setl_cnt"), 0)
    life.done("3201", {"data": {**period, **sums, "insutype": "310", "acct_pay": 0}})
    upload = {"in": a_zip([]), "filename": "d.zip", "fixmedins_code": HOSPITAL}
    number = life.done("9101", {"fsUploadIn": upload})["data"]["file_qury_no"]
    details = {**period, **sums, "file_qury_no": number, "cash_payamt": 0, "refd_setl_flag": "0"}
    found = life.done("3202", {"data": details})["fileinfo"]
    named = {"file_qury_no": found["file_qury_no"], "filename": found["filename"], "fixmedins_code": HOSPITAL}
    file = life.his.post(life.his.envelope("9102", {"fsDownloadIn": named}))
    life.outputs["9102"] = {"names": zipfile.ZipFile(io.BytesIO(file.body)).namelist()}
    money = dict.fromkeys(("medfee_sumamt", "med_sumfee", "fund_appy_sum", "cash_payamt", "acct_pay"), 0)
    days = dict.fromkeys(("begndate", "enddate"), str(SEALED_DAY))
    event = life.done("3203", {"data": {"clr_type": "99", "clr_way": "01", **money, **days}})["result"]
    life.done("3204", {"data": event})
