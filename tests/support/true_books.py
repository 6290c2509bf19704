"""Books that nobody disputes: payers that date what they do, a hospital that writes down what it is told, and both as
statements of a day."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from routing.days import day_of
from schemas.codes import Outcome
from schemas.money import fen_of
from schemas.payer import Decision, Operation, PayerTask, RawAnswer
from schemas.statement import LineKind, Statement, StatementLine
from tests.support.builders import HOSPITAL, StubPayer

UNDOING = (Operation.CANCEL, Operation.REVERSE)


@dataclass
class DatedPayer(StubPayer):
    """A stub payer whose answers say when it decided, and whose book has the same moments."""

    now: Callable[[], datetime] = field(default=lambda: datetime.now().astimezone())
    dates: dict[str, datetime] = field(default_factory=dict)

    def enter(self, task: Mapping[str, Any], outcome: Outcome, amount_fen: int) -> bytes:
        known = set(self.book)
        answer = json.loads(super().enter(task, outcome, amount_fen))
        for name in set(self.book) - known:
            self.dates[name] = self.now()
        return json.dumps(answer | {"at": self.dates[task["request_id"]].isoformat()}).encode()

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        said = json.loads(answer.body)
        at = datetime.fromisoformat(said["at"]) if "at" in said else None
        return replace(super().decode(task, answer), decided_at=at)

    def lines(self, *, basic: bool) -> list[tuple[date, StatementLine]]:
        """Everything in its book, with the day of each line."""
        return [
            (day_of(self.dates[name]), line)
            for name, entry in self.book.items()
            if (line := self._line(name, entry.operation, basic)) is not None
        ]

    def _line(self, name: str, operation: Operation, basic: bool) -> StatementLine | None:
        said = json.loads(self.book[name].answer)
        undoes = operation in UNDOING
        original = name.removesuffix("-c") if undoes else name
        settled = self.book.get(original)
        wanted = Outcome.CANCELLED if undoes else Outcome.APPROVED
        if operation is Operation.TRIAL or said["outcome"] != wanted or settled is None:
            return None
        if json.loads(settled.answer)["outcome"] != Outcome.APPROVED:
            return None  # there was nothing to undo
        sign = -1 if undoes else 1
        return StatementLine(
            kind=LineKind.REFUND if undoes else LineKind.SETTLE,
            institution=HOSPITAL,
            request_id=original,
            reference=json.loads(settled.answer)["reference"],
            amount=sign * settled.amount_fen,
            account=sign * (self.account_fen if basic else 0),
            at=self.dates[name],
        )


@dataclass
class Told:
    """What the hospital has in its books of one settlement."""

    total: int = 0
    amount: int = 0
    account: int = 0
    cash: int = 0


def hospital_lines(answers: Iterable[Mapping[str, Any]]) -> list[tuple[date, StatementLine]]:
    """What a hospital books as it is told: `answers` are all revisions of all cases, each case's in their order."""
    books: dict[str, Told] = {}
    found: list[tuple[date, StatementLine]] = []
    for answer in answers:
        if answer["status"] not in ("settled", "partly_settled", "cancelled", "declined"):
            continue
        had = books.get(answer["settlement_no"], Told())
        has = _told(answer)
        moved = (has.total - had.total, has.amount - had.amount, has.account - had.account, has.cash - had.cash)
        books[answer["settlement_no"]] = has
        if any(moved):
            refund = min(moved[:3]) < 0
            at = datetime.fromisoformat(answer["answered_at"])
            day = date.fromisoformat(answer["business_day"]) if not refund and had.total == 0 else day_of(at)
            line = StatementLine(
                kind=LineKind.REFUND if refund else LineKind.SETTLE,
                institution=HOSPITAL,
                settlement_no=answer["settlement_no"],
                total=moved[0],
                amount=moved[1],
                account=moved[2],
                cash=moved[3],
                at=at,
            )
            found.append((day, line))
    return found


def _told(answer: Mapping[str, Any]) -> Told:
    if answer["status"] in ("cancelled", "declined"):
        return Told()
    return Told(
        total=fen_of(answer["total"]),
        amount=sum(fen_of(share["amount"]) for share in answer["shares"] if share["state"] == "approved"),
        account=fen_of(answer["account"]),
        cash=fen_of(answer["cash"]),
    )


def a_statement(party: str, day: date, lines: Iterable[StatementLine]) -> Statement:
    """With the count and total that are true."""
    listed = tuple(lines)
    return Statement(party=party, day=day, count=len(listed), total=sum(line.amount for line in listed), lines=listed)
