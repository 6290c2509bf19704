"""Files as they come: every form gives the same rows, and what is hostile, damaged or ambiguous is refused by name."""

from __future__ import annotations

import struct
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.imports import tables
from hub.imports.job import judge
from hub.imports.layout import InvalidFile, Layout, Line
from hub.imports.report import write_report
from hub.imports.source import source_of
from hub.imports.words import HEADINGS
from hub.master_rows import ROW_KINDS, operator
from schemas.master import RowProblem
from tests.support.builders import an_id_card

CATALOGUE = ROW_KINDS["catalogue"]
HEAD = "list_type,item_code,item_name,level,valid_from,valid_until,price_max"
ROW = "101,XA01,阿莫西林胶囊,01,2026-01-01,,12.50"
WANTED = {
    "list_type": "101", "item_code": "XA01", "item_name": "阿莫西林胶囊", "level": "01", "valid_from": "2026-01-01",
    "price_max": "12.5",
}  # fmt: skip


def lines_of(path: Path, kind: str = "catalogue", columns: Sequence[str] = (), sheet: str = "") -> list[Line]:
    source = source_of(path, columns, sheet)
    with source.opened() as (headings, records):
        return list(Layout(ROW_KINDS[kind], headings, dates_from_1904=source.dates_from_1904).lines(records))


def rows_of(path: Path, **changes: Any) -> list[dict[str, str]]:
    """The rows of a file that is right, with the price as people would say it."""
    found = lines_of(path, **changes)
    assert not [line.problems for line in found if line.problems]
    return [line.values | {"price_max": line.values["price_max"].rstrip("0")} for line in found]


def problems_of(path: Path, kind: str = "catalogue") -> list[tuple[int, str, str]]:
    _, found = judge(ROW_KINDS[kind], operator(), lines_of(path, kind))
    return [(problem.row, problem.field, problem.code) for problem in found]


def complaint_of(path: Path, **changes: Any) -> str:
    with pytest.raises(InvalidFile) as refused:
        lines_of(path, **changes)
    return str(refused.value)


def csv_file(folder: Path, *rows: str, encoding: str = "utf-8", name: str = "a.csv", end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes("".join(f"{row}{end}" for row in rows).encode(encoding))
    return path


def workbook(folder: Path, *rows: Sequence[Any], name: str = "a.xlsx", change: Any = None, **options: Any) -> Path:
    """A workbook with these rows in its one sheet; `change(book, sheet)` may do more."""
    path = folder / name
    with xlsxwriter.Workbook(str(path), options) as book:
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            for column, cell in enumerate(row):
                sheet.write(number, column, cell, *([day] if isinstance(cell, datetime) else []))
        if change is not None:
            change(book, sheet)
    return path


def archive(folder: Path, *members: tuple[str, bytes], name: str = "a.zip") -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for member, content in members:
            made.writestr(member, content)
    return path


def tabbed(*rows: str) -> bytes:
    return "".join(f"{row}\r\n" for row in rows).replace(",,", ",null,").replace(",", "\t").encode()


HEADS = HEAD.split(",")
XLSX_ROW = ["101", "XA01", "阿莫西林胶囊", "01", datetime(2026, 1, 1), None, 12.5]

FORMS: dict[str, Callable[[Path], Path]] = {
    "csv": lambda folder: csv_file(folder, HEAD, ROW),
    "csv with a byte order mark": lambda folder: csv_file(folder, HEAD, ROW, encoding="utf-8-sig"),
    "csv in GBK": lambda folder: csv_file(folder, HEAD, ROW, encoding="gbk"),
    "csv by semicolons": lambda folder: csv_file(folder, HEAD.replace(",", ";"), ROW.replace(",", ";")),
    "csv without a last line end": lambda folder: csv_file(folder, f"{HEAD}\n{ROW}", end=""),
    "csv of an old Mac": lambda folder: csv_file(folder, HEAD, ROW, end="\r\n"),
    "csv with blank lines": lambda folder: csv_file(folder, HEAD, "", ROW, ",,,,,,"),
    "csv in Chinese": lambda folder: csv_file(
        folder, "目录类别,医保目录编码,医保目录名称,甲乙类,生效日期,终止日期,最高限价",
        ROW.replace("01,2026", "甲,2026"), encoding="gb18030",
    ),
    "csv with national names": lambda folder: csv_file(
        folder, "list_type,med_list_codg,hilist_name,chrgitm_lv,begndate,enddate,hilist_pric_uplmt_amt",
        "西药,XA01,阿莫西林胶囊,1,20260101,,12.50",
    ),
    "csv with other days": lambda folder: csv_file(folder, HEAD, ROW.replace("2026-01-01", "2026/1/1")),
    "national text": lambda folder: csv_file(folder, tabbed(HEAD, ROW).decode(), name="a.txt", end=""),
    "national archive": lambda folder: archive(folder, ("a.txt", tabbed(HEAD, ROW))),
    "workbook": lambda folder: workbook(folder, HEADS, XLSX_ROW),
    "workbook with numbers and serials": lambda folder: workbook(
        folder, HEADS, [101, "XA01", "阿莫西林胶囊", 1, 46023, None, 12.5]
    ),
    "workbook with days from 1904": lambda folder: workbook(
        folder, HEADS, [101, "XA01", "阿莫西林胶囊", 1, 46023 - 1462, None, 12.5], date_1904=True
    ),
    "workbook with a formula": lambda folder: workbook(
        folder, HEADS, XLSX_ROW,
        change=lambda _, sheet: sheet.write_formula(1, 6, "=12.4+0.1", None, 12.500000000000002),
    ),
    "workbook with a blank row and cells touched beyond": lambda folder: workbook(
        folder, HEADS, [], [*XLSX_ROW, None],
        change=lambda book, sheet: sheet.write_blank(5, 9, None, book.add_format()),
    ),
    "workbook with an empty and a hidden sheet": lambda folder: workbook(folder, HEADS, XLSX_ROW, change=_more_sheets),
}  # fmt: skip


def _more_sheets(book: Any, _: Any) -> None:
    book.add_worksheet()
    hidden = book.add_worksheet()
    hidden.write(0, 0, "x")
    hidden.hide()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(tmp_path, form):
    assert rows_of(FORMS[form](tmp_path)) == [WANTED]


def test_a_file_without_a_heading_takes_the_columns_that_are_given(tmp_path):
    path = archive(tmp_path, ("a.txt", tabbed(ROW)))

    assert rows_of(path, columns=HEADS) == [WANTED]


def test_a_quoted_line_end_stays_within_its_row(tmp_path):
    found = lines_of(csv_file(tmp_path, HEAD, '101,A,"x\ny",01,2026-01-01,,', "101,B,=1+1,01,2026-01-01,,"))

    assert [(line.number, line.values["item_code"]) for line in found] == [(2, "A"), (3, "B")]
    assert found[0].problems[0][:2] == ("item_name", "text.control")
    assert found[1].values["item_name"] == "=1+1"


ROW_CASES: list[tuple[str, str]] = [
    ("101,A,n,01,2026-02-30,,", "valid_from date.invalid"),
    ("101,A,n,01,46023,,", "valid_from date.invalid"),
    ("101,A,n,01,1767225600,,", "valid_from date.invalid"),
    ("101,A,n,01,2026-01-01 08:00,,", "valid_from date.invalid"),
    ("101,A,n,01,,,", "valid_from missing"),
    ("999,A,n,01,2026-01-01,,", "list_type enum"),
    ("101,A B,n,01,2026-01-01,,", "item_code string_pattern_mismatch"),
    ("101,A,n,01,2026-01-01,,1E5", "price_max decimal"),
    ("101,A,n,01,2026-01-01,,-1", "price_max decimal"),
    ("101,A,n,01,2026-01-01,,１２", "price_max decimal"),
    ("101,A,n,01,2026-01-01,,1.1234567", "price_max decimal"),
    ("101,A,n,01,2026-01-01,2025-01-01,", "valid_until validity.order"),
    ("101,A,n\u202e,01,2026-01-01,,", "item_name text.control"),
    ("101,A," + "长" * 201 + ",01,2026-01-01,,", "item_name string_too_long"),
    ("101,A,n,01,2026-01-01,,,", "row row.columns"),
    ("101,A,n,01", "row row.columns"),
]


def test_every_wrong_row_is_named_and_the_right_ones_are_kept(tmp_path):
    path = csv_file(tmp_path, HEAD, *(row for row, _ in ROW_CASES), ROW)

    assert problems_of(path) == [(number, *said.split()) for number, (_, said) in enumerate(ROW_CASES, 2)]
    good, _ = judge(CATALOGUE, operator(), lines_of(path))
    assert [number for number, _ in good] == [len(ROW_CASES) + 2]


def test_all_that_is_wrong_with_a_row_is_said_at_once(tmp_path):
    path = csv_file(tmp_path, HEAD, "999,A B,n,01,2026-02-30,x,-1")

    assert [problem[1:] for problem in problems_of(path)] == [
        ("valid_from", "date.invalid"),
        ("valid_until", "date.invalid"),
        ("list_type", "enum"),
        ("item_code", "string_pattern_mismatch"),
        ("price_max", "decimal"),
    ]


def test_a_number_that_a_spreadsheet_cut_short_is_refused_with_its_remedy(tmp_path):
    heads = ["id_type", "id_no", "name", "person_no", "region", "insurance_type", "valid_from"]
    number = int(an_id_card("11010119900307123")[:17] + "1")
    path = workbook(tmp_path, heads, ["01", number, "甲", "P-1", 440300, "310", "2026-01-01"])

    found = lines_of(path, "population")

    assert [problem[:2] for problem in found[0].problems] == [("id_no", "number.too_long")]
    assert "format it as text" in found[0].problems[0][2]


def test_a_total_of_any_length_is_a_row_like_any_other(tmp_path):
    (line,) = lines_of(csv_file(tmp_path, HEAD, f"total,{'9' * 5_000},,,,,"))

    assert line.values["item_code"] == "9" * 5_000


def test_a_file_without_a_heading_does_not_show_its_first_row(tmp_path):
    assert "欧阳" not in complaint_of(csv_file(tmp_path, "欧阳·测试,11010119900307123X"))


@pytest.mark.parametrize(("last", "said"), [("合计,1", ""), ("total,2.0", "2"), ("总计,3", "3")])
def test_a_last_line_may_declare_the_rows(tmp_path, last, said):
    source = source_of(csv_file(tmp_path, HEAD, ROW, f"{last},,,,,"))
    with source.opened() as (headings, records):
        layout = Layout(CATALOGUE, headings)
        assert len(list(layout.lines(records))) == 1
    assert layout.declared == int(said or 1)


def _forged_size(folder: Path) -> Path:
    """An archive that declares less than it unpacks to."""
    path = archive(folder, ("a.txt", tabbed(HEAD, *[ROW] * 2000)))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as made:
        size = struct.pack("<I", made.infolist()[0].file_size)
    path.write_bytes(content.replace(size, struct.pack("<I", 100)))
    return path


def _resaved(folder: Path, change: Callable[[str, bytes], bytes], *more: tuple[str, bytes]) -> Path:
    """A workbook with changed members."""
    made = workbook(folder, HEADS, XLSX_ROW, name="plain.xlsx")
    with zipfile.ZipFile(made) as read:
        members = [(name, change(name, read.read(name))) for name in read.namelist()]
    return archive(folder, *members, *more, name="b.xlsx")


def _in_sheet(old: bytes, new: bytes) -> Callable[[Path], Path]:
    def change(name: str, content: bytes) -> bytes:
        return content.replace(old, new) if name.startswith("xl/worksheets") else content

    return lambda folder: _resaved(folder, change)


def _truncated(path: Path, by: int) -> Path:
    path.write_bytes(path.read_bytes()[:-by])
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (lambda folder: csv_file(folder), "empty"),
    "a blank sheet": (lambda folder: workbook(folder), "0 visible sheets"),
    "only blank lines": (lambda folder: csv_file(folder, "", ",,"), "empty"),
    "UTF-16": (lambda folder: csv_file(folder, HEAD, ROW, encoding="utf-16"), "UTF-8 or GBK"),
    "binary": (lambda folder: csv_file(folder, "\x00\x01"), "UTF-8 or GBK"),
    "UTF-8 cut inside a character": (
        lambda folder: _truncated(csv_file(folder, HEAD, ROW, "甲" * 20, end=""), 1), "damaged place or end",
    ),
    "GBK cut inside a character": (
        lambda folder: _truncated(csv_file(folder, HEAD, ROW, "甲" * 9, encoding="gbk", end=""), 1), "UTF-8 or GBK",
    ),
    "half a file inside quotes": (lambda folder: csv_file(folder, HEAD, '101,A,"half', end=""), "only half there"),
    "stray quotes": (lambda folder: csv_file(folder, HEAD, '101,A,"x"y,01,2026-01-01,,'), "row 2: the quotes"),
    "an endless value": (
        lambda folder: csv_file(folder, HEAD, f"101,A,{'x' * (tables.FIELD_MAX + 1)},01,2026-01-01,,"), "row 2",
    ),
    "an unknown column": (lambda folder: csv_file(folder, f"{HEAD},colour", f"{ROW},red"), "column 8"),
    "a column twice": (lambda folder: csv_file(folder, f"{HEAD},限价", f"{ROW},1"), "price_max stands there twice"),
    "a missing column": (lambda folder: csv_file(folder, "item_code", "A"), "must name valid_from, list_type"),
    "no heading at all": (lambda folder: csv_file(folder, "101,欧阳·测试,X"), "the first row names no column"),
    "columns without end": (lambda folder: csv_file(folder, "item_code" + ",a" * 5_000), "5001 columns"),
    "rows behind the total": (lambda folder: csv_file(folder, HEAD, "total,1,,,,,", ROW), "comes after the line"),
    "a workbook of the old form": (
        lambda folder: _written(folder / "a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "save it as .xlsx",
    ),
    "an old workbook named as a new one": (
        lambda folder: _written(folder / "a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "save it as .xlsx",
    ),
    "a workbook with macros": (lambda folder: workbook(folder, HEADS, name="a.xlsm"), "macros"),
    "macros under another name": (
        lambda folder: _resaved(folder, lambda _, content: content, ("xl/vbaProject.bin", b"x")), "macros",
    ),
    "macros by content type": (
        lambda folder: _resaved(folder, lambda _, content: content.replace(
            b"spreadsheetml.sheet.main", b"ms-excel.sheet.macroEnabled.main")), "macros",
    ),
    "a workbook named as csv": (lambda folder: workbook(folder, HEADS, name="a.csv"), "not what its name"),
    "csv named as a workbook": (lambda folder: csv_file(folder, HEAD, name="a.xlsx"), "not what its name"),
    "an archive named as a workbook": (lambda folder: archive(folder, ("a", b"x"), name="a.xlsx"), "no .xlsx workbook"),
    "another kind of file": (lambda folder: _written(folder / "a.pdf", b"%PDF-1.7"), "send .csv"),
    "a damaged workbook": (lambda folder: _truncated(workbook(folder, HEADS, XLSX_ROW), 200), "half there"),
    "merged cells": (
        lambda folder: workbook(folder, HEADS, change=lambda _, sheet: sheet.merge_range(1, 0, 2, 0, "x")),
        "first at row 2, column 1",
    ),
    "a cell with an error": (
        lambda folder: workbook(
            folder, HEADS, XLSX_ROW, change=lambda _, sheet: sheet.write_formula(1, 6, "=1/0", None, "#DIV/0!")
        ), "1 cells hold an error",
    ),
    "a cell at the end of the world": (_in_sheet(b'r="G2"', b'r="XFD1048576"'), "column 16384"),
    "a row at the end of the world": (_in_sheet(b'<row r="2"', b'<row r="9999999"'), "to row 9999999"),
    "entities": (
        _in_sheet(b"<worksheet", b'<!DOCTYPE a [<!ENTITY b "c">]><worksheet'), "declares entities",
    ),
    "two sheets": (
        lambda folder: workbook(folder, HEADS, change=lambda book, _: book.add_worksheet().write(0, 0, "x")),
        "2 visible sheets",
    ),
    "an archive of two": (lambda folder: archive(folder, ("a.txt", b"x"), ("b.txt", b"x")), "holds 2 files"),
    "an archive of nothing": (lambda folder: archive(folder), "not what its name"),
    "a path that leads out": (lambda folder: archive(folder, ("../a.txt", b"x")), "leads out"),
    "an absolute path": (lambda folder: archive(folder, ("/etc/a.txt", b"x")), "leads out"),
    "a drive's path": (lambda folder: archive(folder, ("C:\\a.txt", b"x")), "leads out"),
    "a program in an archive": (lambda folder: archive(folder, ("a.exe", b"x")), "something else"),
    "a bomb": (lambda folder: archive(folder, ("a.txt", bytes(20 * 1024 * 1024))), "far more than it is"),
    "a bomb in a workbook": (
        lambda folder: _resaved(folder, lambda _, content: content, ("xl/media.xml", bytes(20 * 1024 * 1024))),
        "far more than it is",
    ),
    "a size that is a lie": (_forged_size, "damaged"),
    "an archive in GBK": (
        lambda folder: archive(folder, ("a.txt", tabbed(HEAD, ROW).decode().encode("gbk"))), "not UTF-8",
    ),
    "a line without end": (
        lambda folder: archive(folder, ("a.txt", tabbed(HEAD) + bytes(range(97, 123)) * 40_000)), "longer than",
    ),
}  # fmt: skip


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trusted_is_refused_as_a_whole(tmp_path, case):
    make, expected = REFUSED[case]

    said = complaint_of(make(tmp_path))

    assert expected in said
    assert "阿莫西林" not in said


def test_a_sheet_can_be_chosen(tmp_path):
    path = workbook(tmp_path, HEADS, XLSX_ROW, change=lambda book, _: book.add_worksheet("b").write(0, 0, "x"))

    assert rows_of(path, sheet="Sheet1") == [WANTED]
    assert "no sheet" in complaint_of(path, sheet="c")


def test_every_heading_belongs_to_a_field_of_some_kind():
    fields = {name for kind in ROW_KINDS.values() for name in kind.model.model_fields}

    assert set(HEADINGS) == fields


@pytest.mark.parametrize("kind", sorted(ROW_KINDS))
def test_no_heading_stands_for_two_fields_of_one_kind(kind):
    known = [name for field in ROW_KINDS[kind].model.model_fields for name in (field, *HEADINGS[field])]

    assert len(known) == len(set(known))


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_the_report_holds_the_rows_and_no_formulas(tmp_path, suffix):
    evil = ["=1+1", "+86", "-2", "@SUM(A1)"]
    path = csv_file(tmp_path, HEAD, *(f"101,{number},{name},09,2026-01-01,," for number, name in enumerate(evil)))
    problems = [RowProblem(row=row, field="level", code="enum", remedy="=cmd") for row in range(2, 6)]
    report = tmp_path / f"wrong{suffix}"

    assert write_report(report, path, CATALOGUE, problems) == 4

    if suffix == ".csv":
        text = report.read_text(encoding="utf-8-sig")
    else:
        with zipfile.ZipFile(report) as made:
            text = "".join(made.read(name).decode() for name in made.namelist() if name.endswith(".xml"))
        assert "<f>" not in text
    for name in evil:
        assert f"'{name}" in text.replace("&#39;", "'")
    assert "'=cmd" in text.replace("&#39;", "'")
    assert report.stat().st_mode & 0o077 == 0


def test_reading_goes_by_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("hub.imports.zips.CHUNK", 7)
    monkeypatch.setattr("hub.imports.tables.zips.CHUNK", 7)

    assert rows_of(archive(tmp_path, ("a.txt", tabbed(HEAD, ROW)))) == [WANTED]
    assert rows_of(csv_file(tmp_path, HEAD, ROW, encoding="gbk")) == [WANTED]


@settings(max_examples=150)
@given(content=st.binary(max_size=600), suffix=st.sampled_from([".csv", ".txt", ".zip", ".xlsx"]))
def test_rubbish_is_refused_or_read_and_never_crashed_on(content, suffix):
    _read_or_refuse(content, suffix)


@settings(max_examples=150)
@given(
    form=st.sampled_from(["csv in GBK", "national archive", "workbook"]),
    changes=st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.sampled_from([10_000, 10_000, 9_900, 5_000, 100]),
)
def test_damaged_files_are_refused_or_read_and_never_crashed_on(form, changes, cut):
    """Places are ten-thousandths of the file: a workbook is not the same bytes twice."""
    with tempfile.TemporaryDirectory() as folder:
        whole = FORMS[form](Path(folder))
        content, suffix = bytearray(whole.read_bytes()), whole.suffix
    for place, byte in changes:
        content[len(content) * place // 10_000] = byte
    _read_or_refuse(bytes(content[: len(content) * cut // 10_000]), suffix)


@settings(max_examples=60)
@given(old=st.sampled_from([b"<c ", b"<row ", b"r=", b"101", b"<v>", b"s=", b"</row>"]), new=st.binary(max_size=12))
def test_a_workbook_with_a_changed_sheet_is_refused_or_read(old, new):
    with tempfile.TemporaryDirectory() as folder:
        content = _in_sheet(old, new)(Path(folder)).read_bytes()
    _read_or_refuse(content, ".xlsx")


def _read_or_refuse(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(InvalidFile):
        judge(CATALOGUE, operator(), lines_of(_written(Path(folder) / f"a{suffix}", content)))
