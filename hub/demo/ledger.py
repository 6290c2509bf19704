"""Three records of the same day: the hub's legs, the payers' own books, what the hospitals were told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import urllib3
from sqlalchemy import Engine, TextClause, text

from sandbox import parties
from sandbox.his_book import HospitalBook
from sandbox.proof import ACCOUNT, borne_as_told

PAGE = 1000
__all__ = ["Borne", "CaseTime", "borne_as_told", "borne_by_books", "borne_by_legs", "case_times", "wrong_sums"]

Borne = dict[tuple[str, str, str], int]
"""Whole fen by (payer, institution, settlement number), without zeros."""

_LEGS = text(
    "SELECT c.institution, c.settlement_no, l.payer, l.amount_fen, l.account_fen "
    "FROM settlement_leg l JOIN settlement_case c USING (case_id) "
    "WHERE c.purpose = 'settle' AND l.state IN ('approved', 'cancelling', 'cancel_held')"
)
_CALLS = text(
    "SELECT case_id, request_id, attempt, direction, at, took_us FROM exchange "
    "WHERE leg_no > 0 AND operation = 'settle'"
)
_FIRST_ANSWERS = text(
    "SELECT c.case_id, c.received_at, a.answered_at FROM settlement_case c "
    "JOIN case_answer a ON a.case_id = c.case_id AND a.revision = 1 WHERE c.purpose = 'settle'"
)


@dataclass(frozen=True, slots=True)
class CaseTime:
    """Seconds from a request's arrival to its first answer, and the part of it spent with payers."""

    case_id: str
    whole_s: float
    away_s: float
    calls: int

    @property
    def own_s(self) -> float:
        return max(0.0, self.whole_s - self.away_s)


def borne_by_legs(engine: Engine) -> Borne:
    """What the hub believes."""
    borne: Counter[tuple[str, str, str]] = Counter()
    for row in _whole_day(engine, _LEGS):
        borne[row.payer, row.institution, row.settlement_no] += row.amount_fen
        borne[ACCOUNT, row.institution, row.settlement_no] += row.account_fen
    return _without_zeros(borne)


def borne_by_books(control: Mapping[str, str], payers: Iterable[str] = parties.PARTIES) -> Borne:
    """What the payers' books say, asked of their servers; `control` has each one's address."""
    borne: Counter[tuple[str, str, str]] = Counter()
    for payer in payers:
        for entry in _entries(control[payer]):
            borne[payer, entry["institution"], entry["settlement_no"]] += entry["effect_fen"]
            borne[ACCOUNT, entry["institution"], entry["settlement_no"]] += entry["account_fen"]
    return _without_zeros(borne)


def wrong_sums(book: HospitalBook) -> list[str]:
    """Settlement numbers whose answer does not add up: total = shares + account + hospital's part + cash."""
    return [
        told.settlement_no
        for told in book.all()
        if told.total_fen
        != sum(amount for _, _, amount in told.shares) + told.account_fen + told.hospital_fen + told.cash_fen
    ]


def case_times(engine: Engine) -> list[CaseTime]:
    """How long every settlement took."""
    away_s: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    asked_at: dict[tuple[str, int], datetime] = {}
    told = sorted(_whole_day(engine, _CALLS), key=lambda row: (row.at, row.direction == "in"))
    for row in told:
        if row.direction == "out":
            asked_at.setdefault((row.request_id, row.attempt), row.at)
        elif (asked := asked_at.pop((row.request_id, row.attempt), None)) is not None:
            # A call is timed where it is made; an answer by queue was away from the claim until it was stored.
            by_call_s = row.took_us / 1_000_000
            away_s[str(row.case_id)] += by_call_s or (row.at - asked).total_seconds()
            calls[str(row.case_id)] += 1
    return [
        CaseTime(
            str(row.case_id),
            (row.answered_at - row.received_at).total_seconds(),
            away_s[str(row.case_id)],
            calls[str(row.case_id)],
        )
        for row in _whole_day(engine, _FIRST_ANSWERS)
    ]


def _whole_day(engine: Engine, statement: TextClause) -> Sequence[Any]:
    with engine.connect() as connection:
        return connection.execute(statement).all()


def _entries(address: str) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        url = f"{address}/sandbox/book?limit={PAGE}&offset={offset}"
        page = orjson.loads(urllib3.request("GET", url, timeout=30.0).data)["entries"]
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE


def _without_zeros(borne: Counter[tuple[str, str, str]]) -> Borne:
    return {key: amount for key, amount in borne.items() if amount}
