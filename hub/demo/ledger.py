"""Three records of the same day: the hub's legs, the payers' own books, what the hospitals were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import urllib3
from sqlalchemy import Engine, text

from sandbox import parties
from sandbox.his_book import HospitalBook

ACCOUNT = "personal account"
"""Stands in the place of a payer: what the basic system took from the patient's own account."""
PAGE = 1000
Borne = dict[tuple[str, str, str], int]
"""Whole fen by (payer, institution, settlement number), without zeros."""

_LEGS = text(
    "SELECT c.institution, c.settlement_no, l.payer, l.amount_fen, l.account_fen "
    "FROM settlement_leg l JOIN settlement_case c USING (case_id) "
    "WHERE c.purpose = 'settle' AND l.state IN ('approved', 'cancelling', 'cancel_held')"
)
_TIMES = text(
    """
    WITH asked AS (
        SELECT case_id, request_id, attempt, min(at) AS at FROM exchange
        WHERE leg_no > 0 AND direction = 'out' AND operation = 'settle' GROUP BY 1, 2, 3
    ), told AS (
        SELECT case_id, request_id, attempt, min(at) AS at FROM exchange
        WHERE leg_no > 0 AND direction = 'in' AND operation = 'settle' GROUP BY 1, 2, 3
    ), away AS (
        SELECT case_id, sum(extract(epoch FROM told.at - asked.at)) AS away_s, count(*) AS calls
        FROM asked JOIN told USING (case_id, request_id, attempt) GROUP BY 1
    )
    SELECT c.case_id, extract(epoch FROM a.answered_at - c.received_at) AS whole_s, coalesce(away_s, 0) AS away_s,
           coalesce(calls, 0) AS calls
    FROM settlement_case c JOIN case_answer a ON a.case_id = c.case_id AND a.revision = 1
    LEFT JOIN away ON away.case_id = c.case_id WHERE c.purpose = 'settle'
    """
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
    with engine.connect() as connection:
        for row in connection.execute(_LEGS):
            borne[row.payer, row.institution, row.settlement_no] += row.amount_fen
            borne[ACCOUNT, row.institution, row.settlement_no] += row.account_fen
    return _without_zeros(borne)


def borne_by_books(control: Mapping[str, str]) -> Borne:
    """What the payers' books say, asked of their servers; `control` has each one's address."""
    borne: Counter[tuple[str, str, str]] = Counter()
    for payer in parties.PARTIES:
        for entry in _entries(control[payer]):
            borne[payer, entry["institution"], entry["settlement_no"]] += entry["effect_fen"]
            borne[ACCOUNT, entry["institution"], entry["settlement_no"]] += entry["account_fen"]
    return _without_zeros(borne)


def borne_as_told(book: HospitalBook) -> Borne:
    """What the hospitals were told."""
    borne: Counter[tuple[str, str, str]] = Counter()
    for told in book.all():
        borne[ACCOUNT, told.institution, told.settlement_no] += told.account_fen
        for payer, _, amount_fen in told.shares:
            borne[payer, told.institution, told.settlement_no] += amount_fen
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
    with engine.connect() as connection:
        return [
            CaseTime(str(row.case_id), float(row.whole_s), float(row.away_s), int(row.calls))
            for row in connection.execute(_TIMES)
        ]


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
