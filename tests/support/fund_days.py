"""Sealed days and institutions that ask for what they advanced."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
from sqlalchemy import text

from routing.days import day_of
from schemas.transactions import Transaction
from store.actions import Action
from tests.support.builders import HOSPITAL, REGION
from tests.support.dead_letters import an_office
from tests.support.hub_in_process import TestHub

_SEAL = text(
    "INSERT INTO day_seal (business_day, entries, amount_fen, last_entry_id, digest, previous, chain, sealed_by, "
    "approved_by, sealed_at) VALUES (:day, 0, 0, 0, '', '', '', 'li', 'wang', now()) ON CONFLICT DO NOTHING"
)


def seal(hub: TestHub, day: date | None = None) -> date:
    """Seal a day, today when none is named: whatever is booked from now on counts later."""
    day = day or day_of(hub.clock.now())
    with hub.database.begin() as connection:
        connection.execute(_SEAL, {"day": day})
    return day


def totals(day: date, request_no: str, **changes: Any) -> dict[str, Any]:
    """An institution's totals of one day."""
    sums: dict[str, Any] = dict.fromkeys(("total", "payers_paid", "account", "cash"), "0.00")
    period = {"first": str(day), "last": str(day)}
    message = {"institution": HOSPITAL, "request_no": request_no, "period": period, "region": REGION, "count": 0}
    return message | sums | changes


def claims_of(hub: TestHub, message: dict[str, Any], party: str = HOSPITAL) -> dict[str, int]:
    """Send totals with a claim; the claims by payer."""
    taken = hub.send(Transaction.FEES_SETTLE, message | {"claim": message.get("claim", {})}, party=party)
    assert taken.error is None, taken.error
    answer = orjson.loads(taken.answer or b"")
    assert answer["balanced"], answer
    return {one["payer"]: one["claim_no"] for one in answer["claims"]}


class Desk:
    """Two operators who do what is to be done about claims."""

    def __init__(self, hub: TestHub) -> None:
        self._actions = an_office(hub).actions

    def ask(self, kind: str, subject: str, reason: str = "as agreed", **detail: Any) -> Action:
        """One person asks; what moves no money is done at once."""
        return self._actions.request(f"fund.{kind}", subject, detail, reason, "li")

    def do(self, kind: str, subject: str, **detail: Any) -> Action:
        """Both agree."""
        asked = self.ask(kind, subject, **detail)
        done = self.approve(asked.id) if asked.state == "requested" else asked
        assert done.state == "executed", done.outcome
        return done

    def approve(self, action_id: int, by: str = "wang") -> Action:
        """The second person says yes, whatever comes of it."""
        return self._actions.approve(action_id, by)
