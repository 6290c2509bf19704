"""The books of a day: what the party states is what it answered."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hub.certify.checks import Group, NotApplicable, both, check, must
from hub.certify.stage import Claim, Stage, cancel_of
from routing.days import day_of
from schemas.codes import Outcome
from schemas.statement import LineKind, StatementLine
from schemas.statement_pages import StatementQuestion

_COMPARES = ("该方只比对，不列出账目", "the party compares books and lists none")


@check(
    "statement.as_answered",
    Group.BOOKS,
    (
        "当日对账单与答复一致：结算一行，撤销另起一行，笔数与合计相符",
        "The statement of the day is what was answered: a line for the settlement, one for its undoing, right sums",
    ),
    ("两行，金额相反，笔数与合计相符", "two lines of opposite amounts; count and total as declared"),
    needs=("statements", "cancel"),
)
def as_answered(stage: Stage) -> None:
    if stage.can.statements_compared:
        raise NotApplicable(both(_COMPARES))
    claim = stage.settled()
    settled = [line.amount for line in _of(stage, claim)]
    must(
        settled == [claim.decision.amount_fen],
        "对账单中的结算与答复不一致",
        "the statement does not hold the settlement as it was answered",
    )
    undone = stage.ask(cancel_of(claim))
    must(undone.outcome is Outcome.CANCELLED, f"应已撤销: {undone.words}", f"should be cancelled: {undone.words}")
    refunds = [line.amount for line in _of(stage, claim) if line.kind is LineKind.REFUND]
    must(
        refunds == [-claim.decision.amount_fen],
        "对账单中没有与结算相反的退费行",
        "the statement has no line that takes the settlement back",
    )


def _of(stage: Stage, claim: Claim) -> list[StatementLine]:
    """The claim's lines, of the day on which it was decided and of today where that is another."""
    days = {day_of(claim.decision.decided_at or datetime.now(UTC)), day_of(datetime.now(UTC))}
    return [line for day in sorted(days) for line in _lines(stage, day) if _is(line, claim)]


def _is(line: StatementLine, claim: Claim) -> bool:
    reference = claim.decision.payer_reference
    return line.request_id == claim.task.request_id or (reference is not None and line.reference == reference)


def _lines(stage: Stage, day: date) -> list[StatementLine]:
    first = stage.page(StatementQuestion(stage.party.code, day))
    rest = (stage.page(StatementQuestion(stage.party.code, day, page=number)) for number in range(2, first.pages + 1))
    lines = [line for page in (first, *rest) for line in page.lines]
    must(
        (len(lines), sum(line.amount for line in lines)) == (first.count, first.total),
        "各页之和与声明的笔数、合计不符",
        "the lines of all pages do not come to the declared count and total",
    )
    return lines
