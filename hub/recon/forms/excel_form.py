"""Workbooks with the columns of the canonical form: cells become text, and the text is looked at like any other."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from hub.imports.excel import ExcelFile
from hub.imports.layout import DIGITS_MAX, Cell, InvalidFile
from hub.imports.source import sha256_of, source_of
from hub.recon.forms import Chunks
from hub.recon.forms.headings import columns_of

_DECIMALS = Decimal("0.000000001")
_ROWS = 2000


class ExcelForm:
    """The one visible sheet that has rows; the first of them is the heading."""

    name = "excel"
    separator = ","

    def __init__(self, path: Path) -> None:
        source_of(path)  # a workbook by its bytes, too
        self._path = path
        self._file = ExcelFile(path)
        with self._file.opened() as (headings, _):
            self.columns = columns_of(headings)
        self.first_row = 2

    @contextmanager
    def opened(self) -> Iterator[Chunks]:
        """The rows behind the heading as CSV."""
        with self._file.opened() as (_, records):
            yield Chunks(self._lines(records))

    def sha256(self) -> str:
        """Of the workbook."""
        return sha256_of(self._path)

    def _lines(self, records: Iterator[tuple[int, Sequence[Cell]]]) -> Iterator[bytes]:
        out = io.StringIO()
        write = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow
        expected, empty = 0, 0
        for number, cells in records:
            if all(cell == "" for cell in cells):
                empty = empty or number
                continue
            if empty:
                raise InvalidFile(f"row {empty} is empty and rows follow it: remove it")
            self.first_row = number - expected
            expected += 1
            if len(cells) != len(self.columns):
                raise InvalidFile(f"row {number} reaches beyond the last column of the heading")
            write([_text(cell, number) for cell in cells])
            if expected % _ROWS == 0:
                yield out.getvalue().encode()
                out.seek(0)
                out.truncate()
        yield out.getvalue().encode()


def _text(cell: Cell, number: int) -> str:
    """What the cell says. A moment has no zone in a sheet: it is one of China Standard Time."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, datetime):
        return cell.isoformat(" ", "seconds")
    if isinstance(cell, bool | date):
        return str(cell)
    if abs(cell) >= 10**DIGITS_MAX:
        raise InvalidFile(f"row {number}: a number has lost digits: format the column as text and fill it in again")
    text = format(Decimal(repr(cell)).quantize(_DECIMALS), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
