"""The second step of matching, its facts: what every side has of an item that differs, on the day and around it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from store.hub_side import SETTLES, HubSide
from store.matching_rows import NUMBER_OF_PAYER, WELL_FORMED, Statements, only_of_payer

_TABLES = (
    """
    CREATE TEMP TABLE recon_loose (pair smallint, statement_id bigint, line_no integer, settles boolean,
        total_fen bigint, amount_fen bigint, account_fen bigint, institution text, payer text, settlement_no text,
        request_id text, reference text, case_id uuid, leg_no smallint, key text) ON COMMIT DROP
    """,
    """
    CREATE TEMP TABLE recon_item (item integer GENERATED ALWAYS AS IDENTITY, case_id uuid, leg_no smallint, key text,
        institution text, payer text, settlement_no text, request_id text, reference text,
        under_way boolean, by_cancel boolean, late boolean) ON COMMIT DROP
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
    _set_loose_apart(connection, side, statements)
    if connection.execute(text("SELECT EXISTS (SELECT 1 FROM recon_loose)")).scalar_one():
        _find_loose(connection, side)
    _add_items(connection, side, due=due, now=now)
    if connection.execute(text("SELECT EXISTS (SELECT 1 FROM recon_item)")).scalar_one():
        connection.execute(text("ANALYZE recon_item"))
        _add_our_parts(connection, side)
        _add_their_parts(connection, side, statements)
        connection.execute(text("ANALYZE recon_part"))


def _legs_of(side: HubSide) -> str:
    """SQL for the legs `l` of cases `c` that could be on this party's books."""
    source = "settlement_case c" if side.whole else "settlement_case c JOIN settlement_leg l USING (case_id)"
    mine = "c.institution = :party" if side.kind == "institution" else "l.payer = :party"
    return f"{source} WHERE c.purpose = 'settle' AND {mine}"


def _set_loose_apart(connection: Connection, side: HubSide, statements: Statements) -> None:
    """Lines that name a request which is not this party's, and lines that were not found: `recon_loose`."""
    leg = "" if side.whole else " AND l.leg_no = f.leg_no"
    connection.execute(
        text(f"""
        CREATE TEMP TABLE recon_foreign ON COMMIT DROP AS
        SELECT f.case_id, f.leg_no FROM recon_candidate f
        WHERE NOT EXISTS (SELECT 1 FROM recon_hub h WHERE h.case_id = f.case_id AND h.leg_no = f.leg_no)
          AND NOT EXISTS (SELECT 1 FROM {_legs_of(side)} AND c.case_id = f.case_id{leg})"""),
        side.values,
    )
    if connection.execute(text("SELECT EXISTS (SELECT 1 FROM recon_foreign)")).scalar_one():
        connection.execute(text("DELETE FROM recon_candidate c USING recon_foreign f "
                                "WHERE c.case_id = f.case_id AND c.leg_no = f.leg_no"))  # fmt: skip
        same = "left(l.request_id, 32)" if side.whole else "l.request_id"
        own = "replace(f.case_id::text, '-', '')" + ("" if side.whole else " || '-' || f.leg_no")
        for pair in statements.pairs:
            connection.execute(
                text(f"INSERT INTO recon_loose SELECT {_LINE.format(pair=pair)} FROM statement_line l "
                     f"JOIN recon_foreign f ON {same} = {own} "
                     f"WHERE l.statement_id = ANY(:ids) AND {WELL_FORMED}{only_of_payer(side, pair)}"),
                side.values | {"ids": statements.ids_of(pair)},
            )  # fmt: skip
    connection.execute(
        text(f"INSERT INTO recon_loose SELECT {_LINE.format(pair='m.pair')} FROM recon_mapped m "
             "JOIN statement_line l USING (statement_id, line_no) WHERE m.case_id IS NULL")
    )  # fmt: skip


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
    request = "''" if side.whole else "replace(c.case_id::text, '-', '') || '-' || k.leg_no"
    connection.execute(
        text(f"""
        INSERT INTO recon_item (case_id, leg_no, key, institution, payer, settlement_no, request_id, reference,
            under_way, by_cancel, late)
        SELECT k.case_id, k.leg_no, 'case/' || k.case_id || '/' || k.leg_no, c.institution,
            {"''" if side.whole else "coalesce(f.payer, '')"}, c.settlement_no, {request},
            {"''" if side.whole else "coalesce(f.reference, '')"},
            coalesce(f.open_since > :due OR :early AND f.open_since IS NOT NULL, false),
            coalesce(h.by_cancel, false), coalesce(h.late, false)
        FROM (SELECT case_id, leg_no FROM recon_candidate
              UNION SELECT case_id, leg_no FROM recon_loose WHERE case_id IS NOT NULL) AS k
        JOIN settlement_case c USING (case_id)
        LEFT JOIN recon_hub h ON h.case_id = k.case_id AND h.leg_no = k.leg_no
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


def _add_their_parts(connection: Connection, side: HubSide, statements: Statements) -> None:
    for pair in statements.pairs:
        values = side.values | {"ids": statements.ids_of(pair)}
        same = "left(l.request_id, 32) = replace(i.case_id::text, '-', '')" if side.whole else (
            "l.request_id = i.request_id")  # fmt: skip
        connection.execute(
            text(f"""
            INSERT INTO recon_part
            SELECT i.item, {pair}, 0, l.kind = 'settle', l.total_fen, l.amount_fen, l.account_fen, false
            FROM recon_item i JOIN statement_line l ON {same}
            WHERE i.case_id IS NOT NULL AND l.statement_id = ANY(:ids) AND {WELL_FORMED}{only_of_payer(side, pair)}
              AND NOT EXISTS (SELECT 1 FROM recon_loose o WHERE o.statement_id = l.statement_id
                                                            AND o.line_no = l.line_no)"""),
            values,
        )
    for source, same in (
        ("recon_mapped", "o.case_id = i.case_id AND o.leg_no = i.leg_no"),
        ("recon_loose", "o.case_id = i.case_id AND o.leg_no = i.leg_no"),
        ("recon_loose", "o.case_id IS NULL AND o.key = i.key"),
    ):
        connection.execute(
            text(f"INSERT INTO recon_part SELECT i.item, o.pair, 0, o.settles, o.total_fen, o.amount_fen, "
                 f"o.account_fen, false FROM recon_item i JOIN {source} o ON {same}")
        )  # fmt: skip
    for pair, book in statements.near:
        _add_near_parts(connection, side, pair, book.statement_id, (book.day - side.day).days)


def _add_near_parts(connection: Connection, side: HubSide, pair: int, statement_id: int, apart: int) -> None:
    """What a book of another day has of our items, by whatever number its lines go."""
    payer = " AND l.payer = i.payer" if side.kind == "institution" and not side.whole else ""
    by_number = f"l.institution = i.institution AND l.settlement_no = i.settlement_no{payer}"
    if side.whole:
        ways = [
            f"{WELL_FORMED} AND left(l.request_id, 32) = replace(i.case_id::text, '-', '')",
            f"NOT {WELL_FORMED} AND l.settlement_no <> '' AND {by_number}",
        ]
    else:
        ways = [
            "l.request_id <> '' AND l.request_id = i.request_id",
            f"NOT {WELL_FORMED} AND l.reference <> '' AND l.reference = i.reference{payer}",
            f"NOT {WELL_FORMED} AND NOT (l.reference <> '' AND l.reference = i.reference{payer}) "
            f"AND l.settlement_no <> '' AND {by_number}",
        ]
    for way in ways:
        connection.execute(
            text(f"INSERT INTO recon_part SELECT i.item, {pair}, :apart, l.kind = 'settle', l.total_fen, l.amount_fen, "
                 f"l.account_fen, false FROM recon_item i JOIN statement_line l ON {way} "
                 f"WHERE l.statement_id = :id{only_of_payer(side, pair)}"),
            side.values | {"id": statement_id, "apart": apart},
        )  # fmt: skip
