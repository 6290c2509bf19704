"""What claims and "to be settled" cost: claims by kind of visit, and the trio as the ledger grows by old, sealed days.

`python -m bench.funds` starts a private PostgreSQL and prints JSON; `--claimed 10000 --days 20` is a proof
that it works. Ratios are within one run: with the totals of sealed days beside the same figures read from every entry.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from bench.imports import database
from hub.funds import claims
from hub.funds.claims import Application
from store import fund_figures, fund_totals
from store.database import open_engine
from store.fund_figures import Scope
from tests.support.builders import BASIC, COMMERCIAL, HOSPITAL, a_rule_book, a_settle_request

CLAIMED = 100_000
"""Settlements of the one institution that claims, in one month."""
DAYS = 180
A_DAY = 4_000
"""Settlements of one day of all institutions, for the trio."""
INSTITUTIONS = 20
MONTH = date(2026, 3, 1)
NOW = datetime(2027, 1, 1, tzinfo=UTC)
_ID = "(lpad(to_hex(1772413200000 + n / 100), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid"
_DAY = "CAST(:first AS date) + CAST(n % :days AS int)"
_KIND = "CASE n % 3 WHEN 0 THEN 'inpatient' ELSE 'outpatient' END"
_CASES = f"""
    INSERT INTO settlement_case (case_id, region, institution, settlement_no, case_key, purpose, request_hash, state,
        version, total_fen, rulebook_version, considered, received_at, answer_by, reply_to, correlation_id,
        business_day, visit_kind, insurance_type)
    SELECT {_ID}, '440300', '{HOSPITAL}', 'S' || n, 'S' || n, 'settle', md5(n::text), 'settled', 3, 300000, 1, '[]',
        {_DAY} + interval '1 hour', {_DAY} + interval '2 hours', '', 'm' || n, {_DAY}, {_KIND}, '310'
    FROM generate_series(1, :rows) AS n"""
_MESSAGES = f"""
    INSERT INTO exchange (region, case_id, leg_no, party, direction, operation, request_id, attempt, body, at)
    SELECT '440300', {_ID}, 0, '{HOSPITAL}', 'in', 'settle', 'm' || n, 1,
        convert_to(replace(:body, '"outpatient"', '"' || {_KIND} || '"'), 'UTF8'), {_DAY} + interval '1 hour'
    FROM generate_series(1, :rows) AS n"""
_ENTRIES = f"""
    INSERT INTO ledger_entry (region, business_day, effective_day, institution, payer, layer, product, kind, debit,
        credit, amount_fen, case_id, leg_no)
    SELECT '440300', {_DAY}, {_DAY}, :institution,
        CASE leg WHEN 0 THEN '' WHEN 1 THEN '{BASIC}' ELSE '{COMMERCIAL}' END,
        CASE leg WHEN 0 THEN '' WHEN 1 THEN 'basic' ELSE 'commercial' END, 'p', 'settle',
        CASE leg WHEN 0 THEN 'patient' ELSE 'receivable' END, CASE leg WHEN 0 THEN 'charges' ELSE 'patient' END,
        CASE leg WHEN 0 THEN 300000 WHEN 1 THEN 100000 ELSE 10000 + n % 90000 END, {_ID}, leg
    FROM generate_series(1, :rows) AS n, generate_series(0, 2) AS leg"""
_SEAL = text(
    "INSERT INTO day_seal (business_day, entries, amount_fen, last_entry_id, digest, previous, chain, sealed_by, "
    "approved_by, sealed_at) VALUES (:day, 0, 0, 0, '', '', '', 'li', 'wang', now()) ON CONFLICT DO NOTHING"
)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begun = time.monotonic()
    work()
    return round(time.monotonic() - begun, 3)


def settle(engine: Engine, statement: str, **values: Any) -> None:
    """Run a statement that may take its time, and let the planner know what came of it."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(statement), values)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))


def seal(connection: Connection, day: date) -> None:
    """Close a day, for what is measured here."""
    connection.execute(_SEAL, {"day": day})


def claims_by_kind(engine: Engine, rows: int) -> dict[str, Any]:
    """Seconds of a month's claim: of everything, of one kind of visit, and of one kind where only messages say it."""
    body = json.dumps(a_settle_request(), ensure_ascii=False)
    month = {"first": MONTH, "days": 28, "rows": rows}
    settle(engine, _CASES, **month)
    settle(engine, _MESSAGES, **month, body=body)
    settle(engine, _ENTRIES, **month, institution=HOSPITAL)
    with engine.begin() as connection:
        seal(connection, MONTH.replace(day=31))
    found: dict[str, Any] = {"settlements": rows, "message_bytes": len(body.encode())}
    for name, kind in (("all", ""), ("inpatient", "inpatient"), ("inpatient of messages", "inpatient")):
        if name.endswith("messages"):
            settle(engine, "UPDATE settlement_case SET visit_kind = NULL, insurance_type = NULL")
        found[name] = timed(lambda kind=kind: claim(engine, kind))  # type: ignore[misc]
    return found


def claim(engine: Engine, kind: str) -> None:
    """A claim of the month, taken back."""
    scope = Scope(HOSPITAL, MONTH, MONTH.replace(day=31), COMMERCIAL, visit_kind=kind)
    with engine.connect() as connection:
        (made,) = claims.apply(connection, a_rule_book(), Application(scope, f"A-{kind}"), by="bench", now=NOW)
        assert made.amount_fen > 0
        connection.rollback()


def trio(engine: Engine, days: int) -> list[dict[str, Any]]:
    """Seconds of "to be settled" as old days become more: with the totals of sealed days, and from every entry."""
    found = []
    first = date(2027, 1, 1)
    for until in (days // 4, days // 2, days):
        for number in range(INSTITUTIONS):
            with engine.begin() as connection:
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                span = until - (until // 2 if until > days // 4 else 0)
                values = {"first": first + timedelta(days=until - span), "days": span, "institution": f"H-{number}"}
                rows = A_DAY * span // INSTITUTIONS
                connection.execute(text(_ENTRIES), values | {"rows": rows})
        settle(engine, "SELECT 1")
        found.append(one_size(engine, first + timedelta(days=until - 2)))
    return found


def one_size(engine: Engine, sealed_to: date) -> dict[str, Any]:
    """The figures of a ledger whose last day is open."""
    with engine.begin() as connection:
        seal(connection, sealed_to)
        adding_up = timed(lambda: fund_totals.catch_up(connection))
    by = ["institution", "payer"]
    until = sealed_to - timedelta(days=3)
    results: dict[str, list[fund_figures.Standing]] = {}
    with engine.begin() as connection:
        fund_figures.read_whole_periods(connection)
        entries = connection.execute(text("SELECT count(*) FROM ledger_entry")).scalar_one()
        kept = connection.execute(text("SELECT count(*) FROM ledger_total")).scalar_one()

        def best(name: str, **how: Any) -> float:
            def ask() -> None:
                results[name] = fund_figures.standing(connection, by, last=until, **how)

            return min(timed(ask) for _ in range(3))

        slow, fast = best("entries", from_entries=True), best("totals")
    assert results["entries"] == results["totals"]
    return {"entries": entries, "totals": kept, "adding up": adding_up, "from entries": slow, "with totals": fast}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claimed", type=int, default=CLAIMED)
    parser.add_argument("--days", type=int, default=DAYS)
    given = parser.parse_args()
    with database() as url:
        engine = open_engine(url, pool_size=2, by_key=False)
        found = {"claims": claims_by_kind(engine, given.claimed), "trio": trio(engine, given.days)}
        engine.dispose()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
