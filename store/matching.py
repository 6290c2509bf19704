"""Holding a party's books against ours: set-based, in temporary tables, in one transaction of the caller's.

Two steps. `matching_rows` puts every side's rows under the key that we know them by and asks, in one pass over all of
them, which items differ at all. `matching_classes` looks at those few from all sides and over the neighbouring days,
and says what is wrong with each. The table that both follow is in docs/how-to/reconciliation.md. Whole fen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from schemas.statement import BreakClass
from store import hub_side
from store.hub_side import HubSide
from store.matching_classes import classify, counted, store_breaks
from store.matching_history import explain_pairs
from store.matching_rows import PAYER, Statements, compare, find_statements, resolve
from store.matching_totals import totals

WORK_MEM_MB = 192
"""What one sort or hash of a run may hold in the database's memory; what is more goes to its disk."""
STATEMENT_TIMEOUT_S = 3_600


NO_STATEMENT = "no_statement"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be compared, and from when on it should have been there.

    `basic`: the payer is a basic system. `hospitals`: institutions whose statements are held against a payer's.
    `grosses`: (party, scheme) of the books whose amounts hold the personal account too.
    """

    side: HubSide
    run_id: int
    now: datetime
    due: datetime
    basic: bool = False
    hospitals: tuple[str, ...] = ()
    grosses: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Matched:
    """What a run found. `counts`: items by class, those that agree as `matched`; where the party's statement is not
    here they are `not_yet_due`, or NO_STATEMENT after the time. `open`: breaks that somebody must see to."""

    statement_ids: tuple[int, ...]
    neighbour_ids: tuple[int, ...]
    totals: Mapping[str, Any]
    counts: Mapping[str, int]
    open: int
    ledger_to: int


def prepare(connection: Connection) -> None:
    """Let this transaction read whole days, of one moment: the planner is free, and it takes what time it needs."""
    for name, value in (
        ("enable_seqscan", "on"),
        ("enable_hashjoin", "on"),
        ("enable_mergejoin", "on"),
        ("plan_cache_mode", "auto"),
        ("work_mem", f"'{WORK_MEM_MB}MB'"),
        ("statement_timeout", f"'{STATEMENT_TIMEOUT_S}s'"),
        # Remedies hold their run for as long as a payer's statement is read.
        ("lock_timeout", "'90s'"),
        ("idle_in_transaction_session_timeout", "'600s'"),
    ):
        connection.execute(text(f"SET LOCAL {name} = {value}"))


def match(connection: Connection, asked: Asked) -> Matched:
    """Compare, and store every break of the run. The caller's transaction should see one moment (REPEATABLE READ)."""
    prepare(connection)
    statements = find_statements(connection, asked.side, hospitals=asked.hospitals, grosses=asked.grosses)
    side = _told_apart(asked, statements)
    hub_side.stage(connection, side, cash=statements.cash_carried)
    connection.execute(text("ANALYZE recon_hub"))
    resolve(connection, side, statements)
    agreed = compare(connection, side, statements)
    classify(connection, side, statements, basic=asked.basic, now=asked.now, due=asked.due)
    agreed += connection.execute(text("SELECT count(*) FROM recon_class WHERE class = ''")).scalar_one()
    counts = {_agreeing(asked, statements): agreed} if agreed or statements.own is not None else {}
    stored = store_breaks(connection, side, asked.run_id)
    if statements.own is not None and explain_pairs(
        connection, side, asked.run_id, statements.own_pair, _missing(asked, statements)
    ):
        stored = counted(connection, asked.run_id)
    for name, _, count in stored:
        counts[name] = counts.get(name, 0) + count
    return Matched(
        statement_ids=statements.ids,
        neighbour_ids=tuple(book.statement_id for _, book in statements.near),
        totals=totals(connection, side, statements, due=asked.due, now=asked.now),
        counts=counts,
        open=sum(count for _, state, count in stored if state == "open"),
        ledger_to=int(connection.execute(_LEDGER_TO).scalar_one()),
    )


def _missing(asked: Asked, statements: Statements) -> str:
    """The class of what the party's own book lacks."""
    if statements.own_pair != PAYER:
        return BreakClass.MISSING_AT_HOSPITAL.value
    return (BreakClass.MISSING_AT_BASIC if asked.basic else BreakClass.MISSING_AT_INSURER).value


_LEDGER_TO = text("SELECT coalesce(max(entry_id), 0) FROM ledger_entry")


def _agreeing(asked: Asked, statements: Statements) -> str:
    """What to call items with which nothing is wrong: without the party's own book they were not compared with it."""
    if statements.own is not None:
        return "matched"
    return BreakClass.NOT_YET_DUE.value if asked.now < asked.due else NO_STATEMENT


def _told_apart(asked: Asked, statements: Statements) -> HubSide:
    """Our side as the institution's statement has it: by payer where its lines name them."""
    side = asked.side
    if side.kind == "payer" or statements.own is None or not statements.own.by_payer:
        return side
    return replace(side, by_payer=True)
