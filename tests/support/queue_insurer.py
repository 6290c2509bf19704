"""The insurer that consumes its own queue, played by the test: it reads its tasks and answers them."""

from __future__ import annotations

from typing import Any

from schemas.transactions import Transaction
from tests.support.builders import QUEUE_INSURER
from tests.support.hub_in_process import TestHub


def an_answer(task: dict[str, Any], outcome: str = "approved", amount: str = "50.00", **changes: Any) -> dict[str, Any]:
    return {
        "request_id": task["request_id"],
        "outcome": outcome,
        "amount": amount,
        "payer_reference": "Q-1",
        "decided_at": "2026-03-02T09:16:00+08:00",
    } | changes


def tasks(hub: TestHub) -> list[dict[str, Any]]:
    return hub.outbox(f"out.{QUEUE_INSURER}")


def answer(hub: TestHub, message: Any, party: str = QUEUE_INSURER) -> Any:
    return hub.send(Transaction.CLAIM_ANSWER, message, party=party)
