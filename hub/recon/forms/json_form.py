"""The message of `statement.upload` as a file, as `hub recon export --form json` writes it: it says whose it is."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from hub.imports.layout import InvalidFile
from hub.imports.source import sha256_of
from hub.recon.forms import Chunks
from hub.recon.writers import csv_row
from schemas.base import violations_of
from schemas.errors import Malformed, Violation
from schemas.statement import STATEMENT_LINES_MAX, Statement, StatementHeader
from schemas.strict_json import check_text
from store.statements import COLUMNS

BYTES_MAX = 8 * 1024**2
SHOWN_MAX = 20
AS_A_FILE = f"a message holds {STATEMENT_LINES_MAX:,} lines at most: send the statement as a CSV file"
_LINE = re.compile(r"lines\[(\d+)\]\.?")


class JsonForm:
    """Held whole in memory. Line 1 is the first of `lines`."""

    name = "json"
    separator = ","
    columns: tuple[str, ...] = COLUMNS
    first_row = 1

    def __init__(self, path: Path, header: StatementHeader | None) -> None:
        self._path = path
        self._statement = read_statement(path)
        if header is not None:
            _check_same(self._statement, header)

    @contextmanager
    def opened(self) -> Iterator[Chunks]:
        """The lines as CSV."""
        yield Chunks(iter([self._lines()]))

    def sha256(self) -> str:
        """Of the file."""
        return sha256_of(self._path)

    def _lines(self) -> bytes:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(csv_row(line) for line in self._statement.lines)
        return out.getvalue().encode()


def read_statement(path: Path) -> Statement:
    """The message in a file; InvalidFile says what is wrong in which line of it."""
    with path.open("rb") as content:
        raw = content.read(BYTES_MAX + 1)
    if len(raw) > BYTES_MAX:
        raise InvalidFile(f"the file is larger than {BYTES_MAX // 1024**2} MiB: send the statement as CSV")
    try:
        check_text(raw, BYTES_MAX)
        return Statement.model_validate_json(raw)
    except Malformed as error:
        raise InvalidFile(error.message) from None
    except ValidationError as error:
        found = as_a_file(violations_of(error))
    raise InvalidFile(*(f"{_where(one.field)}: {one.remedy}" for one in found[:SHOWN_MAX]))


def as_a_file(found: Sequence[Violation]) -> list[Violation]:
    """The same; where there are too many lines for a message it says what to do instead."""
    return [Violation(one.field, one.code, AS_A_FILE) if _too_many(one) else one for one in found]


def _too_many(one: Violation) -> bool:
    return (one.field, one.code) == ("lines", "too_long")


def _where(field: str) -> str:
    found = _LINE.match(field)
    return f"row {int(found[1]) + 1}, {field[found.end() :]}".rstrip(", ") if found else field


def _check_same(statement: Statement, header: StatementHeader) -> None:
    names = ("party", "scheme", "day", "count", "total")
    wrong = [name for name in names if getattr(statement, name) != getattr(header, name)]
    if wrong:
        raise InvalidFile(*(f"{name}: the file itself says something else than was declared" for name in wrong))
