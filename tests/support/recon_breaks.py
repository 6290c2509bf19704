"""Statements, runs and breaks written by hand, for what people do about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, text

from routing.schemes import Scheme
from schemas.statement import BreakClass
from store.records import CaseRecord

NOTHING = [0, 0, 0, 0, 0]


def once(amount_fen: int, account_fen: int = 0) -> list[int]:
    """One settlement, as a side of a break holds it."""
    return [1, 0, amount_fen, 0, account_fen]


def a_statement(connection: Connection, party: str, day: date, *amounts_fen: int, scheme: str = "daily") -> int:
    """A standing statement with one settlement per amount, `R-1` and so on; its number."""
    values = {"party": party, "scheme": scheme, "day": day, "rows": len(amounts_fen), "total": sum(amounts_fen)}
    replace = text(
        "UPDATE statement SET state = 'replaced' "
        "WHERE party = :party AND scheme = :scheme AND day = :day AND state = 'standing'"
    )
    connection.execute(replace, values)
    added = connection.execute(
        text(
            "INSERT INTO statement (party, scheme, day, form, source, sha256, rows, total_fen, by_payer, state, "
            "received_by, received_at) VALUES (:party, :scheme, :day, 'csv', 'day.csv', repeat('0', 64), :rows, "
            ":total, 1, 'standing', 'li', :now) RETURNING statement_id"
        ),
        {**values, "now": datetime.now(UTC)},
    )
    statement_id = int(added.scalar_one())
    line = text(
        "INSERT INTO statement_line (statement_id, line_no, kind, institution, reference, total_fen, amount_fen, "
        "account_fen, cash_fen, at) VALUES (:id, :no, 'settle', 'H44030000001', :reference, 0, :fen, 0, 0, :now)"
    )
    for number, fen in enumerate(amounts_fen, 1):
        row = {"id": statement_id, "no": number, "reference": f"R-{number}", "fen": fen, "now": datetime.now(UTC)}
        connection.execute(line, row)
    return statement_id


def a_run(connection: Connection, party: str, day: date, statement_ids: Sequence[int] = (), **changes: Any) -> int:
    """A run that is done and has read the whole ledger; one before it becomes void."""
    connection.execute(
        text("UPDATE recon_run SET state = 'void' WHERE party = :party AND day = :day AND state = 'done'"),
        {"party": party, "day": day},
    )
    values = {
        "party": party,
        "day": day,
        "scheme": changes.pop("scheme", "daily"),
        "switches": orjson.dumps(Scheme(party=party, **changes).model_dump(mode="json")).decode(),
        "ids": list(statement_ids),
        "now": datetime.now(UTC),
    }
    added = connection.execute(
        text(
            "INSERT INTO recon_run (party, scheme, day, state, switches, rulebook_version, statement_ids, ledger_to, "
            "started_by, started_at, finished_at) VALUES (:party, :scheme, :day, 'done', CAST(:switches AS jsonb), 1, "
            "CAST(:ids AS bigint[]), (SELECT coalesce(max(entry_id), 0) FROM ledger_entry), 'li', :now, :now) "
            "RETURNING run_id"
        ),
        values,
    )
    return int(added.scalar_one())


def a_break(
    connection: Connection,
    run_id: int,
    break_class: BreakClass,
    case: CaseRecord | None = None,
    leg_no: int | None = None,
    **changes: Any,
) -> int:
    """A break about a leg, or about a case as a whole; its number."""
    leg = case.leg(leg_no) if case is not None and leg_no else None
    values: dict[str, Any] = {
        "run": run_id,
        "class": break_class.value,
        "key": f"case/{case.case_id}/{leg_no or 0}" if case else "line/R-1",
        "case": case.case_id if case else None,
        "leg": leg_no,
        "institution": case.institution if case else "H44030000001",
        "payer": leg.payer if leg else "",
        "settlement_no": case.settlement_no if case else "",
        "request": leg.request_id if leg else "",
        "reference": "",
        "hub": NOTHING,
        "payer_side": None,
        "hospital": None,
        "difference": 0,
        "state": "open",
    } | changes
    for name in ("hub", "payer_side", "hospital"):
        values[name] = None if values[name] is None else orjson.dumps(values[name]).decode()
    added = connection.execute(
        text(
            "INSERT INTO recon_break (run_id, class, key, case_id, leg_no, institution, payer, settlement_no, "
            "request_id, reference, hub, payer_side, hospital, difference_fen, first_day, state, proposal, reason) "
            "SELECT :run, :class, :key, CAST(:case AS uuid), :leg, :institution, :payer, :settlement_no, :request, "
            ":reference, CAST(:hub AS jsonb), CAST(:payer_side AS jsonb), CAST(:hospital AS jsonb), :difference, day, "
            ":state, '', '' FROM recon_run WHERE run_id = :run RETURNING break_id"
        ),
        values,
    )
    return int(added.scalar_one())
