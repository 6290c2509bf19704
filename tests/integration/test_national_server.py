"""A hospital's system that speaks only the national envelope, at a real gateway: from the registration to the books."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from crypto import sm2
from crypto.signing import BodySigning, EnvelopeSigning, GatewaySigning, Signing
from schemas.national.envelope import read_json
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
    pays,
    when,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.master_data import BASIC_PARTY
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


def test_totals_and_details_of_a_period(world, his, monkeypatch):
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
    monkeypatch.setattr("hub.clearing.DIFFERENCES_MAX", 1)
    other = {**upload, "in": a_zip([["X", *rows[0][1:]]])}
    number = his.done("9101", {"fsUploadIn": other})["data"]["file_qury_no"]
    assert "stmt_enddate" in his.refused("3202", {"data": {**details, "file_qury_no": number}})


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


def test_whatever_is_wrong_comes_back_in_an_envelope_with_words(his):
    mdtrt_id = his.charged(30_000)
    bill = a_bill(mdtrt_id, 30_000)
    which = {"mdtrt_id": mdtrt_id, "psn_no": PERSON}
    other_card = an_id_card("11010119900307124")
    two_batches = [a_fee(mdtrt_id, "8", 1), a_fee(mdtrt_id, "9", 1, chrg_bchno="B-2")]
    backwards = {
        "insutype": "310",
        "clr_type": "11",
        "setl_optins": REGION,
        "stmt_begndate": "2026-03-02",
        "stmt_enddate": "2026-03-01",
        "fixmedins_setl_cnt": 0,
    } | dict.fromkeys(("medfee_sumamt", "fund_pay_sumamt", "acct_pay"), 0)
    refused = {
        "请先以1101": ("2201", {"data": an_outpatient("V-2", psn_no="P-2")}),
        "mdtrt_cert_no：凭证号码与": ("2201", {"data": an_outpatient("V-2", mdtrt_cert_no=other_card)}),
        "insutype：该人员未参加": ("2201", {"data": an_outpatient("V-2", insutype="390")}),
        "该就诊号已登记": ("2201", {"data": an_outpatient()}),
        "mdtrt_id：未找到": ("2203", a_diagnosis("0" * 25)),
        "psn_no：与该就诊登记": ("2203", a_diagnosis(mdtrt_id, psn_no="P-2")),
        "med_type：医疗类别": ("2203", a_diagnosis(mdtrt_id, med_type="21")),
        "feedetail[1].chrg_bchno": ("2204", {"feedetail": two_batches}),
        "feedetail[0].det_item_fee_sumamt：金额必须": ("2204", {"feedetail": [a_fee(mdtrt_id, "8", 100, pric="2")]}),
        "feedetail[1]：该明细号已存在": ("2204", {"feedetail": [a_fee(mdtrt_id, "1", 100)]}),
        "feedetail[0].init_feedetl_sn：退费明细": ("2204", {"feedetail": [a_fee(mdtrt_id, "8", -100, "-1")]}),
        "medfee_sumamt：与已上传": ("2207", {"data": {**bill, "medfee_sumamt": 299.99}}),
        "medfee_sumamt：金额单位": ("2207", {"data": {**bill, "medfee_sumamt": "300.001"}}),
        "chrg_bchno：一次": ("2207", {"data": {**bill, "chrg_bchno": "B-9"}}),
        "mid_setl_flag：": ("2207", {"data": {**bill, "mid_setl_flag": "1"}}),
        "insutype：": ("2207", {"data": {**bill, "insutype": "390"}}),
        "acct_used_flag：请填写": ("2207", {"data": {**bill, "acct_used_flag": None}}),
        "setl_id：未找到": ("2208", {"data": {**which, "setl_id": "0" * 25}}),
        "请先撤销费用明细": ("2202", {"data": {**which, "ipt_otp_no": "V-1"}}),
        "ipt_otp_no：与该就诊登记": ("2202", {"data": {**which, "ipt_otp_no": "V-2"}}),
        "stmt_enddate：开始日期": ("3201", {"data": backwards}),
        "不支持该 infno": ("1999", {}),
    }  # fmt: skip

    said = {expected: his.refused(infno, content) for expected, (infno, content) in refused.items()}

    assert {expected: words for expected, words in said.items() if expected not in words} == {}
    assert his.settle(mdtrt_id, 30_000)["setlinfo"]["medfee_sumamt"] == 300


def test_even_a_body_that_is_no_envelope_gets_one(his):
    whole = json.dumps(his.envelope("1101", {}), ensure_ascii=False).encode()
    long = his.envelope(
        "2204", {"feedetail": [a_fee("0" * 25, str(n), 100, sin_dos_dscr="长" * 200) for n in range(100)]}
    )
    bodies: dict[str, Any] = {
        "无法读取": b"{",
        "报文格式错误": b"[]",
        "格式错误，": b'{"infno":"1101",' + whole[1:],
        "超过大小限制": b" " * 1_100_000,
        "报文格式错误，": whole.replace(b'"input": {}', b'"input": {"a": 1.5, "b": 1' + b"0" * 30 + b"}"),
        "input 超过长度": long,
        "fixmedins_code：": {**his.envelope("1101", {}), "fixmedins_code": "H44030000002"},
    }

    answers = {said: his.post(body) for said, body in bodies.items()}
    answers["身份未通过验证"] = his.post(whole, Authorization="Bearer nobody.x")
    answers["application/json"] = his.post(whole, Content_Type="text/plain")

    for said, reply in answers.items():
        assert (reply.status, reply.json["infcode"], reply.json["output"]) == (200, -1, {}), said
        assert said in reply.json["err_msg"]
        assert len(reply.json["inf_refmsgid"]) == 30


def test_signed_and_encrypted_envelopes_over_http(database_url, tmp_path):
    theirs, ours, sm4_key = sm2.new_key(), sm2.new_key(), bytes(16)
    keys = {
        "own_private_key": ours.secret.hex(),
        "their_public_key": theirs.public.encoded.hex(),
        "sm4_key": sm4_key.hex(),
        "gateway_id": "G-1",
        "gateway_secret": "a secret of thirty-two characters",
    }
    dialects: dict[str, Signing] = {
        "envelope": EnvelopeSigning(theirs, ours.public),
        "body": BodySigning(theirs, ours.public, sm4_key),
        "gateway": GatewaySigning("G-1", keys["gateway_secret"]),
    }
    codes = {name: f"H4403000001{number}" for number, name in enumerate(dialects)}
    institutions = [{**INSTITUTIONS[0], "code": code, "national": {"signing": name}} for name, code in codes.items()]
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text(json.dumps(dict.fromkeys(codes.values(), keys)), encoding="utf-8")
    with a_hub(
        database_url,
        parties=[BASIC_PARTY],
        institutions=institutions,
        settings_changes={"party_secrets": str(secrets)},
    ) as world:
        insured(world)
        for name, signing in dialects.items():
            his = NationalHis(world.hub.gateway.port, codes[name], sign=signing.sign)
            his.headers = {} if name == "body" else {"Authorization": ""}
            card = {"mdtrt_cert_type": "02", "mdtrt_cert_no": an_id_card(), "psn_name": "欧阳·测试"}
            reply = his.post(his.envelope("1101", {"data": card}, insuplc_admdvs=""))
            answer = signing.verify(read_json(reply.body), dict(reply.headers), "output")

            assert (answer["infcode"], answer["output"]["baseinfo"]["psn_no"]) == (0, PERSON), name

        envelope, headers = dialects["gateway"].sign(his.envelope("1101", {"data": card}))
        his.sign = None
        assert [his.post(envelope, **headers).json["infcode"] for _ in range(2)] == [0, -1]


def test_an_undo_that_is_still_under_way_is_neither_yes_nor_no(database_url):
    released = threading.Event()
    payers = {BASIC: StubPayer(script=[pays, when(released)])}
    quick = [{**INSTITUTIONS[0], "deadline_s": 1}]
    with a_hub(database_url, payers=payers, parties=[BASIC_PARTY], institutions=quick) as world:
        insured(world)
        his = NationalHis(world.hub.gateway.port)
        info = his.settle(his.charged(30_000), 30_000)["setlinfo"]
        envelope = his.envelope(
            "2208", {"data": {"setl_id": info["setl_id"], "mdtrt_id": info["mdtrt_id"], "psn_no": PERSON}}
        )
        try:
            reply = his.post(envelope)
        finally:
            released.set()

        assert (reply.status, reply.json["infcode"]) == (504, -1)
        assert "请稍后以同一 msgid 重发" in reply.json["err_msg"]
        done = eventually(lambda: (again := his.post(envelope).json)["infcode"] == 0 and again, 60)
        assert checked(done["output"])["medfee_sumamt"] == -30_000


def test_what_differs_comes_back_as_a_file_with_the_numbers_to_go_on_with(world, his):
    first, second = (his.settle(his.charged(30_000, visit_no=f"V-{n}"), 30_000)["setlinfo"] for n in (1, 2))
    numbers = [first["medins_setl_id"], second["medins_setl_id"]]
    today = first["setl_time"][:10]
    rows = [
        [first["setl_id"], first["mdtrt_id"], PERSON, "300.00", "224.00", "0.00", "0", "null"],
        ["S-UNKNOWN", "null", PERSON, "10.00", "5.00", "0.00", "0", "null"],
    ]
    upload = {"in": a_zip(rows), "filename": "d.zip", "fixmedins_code": HOSPITAL}
    number = his.done("9101", {"fsUploadIn": upload})["data"]["file_qury_no"]
    details = {"setl_optins": REGION, "clr_type": "11", "stmt_begndate": today, "stmt_enddate": today,
               "medfee_sumamt": 310, "fund_pay_sumamt": 229, "fixmedins_setl_cnt": 2, "file_qury_no": number,
               "cash_payamt": 81, "refd_setl_flag": "0"}  # fmt: skip

    found = his.done("3202", {"data": details})["fileinfo"]
    named = {"file_qury_no": found["file_qury_no"], "filename": found["filename"], "fixmedins_code": HOSPITAL}
    file = his.post(his.envelope("9102", {"fsDownloadIn": named}))
    text = zipfile.ZipFile(io.BytesIO(file.body)).read("result.txt").decode()

    told = {cells[2]: (cells[0], cells[3], cells[8]) for cells in (line.split("\t") for line in text.splitlines())}
    assert told == {
        first["setl_id"]: (PERSON, numbers[0], "225.00"),
        "S-UNKNOWN": (PERSON, "null", "5.00"),
        second["setl_id"]: (PERSON, numbers[1], "225.00"),
    }


def test_two_cashiers_cannot_settle_one_visit_twice(world, his):
    mdtrt_id = his.charged(30_000)
    same = his.envelope("2207", {"data": a_bill(mdtrt_id, 30_000)})
    others = [his.envelope("2207", {"data": a_bill(mdtrt_id, 30_000)}) for _ in range(2)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda envelope: his.post(envelope).json, [same, same, *others]))

    settled = {answer["output"]["setlinfo"]["setl_id"] for answer in answers if answer["infcode"] == 0}
    assert len(settled) == len(world.payers[BASIC].settled) == 1
    assert all("已结算" in answer["err_msg"] for answer in answers if answer["infcode"] == -1)
