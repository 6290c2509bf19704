"""The second step of matching, its facts: what every side has of an item that differs, on the day and around it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from store.hub_side import KINDS, SETTLES, HubSide
from store.matching_rows import (
    HOSPITAL,
    KEY_SHAPE,
    NUMBER_OF_PAYER,
    Statements,
    excused,
    keyed_lines,
    of_the_day,
    only_of_payer,
    request_key,
    values_of,
)

_TABLES = (
    """
    CREATE TEMP TABLE recon_loose (pair smallint, statement_id bigint, line_no integer, settles boolean,
        total_fen bigint, amount_fen bigint, account_fen bigint, institution text, payer text, settlement_no text,
        request_id text, reference text, case_id uuid, leg_no smallint, key text) ON COMMIT DROP
    """,
    """
    CREATE TEMP TABLE recon_item (item integer GENERATED ALWAYS AS IDENTITY, case_id uuid, leg_no smallint,
        request_key text, key text, institution text, payer text, settlement_no text, request_id text, reference text,
        under_way boolean, by_cancel boolean, late boolean, several boolean DEFAULT false,
        used_twice boolean DEFAULT false, excused boolean DEFAULT false) ON COMMIT DROP
    """,
    """
    CREATE TEMP TABLE recon_part (item integer, pair smallint, apart integer, settles boolean,
        total_fen bigint, amount_fen bigint, account_fen bigint, correction boolean) ON COMMIT DROP
    """,
)
_LINE = (
    "{pair}, l.statement_id, l.line_no, l.kind = 'settle', l.total_fen, l.amount_fen, l.account_fen, l.institution, "
    "l.payer, l.settlement_no, l.request_id, l.reference"
)


def gather(connection: Connection, side: HubSide, statements: Statements, *, due: datetime, now: datetime) -> None:
    """The temporary tables `recon_item` (what differs) and `recon_part` (what each book has of it, row by row)."""
    for table in _TABLES:
        connection.execute(text(table))
    connection.execute(text(_known_elsewhere(side)), side.values)
    _set_loose_apart(connection, side, statements)
    if _any(connection, "recon_loose"):
        _find_loose(connection, side)
    _add_items(connection, side, due=due, now=now)
    if _any(connection, "recon_item"):
        connection.execute(text("ANALYZE recon_item"))
        if not side.whole:
            _doubt_names(connection, side, statements)
        excused(connection, side)
        _add_our_parts(connection, side)
        _add_their_parts(connection, side, statements)
        if HOSPITAL in statements.pairs and _holds_a_part(side):
            connection.execute(text(_of_other_schemes(side)), side.values)
        connection.execute(text("ANALYZE recon_part"))


def _any(connection: Connection, table: str, where: str = "true") -> bool:
    return bool(connection.execute(text(f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {where})")).scalar_one())


def _known_elsewhere(side: HubSide) -> str:
    """SQL: requests of this party that lines name and that we have not booked on this day, as `recon_known`."""
    source = "settlement_case c" if side.whole else "settlement_case c JOIN settlement_leg l USING (case_id)"
    mine = "c.institution = :party" if side.kind == "institution" else "l.payer = :party"
    leg = "f.leg_no = 0" if side.whole else "l.leg_no = f.leg_no"
    return f"""
        CREATE TEMP TABLE recon_known ON COMMIT DROP AS
        WITH named AS MATERIALIZED (
            SELECT d.key, CASE WHEN d.key ~ {KEY_SHAPE} THEN CAST(left(d.key, 32) AS uuid) END AS case_id,
                CASE WHEN d.key ~ {KEY_SHAPE} THEN CAST(substr(d.key, 34) AS smallint) END AS leg_no
            FROM recon_candidate d
            WHERE d.key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM recon_hub h WHERE h.key = d.key)
        )
        SELECT f.* FROM named f WHERE EXISTS (
            SELECT 1 FROM {source} WHERE c.purpose = 'settle' AND {mine} AND c.case_id = f.case_id AND {leg})"""


def _set_loose_apart(connection: Connection, side: HubSide, statements: Statements) -> None:
    """Lines that name a request which is not this party's, and lines that were not found: `recon_loose`."""
    foreign = (
        "SELECT d.key FROM recon_candidate d WHERE d.key IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM recon_hub h WHERE h.key = d.key) "
        "AND NOT EXISTS (SELECT 1 FROM recon_known k WHERE k.key = d.key)"
    )
    values = values_of(side, statements)
    named = _any(connection, f"({foreign}) AS f")
    nameless = _any(connection, "recon_candidate", "key IS NULL")
    for pair in statements.pairs:
        into = f"INSERT INTO recon_loose SELECT {_LINE.format(pair=pair)} FROM"
        mine = f"l.statement_id = ANY(:ids{pair}){only_of_payer(side, pair)}"
        if named:
            same = f"f.key = {request_key(side)}"
            connection.execute(
                text(f"{into} statement_line l JOIN ({foreign}) f ON {same} WHERE {mine} AND l.request_id <> ''"),
                values,
            )
        if nameless:
            of_the_day(connection, f"{into} {keyed_lines(side, pair)} AS l WHERE l.key IS NULL", values)


def _find_loose(connection: Connection, side: HubSide) -> None:
    """Look for loose lines among everything that we know, on any day; what is not found keeps its own name."""
    connection.execute(text("ANALYZE recon_loose"))
    if not side.whole:
        connection.execute(text(_by_reference(side)), side.values)
    connection.execute(text(_by_number(side)), side.values)
    number = "institution || '/' || settlement_no"
    if side.kind == "institution" and not side.whole:
        number += " || '/' || payer"
    connection.execute(
        text(f"UPDATE recon_loose SET key = 'line/' || CASE WHEN settlement_no <> '' AND institution <> '' "
             f"THEN {number} WHEN request_id <> '' THEN request_id ELSE reference END WHERE case_id IS NULL")
    )  # fmt: skip


def _by_reference(side: HubSide) -> str:
    """The payer's number, among what was booked around the day; a number that was used twice says nothing."""
    payer = " AND w.payer = o.payer" if side.kind == "institution" else ""
    return f"""
        UPDATE recon_loose o SET case_id = w.case_id, leg_no = w.leg_no
        FROM (SELECT {NUMBER_OF_PAYER} AS reference, l.payer, (array_agg(l.case_id))[1] AS case_id,
                  min(l.leg_no) AS leg_no
              FROM (SELECT DISTINCT e.case_id, e.leg_no FROM ledger_entry e
                    WHERE {side.on_near_days} AND {side.belongs}
                      AND EXISTS (SELECT 1 FROM recon_loose WHERE reference <> '' AND case_id IS NULL)) AS b
              JOIN settlement_leg l USING (case_id, leg_no)
              WHERE {NUMBER_OF_PAYER} IN (SELECT reference FROM recon_loose WHERE reference <> '')
              GROUP BY {NUMBER_OF_PAYER}, l.payer HAVING count(*) = 1) AS w
        WHERE o.case_id IS NULL AND o.reference = w.reference{payer}"""


def _by_number(side: HubSide) -> str:
    """The institution's number. Of a payer with several legs in a case, the larger line is taken for the larger leg."""
    if side.whole:
        return """
            UPDATE recon_loose o SET case_id = c.case_id, leg_no = 0 FROM settlement_case c
            WHERE o.case_id IS NULL AND o.settlement_no <> '' AND c.institution = o.institution
              AND c.case_key = o.settlement_no AND c.institution = :party AND c.purpose = 'settle'"""
    payer = ":party" if side.kind == "payer" else "o.payer"
    party = " AND o.institution = :party" if side.kind == "institution" else ""
    return f"""
        UPDATE recon_loose u SET case_id = found.case_id, leg_no = found.leg_no
        FROM (
            SELECT line.statement_id, line.line_no, leg.case_id, leg.leg_no
            FROM (SELECT o.statement_id, o.line_no, o.institution, o.settlement_no, {payer} AS payer,
                      row_number() OVER (PARTITION BY o.statement_id, o.institution, o.settlement_no, {payer}, o.settles
                          ORDER BY abs(o.amount_fen) DESC, o.line_no) AS rank
                  FROM recon_loose o WHERE o.case_id IS NULL AND o.settlement_no <> ''{party}) AS line
            JOIN (SELECT c.institution, c.settlement_no, c.case_id, l.leg_no, l.payer,
                      row_number() OVER (PARTITION BY c.case_id, l.payer
                          ORDER BY l.state IN ('declined', 'not_needed'), l.amount_fen DESC, l.leg_no) AS rank,
                      greatest(1, count(*) FILTER (WHERE l.state NOT IN ('declined', 'not_needed'))
                          OVER (PARTITION BY c.case_id, l.payer)) AS legs
                  FROM (SELECT DISTINCT institution, settlement_no FROM recon_loose WHERE settlement_no <> '') AS n
                  JOIN settlement_case c ON c.institution = n.institution AND c.case_key = n.settlement_no
                  JOIN settlement_leg l USING (case_id)
                  WHERE c.purpose = 'settle'{" AND l.payer = :party" if side.kind == "payer" else ""}) AS leg
              ON leg.institution = line.institution AND leg.settlement_no = line.settlement_no
                 AND leg.payer = line.payer AND leg.rank = least(line.rank, leg.legs)
        ) AS found
        WHERE u.statement_id = found.statement_id AND u.line_no = found.line_no"""


_UNDER_WAY = "('planned', 'claimed', 'in_doubt', 'held', 'deferred', 'cancelling', 'cancel_held', 'reversing')"


def _add_items(connection: Connection, side: HubSide, *, due: datetime, now: datetime) -> None:
    legs = "l.case_id = c.case_id" if side.whole else "l.case_id = c.case_id AND l.leg_no = k.leg_no"
    connection.execute(
        text(f"""
        INSERT INTO recon_item (case_id, leg_no, request_key, key, institution, payer, settlement_no, request_id,
            reference, under_way, by_cancel, late)
        SELECT k.case_id, k.leg_no, h_key.key, 'case/' || k.case_id || '/' || k.leg_no, c.institution,
            {"''" if side.whole else "coalesce(f.payer, '')"}, c.settlement_no, {"''" if side.whole else "h_key.key"},
            {"''" if side.whole else "coalesce(f.reference, '')"},
            coalesce(f.open_since > :due OR :early AND f.open_since IS NOT NULL, false),
            coalesce(h.by_cancel, false), coalesce(h.late, false)
        FROM (SELECT h.case_id, h.leg_no FROM recon_candidate d JOIN recon_hub h USING (key)
              UNION SELECT case_id, leg_no FROM recon_known
              UNION SELECT case_id, leg_no FROM recon_loose WHERE case_id IS NOT NULL) AS k
        CROSS JOIN LATERAL (SELECT replace(k.case_id::text, '-', '') || '-' || k.leg_no AS key) AS h_key
        JOIN settlement_case c USING (case_id)
        LEFT JOIN recon_hub h ON h.key = h_key.key
        LEFT JOIN LATERAL (
            SELECT min(l.payer) AS payer, min({NUMBER_OF_PAYER}) AS reference,
                max(coalesce(l.doubt_since, l.claimed_at, c.received_at)) FILTER (WHERE l.state IN {_UNDER_WAY})
                    AS open_since
            FROM settlement_leg l WHERE {legs}
        ) AS f ON true"""),
        side.values | {"due": due, "early": now < due},
    )
    connection.execute(
        text("""
        INSERT INTO recon_item (key, institution, payer, settlement_no, request_id, reference, under_way, by_cancel,
            late)
        SELECT key, min(institution), min(payer), min(settlement_no), min(request_id), min(reference), false, false,
            false
        FROM (SELECT key, institution, CASE WHEN payer = '' AND :is_payer THEN :party ELSE payer END AS payer,
                  settlement_no, request_id, reference FROM recon_loose WHERE case_id IS NULL
              UNION ALL SELECT key, institution, payer, '', '', '' FROM recon_correction WHERE case_id IS NULL) AS l
        GROUP BY key"""),
        side.values | {"is_payer": side.kind == "payer"},
    )


def _doubt_names(connection: Connection, side: HubSide, statements: Statements) -> None:
    """Mark items whose case has several shares of the payer, and those whose payer's number was used twice: a line of
    another day that says no more could be about either, and must not excuse both."""
    near = [book.statement_id for _, book in statements.near]
    by_name = "statement_line l WHERE l.statement_id = ANY(:near) AND (l.request_id = '' OR NOT l.request_id ~ :shape)"
    values = side.values | {"near": near, "shape": KEY_SHAPE.strip("'")}
    if not connection.execute(text(f"SELECT EXISTS (SELECT 1 FROM {by_name})"), values).scalar_one():
        return
    connection.execute(
        text("""
        UPDATE recon_item i SET several = true FROM settlement_leg l
        WHERE l.case_id = i.case_id AND l.payer = i.payer AND l.leg_no <> i.leg_no
          AND l.state NOT IN ('declined', 'not_needed')""")
    )
    connection.execute(
        text(f"""
        UPDATE recon_item i SET used_twice = true
        FROM (SELECT {NUMBER_OF_PAYER} AS reference, l.payer
              FROM (SELECT DISTINCT e.case_id, e.leg_no FROM ledger_entry e
                    WHERE {side.on_near_days} AND {side.belongs}
                      AND EXISTS (SELECT 1 FROM {by_name} AND l.reference <> '')) AS b
              JOIN settlement_leg l USING (case_id, leg_no)
              WHERE {NUMBER_OF_PAYER} IN (SELECT reference FROM recon_item WHERE reference <> '')
              GROUP BY {NUMBER_OF_PAYER}, l.payer HAVING count(*) > 1) AS t
        WHERE i.reference = t.reference AND i.payer = t.payer"""),
        values,
    )


# What was written off on its own day is not ours any more when the payer's row comes a day late.
_CORRECTED_NEAR = """
    INSERT INTO recon_part
    SELECT i.item, 0, e.about_day - :day, true, 0,
        coalesce(sum(CASE WHEN e.debit = 'receivable' THEN e.amount_fen ELSE -e.amount_fen END)
            FILTER (WHERE 'receivable' IN (e.debit, e.credit)), 0)::bigint,
        coalesce(sum(CASE WHEN e.debit = 'personal' THEN e.amount_fen ELSE -e.amount_fen END)
            FILTER (WHERE 'personal' IN (e.debit, e.credit)), 0)::bigint,
        true
    FROM recon_item i JOIN ledger_entry e ON e.case_id = i.case_id AND e.leg_no = i.leg_no
    WHERE e.kind = 'correction' AND e.payer = :party AND e.about_day BETWEEN :first_day AND :last_day
      AND e.about_day <> :day
    GROUP BY i.item, e.about_day"""


def _add_our_parts(connection: Connection, side: HubSide) -> None:
    leg = "" if side.whole else " AND e.leg_no = i.leg_no"
    sign = f"CASE WHEN {SETTLES} THEN 1 ELSE -1 END"

    def of(account: str) -> str:
        return f"coalesce(sum({sign} * e.amount_fen) FILTER (WHERE '{account}' IN (e.debit, e.credit)), 0)::bigint"

    connection.execute(
        text(f"""
        INSERT INTO recon_part
        SELECT i.item, 0, {side.day_of_entry} - :day, {SETTLES}, {of("charges")}, {of("receivable")}, {of("personal")},
            false
        FROM recon_item i JOIN ledger_entry e ON e.case_id = i.case_id{leg}
        WHERE {side.on_near_days} AND {side.belongs}
        GROUP BY i.item, {side.day_of_entry}, {SETTLES}"""),
        side.values,
    )
    connection.execute(
        text("""
        INSERT INTO recon_part SELECT i.item, 0, 0, true, 0, c.fen, c.account_fen, true
        FROM recon_item i JOIN recon_correction c ON c.key = i.key""")
    )
    if side.kind == "payer":
        connection.execute(text(_CORRECTED_NEAR), side.values)


_OF_LINE = "l.kind = 'settle', l.total_fen, l.amount_fen, l.account_fen, false"


def _add_their_parts(connection: Connection, side: HubSide, statements: Statements) -> None:
    values = values_of(side, statements)
    same_payer = side.kind == "institution" and not side.whole
    same_reference = f"r.reference = l.reference{' AND r.payer = l.payer' if same_payer else ''}"
    for pair in statements.pairs:
        mine = f"l.statement_id = ANY(:ids{pair}){only_of_payer(side, pair)}"
        ways = (
            f"FROM recon_item i JOIN statement_line l ON {request_key(side)} = i.request_key "
            f"WHERE l.request_id <> '' AND {mine}",
            "FROM recon_item i JOIN recon_reference r ON r.key = i.request_key "
            f"JOIN statement_line l ON {same_reference} WHERE l.request_id = '' AND {mine}",
            "FROM recon_item i JOIN recon_name n ON n.key = i.request_key AND NOT n.several "
            "JOIN statement_line l ON l.institution = n.institution AND l.settlement_no = n.settlement_no "
            f"{'AND l.payer = n.payer ' if same_payer else ''}WHERE l.request_id = '' AND {mine} "
            f"AND NOT EXISTS (SELECT 1 FROM recon_reference r WHERE {same_reference})",
        )
        for way in ways:
            of_the_day(connection, f"INSERT INTO recon_part SELECT i.item, {pair}, 0, {_OF_LINE} {way}", values)
    for same in ("o.case_id = i.case_id AND o.leg_no = i.leg_no", "o.key = i.key AND o.case_id IS NULL"):
        loose = "o.pair, 0, o.settles, o.total_fen, o.amount_fen, o.account_fen, false"
        of_the_day(
            connection,
            f"INSERT INTO recon_part SELECT i.item, {loose} FROM recon_item i JOIN recon_loose o ON {same}",
            {},
        )
    for pair, book in statements.near:
        _add_near_parts(connection, side, pair, book.statement_id, (book.day - side.day).days)


def _holds_a_part(side: HubSide) -> bool:
    """Whether these are not all books of a payer: an institution's statement does not say which of them it is about."""
    return side.kind == "payer" and (side.scheme.regions is not None or side.scheme.insurance_types is not None)


def _of_other_schemes(side: HubSide) -> str:
    """SQL: an institution's lines about shares that we have in this payer's other books are of no account here."""
    ours = "SELECT 1 FROM ledger_entry e WHERE e.case_id = i.case_id AND e.leg_no = i.leg_no"
    return f"""
        WITH other AS (
            DELETE FROM recon_part p USING recon_item i
            WHERE p.item = i.item AND p.pair = {HOSPITAL} AND i.case_id IS NOT NULL
              AND EXISTS ({ours} AND e.payer = :party AND e.kind IN {KINDS}) AND NOT EXISTS ({ours} AND {side.belongs})
            RETURNING p.item
        )
        DELETE FROM recon_item i WHERE i.item IN (SELECT item FROM other)
          AND NOT EXISTS (SELECT 1 FROM recon_part p WHERE p.item = i.item AND p.pair <> {HOSPITAL})"""


def _add_near_parts(connection: Connection, side: HubSide, pair: int, statement_id: int, apart: int) -> None:
    """What a book of another day has of our items, by whatever number its lines go."""
    payer = " AND l.payer = i.payer" if side.kind == "institution" and not side.whole else ""
    by_number = f"NOT i.several AND l.institution = i.institution AND l.settlement_no = i.settlement_no{payer}"
    by_reference = f"NOT i.used_twice AND l.reference <> '' AND l.reference = i.reference{payer}"
    # A line whose request is nobody's goes by its other numbers.
    nameless = "(l.request_id = '' OR NOT l.request_id ~ :shape)"
    ways = [
        f"{request_key(side)} = coalesce(i.request_key, i.request_id) AND l.request_id <> ''",
        f"{nameless} AND l.settlement_no <> '' AND {by_number}",
    ]
    if not side.whole:
        ways = [ways[0], f"{nameless} AND {by_reference}", f"{ways[1]} AND NOT ({by_reference})"]
    for way in ways:
        of_the_day(
            connection,
            f"INSERT INTO recon_part SELECT i.item, {pair}, :apart, {_OF_LINE} "
            f"FROM recon_item i JOIN statement_line l ON {way} WHERE l.statement_id = :id{only_of_payer(side, pair)}",
            side.values | {"id": statement_id, "apart": apart, "shape": KEY_SHAPE.strip("'")},
        )
