"""A hospital's system that speaks only the national envelope, at a real gateway: from the registration to the books."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.national.identities import Switches, broken_amounts
from tests.support.builders import (
    BASIC,
    CRITICAL,
    HOSPITAL,
    REGION,
    StubPayer,
    an_id_card,
    declines,
    defers,
    when,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.master_data import BASIC_PARTY
from tests.support.national_his import (
    PERSON,
    NationalHis,
    a_bill,
    a_discharge,
    a_fee,
    a_purchase,
    a_stay,
    a_zip,
    fen,
    insured,
)

INSTITUTIONS = [
    {"code": HOSPITAL, "name": "一院", "region": REGION, "visits": "optional"},
]


@pytest.fixture
def world(database_url: str) -> Iterator[TestHub]:
    with a_hub(database_url, parties=[BASIC_PARTY], institutions=INSTITUTIONS) as running:
        insured(running)
        yield running


@pytest.fixture
def his(world: TestHub) -> NationalHis:
    return NationalHis(world.hub.gateway.port)


def in_fen(node: dict[str, Any]) -> dict[str, Any]:
    money = ("_pay", "_amt", "sumamt", "selfpay", "_dedc", "_payamt")
    return {name: fen(value) if name.endswith(money) and name != "pool_prop_selfpay" else value
            for name, value in node.items()}  # fmt: skip


def checked(output: dict[str, Any]) -> dict[str, Any]:
    """setlinfo in fen, its identities proven with the client's own rules."""
    info = {"hifdm_pay": 0, **in_fen(output["setlinfo"])}
    assert broken_amounts(info, [in_fen(row) for row in output["setldetail"]], Switches()) == []
    return info


def test_an_outpatient_from_1101_to_the_settlement(world, his):
    base = his.identify()
    mdtrt_id = his.charged(20_000, 10_000)

    trial = checked(his.done("2206", {"data": a_bill(mdtrt_id, 30_000)}))
    settled = his.settle(mdtrt_id, 30_000)
    info = checked(settled)

    assert (base["baseinfo"]["psn_no"], base["insuinfo"][0]["insuplc_admdvs"]) == (PERSON, REGION)
    assert "setl_id" not in trial
    assert info["medins_setl_id"] == his.last_msgid
    assert (info["hifp_pay"], info["hifmi_pay"], info["fund_pay_sumamt"]) == (15_000, 7_500, 22_500)
    assert (info["psn_cash_pay"], info["mdtrt_id"], len(info["setl_id"])) == (7_500, mdtrt_id, 25)
    kinds = [(row["fund_pay_type"], fen(row["fund_payamt"])) for row in settled["setldetail"]]
    assert kinds == [("310100", 15_000), ("390200", 7_500)]


def test_a_stay_with_two_uploads_and_refunds(world, his):
    mdtrt_id = his.admit()
    his.done("2301", {"feedetail": [a_fee(mdtrt_id, "1", 10_000, "4"), a_fee(mdtrt_id, "2", 20_000)]})
    first = {
        "feedetail": [
            a_fee(mdtrt_id, "3", -2_500, "-1", init_feedetl_sn="1"),
            # No word about what it refunds: the line of the same item and price is found.
            a_fee(mdtrt_id, "4", -2_500, "-1"),
            a_fee(mdtrt_id, "5", 5_000, med_list_codg="ZA01", medins_list_codg="L-2"),
        ]
    }
    his.done("2301", first)
    again = his.ask("2301", first, msgid=his.last_msgid)
    his.done("2302", {"data": {"feedetl_sn": "5", "mdtrt_id": mdtrt_id, "psn_no": PERSON}})
    trial = checked(his.done("2303", {"data": a_bill(mdtrt_id, 25_000, med_type="21")}))
    early = his.refused("2304", {"data": a_bill(mdtrt_id, 25_000, med_type="21")})
    his.done("2402", a_discharge(mdtrt_id))
    info = checked(his.done("2304", {"data": a_bill(mdtrt_id, 25_000, med_type="21")}))

    assert again["infcode"] == 0
    assert trial["medfee_sumamt"] == info["medfee_sumamt"] == 25_000
    assert "出院" in early
    assert info["clr_type"] == "21"
    lines = his.done("5204", {"data": {"psn_no": PERSON, "mdtrt_id": mdtrt_id}})["feedetail"]
    assert {line["setl_id"] for line in lines} == {info["setl_id"]}
    assert sum(fen(line["det_item_fee_sumamt"]) for line in lines) == 25_000


def test_a_stay_is_taken_back_step_by_step(his):
    mdtrt_id = his.admit()
    his.done("2403", {"adminfo": {**a_stay()["mdtrtinfo"], "mdtrt_id": mdtrt_id, "adm_bed": "13"}, "diseinfo": []})
    his.done("2301", {"feedetail": [a_fee(mdtrt_id, "1", 10_000)]})
    his.done("2402", a_discharge(mdtrt_id))
    settled = his.settle(mdtrt_id, 10_000, "2304", content={"med_type": "21"})["setlinfo"]
    which = {"mdtrt_id": mdtrt_id, "psn_no": PERSON}

    out_of_turn = his.refused("2405", {"data": which})
    cancelled = checked(his.done("2305", {"data": {**which, "setl_id": settled["setl_id"]}}))
    his.done("2405", {"data": which})
    his.done("2302", {"data": {**which, "feedetl_sn": "0000"}})
    his.done("2404", {"data": which})

    assert "结算" in out_of_turn
    assert cancelled["medfee_sumamt"] == -10_000
    assert cancelled["psn_cash_pay"] == -fen(settled["psn_cash_pay"])
    assert "未找到该就诊登记" in his.refused("2301", {"feedetail": [a_fee(mdtrt_id, "2", 100)]})


def test_a_purchase_is_settled_and_cancelled(world, his):
    his.identify()
    trial = checked(his.done("2101", a_purchase(5_000, 1_234)))
    info = checked(his.done("2102", a_purchase(5_000, 1_234)))
    which = {"setl_id": info["setl_id"], "mdtrt_id": info["mdtrt_id"], "psn_no": PERSON}

    assert trial["medfee_sumamt"] == info["medfee_sumamt"] == 6_234
    assert checked(his.done("5203", {"data": which}))["psn_cash_pay"] == info["psn_cash_pay"]
    assert checked(his.done("2103", {"data": which}))["fund_pay_sumamt"] == -info["fund_pay_sumamt"]
    assert "已撤销" in his.refused("5203", {"data": which})
    assert world.payers[BASIC].net_fen == world.payers[CRITICAL].net_fen == 0


def test_a_repeat_is_a_repeat_and_another_settlement_of_the_visit_is_refused(world, his):
    mdtrt_id = his.charged(30_000)
    first = his.settle(mdtrt_id, 30_000)
    msgid = his.last_msgid

    assert his.settle(mdtrt_id, 30_000, msgid=msgid)["setlinfo"] == first["setlinfo"]
    assert "已结算" in his.refused("2207", {"data": a_bill(mdtrt_id, 30_000)})
    other = a_bill(mdtrt_id, 30_000, acct_used_flag="0")
    assert "报文编号已用于其他报文" in his.refused("2207", {"data": other}, msgid=msgid)
    assert len(world.payers[BASIC].settled) == 1


def test_2601_undoes_a_settlement_by_its_number_and_blocks_one_that_never_came(world, his):
    mdtrt_id = his.charged(30_000)
    his.settle(mdtrt_id, 30_000)
    original = {"psn_no": PERSON, "omsgid": his.last_msgid, "oinfno": "2207"}
    never = his.envelope("2207", {"data": a_bill(mdtrt_id, 30_000)})

    assert "psn_no" in his.refused("2601", {"data": {**original, "psn_no": "P-9"}})
    assert "oinfno" in his.refused("2601", {"data": {**original, "oinfno": "2304"}})
    his.done("2601", {"data": original})
    his.done("2601", {"data": original})
    his.done("2601", {"data": {**original, "omsgid": never["msgid"]}})

    assert world.payers[BASIC].net_fen == 0
    assert "冲正" in his.post(never).json["err_msg"]
    assert "不支持冲正" in his.refused("2601", {"data": {**original, "oinfno": "2208"}})
    assert his.settle(mdtrt_id, 30_000)["setlinfo"]["medfee_sumamt"] == 300


def test_a_registration_whose_answer_was_lost_is_reversed(his):
    his.admit()
    msgid = his.last_msgid

    his.done("2601", {"data": {"psn_no": PERSON, "omsgid": msgid, "oinfno": "2401"}})

    assert "未收到" in his.refused(
        "2601", {"data": {"psn_no": PERSON, "omsgid": msgid[:-4] + "9999", "oinfno": "2401"}}
    )
    assert his.admit("Z-1")


def test_a_refusal_of_the_basic_system_is_a_no_with_its_reason(database_url):
    payers = {BASIC: StubPayer(script=[declines])}
    with a_hub(database_url, payers=payers, parties=[BASIC_PARTY], institutions=INSTITUTIONS) as world:
        insured(world)
        his = NationalHis(world.hub.gateway.port)

        assert "未能结算" in his.refused("2207", {"data": a_bill(his.charged(30_000), 30_000)})


def test_what_the_basic_system_does_not_decide_in_time_is_taken_back(database_url):
    released = threading.Event()
    payers = {BASIC: StubPayer(script=[when(released)])}
    quick = [{**INSTITUTIONS[0], "deadline_s": 1}]
    with a_hub(database_url, payers=payers, parties=[BASIC_PARTY], institutions=quick) as world:
        insured(world)
        his = NationalHis(world.hub.gateway.port)
        mdtrt_id = his.charged(30_000)
        try:
            said = his.refused("2207", {"data": a_bill(mdtrt_id, 30_000)})
        finally:
            released.set()

        assert "自动冲正" in said
        eventually(lambda: world.payers[BASIC].settled and world.payers[BASIC].net_fen == 0)
        assert eventually(lambda: his.ask("2207", {"data": a_bill(mdtrt_id, 30_000)})["infcode"] == 0)


def test_what_an_insurer_defers_is_cash_now_and_said_so(database_url):
    payers = {CRITICAL: StubPayer(script=[defers])}
    with a_hub(database_url, payers=payers, parties=[BASIC_PARTY], institutions=INSTITUTIONS) as world:
        insured(world)
        his = NationalHis(world.hub.gateway.port)
        answer = his.ask("2207", {"data": a_bill(his.charged(30_000), 30_000)})

        assert (answer["infcode"], checked(answer["output"])["psn_cash_pay"]) == (0, 15_000)
        assert "大病保险部分未即时赔付" in answer["warn_msg"]
        assert "转非即时赔付" in answer["output"]["setldetail"][1]["setl_proc_info"]


def test_totals_and_details_of_a_period(world, his):
    mdtrt_id = his.charged(30_000)
    info = his.settle(mdtrt_id, 30_000)["setlinfo"]
    today = info["setl_time"][:10]
    period = {"setl_optins": REGION, "clr_type": "11", "stmt_begndate": today, "stmt_enddate": today}
    sums = {"medfee_sumamt": 300, "fund_pay_sumamt": 225, "fixmedins_setl_cnt": 1}
    stated = {**period, **sums, "insutype": "310", "acct_pay": 0}

    def balanced(**changes: Any) -> str:
        return str(his.done("3201", {"data": {**stated, **changes}})["stmtinfo"]["stmt_rslt"])

    rows = [[info["setl_id"], mdtrt_id, PERSON, "300.00", "225.00", "0.00", "0", "null"]]
    upload = {"in": a_zip(rows), "filename": "d.zip", "fixmedins_code": HOSPITAL}
    number = his.done("9101", {"fsUploadIn": upload})["data"]["file_qury_no"]
    details = {**period, **sums, "file_qury_no": number, "cash_payamt": 75, "refd_setl_flag": "0"}
    found = his.done("3202", {"data": details})["fileinfo"]
    download = {"file_qury_no": found["file_qury_no"], "filename": found["filename"], "fixmedins_code": HOSPITAL}
    file = his.post(his.envelope("9102", {"fsDownloadIn": download}))

    assert [balanced(), balanced(fund_pay_sumamt=224), balanced(clr_type="21")] == ["0", "1", "1"]
    assert zipfile.ZipFile(io.BytesIO(file.body)).read("result.txt") == b""
    assert "file_qury_no" in his.refused("3202", {"data": {**details, "file_qury_no": "0" * 30}})


def test_visits_mappings_and_benefits(his):
    mdtrt_id = his.register()
    asked = {"psn_no": PERSON, "begntime": "2026-03-01 00:00:00", "endtime": "2026-03-31 00:00:00", "med_type": "11"}
    item = {"list_type": "101", "fixmedins_hilist_id": "L-1", "fixmedins_hilist_name": "阿莫西林",
            "begndate": "2026-01-01", "enddate": "2099-12-31", "med_list_codg": "XA01"}  # fmt: skip
    benefit = {"psn_no": PERSON, "insutype": "310", "fixmedins_code": HOSPITAL, "med_type": "11"}

    assert his.done("5201", {"data": asked})["mdtrtinfo"][0]["mdtrt_id"] == mdtrt_id
    his.ask("3301", {"catalogcompin": [item]})
    enjoyed = his.done("2001", {"data": {**benefit, "begntime": "2026-03-02 00:00:00"}})["trtinfo"][0]
    before = his.done("2001", {"data": {**benefit, "begntime": "2025-03-02 00:00:00"}})["trtinfo"][0]
    assert (enjoyed["trt_enjymnt_flag"], before["trt_enjymnt_flag"]) == ("1", "0")


def test_a_sign_in_where_the_profile_demands_one(database_url):
    strict = [{**INSTITUTIONS[0], "national": {"sign_in": "required"}}]
    with a_hub(database_url, parties=[BASIC_PARTY], institutions=strict) as world:
        insured(world)
        his = NationalHis(world.hub.gateway.port)
        who = {"mdtrt_cert_type": "02", "mdtrt_cert_no": an_id_card(), "psn_name": "欧阳·测试"}
        assert "9001" in his.refused("1101", {"data": who})

        signed = his.done("9001", {"signIn": {"opter_no": "0001", "mac": "00", "ip": "127.0.0.1"}})["signinoutb"]
        his.sign_no = signed["sign_no"]
        his.identify()
        his.done("9002", {"signOut": {"sign_no": his.sign_no, "opter_no": "0001"}})

        assert "9001" in his.refused("1101", {"data": who})
        his.sign_no = his.done("9001", {"signIn": {"opter_no": "0001", "mac": "00", "ip": "127.0.0.1"}})["signinoutb"][
            "sign_no"
        ]
        world.clock.advance(43_201)
        assert "9001" in his.refused("1101", {"data": who})
