"""The forms that a statement goes out in. What is written here can be read by `hub.recon.forms`."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import orjson

from routing.days import CHINA_STANDARD_TIME
from schemas.errors import InvalidMessage, Violation
from schemas.money import yuan_of
from schemas.statement import STATEMENT_LINES_MAX, LineKind, Statement, StatementHeader, StatementLine
from store.statements import COLUMNS, MONEY

SHEET_ROWS_MAX = 200_000
NOTHING = "null"
_PIECE_ROWS = 2_000
_ZIP_MOMENT = (1980, 1, 1, 0, 0, 0)
_SHEET_MOMENT = datetime(2000, 1, 1)


class Form(StrEnum):
    """How a statement is written."""

    CSV = "csv"
    EXCEL = "excel"
    NATIONAL = "national"
    JSON = "json"


SUFFIXES = {Form.CSV: ".csv", Form.EXCEL: ".xlsx", Form.NATIONAL: ".zip", Form.JSON: ".json"}
MEDIA_TYPES = {
    Form.CSV: "text/csv; charset=utf-8",
    Form.EXCEL: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Form.NATIONAL: "application/zip",
    Form.JSON: "application/json",
}


class Line(Protocol):
    """A `StatementLine`, or a row of the hub's books in its shape: whole fen, '' or None for what is not known."""

    @property
    def kind(self) -> str: ...
    @property
    def institution(self) -> str: ...
    @property
    def settlement_no(self) -> str | None: ...
    @property
    def payer(self) -> str | None: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def reference(self) -> str | None: ...
    @property
    def total(self) -> int: ...
    @property
    def amount(self) -> int: ...
    @property
    def account(self) -> int: ...
    @property
    def cash(self) -> int: ...
    @property
    def at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class OutLine:
    """A line on its way out, with what only the national form has room for: its own numbers and the person's."""

    line: Line
    setl_id: str = ""
    mdtrt_id: str = ""
    psn_no: str = ""
    total_fen: int | None = None
    """The whole bill, where the line does not hold it."""


@dataclass(slots=True)
class Tally:
    """Counts what passes; the amounts are those that a header declares."""

    rows: int = 0
    total_fen: int = 0

    def of(self, lines: Iterable[OutLine]) -> Iterator[OutLine]:
        for one in lines:
            self.rows += 1
            self.total_fen += one.line.amount
            yield one


def write(path: Path, form: Form, lines: Iterable[OutLine], party: str, scheme: str, day: date) -> StatementHeader:
    """A file with these lines, and the header that goes with it; the same lines make the same bytes.

    InvalidMessage when the form cannot hold so many.
    """
    tally = Tally()
    _WRITERS[form](path, tally.of(lines), Statement(party=party, scheme=scheme, day=day, count=0, total=0, lines=()))
    return StatementHeader(
        party=party, scheme=scheme, day=day, count=tally.rows, total=tally.total_fen, sha256=_sha256(path)
    )


def _write_csv(path: Path, lines: Iterable[OutLine], _: Statement) -> None:
    with path.open("wb") as out:
        for piece in _pieces(lines):
            out.write(piece)


def _pieces(lines: Iterable[OutLine]) -> Iterator[bytes]:
    text = io.StringIO()
    add = csv.writer(text, lineterminator="\n").writerow
    add(COLUMNS)
    for number, one in enumerate(lines, 1):
        add(csv_row(one.line))
        if number % _PIECE_ROWS == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def csv_row(line: Line) -> tuple[str, ...]:
    """In the order of COLUMNS."""
    return (
        line.kind,
        line.institution,
        line.settlement_no or "",
        line.payer or "",
        line.request_id or "",
        line.reference or "",
        yuan_of(line.total),
        yuan_of(line.amount),
        yuan_of(line.account),
        yuan_of(line.cash),
        _moment(line.at),
    )


def _moment(at: datetime | None) -> str:
    return at.astimezone(CHINA_STANDARD_TIME).isoformat(timespec="seconds") if at is not None else ""


def _text_of(line: Line, column: str) -> str:
    value: Any = getattr(line, column)
    if column in MONEY:
        return yuan_of(value)
    if isinstance(value, datetime):
        return _moment(value)
    return str(value or "")


def _write_excel(path: Path, lines: Iterable[OutLine], _: Statement) -> None:
    import xlsxwriter

    # Row by row to the disk; no cell is ever taken for a formula or a link.
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        book.set_properties({"created": _SHEET_MOMENT})
        sheet, money = book.add_worksheet("statement"), book.add_format({"num_format": "0.00"})
        for column, name in enumerate(COLUMNS):
            sheet.write_string(0, column, name)
        for row, one in enumerate(lines, 1):
            if row > SHEET_ROWS_MAX:
                raise _too_many(SHEET_ROWS_MAX)
            for column, name in enumerate(COLUMNS):
                if name in MONEY:
                    sheet.write_number(row, column, getattr(one.line, name) / 100, money)
                else:
                    sheet.write_string(row, column, _text_of(one.line, name))


def _write_national(path: Path, lines: Iterable[OutLine], _: Statement) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("statement.txt", _ZIP_MOMENT)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(entry, "w", force_zip64=True) as out:
            for one in lines:
                out.write(_national_row(one))


def _national_row(one: OutLine) -> bytes:
    line = one.line
    cells = (
        one.setl_id or line.reference or line.settlement_no,
        one.mdtrt_id,
        one.psn_no,
        yuan_of(line.total if one.total_fen is None else one.total_fen),
        yuan_of(line.amount),
        yuan_of(line.account),
        "1" if line.kind == LineKind.REFUND else "0",
        line.request_id,
    )
    return ("\t".join(cell or NOTHING for cell in cells) + "\n").encode()


def _write_json(path: Path, lines: Iterable[OutLine], empty: Statement) -> None:
    taken: list[StatementLine] = []
    for one in lines:
        taken.append(canonical(one.line))
        if len(taken) > STATEMENT_LINES_MAX:
            raise _too_many(STATEMENT_LINES_MAX)
    totals = {"count": len(taken), "total": sum(line.amount for line in taken)}
    whole = empty.model_copy(update={**totals, "lines": tuple(taken)})
    path.write_bytes(orjson.dumps(whole.model_dump(mode="json", exclude_none=True), option=orjson.OPT_INDENT_2))


def canonical(line: Line) -> StatementLine:
    """The line as a value."""
    if isinstance(line, StatementLine):
        return line
    return StatementLine.model_validate(
        {name: getattr(line, name) or None for name in COLUMNS if name not in MONEY}
        | {name: getattr(line, name) for name in MONEY}
    )


def _too_many(rows_max: int) -> InvalidMessage:
    violation = Violation("form", "statement.too_long", "ask for csv, which takes any number of lines")
    return InvalidMessage(f"this form holds {rows_max} lines", violation, code="statement.too_long")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


_WRITERS: dict[Form, Callable[[Path, Iterable[OutLine], Statement], None]] = {
    Form.CSV: _write_csv,
    Form.EXCEL: _write_excel,
    Form.NATIONAL: _write_national,
    Form.JSON: _write_json,
}
