"""A region's books from what it says differs from ours: the script of the questions, and what the answers mean."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from adapters.basic.national.client import BasicNational
from adapters.conversation import SCRIPT, Said, steps_of, transcript
from hub.recon.compared import Aside
from schemas.codes import InsuranceType, VisitKind
from schemas.errors import InvalidMessage, Malformed, Unavailable
from schemas.payer import MessageNumbers, PartySettings, RawAnswer
from schemas.statement import LineKind, StatementLine
from schemas.statement_pages import OwnLine, StatementQuestion

REGION, INSTITUTION, DAY = "360100", "H36010000001", date(2026, 3, 9)
REQUEST_ID = "0198a1b2c3d4e5f60718293a4b5c6d7e-1"


def own(number: int, fen: int = 6_000, kind: LineKind = LineKind.SETTLE, account: int = 500) -> OwnLine:
    sign = -1 if kind is LineKind.REFUND else 1
    line = StatementLine(
        kind=kind,
        institution=INSTITUTION,
        settlement_no=f"S-{number}",
        request_id=REQUEST_ID,
        reference=f"SL{number}",
        total=sign * 10_000,
        amount=sign * fen,
        account=sign * account,
    )
    return OwnLine(line, "P-1", InsuranceType.EMPLOYEE, VisitKind.OUTPATIENT, visit_reference=f"MD{number}")


def adapter(**options: str) -> BasicNational:
    told = {"statements": "yes", **options}
    return BasicNational(
        PartySettings("BASIC-360100", "basic.national", "http://127.0.0.1:9/", region=REGION, options=told)
    )


def question(*lines: OwnLine) -> StatementQuestion:
    numbers = MessageNumbers(datetime(2026, 3, 10, 1, 0, tzinfo=UTC), 100)
    return StatementQuestion("BASIC-360100", DAY, region=REGION, institution=INSTITUTION, own=lines, numbers=numbers)


def said(infno: str, output: object, code: int = 0, message: str = "") -> Said:
    body = {
        "infcode": code,
        "inf_refmsgid": f"{REGION}20260310090000" + "0" * 10,
        "refmsg_time": "20260310090000000",
        "respond_time": "20260310090000001",
        "err_msg": message,
        "output": output,
    }
    return Said(infno, b"{}", 200, "application/json", json.dumps(body).encode())


def totals(result: str = "0") -> Said:
    return said("3201", {"stmtinfo": {"setl_optins": REGION, "stmt_rslt": result, "stmt_rslt_dscr": ""}})


def zipped(text: str | bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("result.txt", text)
    return packed.getvalue()


def file(*rows: str, packed: bytes | None = None) -> Said:
    body = zipped("".join(f"{row}\n" for row in rows)) if packed is None else packed
    return Said("9102", b"{}", 200, "application/octet-stream", body)


def row(setl_id: str, fund: str, *, msgid: str = "M-1", refund: str = "0", total: str = "100.00") -> str:
    return "\t".join(("P-1", "MD1", setl_id, msgid, "1", refund, "null", total, fund, "5.00"))


def heard(*calls: Said) -> RawAnswer:
    uploaded = said("9101", {"data": {"file_qury_no": "F1", "filename": "a.zip", "fixmedins_code": INSTITUTION}})
    asked = said("3202", {"fileinfo": {"file_qury_no": "F2", "filename": "b.zip"}})
    return transcript([calls[0], uploaded, asked, *calls[1:]])


def amounts(lines: list[OwnLine], *calls: Said, **options: str) -> list[tuple[str, int]]:
    page = adapter(**options).decode_statement(question(*lines), heard(*calls))
    assert (page.pages, page.count, page.total) == (1, len(page.lines), sum(one.amount for one in page.lines))
    return [(one.reference or "", one.amount) for one in page.lines]


def test_totals_come_before_details_and_the_file_names_every_row():
    lines = (own(1), own(2), own(1, kind=LineKind.REFUND))

    call = adapter().prepare_statement(question(*lines))

    steps = steps_of(call)
    assert call.content_type == SCRIPT
    assert [one.name for one in steps] == ["3201", "9101", "3202", "9102"]
    sums, upload, details, _ = (next(iter(json.loads(one.body)["input"].values())) for one in steps)
    assert (sums["medfee_sumamt"], sums["fund_pay_sumamt"], sums["acct_pay"]) == (100, 60, 5)
    assert (sums["insutype"], sums["clr_type"], sums["fixmedins_setl_cnt"]) == ("310", "11", 3)
    assert (details["cash_payamt"], details["stmt_begndate"]) == (35, "2026-03-09")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(upload["in"]))) as archive:
        written = archive.read("statement.txt").decode().splitlines()
    assert written == [
        "SL1\tMD1\tP-1\t100.00\t60.00\t5.00\t0\tnull",
        "SL2\tMD2\tP-1\t100.00\t60.00\t5.00\t0\tnull",
        "SL1\tMD1\tP-1\t-100.00\t-60.00\t-5.00\t1\tnull",
    ]


def test_a_region_with_kinds_is_asked_for_each_of_them():
    call = adapter(statement_kinds="11|21").prepare_statement(question(own(1)))

    assert [one.name for one in steps_of(call)] == ["3201", *["9101", "3202", "9102"] * 2]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((), [("SL1", 6_000), ("SL2", 6_000)]),
        ((row("SL1", "60.01"),), [("SL1", 6_001), ("SL2", 6_000)]),
        ((row("SL1", "60.00", msgid="null"),), [("SL2", 6_000)]),
        ((row("SL9", "7.00"),), [("SL1", 6_000), ("SL2", 6_000), ("SL9", 700)]),
        ((row("SL9", "7.00", msgid="null"),), [("SL1", 6_000), ("SL2", 6_000)]),
        (
            (row("SL1", "-60.00", refund="1", total="-100.00").replace("5.00", "-5.00"),),
            [("SL1", 6_000), ("SL2", 6_000), ("SL1", -6_000)],
        ),
        ((row("SL1", "60.00"), row("SL1", "60.00")), [("SL1", 6_000), ("SL1", 6_000), ("SL2", 6_000)]),
    ],
    ids=["agree", "amount", "not there", "only there", "of neither", "undone there", "twice there"],
)
def test_ours_with_the_rows_that_differ_are_theirs(rows, expected):
    assert amounts([own(1), own(2)], totals("1" if rows else "0"), file(*rows)) == expected


def test_a_fund_that_holds_the_account_is_taken_apart():
    rows = [row("SL1", "66.00")]

    assert amounts([own(1)], totals("1"), file(*rows), fund_includes_account="yes") == [("SL1", 6_100)]


@pytest.mark.parametrize(
    ("calls", "error"),
    [
        ((totals("1"), file()), InvalidMessage),
        ((totals(), file(packed=b"PK rubbish")), InvalidMessage),
        ((totals(), file(packed=zipped(b"\xff\xfe\x00"))), InvalidMessage),
        ((totals(), file(row("SL1", "1e9"))), InvalidMessage),
        ((totals(), file("SL1\t1.00")), InvalidMessage),
        ((totals(), file(row("SL1", "-1.00"))), InvalidMessage),
        ((totals(), said("9102", {}, -1, "文件已过期")), InvalidMessage),
        ((totals(), said("9102", {})), Malformed),
        ((said("3201", {}, -1, "未到对账时间"), file()), InvalidMessage),
        ((said("3201", {}, 301, "网关"), file()), Unavailable),
    ],
    ids=["no row", "no zip", "no text", "no money", "short", "sign", "refused", "no file", "totals refused", "gateway"],
)
def test_what_does_not_hold_is_no_statement(calls, error):
    with pytest.raises(error):
        adapter().decode_statement(question(own(1)), heard(*calls))


def test_a_region_promises_its_books_only_where_its_options_say_so():
    without = BasicNational(PartySettings("B", "basic.national", "http://127.0.0.1:9/", region=REGION))

    assert (without.capabilities.statements, adapter().capabilities.statements_compared) == (False, True)


def test_our_books_that_were_put_aside_are_had_again_as_they_were_by_institution():
    moment = datetime(2026, 3, 9, 4, 5, 6, 789, tzinfo=UTC)
    elsewhere = [
        replace(one, line=one.line.model_copy(update={"institution": "H36010000002", "at": moment}))
        for one in (own(3), own(4, 2_500, LineKind.REFUND), own(5, account=0))
    ]
    here = [own(1), own(2, kind=LineKind.REFUND)]

    aside = Aside(io.BytesIO(), [*elsewhere, *here])

    assert aside.institutions == {INSTITUTION, "H36010000002"}
    for _ in range(2):
        assert aside.of(INSTITUTION) == tuple(here)
        assert aside.of("H36010000002") == tuple(elsewhere)
    assert aside.of("H36010000003") == ()
