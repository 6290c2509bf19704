"""What settlements of an institution come to: read for comparison, and payments that it confirmed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text

from schemas.clearing import PaymentConfirm
from store.driver import Prepared
from store.fund_totals import ADVANCING
from store.rows import as_json, insert_rows
from store.tables_visits import payments


@dataclass(frozen=True, slots=True)
class Booked:
    """One settlement as it stands, whole fen; `paid_fen` is what payers bear."""

    day: date
    total_fen: int
    paid_fen: int
    cash_fen: int
    cancelled: bool


# What is booked of a case's own life and by corrections; payments and deductions say what became of it.
_SHARES = (
    "SELECT coalesce(sum(CASE WHEN e.debit = 'receivable' THEN e.amount_fen "
    "WHEN e.credit = 'receivable' THEN -e.amount_fen END), 0) AS paid, "
    "coalesce(sum(CASE WHEN e.debit = 'patient' THEN e.amount_fen "
    "WHEN e.credit = 'patient' THEN -e.amount_fen END), 0) AS cash "
    f"FROM ledger_entry e WHERE e.case_id = c.case_id AND e.kind IN {ADVANCING}"
)
_BOOKED = Prepared(
    "SELECT c.settlement_no, c.business_day, c.total_fen, s.paid, s.cash, "
    f"c.state = 'cancelled' FROM settlement_case c CROSS JOIN LATERAL ({_SHARES}) s "
    "WHERE c.institution = $1 AND c.purpose = 'settle' AND c.business_day IS NOT NULL "
    "AND c.case_key IN (SELECT json_array_elements_text($2))",
    "text",
    "json",
)
# What they come to is added up for those that are told alone.
_UNNAMED = Prepared(
    "WITH c AS MATERIALIZED (SELECT c.case_id, c.settlement_no FROM settlement_case c "
    "WHERE c.institution = $1 AND c.purpose = 'settle' AND c.business_day BETWEEN $2 AND $3 "
    "AND c.state <> 'cancelled' AND c.case_key NOT IN (SELECT json_array_elements_text($4)) "
    'ORDER BY c.settlement_no COLLATE "C" LIMIT $5) '
    f"SELECT c.settlement_no, s.paid FROM c CROSS JOIN LATERAL ({_SHARES}) s "
    'ORDER BY c.settlement_no COLLATE "C"',
    "text",
    "date",
    "date",
    "json",
    "int",
)
_ADD_PAYMENT = insert_rows(
    payments,
    ("institution", "payment_no", "payer", "amount_fen", "paid_on", "first_day", "last_day", "confirmed_at"),
    unless="one_confirmation_per_payment",
    returning=("payment_no",),
)
_CONFIRMED = text(
    "SELECT coalesce(sum(c.amount_fen), 0) FROM payment_confirmation c WHERE c.institution = :institution "
    "AND c.payer = :payer AND c.first_day = :first AND c.last_day = :last AND NOT EXISTS ("
    "SELECT 1 FROM fund_payment p WHERE p.payment_no = c.payment_no AND p.amount_fen < 0)"
)


def booked(connection: Connection, institution: str, numbers: Iterable[str]) -> dict[str, Booked]:
    """The settlements with these numbers, on whatever days, by number."""
    rows = _BOOKED.rows(connection, institution, as_json(list(numbers)))  # type: ignore[arg-type]
    return {
        number: Booked(day, total, int(paid), int(cash), cancelled)
        for number, day, total, paid, cash, cancelled in rows
    }


def unnamed(
    connection: Connection, institution: str, first: date, last: date, numbers: Iterable[str], *, limit: int
) -> list[tuple[str, int]]:
    """The settlements of a period that stand and have other numbers than these: number and what payers bear, in order
    of the numbers, `limit` at most."""
    given = as_json(list(numbers))  # type: ignore[arg-type]
    return [(row[0], int(row[1])) for row in _UNNAMED.rows(connection, institution, first, last, given, limit)]


def add_payment(connection: Connection, payment: PaymentConfirm, at: datetime) -> bool:
    """Store a confirmation; False when the payment was confirmed before."""
    row = {
        "institution": payment.institution,
        "payment_no": payment.payment_no,
        "payer": payment.payer,
        "amount_fen": payment.amount,
        "paid_on": payment.paid_on,
        "first_day": payment.period.first,
        "last_day": payment.period.last,
        "confirmed_at": at,
    }
    return bool(_ADD_PAYMENT.rows(connection, as_json([row])))


def confirmed_fen(connection: Connection, payment: PaymentConfirm) -> int:
    """What this payer has sent for this period, as far as the institution has confirmed it; what the institution paid
    back is not among it."""
    return int(
        connection.execute(
            _CONFIRMED,
            {
                "institution": payment.institution,
                "payer": payment.payer,
                "first": payment.period.first,
                "last": payment.period.last,
            },
        ).scalar_one()
    )
