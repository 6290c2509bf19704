"""A party's staging table (deploy/staging.sql), in a database that is not ours: rows are taken and written back to.

Any number of processes may take at once: `SKIP LOCKED` gives each row to one of them. Whoever takes rows and dies
leaves them claimed; after LEASE_S they are taken again, which is harmless, since each carries its sender's own number.
Whatever goes wrong there is StagingAway: it must never be taken for a fault of the hub's own database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from store.database import open_engine
from store.rows import as_json

LEASE_S = 30.0
UNDOS = ("settlement.cancel", "settlement.reverse")
_COUNTED_MAX = 1000
_SHORT = 200
"""Of texts that should be codes: more is never needed to see that they are none."""
_TABLE = "staging.staging_request"
_TO_TAKE = "state IN ('new', 'taken') AND case_id IS NULL"

_CLAIM = text(f"""
    WITH free AS MATERIALIZED (
        SELECT id FROM {_TABLE} WHERE {_TO_TAKE}
          AND (state = 'new' OR claimed_at < clock_timestamp() - make_interval(secs => :lease_s))
        ORDER BY id LIMIT :count FOR UPDATE SKIP LOCKED)
    UPDATE {_TABLE} t
    SET state = 'taken', claimed_at = clock_timestamp(), claimed_by = :claim, attempts = t.attempts + 1
    FROM free WHERE t.id = free.id
    RETURNING t.id, left(t.party, {_SHORT}), left(t.transaction, {_SHORT}), left(t.message_key, {_SHORT}),
        CASE WHEN octet_length(t.content) <= :bytes_max THEN t.content END, octet_length(t.content), t.attempts""")
_RELEASE = text(f"""
    UPDATE {_TABLE} SET state = 'new', attempts = attempts - 1
    WHERE id = ANY(:ids) AND state = 'taken' AND claimed_by = :claim""")
_FINISH = text(f"""
    UPDATE {_TABLE} t
    SET state = r.state, case_id = r.case_id, answer = r.answer, revision = r.revision, final = r.final,
        error_code = r.error_code, error_text_zh = r.error_text_zh,
        answered_at = CASE WHEN r.state <> 'taken' THEN clock_timestamp() END
    FROM json_to_recordset(CAST(:rows AS json)) AS r(id bigint, state text, case_id uuid, answer text, revision integer,
        final boolean, error_code text, error_text_zh text)
    WHERE t.id = r.id AND t.state = 'taken' AND t.claimed_by = :claim""")
# Whoever asked for an undo hears how the undo went, and not what was said of the settlement before.
_ANSWER = text(f"""
    UPDATE {_TABLE} t SET state = 'answered', answer = r.answer, revision = r.revision, final = r.final,
        answered_at = clock_timestamp()
    FROM json_to_recordset(CAST(:rows AS json)) AS r(case_id uuid, answer text, revision integer, final boolean,
        undone boolean)
    WHERE t.case_id = r.case_id AND t.state IN ('taken', 'answered') AND t.revision < r.revision
      AND (r.undone OR t.transaction <> ALL(:undos))""")
_UNANSWERED = text(f"""
    SELECT DISTINCT CAST(case_id AS text) FROM (SELECT case_id FROM {_TABLE}
        WHERE state = 'taken' AND case_id IS NOT NULL
          AND claimed_at < clock_timestamp() - make_interval(secs => :older_than_s)
        ORDER BY claimed_at LIMIT :count) AS waiting""")
_WAITING = text(f"""
    SELECT count(*), min(created_at), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
    FROM (SELECT created_at FROM {_TABLE} WHERE {_TO_TAKE} ORDER BY id LIMIT {_COUNTED_MAX}) AS first""")
_COUNTS = text(f"SELECT state, count(*) FROM {_TABLE} GROUP BY state ORDER BY state")
_MAY_UPDATE = text(f"SELECT has_column_privilege('{_TABLE}', 'answer', 'UPDATE')")


class StagingAway(Exception):
    """The table cannot be reached or used now; `reason` is a word without secrets and without rows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TakenRow:
    """One row in our hands, as its sender wrote it: every text may be missing, empty or anything."""

    id: int
    party: str | None
    transaction: str | None
    message_key: str | None
    content: str | None
    """None also where it is larger than was asked for."""
    bytes: int | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Finished:
    """What is written back to a row. `state` taken with a case means that the answer follows."""

    id: int
    state: str
    case_id: str | None = None
    answer: str | None = None
    revision: int = 0
    final: bool = False
    error_code: str | None = None
    error_text_zh: str | None = None


@dataclass(frozen=True, slots=True)
class CaseAnswer:
    """The newest answer of a case, for every row that is about it."""

    case_id: str
    answer: str
    revision: int
    final: bool
    undone: bool
    """The case is cancelled or on its way there."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows that wait to be taken or are just being taken: how many (a thousand at most), since when, for how long."""

    count: int
    since: datetime | None
    age_s: float


class StagingTable:
    """The table of one party; connections are made when they are needed. Not for use by several threads."""

    def __init__(self, url: str) -> None:
        try:
            self._engine = open_engine(url, pool_size=1, application="hub-staging", by_key=False)
        except (SQLAlchemyError, ValueError):
            # The library's own words would repeat the address with its password.
            raise StagingAway("the address cannot be read") from None
        self._checked = False

    def claim(self, claim: str, count: int, bytes_max: int, lease_s: float = LEASE_S) -> list[TakenRow]:
        """Rows for whoever is named by `claim`, the oldest first, committed as taken."""
        values = {"claim": claim, "count": count, "bytes_max": bytes_max, "lease_s": lease_s}
        with self._begin() as connection:
            return sorted((TakenRow(*row) for row in connection.execute(_CLAIM, values)), key=lambda row: row.id)

    def release(self, claim: str, ids: Sequence[int]) -> None:
        """Give rows back as if they had not been taken: the next claim has them again."""
        with self._begin() as connection:
            connection.execute(_RELEASE, {"claim": claim, "ids": list(ids)})

    def finish(self, claim: str, rows: Sequence[Finished]) -> None:
        """Write what became of rows; those that somebody else has claimed meanwhile are left to him."""
        with self._begin() as connection:
            connection.execute(_FINISH, {"claim": claim, "rows": as_json([asdict(row) for row in rows])})

    def answer(self, answers: Sequence[CaseAnswer]) -> int:
        """Write newer answers to every row about these cases; how many rows changed."""
        values = {"rows": as_json([asdict(one) for one in answers]), "undos": list(UNDOS)}
        with self._begin() as connection:
            return connection.execute(_ANSWER, values).rowcount

    def unanswered(self, older_than_s: float, count: int) -> list[str]:
        """The cases of rows that were taken a while ago and have no answer."""
        with self._begin() as connection:
            found = connection.execute(_UNANSWERED, {"older_than_s": older_than_s, "count": count})
            return [row[0] for row in found]

    def waiting(self) -> Waiting:
        """How many rows are not taken yet, and since when."""
        with self._begin() as connection:
            count, since, age_s = connection.execute(_WAITING).one()
        return Waiting(int(count), since, float(age_s))

    def counts(self) -> Mapping[str, int]:
        """Rows by state; reads the whole table, so for people only."""
        with self._begin() as connection:
            if not connection.execute(_MAY_UPDATE).scalar_one():
                raise StagingAway("the hub may not write into the table: run deploy/staging.sql")
            return {state: int(count) for state, count in connection.execute(_COUNTS)}

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                self._check(connection)
                yield connection
        except SQLAlchemyError as error:
            raise StagingAway(_reason(error)) from error
        except UnicodeError as error:
            raise StagingAway("a row is not UTF-8") from error

    def _check(self, connection: Connection) -> None:
        """Once: a database of another encoding would hand over bytes that are no text, or change what we write."""
        if not self._checked:
            if connection.execute(text("SHOW server_encoding")).scalar_one() != "UTF8":
                raise StagingAway("the database is not in UTF-8")
            self._checked = True


_REASONS = {
    "42P01": "there is no table staging.staging_request: run deploy/staging.sql",
    "3F000": "there is no schema staging: run deploy/staging.sql",
    "42703": "the table has other columns: run deploy/staging.sql",
    "42501": "the hub has no right to the table: run deploy/staging.sql",
    "25006": "the database may only be read",
    "57014": "it took too long",
}


def _reason(error: SQLAlchemyError) -> str:
    """A sentence of ours; the server's own may hold a row, and the library's an address."""
    code = getattr(getattr(error, "orig", None), "pgcode", None)
    return _REASONS.get(str(code), f"{type(error).__name__} {code or ''}".strip())
