"""What it costs to reconcile a day of a million settlements on three sides, beside a bare COPY and one full join.

`python -m bench.recon` starts a private PostgreSQL and prints JSON; `--rows 100000` is a proof that it works. The hub's
own books are put into the tables as a day of settlements leaves them, the payer and the hospital tell theirs by file.
Importing both files and the run are a process of their own, so that its memory can be told. The bare way puts the same
files into tables without a key or a check, and joins them with a table that has the hub's side ready-made.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from bench.imports import _peak_mib, database
from hub.recon.runs import Runs
from hub.recon.statements import take_file
from schemas.statement import StatementHeader
from store.database import open_engine
from store.driver import driver_cursor
from tests.support.builders import BASIC, BASIC_RULE, COMMERCIAL, COMMERCIAL_RULE, HOSPITAL, a_rule_book
from tests.support.recon_books import FixedClock, OneBook, no_proposals

ROWS = 1_000_000
WRONG_EVERY = 10_000
"""One line in so many of the payer's is a fen off."""
DAY = date(2026, 3, 2)
BOOK = OneBook(a_rule_book(BASIC_RULE, COMMERCIAL_RULE))
CLOCK = FixedClock(datetime(2026, 3, 3, 2, tzinfo=UTC))
_ID = "(lpad(to_hex(1772413200000 + n / 100), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid"
_AMOUNT = "10000 + n % 90000"
_FILL = (
    f"""
    INSERT INTO settlement_case (case_id, region, institution, settlement_no, case_key, purpose, request_hash, state,
        version, total_fen, rulebook_version, considered, received_at, answer_by, reply_to, correlation_id,
        business_day)
    SELECT {_ID}, '440300', '{HOSPITAL}', 'S' || n, 'S' || n, 'settle', md5(n::text), 'settled', 3, 300000, 1, '[]',
        CAST(:day AS date) + interval '1 hour', CAST(:day AS date) + interval '2 hours', '', 'm' || n, :day
    FROM generate_series(1, :rows) AS n
    """,
    f"""
    INSERT INTO settlement_leg (case_id, leg_no, region, payer, layer, product, rule, split, weight, independent, state,
        version, left_fen, amount_fen, payer_reference, decided_at)
    SELECT {_ID}, leg, '440300', CASE leg WHEN 1 THEN '{BASIC}' ELSE '{COMMERCIAL}' END,
        CASE leg WHEN 1 THEN 'basic' ELSE 'commercial' END, 'p', 'r', 0, 100, false, 'approved', 2, 300000,
        CASE leg WHEN 1 THEN 100000 ELSE {_AMOUNT} END, 'R' || leg || '-' || n, CAST(:day AS date) + interval '1 hour'
    FROM generate_series(1, :rows) AS n, generate_series(1, 2) AS leg
    """,
    f"""
    INSERT INTO ledger_entry (region, business_day, effective_day, institution, payer, layer, product, kind, debit,
        credit, amount_fen, case_id, leg_no)
    SELECT '440300', :day, :day, '{HOSPITAL}',
        CASE leg WHEN 0 THEN '' WHEN 1 THEN '{BASIC}' ELSE '{COMMERCIAL}' END, '', '', 'settle',
        CASE leg WHEN 0 THEN 'patient' ELSE 'receivable' END, CASE leg WHEN 0 THEN 'charges' ELSE 'patient' END,
        CASE leg WHEN 0 THEN 300000 WHEN 1 THEN 100000 ELSE {_AMOUNT} END, {_ID}, leg
    FROM generate_series(1, :rows) AS n, generate_series(0, 2) AS leg
    """,
)
FILES: dict[str, tuple[str, str]] = {
    COMMERCIAL: (
        "kind,institution,request_id,reference,amount,at",
        f"SELECT 'settle', '{HOSPITAL}', replace({_ID}::text, '-', '') || '-2', 'R2-' || n, "
        f"((({_AMOUNT} + (n % {WRONG_EVERY} = 0)::int)) / 100.0)::numeric(12, 2), '2026-03-02T09:15:00+08:00'",
    ),
    HOSPITAL: (
        "kind,institution,settlement_no,payer,amount,at",
        f"SELECT 'settle', '{HOSPITAL}', 'S' || n, '{COMMERCIAL}', (({_AMOUNT}) / 100.0)::numeric(12, 2), "
        "'2026-03-02T09:15:00+08:00'",
    ),
}


def fill(engine: Engine, rows: int) -> None:
    """The hub's books of a day."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in _FILL:
            connection.execute(text(statement), {"rows": rows, "day": DAY})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))


def write_file(engine: Engine, path: Path, party: str, rows: int) -> None:
    """A party's statement as CSV, in an order of its own."""
    head, select = FILES[party]
    query = f"COPY ({select} FROM generate_series(1, {rows}) AS n ORDER BY hashint4(n)) TO STDOUT WITH (FORMAT csv)"
    with engine.connect() as connection, path.open("w", encoding="utf-8") as content:
        connection.execute(text("SET statement_timeout = 0"))
        content.write(f"{head}\n")
        with driver_cursor(connection, query) as cursor:
            cursor.copy_expert(query, content)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def total_fen(party: str, rows: int) -> int:
    """What a party's file comes to."""
    amounts = sum(10_000 + n % 90_000 for n in range(1, rows + 1))
    return amounts + (rows // WRONG_EVERY if party == COMMERCIAL else 0)


def reconcile(url: str, folder: Path, rows: int) -> dict[str, Any]:
    """In a process of its own: seconds of both imports and of the run, and peak memory."""
    engine = open_engine(url, pool_size=2, by_key=False)
    found: dict[str, Any] = {}
    for party in FILES:
        header = StatementHeader(party=party, day=DAY, count=rows, total=0)
        header = header.model_copy(update={"total": total_fen(party, rows)})
        path = folder / f"{party}.csv"
        began = time.monotonic()
        take_file(engine, BOOK.book, path, header, by="bench", now=CLOCK.now())
        found[f"import {party}"] = round(time.monotonic() - began, 2)
    began = time.monotonic()
    result = Runs(engine, BOOK, CLOCK, no_proposals).run(COMMERCIAL, "daily", DAY, "bench")  # type: ignore[arg-type]
    found["run"] = round(time.monotonic() - began, 2)
    engine.dispose()
    return found | {"counts": dict(result.counts), "peak_mib": _peak_mib()}


_BARE = (
    "CREATE TABLE bare_payer (kind text, institution text, request_id text, reference text, amount numeric, "
    "at timestamptz)",
    "CREATE TABLE bare_hospital (kind text, institution text, settlement_no text, payer text, amount numeric, "
    "at timestamptz)",
)
_READY = f"""
    CREATE TABLE bare_hub AS SELECT replace(e.case_id::text, '-', '') || '-' || e.leg_no AS request_id, c.institution,
        c.settlement_no, e.amount_fen / 100.0 AS amount
    FROM ledger_entry e JOIN settlement_case c USING (case_id)
    WHERE e.payer = '{COMMERCIAL}' AND e.effective_day = :day
"""
_JOIN = """
    SELECT count(*), count(*) FILTER (WHERE h.amount IS DISTINCT FROM p.amount OR h.amount IS DISTINCT FROM o.amount)
    FROM bare_hub h FULL JOIN bare_payer p ON p.request_id = h.request_id
    FULL JOIN bare_hospital o ON o.institution = h.institution AND o.settlement_no = h.settlement_no
"""


def bare(engine: Engine, folder: Path) -> dict[str, Any]:
    """Seconds of COPY of both files and of one full join over the three sides."""
    found: dict[str, Any] = {}
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(_READY), {"day": DAY})
        for statement in _BARE:
            connection.execute(text(statement))
    for party, table in ((COMMERCIAL, "bare_payer"), (HOSPITAL, "bare_hospital")):
        found[f"copy {party}"] = round(timed(lambda table=table, party=party: copy(engine, table, folder, party)), 2)  # type: ignore[misc]
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL work_mem = '192MB'"))
        began = time.monotonic()
        found["joined"] = list(connection.execute(text(_JOIN)).one())
        found["join"] = round(time.monotonic() - began, 2)
        for table in ("bare_hub", "bare_payer", "bare_hospital"):
            connection.execute(text(f"DROP TABLE {table}"))
    return found


def copy(engine: Engine, table: str, folder: Path, party: str) -> None:
    """A bare COPY of a file."""
    statement = f"COPY {table} FROM STDIN WITH (FORMAT csv, HEADER)"
    with engine.begin() as connection, (folder / f"{party}.csv").open("rb") as content:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        with driver_cursor(connection, statement) as cursor:
            cursor.copy_expert(statement, content, 1 << 20)


def measure(url: str, folder: Path, rows: int) -> dict[str, Any]:
    """Fill, write the files, go the bare way before and after ours, and compare."""
    engine = open_engine(url, pool_size=2, by_key=False)
    filled = timed(lambda: fill(engine, rows))
    for party in FILES:
        write_file(engine, folder / f"{party}.csv", party, rows)
    before = bare(engine, folder)
    command = [sys.executable, "-m", "bench.recon", "--one", url, str(folder), "--rows", str(rows)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    ours = dict(json.loads(done.stdout.splitlines()[-1]))
    after = bare(engine, folder)
    engine.dispose()
    spent = sum(value for name, value in ours.items() if name == "run" or name.startswith("import"))
    floors = [sum(v for name, v in one.items() if name == "join" or name.startswith("copy")) for one in (before, after)]
    return {"rows": rows, "fill": round(filled, 1), "ours": ours, "bare before": before, "bare after": after,
            "seconds": round(spent, 2), "bare seconds": [round(one, 2) for one in floors],
            "ratio": round(spent / (sum(floors) / 2), 2)}  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--one", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        url, folder = given.one
        print(json.dumps(reconcile(url, Path(folder), given.rows)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-recon-") as folder, database() as url:
        print(json.dumps(measure(url, Path(folder), given.rows), indent=1), flush=True)


if __name__ == "__main__":
    main()
