"""The rows that stood in the way of an import, as a table to be mended: CSV or workbook, beside what is wrong.

It holds what the file held, so only its maker may read it. Cells that a spreadsheet would take for formulas begin with
an apostrophe.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from adapters.hospital.remedies import remedy_zh
from hub.imports.layout import Cell, InvalidFile, Layout
from hub.imports.source import source_of
from hub.master_rows import RowKind
from schemas.errors import Violation
from schemas.master import RowProblem

HEADINGS = ("row", "field", "code", "remedy", "处理办法")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def write_report(path: Path, order_path: Path, row_kind: RowKind, problems: Sequence[RowProblem], *,
                 columns: Sequence[str] = (), sheet: str = "") -> int:  # fmt: skip
    """Write the problems with their rows to a new file `path` (.csv or .xlsx); how many rows it has."""
    headings, cells = _cells_of(order_path, row_kind, {problem.row for problem in problems}, columns, sheet)
    table = [[*HEADINGS, *headings], *_rows(problems, cells)]
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    if path.suffix.lower() == ".xlsx":
        _write_workbook(path, table)
    else:
        with path.open("w", encoding="utf-8-sig", newline="") as content:
            csv.writer(content).writerows(table)
    return len(table) - 1


def _rows(problems: Iterable[RowProblem], cells: dict[int, list[str]]) -> Iterator[list[str]]:
    for one in problems:
        zh = remedy_zh(Violation(one.field, one.code, one.remedy))
        own = [str(one.row), one.field, one.code, one.remedy, zh]
        yield [harmless(text) for text in (*own, *cells.get(one.row, ()))]


def harmless(text: str) -> str:
    """The text as a spreadsheet shows it instead of computing it."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _cells_of(
    path: Path, row_kind: RowKind, wanted: set[int], columns: Sequence[str], sheet: str
) -> tuple[list[str], dict[int, list[str]]]:
    """The heading and the wanted rows, read once more."""
    found: dict[int, list[str]] = {}
    source = source_of(path, columns, sheet)
    with source.opened() as (headings, records):
        layout = Layout(row_kind, headings)
        try:
            for line in layout.lines(records):
                if line.number in wanted:
                    found[line.number] = [_text(cell) for cell in line.cells]
        except InvalidFile:
            pass  # it was read as far as this before
    return [harmless(heading) for heading in headings], found


def _text(cell: Cell) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _write_workbook(path: Path, table: Sequence[Sequence[str]]) -> None:
    import xlsxwriter

    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
               "strings_to_numbers": False}  # fmt: skip
    with xlsxwriter.Workbook(str(path), options) as workbook:
        sheet = workbook.add_worksheet("errors")
        for number, row in enumerate(table):
            sheet.write_row(number, 0, row)
