"""The first step of matching: every side's rows under our keys, and in one pass the items that differ at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from store.hub_side import HubSide

PAYER, HOSPITAL = 1, 2
"""The books that are held against ours; ours are 0."""
KEY_SHAPE = "'^[0-9a-f]{32}-(0|[1-9][0-9]{0,3})$'"
"""SQL for how our keys look."""
NUMBER_OF_PAYER = "split_part(l.payer_reference, '/', 1)"
"""SQL for the payer's number of the settlement of a leg `l`; the number of the visit may stand behind it."""


@dataclass(frozen=True, slots=True)
class Book:
    """A standing statement. `by_payer`: its lines name payers. `gross`: its amounts hold the personal account too."""

    statement_id: int
    party: str
    day: date
    by_payer: bool
    gross: bool


@dataclass(frozen=True, slots=True)
class Statements:
    """What is there to compare with. `near`: of the neighbouring days, by the pair that they belong to.

    `own` is the party's, None when it has not come; `hospitals` are those held against a payer's and our books.
    """

    own: Book | None
    own_pair: int
    hospitals: tuple[Book, ...] = ()
    near: tuple[tuple[int, Book], ...] = ()
    totals_carried: bool = False
    cash_carried: bool = False

    @property
    def today(self) -> tuple[tuple[int, Book], ...]:
        """The statements of the day itself, each with its pair."""
        own = ((self.own_pair, self.own),) if self.own is not None else ()
        return own + tuple((HOSPITAL, book) for book in self.hospitals)

    @property
    def pairs(self) -> tuple[int, ...]:
        """Who is held against our books."""
        return tuple(sorted({pair for pair, _ in self.today}))

    @property
    def ids(self) -> tuple[int, ...]:
        """The statements of the day."""
        return tuple(book.statement_id for _, book in self.today)

    def ids_of(self, pair: int) -> list[int]:
        """The statements of the day of one pair."""
        return [book.statement_id for one, book in self.today if one == pair]

    def gross_of(self, pair: int) -> list[str]:
        """Whose amounts of this pair hold the personal account too."""
        return [book.party for one, book in self.today if one == pair and book.gross]


_OWN = text(
    "SELECT statement_id, party, scheme, day, by_payer = 1 FROM statement WHERE state = 'standing' "
    "AND party = :party AND scheme = :scheme AND day BETWEEN :first_day AND :last_day ORDER BY day"
)
# An institution with several schemes has one book of settlements: the scheme of the same name, else the usual one.
_HOSPITALS = text(
    "SELECT DISTINCT ON (party, day) statement_id, party, scheme, day, by_payer = 1 FROM statement "
    "WHERE state = 'standing' AND party = ANY(:hospitals) AND day BETWEEN :first_day AND :last_day "
    "AND by_payer = 1 "
    "ORDER BY party, day, scheme = :scheme DESC, scheme = 'daily' DESC, scheme"
)
_CARRIED = text("SELECT EXISTS (SELECT 1 FROM statement_line WHERE statement_id = :id AND total_fen <> 0)")

_CASH_CARRIED = text("SELECT EXISTS (SELECT 1 FROM statement_line WHERE statement_id = :id AND cash_fen <> 0)")


def find_statements(
    connection: Connection,
    side: HubSide,
    *,
    hospitals: Sequence[str],
    grosses: frozenset[tuple[str, str]],
) -> Statements:
    """The standing statements of the day and its neighbours. `hospitals`: institutions to hold against a payer."""
    pair = PAYER if side.kind == "payer" else HOSPITAL

    def read(query: Any, **more: Any) -> list[Book]:
        rows = connection.execute(query, side.values | more)
        return [
            Book(int(number), party, day, by_payer, (party, scheme) in grosses)
            for number, party, scheme, day, by_payer in rows
        ]

    books = [(pair, book) for book in read(_OWN)]
    if side.kind == "payer" and side.scheme.hospital == "compared":
        books += [(HOSPITAL, book) for book in read(_HOSPITALS, hospitals=list(hospitals))]
    own = next((book for one, book in books if book.party == side.scheme.party and book.day == side.day), None)
    today = tuple(book for one, book in books if book.day == side.day and book is not own)
    near = tuple((one, book) for one, book in books if book.day != side.day)
    whole = own is not None and pair == HOSPITAL and not own.by_payer
    carried = whole and own is not None and connection.execute(_CARRIED, {"id": own.statement_id}).scalar_one()
    wanted = whole and own is not None and side.scheme.cash == "compared"
    cash = wanted and own is not None and connection.execute(_CASH_CARRIED, {"id": own.statement_id}).scalar_one()
    return Statements(own, pair, today, near, bool(carried), bool(cash))


def only_of_payer(side: HubSide, pair: int) -> str:
    """SQL that a line `l` is about this payer: hospitals' statements are about many."""
    return " AND l.payer = :party" if side.kind == "payer" and pair == HOSPITAL else ""


def resolve(connection: Connection, side: HubSide, statements: Statements) -> None:
    """What lines that do not name our request are known by: the temporary tables `recon_reference` and `recon_name`.

    The payer's own number goes before the institution's. Both lead to keys of `recon_hub`.
    """
    ids = [book.statement_id for _, book in statements.today]
    by_reference = not side.whole and _any(connection, ids, "l.reference <> ''")
    by_number = _any(connection, ids, "l.settlement_no <> ''")
    connection.execute(text(_references() if by_reference else _NO_REFERENCES))
    connection.execute(text(_names(side) if by_number else _NO_NAMES))
    for table in ("recon_reference", "recon_name"):
        connection.execute(text(f"ANALYZE {table}"))


def _any(connection: Connection, ids: list[int], known_by: str) -> bool:
    query = (
        f"SELECT EXISTS (SELECT 1 FROM statement_line l WHERE l.statement_id = ANY(:ids) "
        f"AND l.request_id = '' AND {known_by})"
    )
    return bool(connection.execute(text(query), {"ids": ids}).scalar_one())


_NO_REFERENCES = "CREATE TEMP TABLE recon_reference (reference text, payer text, key text) ON COMMIT DROP"
_NO_NAMES = (
    "CREATE TEMP TABLE recon_name (institution text, settlement_no text, payer text, key text, several boolean) "
    "ON COMMIT DROP"
)


def _references() -> str:
    # A number that a payer used twice says nothing.
    return (
        f"CREATE TEMP TABLE recon_reference ON COMMIT DROP AS SELECT {NUMBER_OF_PAYER} AS reference, h.payer, "
        "min(h.key) AS key FROM recon_hub h JOIN settlement_leg l USING (case_id, leg_no) "
        f"WHERE l.payer_reference <> '' GROUP BY {NUMBER_OF_PAYER}, h.payer HAVING count(*) = 1"
    )


def _names(side: HubSide) -> str:
    """Where a payer has several legs in a case, its number says which case, and no more: see `matching_items`."""
    payer = "payer" if side.kind == "institution" else "''::text"
    return f"""
        CREATE TEMP TABLE recon_name ON COMMIT DROP AS
        SELECT c.institution, c.settlement_no, h.payer, replace(h.case_id::text, '-', '') || '-' || h.leg_no AS key,
            h.several
        FROM (SELECT case_id, {payer} AS payer, min(leg_no) AS leg_no, min(leg_no) <> max(leg_no) AS several
              FROM recon_hub GROUP BY case_id, {payer}) h
        JOIN settlement_case c USING (case_id)"""


def keyed_lines(side: HubSide, pair: int) -> str:
    """SQL: the lines `l` of one book without our request, with the `key` that they lead to; null where to none."""
    same_payer = side.kind == "institution" and not side.whole
    return f"""
        (SELECT l.*, coalesce(r.key, n.key) AS key
        FROM statement_line l
        LEFT JOIN recon_reference r ON r.reference = l.reference{" AND r.payer = l.payer" if same_payer else ""}
        LEFT JOIN recon_name n ON n.institution = l.institution AND n.settlement_no = l.settlement_no AND NOT n.several
            {" AND n.payer = l.payer" if same_payer else ""}
        WHERE l.statement_id = ANY(:ids{pair}) AND l.request_id = ''{only_of_payer(side, pair)})"""


def request_key(side: HubSide) -> str:
    """SQL: the key that the request of a line `l` leads to, if it is one of ours."""
    return "left(l.request_id, 32) || '-0'" if side.whole else "l.request_id"


def values_of(side: HubSide, statements: Statements) -> dict[str, Any]:
    """The parameters of everything that reads the statements of the day."""
    values = side.values | {"covered": [book.party for book in statements.hospitals]}
    for pair in (PAYER, HOSPITAL):
        values |= {f"ids{pair}": statements.ids_of(pair), f"gross{pair}": statements.gross_of(pair)}
    return values


def of_the_day(connection: Connection, statement: str, values: Mapping[str, Any]) -> None:
    """Run a statement that joins nothing but the day's own rows, which are many, whatever the statistics say.

    Lines that have just come are in no statistics: the planner would take them for a few, and walk through the others
    for each of them.
    """
    connection.execute(text("SET LOCAL enable_nestloop = off"))
    connection.execute(text(statement), values)
    connection.execute(text("SET LOCAL enable_nestloop = on"))


_EXCUSED = """
    SELECT h.key FROM recon_hub h WHERE (h.case_id, h.leg_no) IN (
        SELECT b.case_id, b.leg_no FROM recon_break b JOIN recon_run r USING (run_id)
        WHERE r.party = :party AND r.scheme = :scheme AND r.day BETWEEN :first_day AND :last_day AND r.day <> :day
          AND r.state IN ('done', 'signed_off') AND b.class = 'late_cut_off')"""


def excused(connection: Connection, side: HubSide) -> None:
    """Mark the items whose entries of this day a neighbouring day has had already."""
    connection.execute(
        text(f"UPDATE recon_item SET excused = true WHERE request_key IN ({_EXCUSED})"),
        side.values,
    )


def compare(connection: Connection, side: HubSide, statements: Statements) -> int:
    """How many of our items have the very same rows in every book that is compared.

    The keys of all others, ours and theirs, are the temporary table `recon_candidate`; null stands for lines that lead
    to nothing of ours. Rows of which nobody bears anything are in no book. What a neighbouring day was excused with is
    looked at once more.
    """
    connection.execute(text("CREATE TEMP TABLE recon_candidate (key text) ON COMMIT DROP"))
    connection.execute(text("CREATE TEMP TABLE recon_cash (key text, fen bigint) ON COMMIT DROP"))
    if statements.pairs:
        sources = _our_rows(side, statements)
        for pair in statements.pairs:
            sources += _their_rows(side, statements, pair)
        counters = [f"sum(in{pair}) <> 0" for pair in statements.pairs]
        of_the_day(
            connection,
            f"""
            INSERT INTO recon_candidate
            SELECT DISTINCT key FROM (
                SELECT key FROM ({" UNION ALL ".join(sources)}) AS row
                GROUP BY key, settles, amount, account, total HAVING {" OR ".join(counters)}) AS differing""",
            values_of(side, statements),
        )
        connection.execute(text(f"INSERT INTO recon_candidate {_EXCUSED}"), side.values)
        _compare_cash(connection, side, statements)
        connection.execute(text("ANALYZE recon_candidate"))
    agreeing = "SELECT count(*) FROM recon_hub h WHERE NOT EXISTS (SELECT 1 FROM recon_candidate c WHERE c.key = h.key)"
    return int(connection.execute(text(agreeing)).scalar_one())


def _compare_cash(connection: Connection, side: HubSide, statements: Statements) -> None:
    """The items of which the institution says that the patient paid something else, by how much: `recon_cash`.

    Not those with a late share: an institution may tell it as a row of its own or in the settlement's.
    """
    if not statements.cash_carried:
        return
    of_the_day(
        connection,
        f"""
        INSERT INTO recon_cash SELECT h.key, x.fen - h.cash_fen FROM recon_hub h JOIN (
            SELECT key, sum(fen)::bigint AS fen FROM (
                SELECT {request_key(side)} AS key, l.cash_fen AS fen FROM statement_line l
                WHERE l.statement_id = ANY(:ids{HOSPITAL}) AND l.request_id <> ''
                UNION ALL SELECT l.key, l.cash_fen FROM {keyed_lines(side, HOSPITAL)} AS l
            ) AS line GROUP BY key) AS x USING (key)
        WHERE x.fen <> h.cash_fen AND NOT h.late""",
        values_of(side, statements),
    )
    connection.execute(
        text("INSERT INTO recon_candidate SELECT key FROM recon_cash EXCEPT SELECT key FROM recon_candidate")
    )


def _our_rows(side: HubSide, statements: Statements) -> list[str]:
    """SQL: our rows, counted down in every book that they are held against, in the terms of that book."""
    in_same_terms = not any(statements.gross_of(pair) for pair in statements.pairs)
    groups = [statements.pairs] if in_same_terms else [(pair,) for pair in statements.pairs]
    found = []
    for pairs in groups:
        gross = "false" if in_same_terms else _gross(side, statements, pairs[0])
        columns = ", ".join(_counter(pair, _covered(side, pair) if pair in pairs else None, -1) for pair in (1, 2))
        for settles, name in ((True, "settled"), (False, "refunded")):
            amount, account = f"{name}_fen", f"account_{name}_fen"
            total = f"total_{name}_fen" if statements.totals_carried else "0::bigint"
            found.append(
                f"SELECT key, {str(settles).lower()} AS settles, "
                f"CASE WHEN {gross} THEN {amount} + {account} ELSE {amount} END AS amount, "
                f"CASE WHEN {gross} THEN 0 ELSE {account} END AS account, {total} AS total, {columns} "
                f"FROM recon_hub WHERE {amount} <> 0 OR {account} <> 0"
            )
    return found


def _their_rows(side: HubSide, statements: Statements, pair: int) -> list[str]:
    """SQL: the rows of one book, counted up; those that name our request, and the others."""
    columns = ", ".join(_counter(one, "true" if one == pair else None, 1) for one in (1, 2))
    account = f"CASE WHEN {_gross(side, statements, pair, 'l.')} THEN 0 ELSE l.account_fen END"
    total = "l.total_fen" if statements.totals_carried else "0::bigint"
    rest = f"l.kind = 'settle', l.amount_fen, {account}, {total}, {columns}"
    borne = "(l.amount_fen <> 0 OR l.account_fen <> 0)"
    return [
        f"SELECT {request_key(side)}, {rest} FROM statement_line l WHERE l.statement_id = ANY(:ids{pair}) "
        f"AND l.request_id <> '' AND {borne}{only_of_payer(side, pair)}",
        f"SELECT l.key, {rest} FROM {keyed_lines(side, pair)} AS l WHERE {borne}",
    ]


def _counter(pair: int, when: str | None, step: int) -> str:
    if when is None:
        return f"0 AS in{pair}"
    return f"{step} AS in{pair}" if when == "true" else f"CASE WHEN {when} THEN {step} ELSE 0 END AS in{pair}"


def _covered(side: HubSide, pair: int) -> str:
    return "institution = ANY(:covered)" if pair == HOSPITAL and side.kind == "payer" else "true"


def _gross(side: HubSide, statements: Statements, pair: int, of: str = "") -> str:
    """SQL: whether amounts of this book hold the personal account too."""
    if not statements.gross_of(pair):
        return "false"
    return f"{of}institution = ANY(:gross{pair})" if pair == HOSPITAL and side.kind == "payer" else "true"
