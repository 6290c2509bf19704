"""The first step of matching: every side's rows under our keys, and in one pass the items that differ at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from store.hub_side import HubSide

PAYER, HOSPITAL = 1, 2
"""The books that are held against ours; ours are 0."""
WELL_FORMED = "l.request_id ~ '^[0-9a-f]{32}-[1-9][0-9]{0,3}$'"
"""SQL that a line `l` names a request as we name them, so that it says case and leg by itself."""
NUMBER_OF_PAYER = "split_part(l.payer_reference, '/', 1)"
"""SQL for the payer's number of the settlement of a leg `l`; the number of the visit may stand behind it."""
CASE_OF_REQUEST = "CAST(left(l.request_id, 32) AS uuid)"
LEG_OF_REQUEST = "CAST(substr(l.request_id, 34) AS smallint)"


@dataclass(frozen=True, slots=True)
class Book:
    """A standing statement. `gross`: its amounts hold the personal account too."""

    statement_id: int
    party: str
    day: date
    form: str
    by_payer: bool
    gross: bool
    rows: int


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
    "SELECT statement_id, party, scheme, day, form, by_payer = 1, rows FROM statement WHERE state = 'standing' "
    "AND party = :party AND scheme = :scheme AND day BETWEEN :first_day AND :last_day ORDER BY day"
)
# An institution with several schemes has one book of settlements: the scheme of the same name, else the usual one.
_HOSPITALS = text(
    "SELECT DISTINCT ON (party, day) statement_id, party, scheme, day, form, by_payer = 1, rows FROM statement "
    "WHERE state = 'standing' AND party = ANY(:hospitals) AND day BETWEEN :first_day AND :last_day "
    "AND (by_payer = 1 OR rows = 0) AND (form <> 'national' OR :basic) "
    "ORDER BY party, day, scheme = :scheme DESC, scheme = 'daily' DESC, scheme"
)
_CARRIED = text("SELECT EXISTS (SELECT 1 FROM statement_line WHERE statement_id = :id AND total_fen <> 0)")


def find_statements(
    connection: Connection,
    side: HubSide,
    *,
    hospitals: Sequence[str],
    basic: bool,
    grosses: frozenset[tuple[str, str]],
) -> Statements:
    """The standing statements of the day and its neighbours. `hospitals`: institutions to hold against a payer."""
    pair = PAYER if side.kind == "payer" else HOSPITAL

    def read(query: Any, **more: Any) -> list[Book]:
        rows = connection.execute(query, side.values | more)
        return [
            Book(int(number), party, day, form, by_payer, (party, scheme) in grosses, rows_)
            for number, party, scheme, day, form, by_payer, rows_ in rows
        ]

    books = [(pair, book) for book in read(_OWN)]
    if side.kind == "payer" and side.scheme.hospital == "compared":
        books += [(HOSPITAL, book) for book in read(_HOSPITALS, hospitals=list(hospitals), basic=basic)]
    own = next((book for one, book in books if book.party == side.scheme.party and book.day == side.day), None)
    today = tuple(book for one, book in books if book.day == side.day and book is not own)
    near = tuple((one, book) for one, book in books if book.day != side.day)
    carried = own is not None and bool(connection.execute(_CARRIED, {"id": own.statement_id}).scalar_one())
    return Statements(own, pair, today, near, carried and pair == HOSPITAL and not (own is not None and own.by_payer))


def only_of_payer(side: HubSide, pair: int) -> str:
    """SQL that a line `l` is about this payer: hospitals' statements are about many."""
    return " AND l.payer = :party" if side.kind == "payer" and pair == HOSPITAL else ""


def resolve(connection: Connection, side: HubSide, statements: Statements) -> None:
    """Keys for the lines that do not name our request, by `recon_hub`, as the temporary table `recon_mapped`.

    By the payer's own number first, then by the institution's. A line that is not found there has no `case_id`.
    """
    connection.execute(text(_MAPPED))
    nameless = [pair for pair in statements.pairs if _any_without_request(connection, statements.ids_of(pair))]
    if not nameless:
        return
    connection.execute(text(_references(side)))
    connection.execute(text(_names(side)))
    connection.execute(text("ANALYZE recon_reference"))
    connection.execute(text("ANALYZE recon_name"))
    for pair in nameless:
        values = side.values | {"pair": pair, "ids": statements.ids_of(pair)}
        connection.execute(text(_map(side, pair)), values)
    connection.execute(text("ANALYZE recon_mapped"))


_MAPPED = """
CREATE TEMP TABLE recon_mapped (pair smallint, statement_id bigint, line_no integer, settles boolean,
    total_fen bigint, amount_fen bigint, account_fen bigint, institution text, case_id uuid, leg_no smallint)
ON COMMIT DROP
"""


def _any_without_request(connection: Connection, ids: list[int]) -> bool:
    query = f"SELECT EXISTS (SELECT 1 FROM statement_line l WHERE l.statement_id = ANY(:ids) AND NOT {WELL_FORMED})"
    return bool(connection.execute(text(query), {"ids": ids}).scalar_one())


def _references(side: HubSide) -> str:
    # A number that a payer used twice says nothing.
    source = (
        f"SELECT {NUMBER_OF_PAYER} AS reference, h.payer, (array_agg(h.case_id))[1] AS case_id, "
        "min(h.leg_no) AS leg_no FROM recon_hub h JOIN settlement_leg l USING (case_id, leg_no) "
        f"WHERE l.payer_reference <> '' GROUP BY {NUMBER_OF_PAYER}, h.payer HAVING count(*) = 1"
    )
    return f"CREATE TEMP TABLE recon_reference ON COMMIT DROP AS {source}{' LIMIT 0' if side.whole else ''}"


def _names(side: HubSide) -> str:
    payer = ", payer" if side.kind == "institution" else ""
    return f"""
        CREATE TEMP TABLE recon_name ON COMMIT DROP AS
        SELECT c.institution, c.settlement_no{payer}, h.case_id, h.leg_no, h.several
        FROM (SELECT case_id{payer}, min(leg_no) AS leg_no, min(leg_no) <> max(leg_no) AS several
              FROM recon_hub GROUP BY case_id{payer}) h
        JOIN settlement_case c USING (case_id)"""


def _map(side: HubSide, pair: int) -> str:
    same_payer = side.kind == "institution" and not side.whole
    return f"""
        INSERT INTO recon_mapped
        SELECT :pair, l.statement_id, l.line_no, l.kind = 'settle', l.total_fen, l.amount_fen, l.account_fen,
            l.institution, coalesce(r.case_id, n.case_id), coalesce(r.leg_no, n.leg_no)
        FROM statement_line l
        LEFT JOIN recon_reference r ON r.reference = l.reference{" AND r.payer = l.payer" if same_payer else ""}
        LEFT JOIN recon_name n ON n.institution = l.institution AND n.settlement_no = l.settlement_no AND NOT n.several
            {" AND n.payer = l.payer" if same_payer else ""}
        WHERE l.statement_id = ANY(:ids) AND NOT {WELL_FORMED}{only_of_payer(side, pair)}"""


def compare(connection: Connection, side: HubSide, statements: Statements) -> int:
    """How many items agree on every side that is compared; the others are the temporary table `recon_candidate`.

    Items agree when settlements, refunds and what of both came from personal accounts come to the same, each by itself.
    """
    connection.execute(text("CREATE TEMP TABLE recon_candidate (case_id uuid, leg_no smallint) ON COMMIT DROP"))
    columns = [name for pair in statements.pairs for name in _columns(pair, statements)]
    if not columns:
        return int(connection.execute(text("SELECT count(*) FROM recon_hub")).scalar_one())
    sources = [_hub_rows(statements)]
    for pair in statements.pairs:
        sources += [_lines(side, statements, pair, mapped=False), _lines(side, statements, pair, mapped=True)]
    agree = " AND ".join(f"sum({name}) = 0" for name in columns)
    values = side.values | {"covered": [book.party for book in statements.hospitals]}
    for pair in (PAYER, HOSPITAL):
        values |= {f"ids{pair}": statements.ids_of(pair), f"gross{pair}": statements.gross_of(pair)}
    agreed = connection.execute(
        text(f"""
        WITH item AS MATERIALIZED (
            SELECT case_id, leg_no, {agree} AS agrees FROM ({" UNION ALL ".join(sources)}) AS r
            GROUP BY case_id, leg_no
        ), differing AS (INSERT INTO recon_candidate SELECT case_id, leg_no FROM item WHERE NOT agrees)
        SELECT count(*) FILTER (WHERE agrees) FROM item"""),
        values,
    ).scalar_one()
    connection.execute(text("ANALYZE recon_candidate"))
    return int(agreed)


_PARTS = ("settled", "refunded", "account_settled", "account_refunded")
_TOTALS = ("total_settled", "total_refunded")


def _columns(pair: int, statements: Statements) -> list[str]:
    names = (*_PARTS, *_TOTALS) if statements.totals_carried else _PARTS
    return [f"{name}{pair}" for name in names]


def _hub_rows(statements: Statements) -> str:
    """SQL: our items, below zero, once in the terms of every book that they are held against."""
    columns = []
    for pair in statements.pairs:
        covered = "institution = ANY(:covered)" if pair == HOSPITAL and statements.own_pair == PAYER else "true"
        gross = _gross_of_hub(statements, pair)
        columns += [
            f"CASE WHEN {covered} THEN -({_hub_value(name[:-1], gross)}) ELSE 0 END AS {name}"
            for name in _columns(pair, statements)
        ]
    return f"SELECT case_id, leg_no, {', '.join(columns)} FROM recon_hub"


def _gross_of_hub(statements: Statements, pair: int) -> str:
    if not statements.gross_of(pair):
        return "false"
    return f"institution = ANY(:gross{pair})" if pair == HOSPITAL else "true"


def _hub_value(part: str, gross: str) -> str:
    if part in _TOTALS:
        # A bill of which nobody bears anything is in no other book.
        return f"CASE WHEN settled_fen <> 0 OR account_settled_fen <> 0 OR refunded_fen <> 0 THEN {part}_fen ELSE 0 END"
    if gross == "false":
        return f"{part}_fen"
    if part.startswith("account"):
        return f"CASE WHEN {gross} THEN 0 ELSE {part}_fen END"
    return f"CASE WHEN {gross} THEN {part}_fen + account_{part}_fen ELSE {part}_fen END"


def _lines(side: HubSide, statements: Statements, pair: int, *, mapped: bool) -> str:
    """SQL: the lines of one book, under our keys."""
    columns = [
        f"{_line_value(name[:-1], statements, one) if one == pair else '0::bigint'} AS {name}"
        for one in statements.pairs
        for name in _columns(one, statements)
    ]
    if mapped:
        settles = f"SELECT l.*, l.settles AS s FROM recon_mapped l WHERE l.pair = {pair} AND l.case_id IS NOT NULL"
        return f"SELECT l.case_id, l.leg_no, {', '.join(columns)} FROM ({settles}) AS l"
    leg = "0::smallint" if side.whole else LEG_OF_REQUEST
    settles = (
        "SELECT l.*, l.kind = 'settle' AS s FROM statement_line l "
        f"WHERE l.statement_id = ANY(:ids{pair}) AND {WELL_FORMED}{only_of_payer(side, pair)}"
    )
    return f"SELECT {CASE_OF_REQUEST}, {leg}, {', '.join(columns)} FROM ({settles}) AS l"


def _line_value(part: str, statements: Statements, pair: int) -> str:
    wanted = "NOT l.s" if part.endswith("refunded") else "l.s"
    if part in _TOTALS:
        return f"CASE WHEN {wanted} AND (l.amount_fen <> 0 OR l.account_fen <> 0) THEN l.total_fen ELSE 0 END"
    if part.startswith("account"):
        gross = statements.gross_of(pair)
        apart = "" if not gross else f" AND NOT l.institution = ANY(:gross{pair})" if pair == HOSPITAL else " AND false"
        return f"CASE WHEN {wanted}{apart} THEN l.account_fen ELSE 0 END"
    return f"CASE WHEN {wanted} THEN l.amount_fen ELSE 0 END"
