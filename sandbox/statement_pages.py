"""What a party tells of its books of a day, page by page: out of its true books, as they stand now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import orjson

from sandbox.statements import line_json
from schemas.money import yuan_of
from schemas.statement import StatementLine


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a day, with what is declared for all of them; `total_fen` is the sum of their amounts."""

    day: date
    number: int
    pages: int
    count: int
    total_fen: int
    lines: list[StatementLine]

    def as_json(self, off_by_fen: int = 0) -> bytes:
        """The canonical form."""
        return orjson.dumps(
            {
                "schema_version": "1",
                "day": self.day.isoformat(),
                "page": self.number,
                "pages": self.pages,
                "count": self.count,
                "total": yuan_of(self.total_fen + off_by_fen),
                "lines": [line_json(line) for line in self.lines],
            }
        )


async def page_of(
    statement: Callable[[date], list[StatementLine]], day: date, number: int, rows_max: int
) -> Page | None:
    """A page, counted from 1; None when there are fewer. A day without rows is one empty page."""
    lines = await asyncio.to_thread(statement, day)
    pages = max(1, -(-len(lines) // rows_max))
    if not 1 <= number <= pages:
        return None
    rows = lines[(number - 1) * rows_max : number * rows_max]
    return Page(day, number, pages, len(lines), sum(line.amount for line in lines), rows)
