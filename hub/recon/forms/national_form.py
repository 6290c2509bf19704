"""The file of 3202: a text of eight columns in a zip, TAB between, `null` for nothing, a refund as a row below zero.

Its lines are settlements as wholes. An institution's name them by the hub's numbers; a basic system's by its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hub.gateway.national.numbers import uuid_of
from hub.imports.layout import Cell, InvalidFile
from hub.imports.source import Source, sha256_of
from hub.recon.forms import Chunks

COLUMNS = (
    "setl_id",
    "mdtrt_id",
    "psn_no",
    "medfee_sumamt",
    "fund_pay_sumamt",
    "acct_pay",
    "refd_setl_flag",
    "exp_content",
)
REFUND = "1"
_STAGED: tuple[str, ...] = ("kind", "reference", "case_id", "total", "amount", "account")
_ROWS = 2000


class NationalForm:
    """Rows become lines; persons and visits stay outside."""

    name = "national"
    separator = ","
    columns = _STAGED

    def __init__(self, path: Path, source: Source, *, institutions: bool) -> None:
        self._path = path
        self._source = source
        self._ours = institutions
        self.first_row = 1

    @contextmanager
    def opened(self) -> Iterator[Chunks]:
        """The lines as CSV."""
        with self._source.opened() as (_, records):
            yield Chunks(self._lines(records))

    def sha256(self) -> str:
        """Of the file as it came."""
        return sha256_of(self._path)

    def _lines(self, records: Iterator[tuple[int, Sequence[Cell]]]) -> Iterator[bytes]:
        batch: list[str] = []
        for number, cells in records:
            if number == 1 and cells and str(cells[0]).lower() == COLUMNS[0]:
                self.first_row = 2
                continue
            if len(cells) < len(COLUMNS) - 1 or len(cells) > len(COLUMNS):
                raise InvalidFile(f"row {number} has {len(cells)} columns; {len(COLUMNS)} are expected, TAB between")
            batch.append(self._line([str(cell) for cell in cells]))
            if len(batch) >= _ROWS:
                yield "".join(batch).encode()
                batch.clear()
        yield "".join(batch).encode()

    def _line(self, cells: list[str]) -> str:
        number, _, _, total, fund, account, flag = cells[:7]
        amounts = [text or "0" for text in (total, fund, account)]
        below = any(text.startswith("-") for text in amounts)
        nothing = all(text.strip("0.") == "" for text in amounts)
        kind = "refund" if below or (nothing and flag == REFUND) else "settle"
        case_id = (uuid_of(number) or "") if self._ours else ""
        return ",".join((kind, _quoted(number), case_id, *map(_quoted, amounts))) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
