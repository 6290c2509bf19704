"""From the heads of columns to fields, and from cells to the text that the schemas read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from hub.imports.words import DATES, HEADINGS, NUMBERS, TOTALS, words_of
from hub.master_rows import Problem, RowKind

Cell = str | float | int | bool | date | datetime
DIGITS_MAX = 15
"""More digits than a floating-point number keeps."""
COLUMNS_MAX = 100
_DECIMALS = Decimal("0.000000001")
_DAY = re.compile(
    r"(\d{4})(?:-(\d{1,2})-(\d{1,2})|/(\d{1,2})/(\d{1,2})|(\d{2})(\d{2}))(?:[ T]00:00(?::00)?)?", re.ASCII
)
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]")
_SERIAL_MIN, _SERIAL_MAX = 2_200, 2_958_465
"""Days of a spreadsheet by their serial number; smaller ones are years that somebody typed."""
WHOLE_ROW = "row"
"""In the place of a field, for what is wrong with all of a row."""
_EPOCH, _EPOCH_1904 = date(1899, 12, 30), date(1904, 1, 1)
_TOO_LONG = "the column is formatted as number and has lost digits: format it as text and fill it in again"


class InvalidFile(Exception):
    """The file as a whole cannot be taken; `complaints` say why and what to do, without anybody's data."""

    def __init__(self, *complaints: str) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = complaints


class Line(NamedTuple):
    """One row of a file: its number as the program shows it that made it, its cells, its fields, what is wrong."""

    number: int
    cells: Sequence[Cell]
    values: dict[str, str]
    problems: list[Problem]


class Layout:
    """The columns of one file. InvalidFile names everything that is wrong with its heading."""

    def __init__(self, row_kind: RowKind, headings: Sequence[str], *, dates_from_1904: bool = False) -> None:
        self.fields = _fields(row_kind, headings)
        self.declared: int | None = None
        """Rows that the file's own last line speaks of."""
        self._epoch = _EPOCH_1904 if dates_from_1904 else _EPOCH
        self._words = {field: words for field in self.fields if (words := words_of(row_kind.kind.name, field))}
        self._dates = [field for field in self.fields if field in DATES]

    def lines(self, records: Iterable[tuple[int, Sequence[Cell]]]) -> Iterator[Line]:
        """The rows without the blank ones; InvalidFile for anything behind the line with the total."""
        for number, cells in records:
            if not any(cells) and all(cell == "" for cell in cells):
                continue
            if self.declared is not None:
                raise InvalidFile(f"row {number}: comes after the line with the total; it must be the last")
            if self._is_total(cells):
                continue
            yield self._line(number, cells)

    def _is_total(self, cells: Sequence[Cell]) -> bool:
        if len(cells) < 2 or str(cells[0]).strip().lower() not in TOTALS or any(cell != "" for cell in cells[2:]):
            return False
        told = str(cells[1]).strip().removesuffix(".0")
        if not (told.isascii() and told.isdigit() and len(told) <= DIGITS_MAX):
            return False
        self.declared = int(told)
        return True

    def _line(self, number: int, cells: Sequence[Cell]) -> Line:
        problems: list[Problem] = []
        if len(cells) != len(self.fields):
            remedy = f"has {len(cells)} columns, the heading has {len(self.fields)}; is a separator inside a value?"
            return Line(number, cells, {}, [(WHOLE_ROW, "row.columns", remedy)])
        values = self._texts(cells, problems)
        joined = "".join(values.values())
        if not joined.isprintable() and _FORBIDDEN.search(joined):
            problems += [
                (field, "text.control", "holds control or text-direction characters: remove them")
                for field, text in values.items()
                if _FORBIDDEN.search(text)
            ]
        for field, words in self._words.items():
            if (code := words.get(values.get(field, ""))) is not None:
                values[field] = code
        for field in self._dates:
            if field in values:
                if (day := _day(values[field])) is None:
                    problems.append((field, "date.invalid", "write the day as 2026-01-31"))
                else:
                    values[field] = day
        return Line(number, cells, values, problems)

    def _texts(self, cells: Sequence[Cell], problems: list[Problem]) -> dict[str, str]:
        """The cells that say something, by field."""
        given = [
            (field, cell.strip() if isinstance(cell, str) else self._plain(field, cell, problems))
            for field, cell in zip(self.fields, cells, strict=True)
            if cell != ""
        ]
        return {field: text for field, text in given if text}

    def _plain(self, field: str, cell: Cell, problems: list[Problem]) -> str:
        """What a spreadsheet's cell says, as text."""
        if isinstance(cell, bool):
            return "true" if cell else "false"
        if isinstance(cell, datetime):
            return cell.isoformat(" ")
        if isinstance(cell, date):
            return cell.isoformat()
        if field in DATES and _SERIAL_MIN <= float(cell) <= _SERIAL_MAX and float(cell).is_integer():
            return (self._epoch + timedelta(days=int(float(cell)))).isoformat()
        if abs(float(cell)) >= 10**DIGITS_MAX:
            problems.append((field, "number.too_long", _TOO_LONG))
            return ""
        return _number(float(cell)) if field in NUMBERS or not float(cell).is_integer() else str(int(float(cell)))


@lru_cache(maxsize=4096)
def _day(text: str) -> str | None:
    """The day in ISO form; None when it is none. The same few days come again and again."""
    found = _DAY.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(part) for part in found.groups() if part is not None)
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def _number(value: float) -> str:
    """The decimal that somebody typed or a formula meant: 0.1 + 0.2 is 0.3."""
    text = format(Decimal(repr(value)).quantize(_DECIMALS), "f")
    return text.rstrip("0").rstrip(".")


def _fields(row_kind: RowKind, headings: Sequence[str]) -> list[str]:
    if len(headings) > COLUMNS_MAX:
        raise InvalidFile(f"the heading has {len(headings)} columns; at most {COLUMNS_MAX} can be right")
    known = _known(row_kind)
    complaints: list[str] = []
    fields: list[str] = []
    found = [known.get(_plain_heading(heading)) for heading in headings]
    if not any(found):
        # Whatever stands there may be somebody's data.
        raise InvalidFile("the first row names no column of this kind; put a heading there", _columns_of(row_kind))
    for number, (heading, field) in enumerate(zip(headings, found, strict=True), 1):
        if field is None:
            shown = heading if len(heading) <= 40 and heading.isprintable() else "a long or unprintable text"
            complaints.append(f"column {number}: no column of this kind is called {shown!r}")
        elif field in fields:
            complaints.append(f"column {number}: {field} stands there twice")
        fields.append(field or "")
    needed = [name for name, info in row_kind.model.model_fields.items() if info.is_required()]
    if missing := [name for name in needed if name not in fields]:
        complaints.append(f"the heading must name {', '.join(missing)}")
    if complaints:
        raise InvalidFile(*complaints, _columns_of(row_kind))
    return fields


def _columns_of(row_kind: RowKind) -> str:
    return f"columns of {row_kind.kind.name}: {', '.join(row_kind.model.model_fields)}"


def _known(row_kind: RowKind) -> dict[str, str]:
    names: dict[str, str] = {}
    for field in row_kind.model.model_fields:
        for name in (field, *HEADINGS.get(field, ())):
            names.setdefault(_plain_heading(name), field)
    return names


def _plain_heading(heading: str) -> str:
    return "".join(unicodedata.normalize("NFKC", heading).split()).strip("*#").lower()
