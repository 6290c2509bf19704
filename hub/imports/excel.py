"""Workbooks (.xlsx): looked at before they are opened, then read by value.

A formula gives the value that it had when the file was saved. What a spreadsheet has lost (digits of long numbers) or
cannot say by row (merged cells, errors) is refused, never guessed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetVisibleEnum

from hub.imports import zips
from hub.imports.layout import Cell, InvalidFile

ROWS_MAX = 200_000
COLUMNS_MAX = 100
CELLS_MAX = 4_000_000
"""A workbook is held in memory as a whole, gaps included: more rows come as CSV."""
UNPACKED_MAX = 512 * 1024**2
_OVERLAP = 256
_PLACE = re.compile(rb"""\br\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
_ROW = re.compile(rb"""<(?:\w+:)?row\b[^>]*?\br\s*=\s*["']([0-9]{1,7})["']""")
_ERROR = re.compile(rb"""<(?:\w+:)?c\b[^>]*?\bt\s*=\s*["']e["']""")
_MACROS = re.compile(rb"macroEnabled|vbaProject")
_FROM_1904 = re.compile(rb"""\bdate1904\s*=\s*["'](?:1|true)["']""")
_DECLARING = ("[Content_Types].xml", "xl/_rels/workbook.xml.rels")
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")


@dataclass(slots=True)
class _Seen:
    """What a look at the sheets has found."""

    rows: int = 0
    columns: int = 0
    errors: int = 0


class ExcelFile:
    """The one visible sheet of a workbook that has rows, or the one that is named."""

    def __init__(self, path: Path, columns: Sequence[str] = (), *, sheet: str = "") -> None:
        self._path = path
        self._columns = columns
        self._sheet = sheet
        self.bytes_total = path.stat().st_size
        self.bytes_read = 0
        with zips.opened(path, size_max=UNPACKED_MAX) as archive:
            self.dates_from_1904 = _look_at(archive)

    @contextmanager
    def opened(self) -> Iterator[tuple[list[str], Iterator[tuple[int, Sequence[Cell]]]]]:
        """The heads of the columns, and the rows behind them."""
        try:
            with CalamineWorkbook.from_path(str(self._path)) as workbook:
                sheet = _chosen(workbook, self._sheet)
                if sheet.merged_cell_ranges:
                    (top, left), _ = sheet.merged_cell_ranges[0]
                    raise InvalidFile(
                        f"cells are merged, {len(sheet.merged_cell_ranges)} times, first at row {top + 1}, "
                        f"column {left + 1}; undo that, so that each row says all of itself"
                    )
                records = self._records(sheet)
                yield _headed(records, self._columns)
        except CalamineError:
            raise InvalidFile("the workbook is damaged or protected by a password; save it anew as .xlsx") from None

    def _records(self, sheet: CalamineSheet) -> Iterator[tuple[int, Sequence[Cell]]]:
        total = max(sheet.total_height + 1, 1)
        for number, cells in enumerate(sheet.iter_rows(), 1):
            self.bytes_read = self.bytes_total * number // total
            yield number, [_cell(cell) for cell in cells]


def _cell(cell: object) -> Cell:
    if isinstance(cell, str | bool | int | float | datetime | date):
        return cell
    return str(cell)  # a time of day or a span: no column has one, so its text is refused with its field


def _headed(
    records: Iterator[tuple[int, Sequence[Cell]]], columns: Sequence[str]
) -> tuple[list[str], Iterator[tuple[int, Sequence[Cell]]]]:
    if columns:
        return list(columns), ((number, _fitted(cells, len(columns))) for number, cells in records)
    for _, cells in records:
        if any(cell != "" for cell in cells):
            headings = [str(cell) for cell in cells]
            while headings[-1] == "":
                headings.pop()
            width = len(headings)
            return headings, ((number, _fitted(cells, width)) for number, cells in records)
    raise InvalidFile("the sheet is empty")


def _fitted(cells: Sequence[Cell], width: int) -> Sequence[Cell]:
    """Without the empty cells beyond the heading, which a sheet has where one was ever touched."""
    return cells[:width] if all(cell == "" for cell in cells[width:]) else cells


def _chosen(workbook: CalamineWorkbook, name: str) -> CalamineSheet:
    if name:
        if name not in workbook.sheet_names:
            raise InvalidFile("there is no sheet of that name")
        return workbook.get_sheet_by_name(name)
    visible = [one.name for one in workbook.sheets_metadata if one.visible == SheetVisibleEnum.Visible]
    sheets = [sheet for sheet in map(workbook.get_sheet_by_name, visible) if sheet.height > 0]
    if len(sheets) != 1:
        raise InvalidFile(f"{len(sheets)} visible sheets have rows; leave one in the file (or `hub import --sheet`)")
    return sheets[0]


def _look_at(archive: zipfile.ZipFile) -> bool:
    """Refuse what is no plain workbook or would not fit into memory; whether its days count from 1904."""
    names = {member.filename: member for member in archive.infolist()}
    if "[Content_Types].xml" not in names or "xl/workbook.xml" not in names:
        raise InvalidFile("this is no .xlsx workbook, whatever its name says; save it anew as .xlsx")
    if any(name.endswith(".bin") and "vba" in name.lower() for name in names):
        raise InvalidFile("the workbook holds macros; save it as .xlsx without them")
    seen = _Seen()
    for name, member in names.items():
        if name.endswith((".xml", ".rels")):
            _scan(zips.chunks(archive, member), seen, name)
    if seen.rows > ROWS_MAX or seen.columns > COLUMNS_MAX or seen.rows * seen.columns > CELLS_MAX:
        raise InvalidFile(
            f"the workbook reaches to row {seen.rows}, column {seen.columns}; a workbook may have {ROWS_MAX} rows and "
            f"{COLUMNS_MAX} columns, more come as CSV"
        )
    if seen.errors:
        raise InvalidFile(f"{seen.errors} cells hold an error such as #N/A; correct or clear them")
    return bool(_FROM_1904.search(archive.read("xl/workbook.xml")))


def _scan(chunks: Iterator[bytes], seen: _Seen, name: str) -> None:
    before = b""
    for chunk in chunks:
        part = before + chunk
        if not before and b"\x00" in part[:200]:
            raise InvalidFile("the workbook is not written in UTF-8; save it anew as .xlsx")
        if b"<!DOCTYPE" in part or b"<!ENTITY" in part:
            raise InvalidFile("the workbook declares entities, which no table needs")
        if name in _DECLARING and _MACROS.search(part):
            raise InvalidFile("the workbook holds macros; save it as .xlsx without them")
        if _SHEET.fullmatch(name):
            _measure(part, len(before), seen)
        before = part[-_OVERLAP:]


def _measure(part: bytes, overlap: int, seen: _Seen) -> None:
    for found in _PLACE.finditer(part):
        seen.columns = max(seen.columns, _column(found[1]))
        seen.rows = max(seen.rows, int(found[2]))
    for found in _ROW.finditer(part):
        seen.rows = max(seen.rows, int(found[1]))
    seen.errors += sum(found.end() > overlap for found in _ERROR.finditer(part))


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
