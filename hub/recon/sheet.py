"""Breaks as a spreadsheet: out with what is proposed, and back in with what people decided, whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import Connection

from hub.imports.excel import ExcelFile
from hub.imports.layout import Cell, InvalidFile
from hub.imports.report import harmless
from hub.recon.remedies import side
from hub.recon.remedies_apply import NOTE_MAX, Decision
from schemas.money import yuan_of
from schemas.statement import CLASS_MEANINGS, Remedy
from store import breaks
from store.breaks import Break

ROWS_MAX = 100_000
DECISIONS = tuple(one.value for one in Remedy if one is not Remedy.NONE)
COMPLAINTS_MAX = 50
_SHEET = "breaks"
_HEAD = (
    "break", "class", "meaning", "institution", "settlement_no", "payer", "reference", "ours", "payer's", "hospital's",
    "difference", "proposal", "reason", "decision", "note", "row",
)  # fmt: skip
_WIDTHS = (8, 20, 26, 16, 20, 14, 20, 12, 12, 12, 12, 16, 60, 16, 40, 18)
_BREAK, _DECISION, _NOTE, _ROW = (_HEAD.index(name) for name in ("break", "decision", "note", "row"))
_MONEY = range(_HEAD.index("ours"), _HEAD.index("difference") + 1)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a sheet says: the run that it is about, and a decision for each row that has one."""

    run_id: int
    decisions: tuple[Decision, ...]


def digest_of(one: Break) -> str:
    """Short for what people saw when they decided: another break, another state or other amounts have another one."""
    seen = (one.run_id, one.break_id, one.break_class, one.state, one.remedy, one.hub, one.payer_side, one.hospital)
    return hashlib.sha256(orjson.dumps(seen)).hexdigest()[:16]


def write(path: Path, found: Iterable[Break]) -> int:
    """A workbook with one row per break; how many. No cell is a formula, whatever anybody's numbers look like."""
    import xlsxwriter

    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
               "strings_to_numbers": False}  # fmt: skip
    count = 0
    with xlsxwriter.Workbook(str(path), options) as workbook:
        sheet = workbook.add_worksheet(_SHEET)
        bold, money = workbook.add_format({"bold": True}), workbook.add_format({"num_format": "#,##0.00"})
        for column, width in enumerate(_WIDTHS):
            sheet.set_column(column, column, width)
        sheet.freeze_panes(1, 1)
        sheet.data_validation(1, _DECISION, ROWS_MAX, _DECISION, {"validate": "list", "source": list(DECISIONS)})
        sheet.write_row(0, 0, _HEAD, bold)
        for count, one in enumerate(found, 1):  # the number of the last row is how many there are
            if count > ROWS_MAX:
                raise InvalidFile(f"more than {ROWS_MAX} breaks: choose with --class")
            for column, value in enumerate(_cells(one)):
                if column in _MONEY and value is not None:
                    sheet.write_number(count, column, float(value), money)
                elif value is not None:
                    sheet.write(count, column, value)
    return count


def _cells(one: Break) -> Sequence[str | int | None]:
    texts = (one.institution, one.settlement_no, one.payer, one.reference)
    return (
        one.break_id,
        one.break_class.value,
        CLASS_MEANINGS[one.break_class].zh,
        *map(harmless, texts),
        *(_net(figures) for figures in (one.hub, one.payer_side, one.hospital)),
        yuan_of(one.difference_fen),
        one.proposal,
        harmless(one.reason),
        "",
        "",
        digest_of(one),
    )


def _net(figures: list[int] | None) -> str | None:
    known = side(figures)
    if known is None:
        return None
    return yuan_of(known.net_fen)


def read(connection: Connection, path: Path) -> Decided:
    """What people decided in a sheet. InvalidFile names every cell that cannot be taken; then nothing is."""
    rows = _rows(path)
    complaints: list[str] = []
    numbers = {row: _number(cells[_BREAK], row, complaints) for row, cells in rows}
    known = breaks.by_id(connection, [one for one in numbers.values() if one])
    decided = []
    seen: set[int] = set()
    for row, cells in rows:
        number = numbers[row]
        if number is None:
            continue
        complaints += _complaints(row, cells, known.get(number), number in seen)
        seen.add(number)
        word, note = _word(cells[_DECISION]), str(cells[_NOTE]).strip()
        if word in DECISIONS:
            decided.append(Decision(number, Remedy(word), note))
    runs = {one.run_id for one in known.values()}
    if len(runs) > 1:
        complaints.append(f"breaks of {len(runs)} runs: bring one run at a time")
    if not complaints and not decided:
        complaints.append(f"no row has a decision in column {_letters(_DECISION)}")
    if complaints:
        more = len(complaints) - COMPLAINTS_MAX
        raise InvalidFile(*complaints[:COMPLAINTS_MAX], *([f"and {more} more"] if more > 0 else []))
    return Decided(runs.pop(), tuple(decided))


def _rows(path: Path) -> list[tuple[int, Sequence[Cell]]]:
    with ExcelFile(path).opened() as (headings, rows):
        if tuple(headings) != _HEAD:
            raise InvalidFile(f"the columns must be as they were written: {', '.join(_HEAD)}")
        return [(row, cells) for row, cells in rows if any(cell != "" for cell in cells)]


def _number(cell: Cell, row: int, complaints: list[str]) -> int | None:
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        complaints.append(f"{_letters(_BREAK)}{row}: no break's number")
        return None
    return int(text)


def _complaints(row: int, cells: Sequence[Cell], known: Break | None, twice: bool) -> list[str]:
    if known is None:
        return [f"{_letters(_BREAK)}{row}: there is no such break"]
    found = []
    if twice:
        found.append(f"{_letters(_BREAK)}{row}: the break stands in two rows")
    if str(cells[_ROW]) != digest_of(known):
        found.append(f"{_letters(_ROW)}{row}: the break has changed since it was written: export it anew")
    word = _word(cells[_DECISION])
    if word and word not in DECISIONS:
        found.append(f"{_letters(_DECISION)}{row}: no such decision; one of {', '.join(DECISIONS)}, or nothing")
    note = str(cells[_NOTE]).strip()
    if len(note) > NOTE_MAX or not note.isprintable():
        found.append(f"{_letters(_NOTE)}{row}: one line of at most {NOTE_MAX} characters")
    return found


def _word(cell: Cell) -> str:
    return str(cell).strip().lower()


def _letters(column: int) -> str:
    return chr(ord("A") + column)
