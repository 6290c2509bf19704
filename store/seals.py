"""Seals: a signed-off run and a closed day each stand under a SHA-256 of every row that they are made of.

A digest is made of parts of at most CHUNK numbers, so that memory is bounded and a difference can be told to a part.
Rows become text in one fixed way, whatever a session's time zone or settings: columns in a fixed order, days and
moments (UTC, microseconds) spelled out. As the number of columns and of rows is part of it, no two different contents
have the same text. Days are chained: each seal holds the one before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

import orjson
from sqlalchemy import Column, Connection, Date, Table, TextClause, insert, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from schemas.errors import Conflict, Unavailable
from store.tables_ledger import entries, seals
from store.tables_recon import breaks, runs, seal_parts, statement_lines, statements

CHUNK = 10_000
LOCK_WAIT_MS = 1_000
"""Shorter than every poster's own patience: nobody fails because a day is being closed."""
TIMEOUT_S = 900
MOMENT_TRIES = 5
_LOCK_NOT_AVAILABLE = "55P03"

# The columns of each row's text, in their order. A column that is added to a table later is not part of old digests.
_ENTRY = (
    "entry_id", "region", "business_day", "effective_day", "about_day", "institution", "payer", "layer", "product",
    "kind", "debit", "credit", "amount_fen", "case_id", "leg_no", "cause", "posted_at",
)  # fmt: skip
_STATEMENT = (
    "statement_id", "party", "scheme", "day", "form", "source", "sha256", "rows", "total_fen", "by_payer",
    "received_by", "received_at",
)  # fmt: skip
_LINE = (
    "statement_id", "line_no", "kind", "institution", "settlement_no", "payer", "request_id", "reference",
    "total_fen", "amount_fen", "account_fen", "cash_fen", "at",
)  # fmt: skip
_RUN = (
    "run_id", "party", "scheme", "day", "state", "switches", "rulebook_version", "statement_ids", "neighbour_ids",
    "totals", "counts",
    "ledger_to", "started_by", "started_at", "finished_at", "failure", "signed_by", "approved_by", "signed_at",
)  # fmt: skip
_BREAK = (
    "break_id", "run_id", "class", "key", "case_id", "leg_no", "institution", "payer", "settlement_no", "request_id",
    "reference", "hub", "payer_side", "hospital", "difference_fen", "first_day", "state", "proposal", "reason",
    "remedy", "action_id", "resolution", "resolved_by", "approved_by", "resolved_at", "entry_ids",
)  # fmt: skip


def _text_of(column: Column[Any]) -> str:
    name = f'"{column.name}"'
    if isinstance(column.type, Date):
        plain = f"to_char({name}, 'YYYY-MM-DD')"
    elif isinstance(column.type, postgresql.TIMESTAMP):
        plain = f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
    elif isinstance(column.type, postgresql.ARRAY):
        plain = f"array_to_string({name}, ',')"
    else:
        plain = f"CAST({name} AS text)"
    return f"coalesce({plain}, chr(24))"


def _parts(
    prefix: str, table: Table, columns: Sequence[str], number: str, amount: str, where: str, apart: str = ""
) -> str:
    """SQL: one part per CHUNK numbers of the rows that `where` names; those that differ in `apart` never share one."""
    line = ", ".join(_text_of(table.c[name]) for name in columns)
    return f"""
        SELECT {prefix} || chunk AS part, count(*) AS rows, coalesce(sum(fen), 0) AS amount_fen,
               encode(sha256(convert_to(string_agg(line, chr(10) ORDER BY number), 'UTF8')), 'hex') AS digest
        FROM (SELECT {apart}{number} AS number, {number} / {CHUNK} AS chunk, {amount} AS fen,
                     concat_ws(chr(31), {line}) AS line
              FROM {table.name} WHERE {where}) AS rows
        GROUP BY {apart}chunk"""


_DAY_ENTRIES = _parts("'entries/'", entries, _ENTRY, "entry_id", "amount_fen", "business_day = :day {}")
_DAY_UP_TO = text(_DAY_ENTRIES.format("AND entry_id <= :top"))
_DAY_SINCE = text(_DAY_ENTRIES.format("AND entry_id >= :since"))
_DAY_RUNS = text("""
    SELECT 'run/' || run_id AS part, 1 AS rows, 0 AS amount_fen, digest FROM recon_run
    WHERE day = :day AND state = 'signed_off'""")
_DAY_COUNT = text("""
    SELECT count(*) FILTER (WHERE entry_id <= :top) AS before, count(*) AS of_day, coalesce(max(entry_id), 0) AS last
    FROM ledger_entry WHERE business_day = :day""")
_TOP = text("SELECT coalesce(max(entry_id), 0) FROM ledger_entry")

_TURN = text("""
    SELECT last.day AS sealed,
        (SELECT min(business_day) FROM ledger_entry WHERE business_day < :day AND business_day > coalesce(
            (SELECT max(business_day) FROM day_seal), '-infinity')) AS earlier
    FROM (SELECT max(business_day) AS day FROM day_seal WHERE business_day >= :day) AS last""")

RUN_ENTRIES = """(payer = :party OR institution = :party) AND (entry_id <= :top OR entry_id = ANY(:linked))
    AND (:by_business_day AND business_day = :day OR NOT :by_business_day AND (
        effective_day = :day AND NOT (institution = :party AND kind = 'settle')
        OR business_day = :day AND institution = :party AND kind = 'settle'))"""
"""The entries that a run is about, on the days that `store.hub_side` puts them on; in words that the indexes know."""
_RUN_PARTS = (
    text(_parts("'run/'", runs, _RUN, "run_id", "0", "run_id = :run")),
    text(_parts("'breaks/'", breaks, _BREAK, "break_id", "difference_fen", "run_id = :run")),
    text(_parts("'statements/'", statements, _STATEMENT, "statement_id", "total_fen", "statement_id = ANY(:ids)")),
    text(
        _parts(
            "'lines/' || statement_id || '/'",
            statement_lines,
            _LINE,
            "line_no",
            "amount_fen",
            "statement_id = ANY(:ids)",
            "statement_id, ",
        )
    ),
    text(_parts("'entries/'", entries, _ENTRY, "entry_id", "amount_fen", f"({RUN_ENTRIES})")),
)
_LINKED = text(
    "SELECT coalesce(array_agg(DISTINCT e.id), '{}') FROM recon_break b, unnest(b.entry_ids) AS e(id) "
    "WHERE b.run_id = :run"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a digest."""

    part: str
    rows: int
    amount_fen: int
    digest: str


@dataclass(frozen=True, slots=True)
class Seal:
    """One row of `day_seal`; amounts in whole fen. `books` says with whose books the day was compared: run by
    `party/scheme` in `compared`, and why by name in `left_out` and `not_compared`."""

    business_day: date
    entries: int
    amount_fen: int
    last_entry_id: int
    digest: str
    previous: str
    chain: str
    sealed_by: str
    approved_by: str
    reason: str
    sealed_at: datetime
    books: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def free(connection: Connection, timeout_s: float = TIMEOUT_S) -> None:
    """Let this transaction read whole days: the planner is free, and it may take its time."""
    connection.exec_driver_sql(
        "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; "
        f"SET LOCAL plan_cache_mode = auto; SET LOCAL statement_timeout = {int(timeout_s * 1000)}"
    )


def digest_of(parts: Sequence[Part]) -> str:
    """The digest over parts, in the order of their names."""
    lines = [f"{one.part}\x1f{one.rows}\x1f{one.amount_fen}\x1f{one.digest}" for one in _in_order(parts)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _in_order(parts: Sequence[Part]) -> list[Part]:
    return sorted(parts, key=lambda one: one.part)


def chain_of(seal: Seal) -> str:
    """The digest over a seal's own row and the chain before it."""
    at = seal.sealed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    fields = (
        seal.previous,
        seal.business_day.isoformat(),
        str(seal.entries),
        str(seal.amount_fen),
        str(seal.last_entry_id),
        seal.digest,
        seal.sealed_by,
        seal.approved_by,
        seal.reason,
        at,
        orjson.dumps(seal.books, option=orjson.OPT_SORT_KEYS).decode(),
    )
    return hashlib.sha256("\x1f".join(fields).encode()).hexdigest()


def day_parts(connection: Connection, day: date) -> list[Part]:
    """The ledger's entries of a day as they stand, in parts."""
    return _read(connection, _DAY_SINCE, day=day, since=0)


def run_parts(connection: Connection, run_id: int) -> list[Part]:
    """Everything that a run is made of, in parts: its row, its breaks, its statements' lines, the ledger's entries."""
    row = connection.execute(select(runs).where(runs.c.run_id == run_id)).first()
    if row is None:
        return []
    values = {
        "run": run_id,
        "ids": list(row.statement_ids),
        "party": row.party,
        "day": row.day,
        "top": row.ledger_to,
        "linked": list(connection.execute(_LINKED, {"run": run_id}).scalar_one()),
        "by_business_day": row.switches.get("day") == "business",
    }
    return [part for statement in _RUN_PARTS for part in _read(connection, statement, **values)]


def _read(connection: Connection, statement: TextClause, **values: object) -> list[Part]:
    found = connection.execute(statement, values)
    return [Part(row.part, int(row.rows), int(row.amount_fen), row.digest) for row in found]


def keep(connection: Connection, subject: str, parts: Sequence[Part]) -> None:
    """Remember what a digest was made of."""
    rows = [
        {"subject": subject, "part": one.part, "rows": one.rows, "amount_fen": one.amount_fen, "digest": one.digest}
        for one in parts
    ]
    if rows:
        connection.execute(insert(seal_parts), rows)


def kept(connection: Connection, subject: str) -> list[Part]:
    """What a digest was made of."""
    columns = (seal_parts.c.part, seal_parts.c.rows, seal_parts.c.amount_fen, seal_parts.c.digest)
    found = connection.execute(select(*columns).where(seal_parts.c.subject == subject))
    return [Part(*row) for row in found]


def listed(connection: Connection, last: int | None = None) -> list[Seal]:
    """Seals, the oldest first; `last`: only the newest so many."""
    wanted = select(*(seals.c[name] for name in Seal.__dataclass_fields__)).order_by(seals.c.business_day.desc())
    return [Seal(*row) for row in reversed(connection.execute(wanted.limit(last)).all())]


def count(connection: Connection, day: date) -> int:
    """How many entries the ledger has on a day."""
    return int(connection.execute(_DAY_COUNT, {"day": day, "top": 0}).one().of_day)


def take(
    connection: Connection,
    day: date,
    *,
    by: str,
    approver: str,
    reason: str,
    now: datetime,
    books: Mapping[str, Mapping[str, Any]] | None = None,
) -> Seal:
    """Seal a day: from now on nothing is booked on it or before it. `books`: as in `Seal`.

    What is long and changes little is read before anybody is kept waiting; under the lock only what came since is.
    Unavailable: those who post did not let us in. Conflict: another run was signed off than `books` names, or it is not
    this day's turn. In all cases nothing was done.
    """
    free(connection)
    top = int(connection.execute(_TOP).scalar_one())
    before = _read(connection, _DAY_UP_TO, day=day, top=top)
    _lock(connection)
    _check_turn(connection, day)
    now_booked = connection.execute(_DAY_COUNT, {"day": day, "top": top}).one()
    signed = _read(connection, _DAY_RUNS, day=day)
    if books is not None and {run_subject(one) for one in books["compared"].values()} != {one.part for one in signed}:
        raise Conflict("a run of the day was signed off at this moment: ask for the seal again", code="recon.not_ready")
    parts = _settled(connection, day, before, top, now_booked.before) + signed
    last = listed(connection, 1)
    booked = [one for one in parts if one.part.startswith("entries/")]
    made = Seal(
        business_day=day,
        entries=sum(one.rows for one in booked),
        amount_fen=sum(one.amount_fen for one in booked),
        last_entry_id=int(now_booked.last),
        digest=digest_of(parts),
        previous=last[0].chain if last else "",
        chain="",
        sealed_by=by,
        approved_by=approver,
        reason=reason,
        sealed_at=now,
        books=books or {},
    )
    made = replace(made, chain=chain_of(made))
    keep(connection, day_subject(day), parts)
    connection.execute(insert(seals), [asdict(made)])
    return made


def _check_turn(connection: Connection, day: date) -> None:
    """Somebody may have sealed this day or a later one, or booked on an earlier one, since that was looked at."""
    turn = connection.execute(_TURN, {"day": day}).one()
    if turn.sealed is not None:
        raise Conflict(f"every day up to {turn.sealed} was sealed at this moment", code="recon.not_ready")
    if turn.earlier is not None:
        raise Conflict(f"{turn.earlier} was booked on at this moment: seal that first", code="recon.not_ready")


def _settled(connection: Connection, day: date, before: list[Part], top: int, count: int) -> list[Part]:
    """The day's parts now that nobody posts: those from before, and anew the one that grew and what came after it.

    `count`: how many entries up to `top` there are by now.
    """
    if count != sum(one.rows for one in before):
        # Somebody who had begun before we looked has ended since.
        return day_parts(connection, day)
    grown = _read(connection, _DAY_SINCE, day=day, since=top // CHUNK * CHUNK)
    anew = {one.part for one in grown}
    return [one for one in before if one.part not in anew] + grown


def _lock(connection: Connection, function: str = "pg_advisory_xact_lock") -> None:
    """Keep out who posts, until the transaction ends; those who do end first."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
    try:
        connection.exec_driver_sql(f"SELECT {function}(hashtext('ledger'))")
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) == _LOCK_NOT_AVAILABLE:
            raise Unavailable("the ledger is being written without a pause: try it again in a minute") from error
        raise


@contextmanager
def one_moment(connection: Connection) -> Iterator[None]:
    """A transaction that sees everything as of one moment at which nobody is adding to the ledger: each entry up to
    the last number that it sees is seen. Who posts is kept out only while that moment is taken.

    Unavailable: those who post did not let us in.
    """
    _keep_out(connection)
    try:
        transaction = connection.begin()
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    finally:
        # The transaction's first question, so that its moment is that of the unlocking.
        connection.exec_driver_sql("SELECT pg_advisory_unlock(hashtext('ledger'))")
    with transaction:
        yield


def _keep_out(connection: Connection) -> None:
    """Take the sealer's lock for the session: a lock of the transaction would be older than what it waited for."""
    for left in reversed(range(MOMENT_TRIES)):
        try:
            with connection.begin():
                _lock(connection, "pg_advisory_lock")
            return
        except Unavailable:
            if not left:
                raise


def day_subject(day: date) -> str:
    """How actions and parts name a day."""
    return f"day/{day.isoformat()}"


def run_subject(run_id: int) -> str:
    """How actions and parts name a run."""
    return f"run/{run_id}"
