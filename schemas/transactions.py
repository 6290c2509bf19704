"""The transactions by name: which message each carries. Every channel dispatches through this table."""

from __future__ import annotations

from enum import StrEnum

from schemas.base import Value
from schemas.payer import ClaimDecision
from schemas.settlement import CancelRequest, CaseQuery, SettleRequest, TrialRequest


class Transaction(StrEnum):
    """Canonical transaction names."""

    TRIAL = "settlement.trial"
    SETTLE = "settlement.settle"
    CANCEL = "settlement.cancel"
    QUERY = "case.query"
    CLAIM_ANSWER = "claim.answer"


HOSPITAL_MESSAGES: dict[Transaction, type[Value]] = {
    Transaction.TRIAL: TrialRequest,
    Transaction.SETTLE: SettleRequest,
    Transaction.CANCEL: CancelRequest,
    Transaction.QUERY: CaseQuery,
}
INSURER_MESSAGES: dict[Transaction, type[Value]] = {Transaction.CLAIM_ANSWER: ClaimDecision}
