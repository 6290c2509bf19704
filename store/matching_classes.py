"""The second step of matching, its verdict: what is wrong with each item that differs, and the breaks of the run.

Each book is compared with ours alone; an item is in the class of the first book that is wrong without an explanation,
the party's own before the hospitals', else in the first that explains itself.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from schemas.statement import EXPLAINED
from store.hub_side import HubSide
from store.matching_items import gather
from store.matching_rows import HOSPITAL, PAYER, Statements


def classify(
    connection: Connection, side: HubSide, statements: Statements, *, basic: bool, now: datetime, due: datetime
) -> None:
    """Every item that differs, with its class and figures, as the temporary table `recon_class`; '' for agreement."""
    gather(connection, side, statements, due=due, now=now)
    values = {"tolerance": side.scheme.tolerance_fen, "covered": [book.party for book in statements.hospitals]}
    values |= {f"gross{pair}": statements.gross_of(pair) for pair in (PAYER, HOSPITAL)}
    values |= {f"days{pair}": _days(side, statements, pair) for pair in (PAYER, HOSPITAL)}
    connection.execute(text(_compared(side, statements)), values)
    connection.execute(text(_vectors(statements)), values)
    connection.execute(text(_verdicts(side)), values | {"basic": basic})


def _days(side: HubSide, statements: Statements, pair: int) -> list[int]:
    """How far away the days lie of which this book is here."""
    return sorted({0} | {(book.day - side.day).days for one, book in statements.near if one == pair})


def _compared(side: HubSide, statements: Statements) -> str:
    """SQL: which books each item is held against, and whether their amounts hold the personal account."""
    found = []
    for pair in statements.pairs:
        many = pair == HOSPITAL and side.kind == "payer"
        covered = "i.institution = ANY(:covered)" if many else "true"
        gross = f"i.institution = ANY(:gross{pair})" if many else str(bool(statements.gross_of(pair))).lower()
        found.append(f"SELECT i.item, {pair} AS pair, {gross} AS gross, CAST(:days{pair} AS integer[]) AS days "
                     f"FROM recon_item i WHERE {covered}")  # fmt: skip
    nothing = "SELECT 0 AS item, 0 AS pair, false AS gross, CAST(NULL AS integer[]) AS days WHERE false"
    return f"CREATE TEMP TABLE recon_compared ON COMMIT DROP AS {' UNION ALL '.join(found or [nothing])}"


def _vector(which: str) -> str:
    """SQL for [settlements, refunds, settled, refunded, of it personal account settled, refunded, totals of both]."""

    def total(column: str, settles: str) -> str:
        return f"coalesce(sum(q.{column}) FILTER (WHERE {which} AND {settles}), 0)::bigint"

    sums = [total(column, s) for column in ("amount", "account", "total") for s in ("q.settles", "NOT q.settles")]
    counts = [f"count(*) FILTER (WHERE {which} AND {s})" for s in ("q.settles", "NOT q.settles")]
    return f"ARRAY[{', '.join([*counts, *sums])}]"


def _vectors(statements: Statements) -> str:
    """SQL: our book and theirs of an item as vectors: `h` and `x` of the day; `once`: their repeated rows taken once;
    over the neighbouring days `h_near` (those of which their book is here: `h_known`), `x_near`, `once_near`."""
    total = "p.total_fen" if statements.totals_carried else "0::bigint"
    borne = f"CASE WHEN p.amount_fen <> 0 OR p.account_fen <> 0 THEN {total} ELSE 0 END"
    ours, theirs = "q.pair = 0", "q.pair > 0"
    return f"""
        CREATE TEMP TABLE recon_vector ON COMMIT DROP AS
        WITH part AS (
            SELECT c.item, c.pair AS against, p.pair, p.apart, p.settles, p.correction, p.apart = ANY(c.days) AS known,
                CASE WHEN c.gross AND p.pair = 0 THEN p.amount_fen + p.account_fen ELSE p.amount_fen END AS amount,
                CASE WHEN c.gross THEN 0 ELSE p.account_fen END AS account,
                CASE WHEN i.late THEN 0 ELSE {borne} END AS total
            FROM recon_compared c JOIN recon_item i USING (item)
            JOIN recon_part p ON p.item = c.item AND p.pair IN (0, c.pair)
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY item, against, pair, apart, settles, amount, account, total) = 1
                    AS first_of_day,
                row_number() OVER (PARTITION BY item, against, pair, settles, amount, account, total) = 1 AS first
            FROM part
        )
        SELECT c.item, c.pair,
            {_vector(f"{ours} AND q.apart = 0")} AS h,
            {_vector(f"{theirs} AND q.apart = 0")} AS x,
            {_vector(f"{theirs} AND q.apart = 0 AND q.first_of_day")} AS once,
            {_vector(ours)} AS h_near,
            {_vector(f"{ours} AND q.known")} AS h_known,
            {_vector(theirs)} AS x_near,
            {_vector(f"{theirs} AND q.first")} AS once_near,
            coalesce(bool_or(q.correction AND q.apart = 0), false) AS corrected
        FROM recon_compared c LEFT JOIN ranked q ON q.item = c.item AND q.against = c.pair
        GROUP BY c.item, c.pair"""


_SAME = "h[3:8] = x[3:8]"
_SAME_NET = "h[3] + h[4] = x[3] + x[4] AND h[5] + h[6] = x[5] + x[6] AND h[7] + h[8] = x[7] + x[8]"
_NOTHING = "{0}[2] > 0 AND {0}[3] + {0}[4] = 0 AND {0}[5] + {0}[6] = 0"
_NO_ROWS = "{0}[1] + {0}[2] = 0"
_WITHIN = " AND ".join([*(f"abs(h[{n}] - x[{n}]) <= :tolerance" for n in range(3, 9)), "abs(cash_fen) <= :tolerance"])


def _pair_class(side: HubSide) -> str:
    """SQL for the class of one pair; each line is a line of the table in docs/how-to/reconciliation.md."""
    left_out = side.scheme.refunds == "left_out"
    missing = "CASE pair WHEN 1 THEN :missing_at_payer ELSE 'missing_at_hospital' END"
    no_h, no_x = _NO_ROWS.format("h"), _NO_ROWS.format("x")
    h_nothing, x_nothing = _NOTHING.format("h"), _NOTHING.format("x")
    lines = [
        # A book of another day has it too, and was believed to have it in this one's place.
        ("excused AND once_near[3:8] = h_near[3:8] AND once_near <> x_near", "'duplicate'"),
        (f"cash_fen <> 0 AND {_SAME}", "'amount'"),
        (_SAME, "''"),
        (f"corrected AND {_SAME_NET}", "''"),
        (f"{left_out} AND ({no_h} AND {x_nothing} OR {no_x} AND {h_nothing})", "''"),
        ("x_near[3:8] IN (h_near[3:8], h_known[3:8])", "'late_cut_off'"),
        ("under_way", "'not_yet_due'"),
        (f"NOT ({no_x}) AND (once[3:8] = h[3:8] AND once <> x OR once_near[3:8] = h_near[3:8] AND once_near <> x_near)",
         "'duplicate'"),
        (f"{_NO_ROWS.format('h_near')} AND {_NOTHING.format('once_near')} AND NOT ({_NOTHING.format('x_near')})",
         "'duplicate'"),
        (f"{no_h} AND {x_nothing}", "'reversed_pair'"),
        (f"{_NO_ROWS.format('h_near')} AND {_NOTHING.format('x_near')}", "'reversed_pair'"),
        (f"{_NO_ROWS.format('x_near')} AND {_NOTHING.format('h_known')} AND NOT ({h_nothing})", "'reversed_pair'"),
        (f"{no_h} AND x[1] = 0", "'status'"),
        (no_h, "'missing_at_hub'"),
        (f"{no_x} AND {h_nothing}", "CASE WHEN by_cancel THEN 'refund_as_two_rows' ELSE 'reversed_pair' END"),
        (f"{no_x} AND h[1] = 0", "'status'"),
        (no_x, missing),
        (f"{_SAME_NET} AND (h[2] = 0) <> (x[2] = 0)", "'refund_as_two_rows'"),
        ("(h[2] = 0) <> (x[2] = 0)", "'status'"),
        ("h[1] > 0 AND x[1] = 0", missing),
        ("h[1] = 0 AND x[1] > 0", "'missing_at_hub'"),
    ]  # fmt: skip
    return f"CASE {' '.join(f'WHEN {when} THEN {then}' for when, then in lines)} ELSE 'amount' END"


def _verdicts(side: HubSide) -> str:
    explained = ", ".join(f"'{one.value}'" for one in EXPLAINED)
    payer_missing = "CASE WHEN :basic THEN 'missing_at_basic' ELSE 'missing_at_insurer' END"
    pair_class = _pair_class(side).replace(":missing_at_payer", payer_missing)
    figures = ", ".join(f"{_figures(pair)} AS figures{pair}" for pair in (0, PAYER, HOSPITAL))
    return f"""
        CREATE TEMP TABLE recon_class ON COMMIT DROP AS
        WITH verdict AS (
            SELECT w.*, {pair_class} AS class FROM (
                SELECT v.*, i.excused, i.under_way, i.by_cancel, coalesce(k.fen, 0) AS cash_fen
                FROM recon_vector v JOIN recon_item i USING (item) LEFT JOIN recon_cash k ON k.key = i.request_key
            ) AS w
        ), told AS (
            SELECT *, class IN ('', {explained}) OR class = 'amount' AND {_WITHIN} AS explained FROM verdict
        ), first AS (
            SELECT DISTINCT ON (item) item, class, explained, pair,
                -- Where what payers bear comes to the same, the bills may not, or what patients paid.
                coalesce(nullif(x[3] + x[4] + x[5] + x[6] - h[3] - h[4] - h[5] - h[6], 0),
                    nullif(x[7] + x[8] - h[7] - h[8], 0), cash_fen) AS difference_fen
            FROM told ORDER BY item, explained, class = '', pair
        ), figures AS (SELECT item, {figures} FROM recon_part p WHERE p.apart = 0 GROUP BY item)
        SELECT f.*, g.figures0, g.figures1, g.figures2 FROM first f LEFT JOIN figures g USING (item)"""


def _figures(pair: int) -> str:
    """SQL for what a book has of an item, as it is kept with the break."""
    here = f"p.pair = {pair}"
    corrected = "CASE WHEN count(*) FILTER (WHERE p.pair = 0 AND p.correction) > 0 THEN 1 ELSE 0 END"
    settled = f"count(*) FILTER (WHERE {here} AND p.settles AND NOT p.correction)"

    def fen(column: str, which: str) -> str:
        return f"coalesce(sum(p.{column}_fen) FILTER (WHERE {here}{which}), 0)::bigint"

    return (
        f"jsonb_build_array({f'greatest({settled}, {corrected})' if pair == 0 else settled}, "
        f"count(*) FILTER (WHERE {here} AND NOT p.settles), {fen('amount', ' AND p.settles')}, "
        f"{fen('amount', ' AND NOT p.settles')}, {fen('account', '')})"
    )


_NONE = "'[0, 0, 0, 0, 0]'::jsonb"
_STORE = """
INSERT INTO recon_break (run_id, class, key, case_id, leg_no, institution, payer, settlement_no, request_id, reference,
    hub, payer_side, hospital, difference_fen, first_day, state, proposal, reason)
SELECT :run_id, k.class, i.key, i.case_id, i.leg_no, i.institution, i.payer, i.settlement_no, i.request_id,
    i.reference, coalesce(k.figures0, {none}), {payer}, {hospital}, k.difference_fen,
    least(:day, coalesce(before.first_day, :day)), CASE WHEN k.explained THEN 'explained' ELSE 'open' END, '', ''
FROM recon_class k JOIN recon_item i USING (item)
LEFT JOIN LATERAL (
    SELECT min(b.first_day) AS first_day FROM recon_break b JOIN recon_run r USING (run_id)
    WHERE b.key = i.key AND r.party = :party AND r.scheme = :scheme AND r.run_id <> :run_id
) AS before ON true
WHERE k.class <> ''
"""


def store_breaks(connection: Connection, side: HubSide, run_id: int) -> list[tuple[str, str, int]]:
    """Store what `classify` found as breaks of the run: how many of each class and state."""

    def of(pair: int) -> str:
        held = f"EXISTS (SELECT 1 FROM recon_compared c WHERE c.item = i.item AND c.pair = {pair})"
        return f"CASE WHEN {held} THEN coalesce(k.figures{pair}, {_NONE}) END"

    statement = _STORE.format(none=_NONE, payer=of(PAYER), hospital=of(HOSPITAL))
    connection.execute(text(statement), side.values | {"run_id": run_id})
    return counted(connection, run_id)


def counted(connection: Connection, run_id: int) -> list[tuple[str, str, int]]:
    """How many breaks of each class and state a run has."""
    query = text("SELECT class, state, count(*) FROM recon_break WHERE run_id = :run_id GROUP BY class, state")
    return [(name, state, int(count)) for name, state, count in connection.execute(query, {"run_id": run_id})]
