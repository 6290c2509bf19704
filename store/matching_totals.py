"""Totals first: what every side's book of the day comes to, as a whole and by institution, whatever the details.

Both are JSON for the run's record. A side is a mapping of settlements, refunds, settled_fen, refunded_fen, account_fen
and total_fen; None for one that is not compared. An institution has lists of the same six figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from store.hub_side import HubSide
from store.matching_rows import PAYER, Statements, only_of_payer

FIGURES = ("settlements", "refunds", "settled_fen", "refunded_fen", "account_fen", "total_fen")
INSTITUTIONS_MAX = 20_000

_SUMS = (
    "sum(settled_fen), sum(refunded_fen), sum(account_settled_fen + account_refunded_fen), "
    "sum(total_settled_fen + total_refunded_fen) FROM recon_hub GROUP BY institution ORDER BY institution"
)
_HUB = text(f"SELECT institution, sum(settlements), sum(refunds), {_SUMS}")
# A settlement as a whole has several payers' shares and is one line of its institution's books.
_HUB_WHOLE = text(
    "SELECT institution, count(*) FILTER (WHERE settlements > 0), count(*) FILTER (WHERE refunds > 0), " + _SUMS
)


def totals(connection: Connection, side: HubSide, statements: Statements, *, due: datetime, now: datetime) -> Any:
    """Sums by side and institution, when the party's statement was due, and what the run has to say as a whole."""
    sides = {"hub": _read(connection.execute(_HUB_WHOLE if side.whole else _HUB))}
    for pair in statements.pairs:
        query = text(
            "SELECT l.institution, count(*) FILTER (WHERE l.kind = 'settle'), "
            "count(*) FILTER (WHERE l.kind = 'refund'), "
            "coalesce(sum(l.amount_fen) FILTER (WHERE l.kind = 'settle'), 0), "
            "coalesce(sum(l.amount_fen) FILTER (WHERE l.kind = 'refund'), 0), sum(l.account_fen), sum(l.total_fen) "
            f"FROM statement_line l WHERE l.statement_id = ANY(:ids){only_of_payer(side, pair)} "
            "GROUP BY l.institution ORDER BY l.institution"
        )
        name = "payer" if pair == PAYER else "hospital"
        sides[name] = _read(connection.execute(query, side.values | {"ids": statements.ids_of(pair)}))
    found: dict[str, Any] = {name: _sum(sides[name].values()) if name in sides else None for name in _SIDES}
    institutions = sorted({code for by_code in sides.values() for code in by_code})[:INSTITUTIONS_MAX]
    found["institutions"] = {
        code: {name: list(by_code.get(code, _ZERO)) for name, by_code in sides.items()} for code in institutions
    }
    found["by_payer"] = not side.whole
    found["hospitals"] = [book.party for book in statements.hospitals]
    found["due"] = due.isoformat()
    found["finding"] = _finding(found["hub"], statements, due=due, now=now)
    return found


_SIDES = ("hub", "payer", "hospital")
_ZERO = (0,) * len(FIGURES)


def _read(rows: Iterable[Any]) -> dict[str, tuple[int, ...]]:
    return {institution: tuple(int(figure) for figure in figures) for institution, *figures in rows}


def _sum(rows: Iterable[tuple[int, ...]]) -> dict[str, int]:
    sums = [sum(column) for column in zip(_ZERO, *rows, strict=True)]
    return dict(zip(FIGURES, sums, strict=True))


def _finding(hub: Mapping[str, int], statements: Statements, *, due: datetime, now: datetime) -> str:
    if statements.own is not None or not (hub["settlements"] or hub["refunds"]):
        return ""
    return f"the statement is due {due:%Y-%m-%d %H:%M}" if now < due else f"no statement since {due:%Y-%m-%d %H:%M}"
