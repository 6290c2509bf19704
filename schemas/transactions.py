"""The transactions by name: which message each carries. Every channel dispatches through this table."""

from __future__ import annotations

from enum import StrEnum

from schemas.base import Value
from schemas.payer import ClaimDecision
from schemas.settlement import CancelRequest, CaseQuery, ReverseRequest, SettleRequest, TrialRequest


class Transaction(StrEnum):
    """Canonical transaction names."""

    TRIAL = "settlement.trial"
    SETTLE = "settlement.settle"
    CANCEL = "settlement.cancel"
    REVERSE = "settlement.reverse"
    QUERY = "case.query"
    CLAIM_ANSWER = "claim.answer"


HOSPITAL_MESSAGES: dict[Transaction, type[Value]] = {
    Transaction.TRIAL: TrialRequest,
    Transaction.SETTLE: SettleRequest,
    Transaction.CANCEL: CancelRequest,
    Transaction.REVERSE: ReverseRequest,
    Transaction.QUERY: CaseQuery,
}
INSURER_MESSAGES: dict[Transaction, type[Value]] = {Transaction.CLAIM_ANSWER: ClaimDecision}
