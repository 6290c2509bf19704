"""The report of a day: everything is on the page and in the workbook, nothing of it taken for markup or a formula."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import html
from python_calamine import CalamineWorkbook

from hub.recon import report_words as words
from hub.recon.report import PartyDay, sides_of
from hub.recon.report_excel import write_excel
from hub.recon.report_html import as_html
from schemas.statement import BreakClass, Remedy
from tests.support.builders import BASIC, CRITICAL, HOSPITAL
from tests.support.recon_reports import a_break, a_party_day, a_report, a_run, a_seal, a_statement

EVIL = "</td><script>alert(1)</script>&\"'=HYPERLINK(1)"


def shown(page: str) -> str:
    """What a reader sees, each text apart from the next."""
    return " ".join(" ".join(html.document_fromstring(page).xpath("//body//text()")).split())


def sheets(path: Path) -> dict[str, list[list[object]]]:
    workbook = CalamineWorkbook.from_path(str(path))
    return {name: workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names}


def test_the_page_says_what_is_open_and_what_to_run_for_the_rest() -> None:
    page = shown(as_html(a_report()))

    assert "not closed" in page
    assert "hub recon breaks --day 2026-03-02 --state open" in page
    assert "and 1 more" in page
    assert "hub recon run --day 2026-03-02 --party ANKANG" in page
    assert "no statement since 2026-03-03 09:00" in page
    assert "not sealed" in page


def test_a_day_without_open_breaks_that_is_sealed_says_so() -> None:
    parties = [a_party_day(CRITICAL, a_run(1, CRITICAL, state="signed_off"))]
    report = a_report(parties=parties, not_run=[], breaks=[], breaks_total=0, classes=[], seal=a_seal())

    page = shown(as_html(report))

    assert "nothing is open" in page
    assert "ab" * 32 in page
    assert "approved by wang" in page
    assert f"--expect 2026-03-02={'ef' * 32}" in page
    assert f"left out {BASIC}/daily: their <books> are down" in page
    assert f"not compared with {HOSPITAL}/daily: no statement came" in page


@pytest.mark.parametrize(
    ("party", "agrees"),
    [
        (a_party_day(CRITICAL, a_run(1, CRITICAL)), True),
        (a_party_day(CRITICAL, a_run(1, CRITICAL), states={"resolved": 3, "explained": 9}), True),
        (a_party_day(CRITICAL, a_run(1, CRITICAL), states={"open": 1}), False),
        (a_party_day(CRITICAL, a_run(1, CRITICAL), states={"waiting": 1}), False),
        (a_party_day(CRITICAL, a_run(1, CRITICAL), finding="no statement"), False),
        (a_party_day(CRITICAL, a_run(1, CRITICAL, state="failed")), False),
        (a_party_day(CRITICAL, a_run(1, CRITICAL, state="running", finished_at=None)), False),
        (a_party_day(CRITICAL, None), False),
    ],
)
def test_a_party_agrees_only_when_it_was_compared_whole(party: PartyDay, agrees: bool) -> None:
    assert party.agrees is agrees


def test_whatever_parties_wrote_is_text() -> None:
    report = a_report(
        breaks=[a_break(settlement_no=EVIL, reason=EVIL, reference=EVIL)],
        statements=[a_statement(1, CRITICAL, source=EVIL)],
        parties=[a_party_day(CRITICAL, a_run(1, CRITICAL, started_by=EVIL), finding=EVIL, note=EVIL, name=EVIL)],
        not_run=[EVIL],
    )

    page = as_html(report)

    assert "<script" not in page
    assert shown(page).count("<script>") == shown(as_html(report)).count("alert(1)") > 5
    assert not html.document_fromstring(page).xpath("//script | //@href | //@src | //img | //link")


def test_why_a_statement_was_refused_and_what_is_proposed_is_said_in_both_languages(tmp_path: Path) -> None:
    problems = [{"field": f"row {row}, amount", "code": "money", "remedy": "write yuan"} for row in range(2, 7)]
    whole = {"field": "statement", "code": "statement.signed_off", "remedy": "the day is signed off"}
    refused = [
        a_statement(1, CRITICAL, state="refused", problems=problems),
        a_statement(2, CRITICAL, state="refused", problems=[whole]),
    ]
    report = a_report(statements=refused, breaks=[a_break(break_class="amount", proposal="post_difference")])

    page = shown(as_html(report))
    write_excel(report, tmp_path / "report.xlsx")

    assert "row 2, amount: 请填写金额" in page
    assert "row 4, amount:" in page
    assert "and 2 more" in page
    assert "row 5, amount:" not in page
    assert "statement: the day is signed off" in page
    assert "金额不一致 the amounts differ" in page
    assert "登记差额 post_difference" in page
    found = sheets(tmp_path / "report.xlsx")
    assert found["对账单 Statements"][3][-1].count("write yuan") == 5
    assert "登记差额 post_difference" in found["未决差异 Breaks"][3]


def test_many_statements_that_have_not_come_do_not_fill_the_first_page() -> None:
    late = [
        a_party_day(f"H{number:011}", a_run(number, f"H{number:011}"), finding="no statement") for number in range(99)
    ]

    page = shown(as_html(a_report(parties=late, not_run=[])))

    assert page.count("no statement") == 30
    assert "and 69 more, see the table below" in page


def test_every_class_and_switch_has_words() -> None:
    page = shown(as_html(a_report()))

    assert set(words.REMEDIES) == set(Remedy)
    for words_of in (words.SWITCHES.values(), words.STATES.values()):
        assert all(one.en in page for one in words_of)
    assert set(words.SWITCHES) == set(a_run(1, CRITICAL).switches)
    assert {one.value for one in BreakClass} >= {row.break_class.value for row in a_report().classes}


def test_the_workbook_has_numbers_with_two_decimals_and_text_that_stays_text(tmp_path: Path) -> None:
    target = tmp_path / "report.xlsx"
    write_excel(a_report(breaks=[a_break(reason="=1+1", settlement_no="+49", reference="0012")]), target)

    found = sheets(target)

    assert list(found) == [
        "总览 Summary", "各方合计 Parties", "差异分类 Classes", "未决差异 Breaks", "另有 More", "跨日入账 Late",
        "垫付与结算 Ledger", "对账单 Statements", "对账口径 Runs",
    ]  # fmt: skip
    row = found["未决差异 Breaks"][3]
    assert row[8:15] == ["+49", f"{'01890000000070008000000000000001'}-2", "0012", 75.0, 74.9, "", -0.1]
    assert "=1+1" in row
    assert found["另有 More"][3] == [3.0, "hub recon breaks --day 2026-03-02 --state open"]
    assert found["垫付与结算 Ledger"][3][2:6] == [100_000.0, 900_000.0, 600_000.0, 290_000.0]


def test_totals_come_as_names_or_in_the_order_of_a_breaks_sides() -> None:
    named = sides_of({"hub": {"settlements": 2, "settled_fen": 700, "refunds": 1, "refunded_fen": -200}, "payer": None})
    listed = sides_of({"hub": [2, 1, 700, -200, 0]})

    assert named == listed
    assert (named["hub"].net_fen, list(named)) == (500, ["hub"])


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, "–"), (0.4, "0 s"), (59, "59 s"), (90, "1.5 min"), (7_200, "2.0 h"), (1e6, "11.6 d")]
)
def test_lengths_of_time_are_for_people(seconds: float | None, said: str) -> None:
    assert words.lasted(seconds) == said


@pytest.mark.parametrize(("fen", "said"), [(0, "0.00"), (123_456_789, "1,234,567.89"), (-5, "-0.05")])
def test_amounts_are_grouped(fen: int, said: str) -> None:
    assert words.yuan(fen) == said
