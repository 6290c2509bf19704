"""What a statement's lines cannot say by themselves: whose visit it was, and what the hub knows of a payer's day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from store.driver import Prepared
from store.rows import as_json


@dataclass(frozen=True, slots=True)
class SettledFacts:
    """Of one settlement, from the hospital's own message; `insurance_type` and `visit_kind` are codes."""

    case_id: str
    total_fen: int
    person_no: str
    insurance_type: str
    visit_kind: str


@dataclass(frozen=True, slots=True)
class SharesOfDay:
    """One part of a case as the ledger has it: when it was settled and undone (None: it was not), whole fen."""

    case_id: str
    leg_no: int
    settled_on: date | None
    undone_on: date | None
    amount_fen: int
    account_fen: int


_FACTS = Prepared(
    "SELECT k.institution, k.settlement_no, CAST(c.case_id AS text), c.total_fen, "
    "coalesce(x.said ->> 'person_no', ''), coalesce(x.said ->> 'type', ''), coalesce(x.kind, '') "
    "FROM json_to_recordset($1) AS k(institution text, settlement_no text) "
    "JOIN settlement_case c ON c.institution = k.institution AND c.case_key = k.settlement_no "
    "LEFT JOIN LATERAL (SELECT convert_from(body, 'UTF8')::jsonb -> 'insurance' AS said, "
    "convert_from(body, 'UTF8')::jsonb #>> '{visit,kind}' AS kind FROM exchange e WHERE e.case_id = c.case_id "
    "AND e.leg_no = 0 AND e.direction = 'in' AND e.operation = 'settle' ORDER BY e.exchange_id LIMIT 1) x ON true",
    "json",
)
_SHARES = Prepared(
    "SELECT CAST(e.case_id AS text), e.leg_no, min(e.effective_day) FILTER (WHERE e.credit = 'patient'), "
    "max(e.effective_day) FILTER (WHERE e.debit = 'patient'), "
    "coalesce(sum(e.amount_fen) FILTER (WHERE e.debit = 'receivable'), 0)::bigint, "
    "coalesce(sum(e.amount_fen) FILTER (WHERE e.debit = 'personal'), 0)::bigint "
    "FROM ledger_entry e JOIN (SELECT DISTINCT case_id, leg_no FROM ledger_entry "
    "WHERE effective_day = $1 AND payer = $2 AND case_id IS NOT NULL AND leg_no > 0) d USING (case_id, leg_no) "
    "WHERE 'patient' IN (e.debit, e.credit) GROUP BY e.case_id, e.leg_no ORDER BY e.case_id, e.leg_no",
    "date",
    "text",
)


def settled_facts(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SettledFacts]:
    """By (institution, settlement number); those that the hub has no case of are left out."""
    given = as_json([{"institution": institution, "settlement_no": number} for institution, number in set(keys)])
    return {(row[0], row[1]): SettledFacts(*row[2:]) for row in _FACTS.rows(connection, given)}


def shares_of_day(connection: Connection, payer: str, day: date) -> list[SharesOfDay]:
    """Everything that this payer did for the hub on a day, as far as the hub has booked it."""
    return [SharesOfDay(*row) for row in _SHARES.rows(connection, day, payer)]
