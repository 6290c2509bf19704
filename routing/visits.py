"""What may be said about a visit, and when: the preconditions as one table, and the arithmetic of its fee lines.

Pure: the taker reads how the visit stands, asks here, and writes what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from schemas.codes import VisitKind
from schemas.errors import Conflict
from schemas.money import rounded_fen
from schemas.settlement import FeeLine, SettlementRequest
from schemas.transactions import Transaction
from schemas.visit import StandingLine, UploadedLine, VisitState


@dataclass(frozen=True, slots=True)
class VisitFacts:
    """How a visit stands. `settled`: a settlement of it stands or is under way. A stay is settled as a whole, once; an
    outpatient visit as often as it has lines that no settlement holds."""

    state: VisitState
    kind: VisitKind
    lines: int
    total_fen: int
    settled: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """What a transaction asks of its visit, and where it leads. `then` is None where the state stays."""

    states: frozenset[VisitState]
    then: VisitState | None = None
    no_lines: bool = False
    unsettled: bool = True


_ADMITTED = frozenset({VisitState.ADMITTED})
_LIVE = frozenset({VisitState.ADMITTED, VisitState.DISCHARGED})
RULES: dict[Transaction, Rule] = {
    Transaction.ADMISSION_CHANGE: Rule(_ADMITTED),
    Transaction.ADMISSION_CANCEL: Rule(_ADMITTED, VisitState.CANCELLED, no_lines=True),
    Transaction.FEES_UPLOAD: Rule(_ADMITTED),
    Transaction.FEES_CANCEL: Rule(_ADMITTED),
    Transaction.FEES_QUERY: Rule(_LIVE, unsettled=False),
    Transaction.DISCHARGE_REGISTER: Rule(_ADMITTED, VisitState.DISCHARGED),
    Transaction.DISCHARGE_CANCEL: Rule(frozenset({VisitState.DISCHARGED}), VisitState.ADMITTED),
}
"""`admission.register` needs no visit and makes one."""


def check(transaction: Transaction, visit: VisitFacts) -> VisitState:
    """The state that the visit goes to; Conflict, with what is to be done first, when it is not the turn of this."""
    rule = RULES[transaction]
    if visit.state not in rule.states:
        raise Conflict(_WRONG_STATE[visit.state], code=f"visit.{visit.state}", transaction=transaction.value)
    by_lines = transaction in _BY_LINES and visit.kind is not VisitKind.INPATIENT
    if rule.unsettled and visit.settled and not by_lines:
        raise Conflict("the visit is settled: cancel its settlement first", code="visit.settled")
    if rule.no_lines and visit.lines:
        raise Conflict("fee lines stand: cancel them first", code="visit.has_fees", lines=visit.lines)
    return rule.then or visit.state


_BY_LINES = frozenset({Transaction.FEES_UPLOAD, Transaction.FEES_CANCEL})
_WRONG_STATE = {
    VisitState.ADMITTED: "the patient is not discharged: register the discharge first",
    VisitState.DISCHARGED: "the patient is discharged: cancel the discharge first",
    VisitState.CANCELLED: "the registration was cancelled: register the visit again",
}


def check_settlement(
    visit: VisitFacts, request: SettlementRequest, standing: Sequence[StandingLine]
) -> tuple[StandingLine, ...]:
    """The lines that a settlement holds; Conflict with the remedy when it does not agree with its visit. A trial may
    come before the discharge."""
    if visit.settled and visit.kind is VisitKind.INPATIENT:
        raise _settled()
    if visit.kind is not request.visit.kind:
        raise Conflict("the visit was registered as another kind", code="visit.kind")
    free = [line for line in standing if line.settled_by is None]
    if not free:
        raise _settled() if standing else Conflict("no fee line stands: upload the fees first", code="visit.no_fees")
    held = _held_by(request, free) if visit.kind is not VisitKind.INPATIENT else tuple(free)
    if sum(line.amount for line in held) != request.total:
        raise Conflict(
            "the bill differs from the sum of the uploaded lines: upload what is missing, or correct the bill",
            code="visit.total_differs",
        )
    return held


def _held_by(request: SettlementRequest, free: Sequence[StandingLine]) -> tuple[StandingLine, ...]:
    """The free lines that the bill names, with their refunds; all of them where it numbers its lines in its own way."""
    named = {line.line_no for line in request.fees}
    if not named <= {line.line_no for line in free}:
        return tuple(free)
    return tuple(line for line in free if (line.refunds or line.line_no) in named)


def _settled() -> Conflict:
    return Conflict("the visit is settled already: cancel that settlement first", code="visit.settled")


def check_discharged(visit: VisitFacts) -> None:
    """An inpatient is settled after the discharge."""
    if visit.kind is VisitKind.INPATIENT and visit.state is not VisitState.DISCHARGED:
        raise Conflict(_WRONG_STATE[VisitState.ADMITTED], code="visit.admitted")


@dataclass(slots=True)
class _Left:
    """What is left of one line after its refunds."""

    price: Decimal
    quantity: Decimal
    amount: int


def refund_problem(lines: Sequence[UploadedLine], standing: Iterable[UploadedLine]) -> str:
    """The number of the first refund in `lines` that names no line, has another price, or takes back more than is left
    of its line; empty when there is none. A line and its refund may come in one upload."""
    every = [*standing, *lines]
    left = {line.line_no: _Left(line.price, line.quantity, line.amount) for line in every if line.refunds is None}
    for line in every:
        if line.refunds is None:
            continue
        refunded = left.get(line.refunds)
        if refunded is None or refunded.price != line.price:
            return line.line_no
        refunded.quantity += line.quantity
        refunded.amount += line.amount
        if refunded.quantity < 0 or refunded.amount < 0:
            return line.line_no
    return ""


def bill_lines(standing: Sequence[UploadedLine]) -> tuple[FeeLine, ...]:
    """The lines of a bill: refunds taken off the lines that they refund; what is refunded wholly is left out.

    The sum of the result is the sum of the standing lines, to the fen.
    """
    net = {line.line_no: line for line in standing if line.refunds is None}
    for line in standing:
        if line.refunds is not None:
            before = net[line.refunds]
            net[line.refunds] = before.model_copy(
                update={"quantity": before.quantity + line.quantity, "amount": before.amount + line.amount}
            )
    return tuple(_fee_line(line) for line in net.values() if line.amount or line.quantity)


def _fee_line(line: UploadedLine) -> FeeLine:
    """Rounding can part a line from its refunds by a fen: one piece at that amount then stands for what is left."""
    content = line.model_dump(include=set(FeeLine.model_fields))
    if rounded_fen(line.price * line.quantity) != line.amount:
        content |= {"price": Decimal(line.amount) / 100, "quantity": Decimal(1)}
    return FeeLine.model_validate(content)
