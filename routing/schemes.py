"""How the books are compared with each party: schemes of reconciliation as data. Every switch is named on the report.

Two sound books differ when they mean different things by the same words: whether refunds count, whether the personal
account is part of the fund, whose region a settlement belongs to, which of two moments makes its day. A scheme says it.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from routing.days import CHINA_STANDARD_TIME
from schemas.base import Identifier, RegionCode, Value
from schemas.codes import InsuranceType

DEFAULT_SCHEME = "daily"


class Scheme(Value):
    """One way of comparing a party's books with the hub's, day by day. `party`: a payer's or an institution's code."""

    party: Identifier
    code: Identifier = DEFAULT_SCHEME
    refunds: Literal["counted", "left_out"] = "counted"
    """`left_out`: the party's books leave out what was settled and undone on the same day, both rows."""
    account: Literal["apart", "in_fund"] = "apart"
    """`in_fund`: the party's amounts hold the personal account too (A5)."""
    day: Literal["settlement", "business"] = "settlement"
    """What makes the day: the party's own moment of the effect, or the day that the entry counts in here. To an
    institution a settlement is one: by `settlement` it lies on the day of the case, however long its payers took."""
    body: Literal["insured", "institution"] = "insured"
    """Whose region a settlement is cleared in, where `regions` are named: the person's or the institution's."""
    regions: frozenset[RegionCode] | None = None
    insurance_types: frozenset[InsuranceType] | None = None
    hospital: Literal["compared", "left_out"] = "compared"
    """A payer's scheme: whether the institutions' statements are held against both books, where they have come."""
    cash: Literal["compared", "left_out"] = "compared"
    """An institution's books of settlements as wholes: whether what patients paid is compared, where they tell it."""
    statement: Literal["sent", "pulled"] = "sent"
    """Whether the party sends its statement or the hub fetches it."""
    due_days: Annotated[int, Field(ge=0, le=62)] = 1
    due_at: time = time(9, 0)
    """When a day's statement is due: so many days later at this time, China Standard Time."""
    cut_off_days: Annotated[int, Field(ge=0, le=31)] = 1
    """How far a row may lie on another day's side of midnight and still be the same settlement."""
    tolerance_fen: Annotated[int, Field(ge=0, le=100)] = 0
    """Differences of one settlement up to this are named, and need nobody."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.regions is not None and not self.regions:
            raise PydanticCustomError("scheme.regions", "regions: an empty list matches nothing")
        return self

    def due(self, day: date) -> datetime:
        """When the statement of `day` is due."""
        return datetime.combine(day + timedelta(days=self.due_days), self.due_at, CHINA_STANDARD_TIME)

    def shares_books_with(self, other: Scheme) -> bool:
        """Whether one share may belong to the books of both: its difference would be found, and posted, twice.

        A person's region and an institution's say nothing about each other: by different `body` regions keep nothing
        apart.
        """
        ours, theirs = self.insurance_types, other.insurance_types
        if ours is not None and theirs is not None and not ours & theirs:
            return False
        if self.regions is None or other.regions is None or self.body != other.body:
            return True
        return bool(self.regions & other.regions)

    @property
    def name(self) -> str:
        """Party and code, as commands name it."""
        return f"{self.party}/{self.code}"
