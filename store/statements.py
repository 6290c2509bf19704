"""Statements on record: staged by COPY, looked at as a set, stored whole or not at all.

One transaction at a time writes for a party, scheme and day (`hold`). Amounts travel as yuan in the staging table and
are whole fen in `statement_line`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Protocol

import orjson
from sqlalchemy import Connection, text

from schemas.money import MONEY_MAX_FEN
from schemas.statement import StatementLine
from store.copying import copy_rows
from store.driver import driver_cursor
from store.tables_recon import statement_lines

COLUMNS = (
    "kind",
    "institution",
    "settlement_no",
    "payer",
    "request_id",
    "reference",
    "total",
    "amount",
    "account",
    "cash",
    "at",
)
"""Of a line, in the words of the files."""
MONEY = ("total", "amount", "account", "cash")
_LINE = ("statement_id", "line_no", *(f"{name}_fen" if name in MONEY else name for name in COLUMNS))


class Readable(Protocol):
    """Where COPY reads from."""

    def read(self, size: int = -1) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Key:
    """Whose books of which day."""

    party: str
    scheme: str
    day: date

    @property
    def name(self) -> str:
        return f"{self.party}/{self.scheme}/{self.day}"


@dataclass(frozen=True, slots=True)
class Came:
    """How a statement came. `sha256` is of its content, `by` a party or an operator."""

    form: str
    source: str
    sha256: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Sums:
    """What the lines of a statement come to. `total_fen` is the sum of `amount`; moments are those of its lines.

    `in_bounds`: no amount is larger than any can be.
    """

    rows: int
    total_fen: int
    first_at: datetime | None
    last_at: datetime | None
    with_payer: int
    in_bounds: bool = True


@dataclass(frozen=True, slots=True)
class Stored:
    """One statement as it stands; of a refused one `problems` say why."""

    statement_id: int
    key: Key
    came: Came
    rows: int
    total_fen: int
    state: str
    replaces: int | None
    problems: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """Codes that lines may name, and the one that they mean where they name none."""

    institutions: tuple[str, ...]
    payers: tuple[str, ...]
    institution: str = ""
    payer: str = ""
    institution_may_lack: bool = False


_STORED = (
    "SELECT statement_id, party, scheme, day, form, source, sha256, received_by, received_at, rows, total_fen, state, "
    "replaces, problems FROM statement "
)
_KEY = "party = :party AND scheme = :scheme AND day = :day"
_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
# A run is held by whoever signs it off: one waits for the other, and sees what became of it.
_SIGNED_OFF = text(f"SELECT state FROM recon_run WHERE {_KEY} AND state IN ('done', 'signed_off') FOR SHARE")
_OF_CONTENT = text(
    f"{_STORED} WHERE {_KEY} AND sha256 = :sha256 AND state <> 'refused' ORDER BY state = 'standing' DESC, "
    "statement_id DESC LIMIT 1"
)
_REPLACE = text(f"UPDATE statement SET state = 'replaced' WHERE {_KEY} AND state = 'standing' RETURNING statement_id")
_STAND = text("UPDATE statement SET state = 'standing' WHERE statement_id = :id")
_ADD = text(
    "INSERT INTO statement (party, scheme, day, form, source, sha256, rows, total_fen, by_payer, state, replaces, "
    "problems, received_by, received_at) VALUES (:party, :scheme, :day, :form, :source, :sha256, :rows, :total, "
    ":by_payer, :state, :replaces, CAST(:problems AS jsonb), :by, :at) RETURNING statement_id"
)
_MEASURED = text("UPDATE statement SET rows = :rows, total_fen = :total, by_payer = :by_payer WHERE statement_id = :id")
_REFUSED_AGAIN = text(
    f"UPDATE statement SET problems = CAST(:problems AS jsonb), rows = :rows, received_by = :by, received_at = :at, "
    f"source = :source, form = :form "
    f"WHERE {_KEY} AND sha256 = :sha256 AND state = 'refused'"
)
_OUR_TIMES = "min(at) >= '1900-01-01Z' AND max(at) < '2999-01-01Z'"
_SUMS = text(
    # A moment of another millennium is one that Python may not know: it is only out of bounds.
    f"SELECT count(*), coalesce(sum(amount_fen), 0), CASE WHEN {_OUR_TIMES} THEN min(at) END, "
    f"CASE WHEN {_OUR_TIMES} THEN max(at) END, "
    "count(*) FILTER (WHERE payer <> ''), "
    "greatest(max(total_fen), max(amount_fen), max(account_fen), max(cash_fen), -min(total_fen), -min(amount_fen), "
    f"-min(account_fen), -min(cash_fen), 0) < {MONEY_MAX_FEN} "
    f"AND coalesce({_OUR_TIMES}, true) "
    "FROM statement_line WHERE statement_id = :id"
)
_NAMED_CASES = text(
    "UPDATE incoming i SET settlement_no = c.settlement_no, reference = '' FROM settlement_case c "
    "WHERE i.case_id <> '' AND c.case_id = CAST(i.case_id AS uuid) AND c.institution = :party"
)
# By the index of whatever cases are known by: a payer's number has none of its own. Of its parts the first is meant.
_NAMED_LEGS = text(
    "UPDATE incoming i SET institution = c.institution FROM search_key k JOIN settlement_case c USING (case_id) "
    "JOIN settlement_leg l USING (case_id) "
    "WHERE k.key = CAST(CAST('x' || encode(substr(sha256(convert_to('reference:' || i.reference, 'UTF8')), 1, 8), "
    "'hex') AS bit(64)) AS bigint) AND l.payer = :party AND split_part(l.payer_reference, '/', 1) = i.reference"
)


def begin(connection: Connection) -> None:
    """Let this transaction take as many rows and as long as it needs, and read moments without a zone as China's."""
    settings = {
        "enable_seqscan": "on",
        "enable_hashjoin": "on",
        "enable_mergejoin": "on",
        "plan_cache_mode": "auto",
        "statement_timeout": "0",
        "lock_timeout": "'60s'",
        "idle_in_transaction_session_timeout": "0",
        "work_mem": "'64MB'",
        "datestyle": "'ISO, YMD'",
        "timezone": "'Etc/GMT-8'",
    }
    for name, value in settings.items():
        connection.execute(text(f"SET LOCAL {name} = {value}"))


def hold(connection: Connection, key: Key) -> None:
    """Be the only one who writes this party's statements of this scheme and day until the transaction ends."""
    connection.execute(_HOLD, {"key": f"statement/{key.name}"})


def signed_off(connection: Connection, key: Key) -> bool:
    """Whether the day is signed off: then its statement stays what it is. Until this transaction ends it is not."""
    return "signed_off" in connection.execute(_SIGNED_OFF, _values(key)).scalars().all()


def of_content(connection: Connection, key: Key, sha256: str) -> Stored | None:
    """The statement with this very content, the standing one before one that was replaced."""
    row = connection.execute(_OF_CONTENT, _values(key) | {"sha256": sha256}).first()
    return _stored(row) if row is not None else None


def by_id(connection: Connection, statement_id: int) -> Stored | None:
    """One statement."""
    row = connection.execute(text(f"{_STORED} WHERE statement_id = :id"), {"id": statement_id}).first()
    return _stored(row) if row is not None else None


def listed(connection: Connection, *, day: date | None = None, party: str = "", limit: int = 200) -> list[Stored]:
    """Statements, the newest day first, then the newest; also those that were replaced or refused."""
    rows = connection.execute(
        text(
            f"{_STORED} WHERE (CAST(:day AS date) IS NULL OR day = :day) AND (:party = '' OR party = :party) "
            "ORDER BY day DESC, statement_id DESC LIMIT :limit"
        ),
        {"day": day, "party": party, "limit": limit},
    )
    return [_stored(row) for row in rows]


def add(connection: Connection, key: Key, came: Came) -> tuple[int, int | None]:
    """A new standing statement, yet without lines: its number, and that of the one that it takes the place of."""
    replaced = connection.execute(_REPLACE, _values(key)).scalar()
    return _insert(connection, key, came, "standing", replaces=replaced), replaced


def stand_again(connection: Connection, key: Key, statement_id: int) -> None:
    """Put a statement that was replaced back in its place."""
    connection.execute(_REPLACE, _values(key))
    connection.execute(_STAND, {"id": statement_id})


def measured(connection: Connection, statement_id: int, sums: Sums, *, by_payer: bool) -> None:
    """Write down what its lines come to."""
    values = {"rows": sums.rows, "total": sums.total_fen, "by_payer": int(by_payer), "id": statement_id}
    connection.execute(_MEASURED, values)


def refuse(connection: Connection, key: Key, came: Came, problems: Sequence[Mapping[str, str]], rows: int = 0) -> None:
    """Remember why a statement was refused; the same content refused again is remembered once, as it came last."""
    told = orjson.dumps([dict(problem) for problem in problems]).decode()
    values = _values(key) | {"problems": told, "rows": rows, "by": came.by, "at": came.at, "sha256": came.sha256}
    values |= {"source": came.source, "form": came.form}
    if connection.execute(_REFUSED_AGAIN, values).rowcount == 0:
        _insert(connection, key, came, "refused", rows=rows, problems=told)


def add_lines(connection: Connection, statement_id: int, lines: Iterable[StatementLine]) -> None:
    """Store lines that are known to be right."""
    rows = (
        (
            statement_id,
            number,
            line.kind.value,
            line.institution,
            line.settlement_no or "",
            line.payer or "",
            line.request_id or "",
            line.reference or "",
            line.total,
            line.amount,
            line.account,
            line.cash,
            line.at,
        )
        for number, line in enumerate(lines, 1)
    )
    copy_rows(connection, statement_lines, _LINE, rows)


def open_staging(connection: Connection, *, typed: bool) -> None:
    """An empty table for the lines of one file, gone when the transaction ends.

    `typed` lets COPY read the amounts, which is fast and stops at the first that is none; without it everything is
    text, to be looked at.
    """
    columns = ", ".join(
        f"{name} numeric DEFAULT 0" if typed and name in MONEY else f"{name} text NOT NULL DEFAULT ''"
        for name in (*COLUMNS, "case_id")
    )
    connection.execute(text("DROP TABLE IF EXISTS pg_temp.incoming"))
    # A sequence of its own gives the lines their numbers: COPY takes them in the order of the file.
    connection.execute(
        text(
            f"CREATE TEMP TABLE incoming (line_no integer GENERATED ALWAYS AS IDENTITY (CACHE 1000), {columns}) "
            "ON COMMIT DROP"
        )
    )


def stage(connection: Connection, columns: Sequence[str], separator: str, source: Readable, *, typed: bool) -> int:
    """COPY the lines of a file without its heading, in UTF-8; how many they were."""
    given = [name for name in columns if not (typed and name in MONEY)]
    never_null = f", FORCE_NOT_NULL ({', '.join(given)})" if given else ""
    statement = (
        f"COPY incoming ({', '.join(columns)}) FROM STDIN "
        f"WITH (FORMAT csv, DELIMITER E'{separator}', ENCODING 'UTF8'{never_null})"
    ).replace("\t", "\\t")
    with driver_cursor(connection, statement) as cursor:
        cursor.copy_expert(statement, source, 1 << 20)
        return int(cursor.rowcount)


def name_cases(connection: Connection, party: str) -> None:
    """Settlement numbers for lines that name a case of ours."""
    connection.execute(_NAMED_CASES, {"party": party})


def name_legs(connection: Connection, party: str) -> None:
    """Institutions for a payer's lines that name its own number of a settlement."""
    connection.execute(_NAMED_LEGS, {"party": party})


_ID_SHAPE = "'^[0-9A-Za-z._:-]*$'"
_KEY_SHAPE = "'^[0-9A-Za-z._:-]+$'"
_MOMENT_SHAPE = "'^[-0-9T:+. Z]*$'"
# As spreadsheet programs write a moment of China when they save a CSV. Year, month, day, hour, minute, second.
_SHEET_MOMENT = (
    "'^([0-9]{4})[-/](0?[1-9]|1[0-2])[-/](0?[1-9]|[12][0-9]|3[01]) +([01]?[0-9]|2[0-3])[:]([0-5][0-9])"
    "(?:[:]([0-5][0-9]))?$'"
)
# Signs are the table's own constraint, and bounds are looked at once all is stored: each line costs.
_RIGHT = (
    "i.kind IN ('settle', 'refund', '') "
    "AND i.institution = ANY(:institutions) AND i.payer = ANY(:payers) "
    f"AND i.settlement_no || i.request_id || i.reference ~ {_KEY_SHAPE} "
    "AND octet_length(i.settlement_no) <= 64 AND octet_length(i.request_id) <= 64 AND octet_length(i.reference) <= 64 "
    # The scale of a sum is the largest of its parts'; of what is no finite number there is none.
    "AND scale(i.amount + coalesce(i.total, 0) + coalesce(i.account, 0) + coalesce(i.cash, 0)) <= 2 "
    # What PostgreSQL reads as a moment and no file should say, such as "now", has letters, or its year elsewhere.
    f"AND (i.at = '' OR octet_length(i.at) BETWEEN 16 AND 35 AND i.at ~ {_MOMENT_SHAPE} "
    f"AND substr(i.at, 5, 1) = '-' AND substr(i.at, 8, 1) = '-' OR i.at ~ {_SHEET_MOMENT})"
)
_MOVE = text(
    "INSERT INTO statement_line (statement_id, line_no, kind, institution, settlement_no, payer, request_id, "
    "reference, total_fen, amount_fen, account_fen, cash_fen, at) "
    "SELECT :id, i.line_no, CASE WHEN i.kind = '' THEN 'settle' ELSE i.kind END, "
    "CASE WHEN i.institution = '' THEN :institution ELSE i.institution END, i.settlement_no, "
    "CASE WHEN i.payer = '' THEN :payer ELSE i.payer END, i.request_id, i.reference, coalesce(i.total, 0) * 100, "
    "i.amount * 100, coalesce(i.account, 0) * 100, coalesce(i.cash, 0) * 100, "
    "CASE WHEN i.at = '' THEN NULL ELSE CAST(i.at AS timestamptz) END "
    f"FROM incoming i WHERE {_RIGHT}"
)


def move(connection: Connection, statement_id: int, known: Known) -> int:
    """The right ones of the typed staged lines, stored in fen; how many. Others are to be asked for by `problems`."""
    values = {
        "id": statement_id,
        "institution": known.institution,
        "payer": known.payer,
        "institutions": _allowed_institutions(known),
        "payers": ["", *known.payers],
    }
    return int(connection.execute(_MOVE, values).rowcount)


def sums(connection: Connection, statement_id: int) -> Sums:
    """What the stored lines come to."""
    rows, total, first, last, with_payer, in_bounds = connection.execute(_SUMS, {"id": statement_id}).one()
    return Sums(rows, int(total), first, last, with_payer, in_bounds)


_AMOUNT = "'^-?[0-9]+([.][0-9][0-9]?)?$'"
_NEGATIVE, _POSITIVE = "'^-[0-9.]*[1-9]'", "'^[0-9.]*[1-9]'"
_DIGITS = "'0123456789 ', '0000000000T'"


def _wrong_sign(column: str) -> str:
    return f"CASE WHEN kind = 'refund' THEN {column} ~ {_POSITIVE} ELSE {column} ~ {_NEGATIVE} END"


def _no_amount(column: str) -> str:
    too_long = f"octet_length({column}) > 11 AND octet_length(split_part(ltrim({column}, '-'), '.', 1)) > 11"
    return f"{column} <> '' AND ({column} !~ {_AMOUNT} OR {too_long})"


def _at(first: int, length: int) -> str:
    return f'substr(at, {first}, {length}) COLLATE "C"'


_TOLD = "at <> ''"
_SHAPED = (
    f"translate(substr(at, 1, 16), {_DIGITS}) = '0000-00-00T00:00' "
    f"AND translate(substr(at, 17), {_DIGITS}) ~ '^([:]00([.]0+)?)?(Z|[+-]00:?00)?$' AND octet_length(at) <= 35"
)
_IN_THE_CALENDAR = (
    f"{_at(1, 4)} BETWEEN '1900' AND '2998' AND {_at(6, 2)} BETWEEN '01' AND '12' "
    f"AND {_at(9, 2)} BETWEEN '01' AND '31' AND {_at(12, 2)} <= '23' AND {_at(15, 2)} <= '59' "
    f"AND (substr(at, 17, 1) <> ':' OR {_at(18, 2)} <= '59')"
)
_DAYS = (
    "extract(day FROM make_date(CAST(substr(at, 1, 4) AS integer), CAST(substr(at, 6, 2) AS integer), 1) "
    "+ interval '1 month - 1 day')"
)
_NO_MOMENT = (
    f"CASE WHEN {_TOLD} THEN CASE WHEN NOT ({_SHAPED}) THEN true WHEN NOT ({_IN_THE_CALENDAR}) THEN true "
    f"ELSE CAST(substr(at, 9, 2) AS integer) > {_DAYS} END ELSE false END"
)
_CHECKS = (
    ("kind", "enum", "kind NOT IN ('settle', 'refund', '')"),
    ("institution", "institution.unknown", "NOT institution = ANY(:institutions)"),
    ("payer", "payer.unknown", "NOT payer = ANY(:payers)"),
    *(
        (name, "string_pattern_mismatch", f"{name} !~ {_ID_SHAPE} OR octet_length({name}) > 64")
        for name in ("settlement_no", "request_id", "reference")
    ),
    ("settlement_no", "statement.key", "settlement_no || request_id || reference = ''"),
    *((name, "money", _no_amount(name)) for name in MONEY),
    ("amount", "missing", "amount = ''"),
    *((name, "statement.sign", f"{name} ~ {_AMOUNT} AND {_wrong_sign(name)}") for name in MONEY[:3]),
    ("at", "datetime", _NO_MOMENT),
)
_PROBLEMS = text(
    "SELECT line_no, field, code, count(*) OVER () FROM incoming CROSS JOIN LATERAL (VALUES "
    + ", ".join(f"({rank}, '{name}', '{code}', {wrong})" for rank, (name, code, wrong) in enumerate(_CHECKS))
    + f") AS checked(rank, field, code, is_wrong) WHERE ({' OR '.join(f'({wrong})' for _, _, wrong in _CHECKS)}) "
    "AND is_wrong ORDER BY line_no, rank LIMIT :limit"
)
# What COPY and the move take in their stride: spaces around an amount, a moment as a spreadsheet writes it.
_AS_TAKEN = text(
    f"UPDATE incoming SET {', '.join(f'{name} = btrim({name})' for name in MONEY)}, at = coalesce(("
    "SELECT m[1] || '-' || lpad(m[2], 2, '0') || '-' || lpad(m[3], 2, '0') || ' ' || lpad(m[4], 2, '0') || "
    f"':' || m[5] || ':' || coalesce(m[6], '00') FROM regexp_match(at, {_SHEET_MOMENT}) AS m), at)"
)
_FAR_MOMENTS = text(
    "SELECT line_no, count(*) OVER () FROM statement_line WHERE statement_id = :id "
    "AND NOT at BETWEEN :first AND :last ORDER BY line_no LIMIT :limit"
)


def problems(connection: Connection, known: Known, limit: int) -> tuple[int, list[tuple[int, str, str]]]:
    """What is wrong with lines staged as text: how many things, and (line, field, code) of the first."""
    values = {
        "institutions": _allowed_institutions(known),
        "payers": ["", *known.payers],
        "limit": limit,
    }
    connection.execute(_AS_TAKEN)
    found = connection.execute(_PROBLEMS, values).all()
    return (found[0][3] if found else 0), [(line, field, code) for line, field, code, _ in found]


def far_moments(
    connection: Connection, statement_id: int, first: datetime, last: datetime, limit: int
) -> tuple[int, list[int]]:
    """Stored lines whose moment lies outside: how many, and the first of them."""
    values = {"id": statement_id, "first": first, "last": last, "limit": limit}
    found = connection.execute(_FAR_MOMENTS, values).all()
    return (found[0][1] if found else 0), [line for line, _ in found]


def _allowed_institutions(known: Known) -> list[str]:
    empty = [""] if known.institution or known.institution_may_lack else []
    return [*empty, *known.institutions]


def _insert(
    connection: Connection,
    key: Key,
    came: Came,
    state: str,
    *,
    replaces: int | None = None,
    rows: int = 0,
    problems: str = "[]",
) -> int:
    values = _values(key) | {
        "form": came.form,
        "source": came.source,
        "sha256": came.sha256,
        "by": came.by,
        "at": came.at,
        "rows": rows,
        "total": 0,
        "by_payer": 0,
        "state": state,
        "replaces": replaces,
        "problems": problems,
    }
    return int(connection.execute(_ADD, values).scalar_one())


def _values(key: Key) -> dict[str, Any]:
    return {"party": key.party, "scheme": key.scheme, "day": key.day}


def _stored(row: Any) -> Stored:
    number, party, scheme, day, form, source, sha256, by, at, rows, total, state, replaces, told = row
    came = Came(form, source, sha256, by, at.astimezone(UTC))
    return Stored(int(number), Key(party, scheme, day), came, rows, int(total), state, replaces, tuple(told))
