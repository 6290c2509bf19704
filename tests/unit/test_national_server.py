"""The translators between the national interface and the hub's own words: pure, both ways."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.gateway.identity import NotIdentified
from hub.gateway.national import fees, words
from hub.gateway.national.numbers import short_number, uuid_of
from hub.gateway.national.setlinfo import Settled, mirrored, settlement_nodes, warning_of
from hub.gateway.national.table import HANDLERS
from hub.gateway.national.visits import HeldVisit, diagnoses
from hub.gateway.national.words import Spoken, refusal_text
from schemas.answer import CombinedAnswer, PayerShare
from schemas.base import Bilingual, violations_of
from schemas.codes import CaseStatus, Layer, ShareState, VisitKind
from schemas.errors import Conflict, HubError, IllegalTransition, InvalidMessage, Violation
from schemas.money import rounded_fen
from schemas.national.identities import Switches, broken_amounts
from schemas.national.transactions import EXCHANGES, read_input, read_output, write_output
from schemas.payer import BasicResult
from schemas.settlement import SettleRequest
from schemas.transactions import SPECS, Channel
from schemas.visit import AdmissionRegister, StandingLine, UploadedLine
from store.records import basic_to_json
from tests.support.builders import HOSPITAL, a_case, a_leg, a_rule_book, a_settle_request, as_bytes
from tests.support.national_his import a_fee

NOW = datetime(2026, 3, 2, 1, 15, tzinfo=UTC)
BOOK = a_rule_book()
LAYERS = [Layer.CRITICAL_ILLNESS, Layer.SUPPLEMENTARY, Layer.COMMERCIAL]


@given(st.uuids())
def test_a_number_of_ours_fits_the_interface_and_comes_back(uuid):
    number = short_number(str(uuid))

    assert len(number) <= 30
    assert uuid_of(number) == str(uuid)


@pytest.mark.parametrize("text", ["", "x", "z" * 25, "A" * 25, "0" * 24, "0" * 26, "０" * 25, "../" + "0" * 22])
def test_any_other_text_is_no_number_of_ours(text):
    assert uuid_of(text) is None


def test_every_number_that_the_registry_names_has_a_handler_and_a_table():
    promised = {infno for spec in SPECS.values() if Channel.NATIONAL in spec.channels for infno in spec.infnos}

    assert promised <= set(HANDLERS) <= set(EXCHANGES)


@st.composite
def settlements(draw: st.DrawFn) -> Settled:
    """A case after random decisions: the basic system's, and up to four payers behind it."""
    total = draw(st.integers(1, 10_000_000))
    cuts = sorted(draw(st.lists(st.integers(0, total), min_size=3, max_size=3)))
    own, over, first, scope = cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1], total - cuts[2]
    left = total
    fund = draw(st.integers(0, left))
    account = draw(st.integers(0, left - fund))
    hospital = draw(st.integers(0, left - fund - account))
    left -= fund + account + hospital
    kinds = draw(st.sampled_from([(("310100", fund),), (("310100", fund // 2), ("390200", fund - fund // 2)), ()]))
    basic = BasicResult(total, own, over, first, scope, 0, fund, account, left, hospital, kinds)
    legs = [a_leg(1, amount_fen=fund, basic=basic_to_json(basic), decided_at=NOW)]
    shares = [share(1, Layer.BASIC, ShareState.APPROVED, fund)]
    for number, layer in enumerate(draw(st.lists(st.sampled_from(LAYERS), max_size=4)), 2):
        state = draw(st.sampled_from([ShareState.APPROVED, ShareState.DEFERRED, ShareState.DECLINED]))
        paid = draw(st.integers(0, left)) if state is ShareState.APPROVED else 0
        legs.append(a_leg(number, left_fen=left, layer=layer))
        shares.append(share(number, layer, state, paid))
        left -= paid
    return settled(total, legs, shares, account, hospital, left)


def share(number: int, layer: Layer, state: ShareState, amount: int) -> PayerShare:
    step = Bilingual(zh="请凭结算单申请理赔。", en="Claim it.") if state is ShareState.DEFERRED else None
    return PayerShare(
        sequence=number, payer="CICI", layer=layer, product="p", state=state, amount=amount, next_step=step
    )


def settled(total: int, legs: list[Any], shares: list[PayerShare], account: int, hospital: int, cash: int) -> Settled:
    case = a_case(*legs, total_fen=total)
    answer = CombinedAnswer(
        case_id=case.case_id,
        institution=HOSPITAL,
        settlement_no="S-1",
        status=CaseStatus.PARTLY_SETTLED,
        revision=1,
        final=False,
        total=total,
        shares=tuple(shares),
        account=account,
        hospital_borne=hospital,
        cash=cash,
        deferred=0,
        answered_at=NOW,
        message=Bilingual(zh="", en=""),
    )
    request = SettleRequest.model_validate_json(as_bytes(a_settle_request(total)))
    return Settled(case, request, answer, short_number(case.case_id), "02")


@settings(max_examples=60)
@given(settlements())
def test_whatever_the_payers_decide_the_identities_hold_on_what_leaves(one):
    nodes = settlement_nodes(one, BOOK)
    read = read_output("2207", write_output("2207", nodes))

    assert broken_amounts(read["setlinfo"], read["setldetail"], Switches()) == []
    assert read["setlinfo"]["psn_cash_pay"] == one.answer.cash
    assert read["setlinfo"]["fund_pay_sumamt"] == sum(each.amount for each in one.answer.shares)
    assert [row["fund_payamt"] for row in read["setldetail"]][-len(one.case.legs) + 1 :] == [
        each.amount for each in one.answer.shares[1:]
    ] or len(one.case.legs) == 1


@settings(max_examples=40)
@given(settlements(), st.sampled_from([1, -1]))
def test_a_cancellation_mirrors_its_settlement(one, sign):
    nodes = settlement_nodes(one, BOOK)
    read = read_output("2208", write_output("2208", mirrored(nodes, sign)))

    assert read["setlinfo"]["medfee_sumamt"] == sign * one.answer.total
    assert broken_amounts({**dict.fromkeys(nodes["setlinfo"], 0), **read["setlinfo"]}, read["setldetail"],
                          Switches()) == []  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "told"),
    [((0, 0, 0, 299), (0, 0, 0, 300)), ((1, 2, 3, 0), (1, 2, 3, 294)), ((300, 1, 0, 0), (300, 0, 0, 0))],
)
def test_figures_that_do_not_split_the_bill_are_told_such_that_they_do(figures, told):
    basic = BasicResult(300, *figures, 0, 100, 0, 200, 0)
    leg = a_leg(1, amount_fen=100, basic=basic_to_json(basic))
    nodes = settlement_nodes(settled(300, [leg], [share(1, Layer.BASIC, ShareState.APPROVED, 100)], 0, 0, 200), BOOK)

    names = ("fulamt_ownpay_amt", "overlmt_selfpay", "preselfpay_amt", "inscp_scp_amt")
    assert tuple(nodes["setlinfo"][name] for name in names) == told
    assert "差额已计入" in nodes["setldetail"][0]["setl_proc_info"]


def test_amounts_that_break_an_identity_do_not_leave():
    leg = a_leg(1, amount_fen=100)
    one = settled(300, [leg], [share(1, Layer.BASIC, ShareState.APPROVED, 100)], 0, 0, 200)
    fields = {name: getattr(one.answer, name) for name in CombinedAnswer.model_fields}

    with pytest.raises(IllegalTransition, match=r"national\.A7"):
        settlement_nodes(replace(one, answer=CombinedAnswer.model_construct(**{**fields, "cash": 199})), BOOK)


def test_a_deferred_share_is_a_warning():
    legs = [a_leg(1), a_leg(2)]
    shares = [
        share(1, Layer.BASIC, ShareState.APPROVED, 100),
        share(2, Layer.COMMERCIAL, ShareState.DEFERRED, 0),
    ]

    warning = warning_of(settled(300, legs, shares, 0, 0, 200).answer)

    assert "商业保险部分未即时赔付" in warning
    assert "请凭结算单申请理赔" in warning


LINE = read_input("2204", {"feedetail": [a_fee("0" * 25, "1", 10_000, "4")]})["feedetail"][0]


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("XA01ABD075A002010100483", "09"),
        ("ZA01BAN0030010100147", "11"),
        ("T001700666", "10"),
        ("C0901010010000305600", "08"),
        ("001101000010000", "13"),
        ("001102000010000", "02"),
        ("001109000010000", "01"),
        ("001201000010000", "07"),
        ("001203000010000", "05"),
        ("002101000010000", "03"),
        ("002502010010000", "04"),
        ("003301000010000", "06"),
        ("003101000010000", "05"),
        ("004400000010000", "05"),
        ("9", "14"),
    ],
)
def test_the_kind_of_a_fee_is_told_by_its_national_code(code, category):
    assert fees.category_of({**LINE, "med_list_codg": code}) == category


@given(
    st.decimals(min_value=0, max_value=9999, places=6),
    st.decimals(min_value=Decimal("0.0001"), max_value=999, places=4),
)
def test_a_national_line_is_a_canonical_line(price, count):
    amount = rounded_fen(price * count)
    line = fees.canonical_line({**LINE, "pric": price, "cnt": count, "det_item_fee_sumamt": amount})

    read = UploadedLine.model_validate_json(as_bytes(line))

    assert (read.amount, read.price, read.quantity) == (amount, price, count)
    assert read.occurred_on is not None


@pytest.mark.parametrize("given_level", ["2", "02"])
def test_what_the_line_says_itself_counts(given_level):
    line = {**LINE, "chrgitm_lv": given_level, "med_chrgitm_type": "07"}

    assert (fees.level_of(line), fees.category_of(line)) == ("02", "07")


def a_held_visit(*lines: tuple[str, str, str]) -> HeldVisit:
    """A visit with lines (number, quantity, number of the line that it refunds) of 25.00 each."""
    rows = [
        StandingLine.model_validate(
            {
                "line_no": number,
                "item_code": "XA01",
                "item_name": "n",
                "category": "09",
                "price": Decimal(25),
                "quantity": Decimal(quantity),
                "amount": rounded_fen(Decimal(25) * Decimal(quantity)),
                "local_code": "L-1",
                "refunds": refunds or None,
                "batch_no": "B-1",
            }
        )
        for number, quantity, refunds in lines
    ]
    admission = AdmissionRegister.model_construct(kind=VisitKind.INPATIENT)
    return HeldVisit("0" * 32, admission, None, tuple(rows))


@pytest.mark.parametrize(
    ("standing", "refund", "found"),
    [
        ([("1", "4", "")], {}, "1"),
        ([("1", "4", ""), ("2", "4", "")], {}, "2"),
        ([("1", "4", ""), ("2", "1", "")], {"cnt": "-2", "det_item_fee_sumamt": "-50"}, "1"),
        ([("1", "4", ""), ("2", "-4", "1"), ("3", "1", "")], {}, "3"),
        ([("1", "4", "")], {"init_feedetl_sn": "7"}, "7"),
        # The same message again: its own line stands already.
        ([("1", "4", ""), ("9", "-1", "1"), ("2", "4", "")], {}, "1"),
        ([], {}, ""),
        ([("1", "4", ""), ("2", "-4", "1")], {}, ""),
        ([("1", "4", "")], {"medins_list_codg": "L-2"}, ""),
        ([("1", "4", "")], {"pric": "24", "det_item_fee_sumamt": "-24"}, ""),
    ],
)
def test_a_refund_finds_the_line_that_it_takes_back(standing, refund, found):
    raw = a_fee("0" * 25, "9", -2_500, "-1", **refund)
    rows = read_input("2301", {"feedetail": [raw]})["feedetail"]

    if found:
        assert fees.refund_of(0, rows, a_held_visit(*standing)) == {"refunds": found}
    else:
        with pytest.raises(InvalidMessage) as refused:
            fees.refund_of(0, rows, a_held_visit(*standing))
        assert "init_feedetl_sn" in refusal_text(refused.value)


def test_a_line_and_its_refund_may_come_in_one_message():
    raw = [a_fee("0" * 25, "1", 10_000, "4"), a_fee("0" * 25, "2", -2_500, "-1"), a_fee("0" * 25, "3", -7_500, "-3")]
    rows = read_input("2301", {"feedetail": raw})["feedetail"]

    assert [fees.refund_of(index, rows, a_held_visit()) for index in range(3)] == [
        {},
        {"refunds": "1"},
        {"refunds": "1"},
    ]


def test_the_first_diagnosis_is_the_main_one_where_none_is_marked():
    rows = [{"diag_code": "B", "diag_srt_no": 2}, {"diag_code": "A", "diag_srt_no": 1, "diag_name": "a"},
            {"diag_code": "C", "diag_srt_no": 0, "vali_flag": "0"}]  # fmt: skip

    assert [(one["code"], one["main"]) for one in diagnoses(rows)] == [("A", True), ("B", False)]
    assert diagnoses([]) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            InvalidMessage("", Violation("fees[2].amount", "fee.amount", "r")),
            "feedetail[2].det_item_fee_sumamt：金额必须",
        ),
        (
            InvalidMessage("", Violation("input.data.psn_no", "national.missing", "r")),
            "input.data.psn_no：请填写该字段",
        ),
        (InvalidMessage("", Violation("patient.id_no", "patient.id_no", "r")), "psn.certno：身份证号码有误"),
        (Conflict("", code="visit.settled"), "该次就诊已结算，请先撤销结算。"),
        (Spoken("自己的话"), "自己的话"),
        (NotIdentified(""), "身份未通过验证：令牌或签名缺失、错误或过期"),
        (HubError(""), "系统内部错误，已记录；请用同一编号查询。"),
    ],
)
def test_a_refusal_names_field_and_remedy_in_chinese(error, said):
    assert refusal_text(error).startswith(said)


def test_many_complaints_fit_the_field_for_them():
    text = refusal_text(InvalidMessage("", *(Violation(f"fees[{n}].amount", "fee.amount", "r") for n in range(100))))

    assert len(text) <= 200
    assert text.startswith("共100处有误")


def test_every_code_that_a_handler_gives_has_words():
    package = Path(words.__file__).parent
    said = {code for path in package.glob("*.py") for code in re.findall(r'"(national\.[a-z_]+)"', path.read_text())}
    wordless = {"national.fields", "national.refused", "national.keys", "national.person_unknown"}

    assert said - wordless <= set(words.WORDS)


def test_the_fields_of_canonical_messages_have_national_names():
    """A violation of a model that a handler fills in is told in the sender's terms."""
    try:
        AdmissionRegister.model_validate({"patient": {}, "insurance": {}})
    except ValueError as error:
        told = refusal_text(InvalidMessage("", *violations_of(error)[:3]))  # type: ignore[arg-type]
    assert "fixmedins_code" in told
