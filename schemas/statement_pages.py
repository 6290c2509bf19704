"""A payer's books of a day as it tells them when it is asked: page by page.

Every page repeats the count and the total of the whole day: books that changed between two pages give themselves away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Value
from schemas.codes import InsuranceType, VisitKind
from schemas.money import SignedMoney
from schemas.payer import MessageNumbers
from schemas.statement import StatementLine

PAGE_LINES_MAX = 1_000
PAGES_MAX = 10_000


class StatementPage(Value):
    """One page of a day. `count` and `total` (the sum of `amount`) are declared for all pages together."""

    schema_version: Literal["1"] = "1"
    day: date
    page: Annotated[int, Field(ge=1, le=PAGES_MAX)]
    pages: Annotated[int, Field(ge=1, le=PAGES_MAX)]
    count: Annotated[int, Field(ge=0, le=PAGES_MAX * PAGE_LINES_MAX)]
    total: SignedMoney
    lines: Annotated[tuple[StatementLine, ...], Field(max_length=PAGE_LINES_MAX)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.page > self.pages:
            raise PydanticCustomError("statement.page", "page: there are fewer pages")
        if len(self.lines) > self.count:
            raise PydanticCustomError("statement.count", "count: of the lines of all pages together")
        if not self.lines and self.page < self.pages:
            raise PydanticCustomError("statement.page", "lines: only the last page may be empty")
        return self


@dataclass(frozen=True, slots=True)
class OwnLine:
    """A line of the hub's own books, with what some dialects want to know besides."""

    line: StatementLine
    person_no: str
    insurance_type: InsuranceType
    visit_kind: VisitKind
    visit_reference: str = ""
    """The payer's own number of the visit."""


@dataclass(frozen=True, slots=True)
class StatementQuestion:
    """Asks a payer for one page of its books of a day (China Standard Time); has no effect.

    `institution`, `own` and `numbers` are for dialects that are told the hub's books, one institution at a time, and
    answer with what differs (`Capabilities.statements_compared`).
    """

    payer: str
    day: date
    page: int = 1
    region: str = ""
    institution: str = ""
    own: tuple[OwnLine, ...] = ()
    numbers: MessageNumbers | None = None

    @property
    def request_id(self) -> str:
        """The same whenever the same page is asked for: it changes nothing, so a repeat is no other question."""
        return f"statement-{self.day.isoformat()}-{self.page}"
