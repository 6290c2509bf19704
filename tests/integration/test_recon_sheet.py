"""Breaks in a spreadsheet: what people decide comes back whole, or every wrong cell is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook
from sqlalchemy import Engine, text

from hub.imports.layout import InvalidFile
from hub.recon import sheet
from hub.recon.remedies_apply import Decision
from routing.days import day_of
from schemas.statement import BreakClass, Remedy
from store import breaks
from store.database import open_engine
from tests.support.builders import CRITICAL, MOMENT
from tests.support.recon_breaks import a_break, a_run, once

DECISION, NOTE, ROW = 13, 14, 15


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def written(database: Engine, tmp_path: Path) -> tuple[Path, list[int]]:
    """A workbook with three breaks of one run, and their numbers."""
    path = tmp_path / "breaks.xlsx"
    with database.begin() as connection:
        run_id = a_run(connection, CRITICAL, day_of(MOMENT))
        numbers = [
            a_break(connection, run_id, BreakClass.AMOUNT, payer=CRITICAL, hub=once(7_500), payer_side=once(7_400),
                    difference=-100, settlement_no=number, key=number)
            for number in ("S-1", '=HYPERLINK("x")', "+1")
        ]  # fmt: skip
        assert sheet.write(path, breaks.of_run(connection, run_id)) == 3
    return path, numbers


def rows_of(path: Path) -> list[list[Any]]:
    return CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()


def filled_in(path: Path, *changes: tuple[int, int, Any]) -> Path:
    """The workbook saved anew with these cells: (row as people count, column from 0, value)."""
    rows = rows_of(path)
    for row, column, value in changes:
        while len(rows) < row:
            rows.append([""] * len(rows[0]))
        rows[row - 1][column] = value
    with xlsxwriter.Workbook(str(path), {"strings_to_formulas": False}) as book:
        page = book.add_worksheet("breaks")
        for number, cells in enumerate(rows):
            page.write_row(number, 0, cells)
    return path


def read(database: Engine, path: Path) -> sheet.Decided:
    with database.connect() as connection:
        return sheet.read(connection, path)


def test_what_each_side_has_and_what_is_proposed_stands_in_a_row_and_nothing_is_a_formula(written):
    head, first, second, third = rows_of(written[0])

    assert head[:4] == ["break", "class", "meaning", "institution"]
    assert first[7:11] == [75.0, 74.0, "", -1.0]
    assert (second[4], third[4]) == ('\'=HYPERLINK("x")', "'+1")
    assert first[DECISION] == ""


def test_what_people_decided_comes_back(database, written):
    path, numbers = written
    filled_in(path, (2, DECISION, " Post_Difference "), (4, DECISION, "people"), (4, NOTE, "their letter of 4 March"))

    decided = read(database, path)

    assert decided.decisions == (
        Decision(numbers[0], Remedy.POST_DIFFERENCE),
        Decision(numbers[2], Remedy.PEOPLE, "their letter of 4 March"),
    )


def test_every_wrong_cell_is_named_and_nothing_is_taken(database, written):
    path, numbers = written
    with database.begin() as connection:
        connection.execute(text("UPDATE recon_break SET state = 'waiting' WHERE break_id = :id"), {"id": numbers[1]})
    filled_in(path, (2, DECISION, "pay"), (3, DECISION, "people"), (4, NOTE, "two\nlines"), (4, DECISION, "people"),
              (5, 0, 4_711), (5, DECISION, "people"), (6, 0, "x"), (7, 0, numbers[0]))  # fmt: skip

    with pytest.raises(InvalidFile) as refusal:
        read(database, path)

    named = [one.split(":")[0] for one in refusal.value.complaints]
    assert named == ["A6", "N2", "P3", "O4", "A5", "A7", "P7"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [((), "no row has a decision"), (((1, 3, "hospital"),), "the columns must be as they were written")],
)
def test_a_sheet_that_says_nothing_or_is_another_is_refused(database, written, changes, complaint):
    with pytest.raises(InvalidFile, match=complaint):
        read(database, filled_in(written[0], *changes))
