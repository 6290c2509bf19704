"""The file of deductions of `hub fund deduct --file`."""

from __future__ import annotations

import csv
from pathlib import Path

NEEDED = ("settlement_no", "amount", "code")
COLUMNS = (*NEEDED, "reason")


class WrongRows(Exception):
    """What is wrong with the file, row by row as a spreadsheet counts them."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n  ".join(["the file is not taken:", *problems]))


def read_cuts(path: Path) -> list[dict[str, str]]:
    """Every row by column name, without empty cells. WrongRows names each column and row that is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as content:
            reader = csv.DictReader(content)
            _check_heading(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError:
        raise WrongRows("it is no text in UTF-8; save it as CSV UTF-8") from None
    problems = [f"row {number}: {told}" for number, row in rows if (told := _problem(row))]
    if problems or not rows:
        raise WrongRows(*(problems or ["it has no rows"]))
    return [{name: cell for name, cell in row.items() if cell} for _, row in rows]


def _check_heading(named: object) -> None:
    found = [str(name) for name in named] if isinstance(named, list | tuple) else []
    missing = [name for name in NEEDED if name not in found]
    unknown = [name for name in found if name not in COLUMNS]
    problems = [f"the heading must name {', '.join(missing)}"] if missing else []
    problems += [f"no column is called {', '.join(map(repr, unknown))}"] if unknown else []
    if problems:
        raise WrongRows(*problems, f"columns: {', '.join(COLUMNS)}, comma between")


def _problem(row: dict[str | None, object]) -> str:
    if None in row:
        return "more values than columns: is a comma inside a value?"
    empty = [name for name in NEEDED if not row.get(name)]
    return f"fill in {', '.join(empty)}" if empty else ""
