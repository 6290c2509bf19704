"""The national interface's tables, envelope and amount identities."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidMessage, Malformed, Violation
from schemas.national import tables
from schemas.national.envelope import (
    dump_json,
    msgid_of,
    read_json,
    read_request,
    read_response,
    write_request,
    write_response,
)
from schemas.national.fields import CHINA, read_record, shape, write_record
from schemas.national.identities import AMOUNTS, FUND_PARTS, Switches, broken_amounts, broken_lines, bucket_of
from schemas.national.transactions import EXCHANGES, exchange_of, read_input, read_output, unknown_money, write_input

TABLE = shape("name:c5* note:c9 paid:m* share:m cnt:n16,4 times:i3 day:d at:dt")
WHOLE = {"name": "甲", "paid": "12.50"}


def read(raw: dict[str, Any], **options: Any) -> tuple[dict[str, Any], list[Violation]]:
    broken: list[Violation] = []
    return read_record(TABLE, raw, ("data",), broken, **options), broken


def test_a_record_is_read_with_money_in_fen_and_moments_in_china():
    found, broken = read(
        {"name": 7, "paid": 12.5, "share": "3", "cnt": "1.2500", "day": "2026-03-02", "at": "2026-03-02 09:15:00"}
    )

    assert broken == []
    assert found == {
        "name": "7",
        "paid": 1250,
        "share": 300,
        "cnt": Decimal("1.2500"),
        "day": date(2026, 3, 2),
        "at": datetime(2026, 3, 2, 9, 15, tzinfo=CHINA),
    }


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_number_is_zero_and_an_empty_text_is_nothing(empty):
    found, broken = read({"name": "甲", "note": empty, "paid": empty, "share": empty})

    assert (found, broken) == ({"name": "甲", "paid": 0}, [])


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"paid": "12.505"}, "national.money"),
        ({"paid": 38.61000000000001}, "national.money"),
        ({"paid": "1e13"}, "national.money"),
        ({"paid": True}, "national.number"),
        ({"paid": "NaN"}, "national.number"),
        ({"paid": {"yuan": 1}}, "national.number"),
        ({"paid": "9" * 40}, "national.number"),
        ({"name": ["甲"]}, "national.text"),
        ({"name": ""}, "national.missing"),
        ({"times": "1.5"}, "national.number"),
        ({"day": "yesterday"}, "national.moment"),
        ({"at": 20260302}, "national.moment"),
    ],
    ids=str,
)
def test_a_field_that_cannot_be_read_is_named(wrong, code):
    _, broken = read(WHOLE | wrong)

    assert [(one.field, one.code) for one in broken] == [(f"data.{next(iter(wrong))}", code)]


def test_what_must_be_there_and_is_not_named_at_all_is_missing():
    _, broken = read({"name": "甲"})

    assert [(one.field, one.code) for one in broken] == [("data.paid", "national.missing")]


def test_only_a_strict_reader_minds_lengths():
    assert read(WHOLE | {"name": "一二三四五六"})[1] == []
    assert [one.code for one in read(WHOLE | {"name": "一二三四五六"}, strict=True)[1]] == ["national.length"]


@pytest.mark.parametrize(
    ("wrong", "field", "code"),
    [
        ({"name": "一二三四五六"}, "name", "national.length"),
        ({"name": None}, "name", "national.missing"),
        ({"name": 5}, "name", "national.text"),
        ({"paid": "12.50"}, "paid", "national.money"),
        ({"paid": 10**13}, "paid", "national.money"),
        ({"cnt": Decimal("1.23456")}, "cnt", "national.number"),
        ({"times": 1000}, "times", "national.number"),
        ({"day": datetime(2026, 3, 2, tzinfo=UTC)}, "day", "national.date"),
        ({"at": datetime(2026, 3, 2)}, "at", "national.moment"),
        ({"at": datetime(9999, 12, 31, 23, tzinfo=UTC)}, "at", "national.moment"),
        ({"colour": "red"}, "colour", "national.unknown"),
    ],
    ids=str,
)
def test_a_writer_lets_nothing_out_that_does_not_fit(wrong, field, code):
    broken: list[Violation] = []
    write_record(TABLE, {"name": "甲", "paid": 1250} | wrong, ("data",), broken)

    assert [(one.field, one.code) for one in broken] == [(f"data.{field}", code)]


@given(
    st.fixed_dictionaries(
        {"name": st.from_regex(r"[a-z]{1,5}", fullmatch=True), "paid": st.integers(-(10**12), 10**12)},
        optional={
            "cnt": st.decimals(min_value=-(10**6), max_value=10**6, places=4),
            "times": st.integers(0, 999),
            "day": st.dates(date(1900, 1, 1), date(2900, 1, 1)),
        },
    )
)
def test_what_is_written_is_read_back_through_json(values):
    broken: list[Violation] = []

    found = read_record(TABLE, read_json(dump_json(write_record(TABLE, values, (), broken))), (), broken, strict=True)

    assert (found, broken) == (values, [])


@pytest.mark.parametrize(
    "output",
    [
        {"data": {"mdtrt_id": "M1"}},
        {"result": {"mdtrt_id": "M1"}},
        {"output": {"data": [{"mdtrt_id": "M1"}]}},
        {"mdtrt_id": "M1"},
        [{"mdtrt_id": "M1"}],
    ],
    ids=str,
)
def test_a_node_is_found_in_whatever_shape_it_comes(output):
    assert read_output("2201", output) == {"data": {"mdtrt_id": "M1"}}


@pytest.mark.parametrize(
    "output", [{}, None, [], "text", {"data": {}}, {"data": [{"mdtrt_id": "1"}, {"mdtrt_id": "2"}]}], ids=str
)
def test_a_node_that_is_missing_or_there_twice_is_refused(output):
    with pytest.raises(InvalidMessage) as refused:
        read_output("2201", output)

    assert refused.value.violations[0].field == "output.data"


def test_a_revision_letter_means_the_same_table():
    assert exchange_of("2203A") is EXCHANGES["2203"]
    assert exchange_of("9999") is None
    with pytest.raises(InvalidMessage):
        read_input("9999", {})


@given(
    infno=st.sampled_from(sorted(EXCHANGES)),
    raw=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["data", "result", "setlinfo", "setldetail", "feedetail", "psn_no", "mdtrt_id", "brdy"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
)
def test_no_shape_at_all_makes_the_reader_stumble(infno, raw):
    for read_side in (read_input, read_output):
        with suppress(InvalidMessage):
            read_side(infno, raw)


def test_money_that_nobody_told_of_is_seen():
    setlinfo = {"hifp_pay": 1, "hifxx_pay": "0.01", "new_sumamt": 5, "other_amt": 0, "known_pay": 7, "odd_pay": "?"}
    output = {"setlinfo": setlinfo | {"remark": "8"}}

    assert unknown_money("2207", output, known=("known_pay",)) == ["hifxx_pay", "new_sumamt", "odd_pay"]


HEAD = {
    "infno": "2207",
    "msgid": "H36010000001" + "20260309093000" + "0007",
    "mdtrtarea_admvs": "360100",
    "recer_sys_code": "01",
    "infver": "V1.0",
    "opter_type": "1",
    "opter": "HUB",
    "opter_name": "结算平台",
    "inf_time": datetime(2026, 3, 9, 1, 30, tzinfo=UTC),
    "fixmedins_code": "H36010000001",
    "fixmedins_name": "测试医院",
}


def test_a_request_envelope_goes_both_ways():
    written = dump_json(write_request(HEAD, {"data": {"medfee_sumamt": Decimal("12.50")}}))

    request = read_request(read_json(written), strict=True)

    assert (request.infno, request.msgid) == ("2207", HEAD["msgid"])
    assert request.head["inf_time"] == HEAD["inf_time"]
    assert b'"inf_time":"2026-03-09 09:30:00"' in written
    assert b'"medfee_sumamt":12.50' in written


def test_a_payload_that_came_as_text_is_the_object_that_it_is():
    parsed = read_json(dump_json(write_request(HEAD, {}) | {"input": '{"data":{"a":1.50}}'}))

    assert read_request(parsed).input == {"data": {"a": Decimal("1.50")}}
    with pytest.raises(Malformed):
        read_request(parsed | {"input": "{broken"})


def test_a_message_number_is_institution_time_and_sequence():
    at = datetime(2026, 3, 8, 16, 30, tzinfo=UTC)

    assert msgid_of("H36010000001", at, 12_345) == "H36010000001" + "20260309003000" + "2345"


@pytest.mark.parametrize(
    ("parsed", "done", "refused"),
    [
        ({"infcode": 0, "output": {}}, True, False),
        ({"infcode": "0"}, True, False),
        ({"infcode": -1, "err_msg": "不行"}, False, True),
        ({"infcode": 3}, False, False),
        ({"code": 0, "type": "success", "message": "", "data": {"infcode": -1, "err_msg": "不行"}}, False, True),
        ({"code": 0, "type": "success", "data": '{"infcode":0,"output":{}}'}, True, False),
        ({"code": 200, "type": "success", "data": {"setlinfo": {}}}, True, False),
        ({"code": 500, "type": "error", "message": "timeout", "data": None}, False, False),
        ({"code": 0, "type": "success", "data": None}, False, False),
    ],
    ids=str,
)
def test_only_an_infcode_or_a_whole_success_is_a_word(parsed, done, refused):
    response = read_response(parsed)

    assert (response.done, response.refused) == (done, refused)


@pytest.mark.parametrize("parsed", [{}, {"code": 0}, {"infcode": []}, {"infcode": 0, "output": "{broken"}], ids=str)
def test_what_is_no_answer_is_none(parsed):
    with pytest.raises(Malformed):
        read_response(parsed)


def test_an_answer_is_cut_to_what_the_field_takes():
    written = write_response({"infcode": "-1", "err_msg": "长" * 300})

    assert len(written["err_msg"]) == 200


@st.composite
def settlements(draw: st.DrawFn) -> tuple[dict[str, int], list[dict[str, Any]], Switches]:
    """A settlement that is right by some region's switches."""
    amount = st.integers(0, 10**9)
    info = {name: draw(amount) for name in (*FUND_PARTS, "acct_pay", "psn_cash_pay", "hosp_part_amt")}
    included = draw(st.booleans())
    switches = Switches(fund_includes_account=included, account_row_in_detail=draw(st.booleans()))
    funds = sum(info[name] for name in FUND_PARTS)
    info["psn_part_amt"] = info["acct_pay"] + info["psn_cash_pay"]
    info["fund_pay_sumamt"] = funds + (info["acct_pay"] if included else 0)
    info["medfee_sumamt"] = funds + info["psn_part_amt"] + info["hosp_part_amt"]
    cuts = sorted(draw(st.lists(st.integers(0, info["medfee_sumamt"]), min_size=3, max_size=3)))
    parts = [high - low for low, high in zip([0, *cuts], [*cuts, info["medfee_sumamt"]], strict=True)]
    info |= dict(zip(AMOUNTS[1:5], parts, strict=True))
    first = draw(st.integers(0, funds))
    details = [
        {"fund_pay_type": "310100", "fund_payamt": first},
        {"fund_pay_type": "999997", "fund_payamt": funds - first},
    ]
    if draw(st.booleans()) or (included and switches.account_row_in_detail):
        details.append({"fund_pay_type": "310200", "fund_payamt": info["acct_pay"]})
    return info, details, switches


BREAKS = {
    "medfee_sumamt": {"A4", "A7"},
    **{name: {"A4"} for name in AMOUNTS[1:5]},
    **{name: {"A5"} for name in FUND_PARTS},
    "fund_pay_sumamt": {"A5", "A6", "A7"},
    "psn_part_amt": {"A7", "A8"},
    "psn_cash_pay": {"A8"},
    "hosp_part_amt": {"A7"},
}


def codes(broken: list[Violation]) -> set[str]:
    return {one.code.removeprefix("national.") for one in broken}


@given(settlements())
def test_a_right_settlement_breaks_nothing(settlement):
    assert broken_amounts(*settlement) == []


@given(settlements(), st.sampled_from(sorted(BREAKS)), st.sampled_from([-1, 1]))
def test_a_single_fen_is_caught_by_exactly_the_identities_that_it_breaks(settlement, name, fen):
    info, details, switches = settlement

    assert codes(broken_amounts({**info, name: info[name] + fen}, details, switches)) == BREAKS[name]


@given(settlements(), st.sampled_from([-1, 1]))
def test_a_fen_of_a_funds_row_is_caught_by_the_sum_of_the_rows(settlement, fen):
    info, details, switches = settlement
    details[0] = {**details[0], "fund_payamt": details[0]["fund_payamt"] + fen}

    assert codes(broken_amounts(info, details, switches)) == {"A6"}


@given(settlements(), st.sampled_from([-1, 1]))
def test_a_fen_of_the_account_is_caught_wherever_it_counts(settlement, fen):
    info, details, switches = settlement
    expected = {"A8"}
    if switches.fund_includes_account:
        expected |= {"A5", "A7"}
        expected |= set() if switches.account_row_in_detail else {"A6"}

    assert codes(broken_amounts({**info, "acct_pay": info["acct_pay"] + fen}, details, switches)) == expected


@given(settlements())
def test_a_tolerance_covers_what_describes_and_never_who_pays(settlement):
    info, details, switches = settlement
    tolerant = Switches(1, switches.fund_includes_account, switches.account_row_in_detail)

    assert broken_amounts({**info, "hifp_pay": info["hifp_pay"] + 1}, details, tolerant) == []
    assert codes(broken_amounts({**info, "hosp_part_amt": info["hosp_part_amt"] + 1}, details, tolerant)) == {"A7"}


def test_a_fund_that_a_region_does_not_name_counts_nothing():
    info = dict.fromkeys(AMOUNTS, 0)
    del info["hifdm_pay"]

    assert broken_amounts(info, [], Switches()) == []


LINE = {"det_item_fee_sumamt": 1001, "cnt": Decimal("2.5"), "pric": Decimal("4.004")}
SPLIT = {"fulamt_ownpay_amt": 1, "overlmt_amt": 0, "preselfpay_amt": 100, "inscp_scp_amt": 900}


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, set()),
        (SPLIT, set()),
        ({"det_item_fee_sumamt": 1002}, {"A2"}),
        (SPLIT | {"inscp_scp_amt": 901}, {"A3"}),
        (SPLIT | {"pric": Decimal("4.010")}, {"A2"}),
        ({"det_item_fee_sumamt": -1001, "cnt": Decimal("-2.5")}, set()),
    ],
    ids=str,
)
def test_lines_multiply_out_and_split(changes, broken):
    assert codes(broken_lines([LINE | changes], Switches())) == broken


def test_funds_fall_into_their_buckets():
    found = [
        bucket_of(kind) for kind in ("310100", "390100", "390200", "320100", "330100", "370100", "610101", "999997")
    ]

    assert found == [
        "hifp_pay",
        "hifp_pay",
        "hifmi_pay",
        "cvlserv_pay",
        "hifob_pay",
        "hifes_pay",
        "maf_pay",
        "oth_pay",
    ]
    assert bucket_of("390400", {"390400": "hifp_pay"}) == "hifp_pay"


def test_a_settlement_that_misses_a_field_is_not_sent():
    with pytest.raises(InvalidMessage) as refused:
        write_input("2207", {"data": {"psn_no": "1"}})

    missing = {one.field for one in refused.value.violations}
    assert {"input.data.medfee_sumamt", "input.data.chrg_bchno", "input.data.acct_used_flag"} <= missing


def test_every_table_of_a_transaction_is_one_of_the_tables():
    known = {id(value) for value in vars(tables).values()}
    nodes = [node for one in EXCHANGES.values() for node in (*one.input.values(), *one.output.values())]

    assert {id(node.shape) for node in nodes} <= known


HUGE = ["1E9999999", "-1E9999999", "0E9999999", "1E-9999999", "1" * 5_000, "1." + "0" * 40 + "1"]


@pytest.mark.parametrize("text", HUGE)
def test_a_number_of_any_size_is_refused_without_calculating_with_it(text):
    broken = []

    read_record(shape("amount:m*"), {"amount": text}, (), broken)

    assert [violation.code for violation in broken] == ["national.number"]


@pytest.mark.parametrize("number", ["1.0e-999999", "1.0e-99999999999", "0.0e9999", "1." + "0" * 5_000])
def test_a_few_bytes_of_json_are_never_megabytes_written_out(number):
    with pytest.raises(Malformed):
        read_json(f'{{"a":[{number}]}}'.encode())


@pytest.mark.parametrize("text", ["0001-01-01 00:00:00", "1899-12-31 23:59:59", "9999-12-31 23:59:59-12:00"])
def test_a_moment_that_another_zone_cannot_tell_is_refused(text):
    broken = []

    read_record(shape("at:dt*"), {"at": text}, (), broken)

    assert [violation.code for violation in broken] == ["national.moment"]
