"""Statements on paper: what each form writes, how much it holds, and that the same lines make the same bytes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from hub.recon.writers import Form, OutLine, write
from schemas.errors import InvalidMessage
from schemas.statement import STATEMENT_LINES_MAX, LineKind, Statement, StatementLine
from store.hub_side import HubLine

DAY = date(2026, 3, 9)
NOON = datetime(2026, 3, 9, 4, 0, tzinfo=UTC)


def a_line(number: int = 1, fen: int = 12_050) -> HubLine:
    kind = "settle" if fen >= 0 else "refund"
    return HubLine(kind, "H36010000001", f"S-{number}", "", "R-1", "SL1", 0, fen, 0, 0, NOON)


def written(path: Path, form: Form, *lines: OutLine) -> bytes:
    header = write(path, form, lines, "ANKANG", "daily", DAY)
    assert (header.count, header.total) == (len(lines), sum(one.line.amount for one in lines))
    return path.read_bytes()


def test_csv_has_a_heading_yuan_and_china_standard_time(tmp_path):
    text = written(tmp_path / "a.csv", Form.CSV, OutLine(a_line()), OutLine(a_line(fen=-5))).decode()

    assert text.splitlines() == [
        "kind,institution,settlement_no,payer,request_id,reference,total,amount,account,cash,at",
        "settle,H36010000001,S-1,,R-1,SL1,0.00,120.50,0.00,0.00,2026-03-09T12:00:00+08:00",
        "refund,H36010000001,S-1,,R-1,SL1,0.00,-0.05,0.00,0.00,2026-03-09T12:00:00+08:00",
    ]


def test_the_national_file_says_null_for_nothing_and_flags_refunds(tmp_path):
    lines = (
        OutLine(a_line(), mdtrt_id="MD1", psn_no="P-1", total_fen=30_000),
        OutLine(a_line(fen=-12_050), setl_id="OURS", total_fen=-30_000),
    )

    written(tmp_path / "a.zip", Form.NATIONAL, *lines)

    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("statement.txt").decode().splitlines() == [
            "SL1\tMD1\tP-1\t300.00\t120.50\t0.00\t0\tR-1",
            "OURS\tnull\tnull\t-300.00\t-120.50\t0.00\t1\tR-1",
        ]


def test_json_is_the_message_that_parties_send(tmp_path):
    line = StatementLine(institution="H36010000001", settlement_no="S-2", amount=-1, kind=LineKind.REFUND)

    sent = Statement.model_validate_json(written(tmp_path / "a.json", Form.JSON, OutLine(a_line()), OutLine(line)))

    assert (sent.party, sent.count, sent.total) == ("ANKANG", 2, 12_049)
    assert (sent.lines[0].request_id, sent.lines[0].payer, sent.lines[1]) == ("R-1", None, line)


def test_a_form_that_cannot_hold_so_many_says_which_can(tmp_path):
    def many() -> Iterator[OutLine]:
        return (OutLine(a_line(number)) for number in range(STATEMENT_LINES_MAX + 1))

    with pytest.raises(InvalidMessage) as refused:
        write(tmp_path / "a.json", Form.JSON, many(), "ANKANG", "daily", DAY)

    assert "csv" in refused.value.violations[0].remedy
    assert write(tmp_path / "a.csv", Form.CSV, many(), "ANKANG", "daily", DAY).count == STATEMENT_LINES_MAX + 1


@pytest.mark.parametrize("form", Form)
def test_the_same_lines_make_the_same_bytes(tmp_path, form):
    first = written(tmp_path / "first", form, OutLine(a_line()))

    assert written(tmp_path / "second", form, OutLine(a_line())) == first
