"""Statements: what a party has in its books of one day, one line per settlement and one per refund.

The same lines go both ways and in every form (JSON, CSV, Excel, the national file); what a form cannot carry is empty.
Days are days of China Standard Time.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Bilingual, Identifier, InstitutionCode, PartyCode, Value
from schemas.money import SignedMoney

STATEMENT_LINES_MAX = 5_000
"""Of one message. Larger statements come as files."""
STATEMENT_ROWS_MAX = 10_000_000
"""Of one file."""


class LineKind(StrEnum):
    """A settlement, or its refund: a row of its own with amounts of the opposite sign."""

    SETTLE = "settle"
    REFUND = "refund"


class StatementLine(Value):
    """One settlement or refund. Amounts are yuan, below zero for a refund.

    A payer knows it by `request_id` (the hub's, as it was asked), by its own `reference`, or by both; an institution by
    `settlement_no`. `amount` is what the payers bear (without the personal account), `account` the personal account.
    An institution's line with `payer` is about that payer's share, one without about the settlement as a whole; `cash`
    goes down where a payer's share comes late: such a line has a `total` of 0 and `cash` below zero.
    """

    kind: LineKind = LineKind.SETTLE
    institution: InstitutionCode
    settlement_no: Identifier | None = None
    payer: PartyCode | None = None
    request_id: Identifier | None = None
    reference: Identifier | None = None
    total: SignedMoney = 0
    amount: SignedMoney
    account: SignedMoney = 0
    cash: SignedMoney = 0
    at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if self.settlement_no is None and self.request_id is None and self.reference is None:
            raise PydanticCustomError(
                "statement.key", "settlement_no: name the settlement by this, request_id or reference"
            )
        amounts = (self.total, self.amount, self.account)
        if (min(amounts) < 0) if self.kind is LineKind.SETTLE else (max(amounts) > 0):
            raise PydanticCustomError("statement.sign", "amount: above zero for a settlement, below for a refund")
        return self


class Statement(Value):
    """A party's books of one day. `count` and `total` are declared apart from the lines: both must agree with them."""

    schema_version: Literal["1"] = "1"
    party: Identifier
    scheme: Identifier = "daily"
    day: date
    count: Annotated[int, Field(ge=0)]
    total: SignedMoney
    """The sum of `amount` over all lines."""
    lines: Annotated[tuple[StatementLine, ...], Field(max_length=STATEMENT_LINES_MAX)]


class StatementHeader(Value):
    """What goes with a statement in a file: whose books of which day, and what must be in it. `total`: as there."""

    party: Identifier
    scheme: Identifier = "daily"
    day: date
    count: Annotated[int, Field(ge=0, le=STATEMENT_ROWS_MAX)]
    total: SignedMoney
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the file, hexadecimal."""


class StatementAnswer(Value):
    """The statement is on record, whole."""

    schema_version: Literal["1"] = "1"
    party: str
    scheme: str
    day: date
    statement_id: int
    sha256: str
    rows: int
    total: SignedMoney
    replaced: int | None = None
    """The statement that it takes the place of."""
    standing: bool = True
    """False: this very content came before, and another statement has taken its place since."""
    received_at: AwareDatetime


class BreakClass(StrEnum):
    """What is wrong with one settlement. The last four explain themselves and need nobody."""

    MISSING_AT_HOSPITAL = "missing_at_hospital"
    MISSING_AT_BASIC = "missing_at_basic"
    MISSING_AT_INSURER = "missing_at_insurer"
    MISSING_AT_HUB = "missing_at_hub"
    AMOUNT = "amount"
    STATUS = "status"
    """One side has undone it and another has not (单边账)."""
    DUPLICATE = "duplicate"
    REVERSED_PAIR = "reversed_pair"
    """Settled and undone on one side, and on the other never heard of: nothing stands anywhere."""
    REFUND_AS_TWO_ROWS = "refund_as_two_rows"
    """One side keeps settlement and refund as two rows, the other as one row or none: both come to the same."""
    LATE_CUT_OFF = "late_cut_off"
    """The same settlement, on the other side of midnight."""
    NOT_YET_DUE = "not_yet_due"
    """The side's statement is not due yet, or the case is still under way."""


EXPLAINED = frozenset(
    {BreakClass.REVERSED_PAIR, BreakClass.REFUND_AS_TWO_ROWS, BreakClass.LATE_CUT_OFF, BreakClass.NOT_YET_DUE}
)


class Remedy(StrEnum):
    """What is proposed for a break."""

    NONE = "none"
    INQUIRE = "inquire"
    CONFIRM = "confirm"
    """Take the payer's book for its word: the share that is in doubt here stands as it has it."""
    REVERSE = "reverse"
    RESEND_ANSWER = "resend_answer"
    POST_DIFFERENCE = "post_difference"
    PEOPLE = "people"


CLASS_MEANINGS: dict[BreakClass, Bilingual] = {
    BreakClass.MISSING_AT_HOSPITAL: Bilingual(zh="医院缺少该结算", en="the hospital does not have it"),
    BreakClass.MISSING_AT_BASIC: Bilingual(zh="医保缺少该结算", en="the basic system does not have it"),
    BreakClass.MISSING_AT_INSURER: Bilingual(zh="保险公司缺少该结算", en="the insurer does not have it"),
    BreakClass.MISSING_AT_HUB: Bilingual(zh="平台缺少该结算", en="the hub has not booked it"),
    BreakClass.AMOUNT: Bilingual(zh="金额不一致", en="the amounts differ"),
    BreakClass.STATUS: Bilingual(zh="单边账：一方已撤销，另一方未撤销", en="undone on one side only"),
    BreakClass.DUPLICATE: Bilingual(zh="重复记账", en="booked more than once"),
    BreakClass.REVERSED_PAIR: Bilingual(zh="已冲正，双方均无余额", en="settled and undone: nothing stands"),
    BreakClass.REFUND_AS_TWO_ROWS: Bilingual(zh="退费记为正负两行", en="the refund is kept as two rows"),
    BreakClass.LATE_CUT_OFF: Bilingual(zh="跨日切", en="booked on the other side of midnight"),
    BreakClass.NOT_YET_DUE: Bilingual(zh="未到对账时间", en="not due yet"),
}
