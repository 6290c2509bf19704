"""What a report of the day reads of reconciliation: runs, statements, breaks by class and age, what counted late.

A break of a voided run is told by its latest row: in the run that stands it is what that row says; where the newer run
does not have it any more it is `resolved` if somebody saw to that, else `agreed`: the sides agree by now. Whole fen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

STATES = ("open", "waiting", "resolved", "explained", "agreed")


@dataclass(frozen=True, slots=True)
class Run:
    """The newest run of a party, scheme and day that is not void. `voided`: how many it took the place of."""

    run_id: int
    party: str
    scheme: str
    day: date
    state: str
    switches: Mapping[str, Any]
    rulebook_version: int
    statement_ids: tuple[int, ...]
    totals: Mapping[str, Any]
    counts: Mapping[str, Any]
    ledger_to: int
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    failure: str
    digest: str
    signed_by: str
    approved_by: str
    signed_at: datetime | None
    voided: int


@dataclass(frozen=True, slots=True)
class StatementHead:
    """A statement without its lines. Of a refused one `problems` say why: field, code and remedy each."""

    statement_id: int
    party: str
    scheme: str
    form: str
    source: str
    sha256: str
    rows: int
    total_fen: int
    state: str
    received_by: str
    received_at: datetime
    problems: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True, slots=True)
class BreakCount:
    """Breaks of one party, scheme, class, state and age. `age_days` counts from the first day that had it."""

    party: str
    scheme: str
    break_class: str
    state: str
    age_days: int
    count: int
    difference_fen: int


@dataclass(frozen=True, slots=True)
class Resolution:
    """How long breaks took from the run that found them to their end, seconds; None where none has ended."""

    count: int
    median_s: float | None
    worst_s: float | None


@dataclass(frozen=True, slots=True)
class ListedBreak:
    """One break as a list shows it; amounts per side as the run found them: [settlements, refunds, settled fen,
    refunded fen, account fen], None for a side that was not compared."""

    break_id: int
    run_id: int
    party: str
    scheme: str
    break_class: str
    key: str
    case_id: str | None
    leg_no: int | None
    institution: str
    payer: str
    settlement_no: str
    request_id: str
    reference: str
    hub: list[int] | None
    payer_side: list[int] | None
    hospital: list[int] | None
    difference_fen: int
    first_day: date
    state: str
    proposal: str
    reason: str
    action_id: int | None
    resolution: str
    resolved_by: str
    approved_by: str
    resolved_at: datetime | None
    entry_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LateEntry:
    """An entry that counts on another day than the payer's own."""

    entry_id: int
    business_day: date
    effective_day: date
    institution: str
    payer: str
    kind: str
    debit: str
    credit: str
    amount_fen: int
    case_id: str | None
    leg_no: int | None
    cause: str


@dataclass(frozen=True, slots=True)
class LateTotal:
    """Late entries of one kind together. `into`: they count on the day of the report; else they left it."""

    into: bool
    kind: str
    count: int
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Seal:
    """How a day was sealed."""

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
    """As in `store.seals.Seal`."""


_RUN_COLUMNS = ", ".join(f"r.{name}" for name in Run.__dataclass_fields__ if name != "voided")
_RUNS = text(f"""
    SELECT DISTINCT ON (r.party, r.scheme) {_RUN_COLUMNS},
        (SELECT count(*) FROM recon_run v
         WHERE v.day = r.day AND v.party = r.party AND v.scheme = r.scheme AND v.state = 'void') AS voided
    FROM recon_run r
    WHERE r.day = :day AND r.state <> 'void' AND (CAST(:party AS text) IS NULL OR r.party = :party)
    ORDER BY r.party, r.scheme, r.run_id DESC""")
_RUN = text(f"""
    SELECT {_RUN_COLUMNS},
        (SELECT count(*) FROM recon_run v WHERE v.day = r.day AND v.party = r.party AND v.scheme = r.scheme
           AND v.state = 'void' AND v.run_id < r.run_id) AS voided
    FROM recon_run r WHERE r.run_id = :run_id""")
_STATEMENTS = text(f"""
    SELECT {", ".join(StatementHead.__dataclass_fields__)} FROM statement
    WHERE day = :day AND (:replaced OR state = 'standing')
    -- What counts comes first: a party may have been refused a hundred times before it was right.
    ORDER BY state <> 'standing', state, party, scheme, statement_id LIMIT :limit""")

# The last row of each key, whatever run it is of, with the moment at which the first run found it.
_LATEST = """latest AS (
    SELECT DISTINCT ON (r.party, r.scheme, b.key) r.party, r.scheme, b.class AS break_class, b.difference_fen,
        b.first_day, b.resolved_at, r.state AS run_state, r.started_at,
        min(r.started_at) OVER (PARTITION BY r.party, r.scheme, b.key) AS found_at,
        CASE WHEN r.state <> 'void' OR b.state IN ('resolved', 'explained') THEN b.state ELSE 'agreed' END AS state
    FROM recon_run r JOIN recon_break b USING (run_id)
    WHERE r.day = :day AND r.state <> 'failed'
    ORDER BY r.party, r.scheme, b.key, b.run_id DESC)"""
_COUNTS = text(f"""WITH {_LATEST}
    SELECT party, scheme, break_class, state, greatest(CAST(:today AS date) - first_day, 0) AS age_days,
        count(*) AS count, sum(difference_fen) AS difference_fen
    FROM latest WHERE NOT (state = 'explained' AND run_state = 'void')
    GROUP BY party, scheme, break_class, state, age_days ORDER BY party, scheme, break_class, state, age_days""")
_RESOLUTION = text(f"""WITH {_LATEST}, standing AS (
        SELECT party, scheme, max(started_at) AS agreed_at FROM recon_run
        WHERE day = :day AND state IN ('done', 'signed_off') GROUP BY party, scheme),
    took AS (
        SELECT extract(epoch FROM coalesce(l.resolved_at, s.agreed_at) - l.found_at)::float8 AS seconds
        FROM latest l LEFT JOIN standing s USING (party, scheme) WHERE l.state IN ('resolved', 'agreed'))
    SELECT count(seconds), percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), max(seconds) FROM took""")

_BREAK_COLUMNS = ", ".join(
    {
        "party": "r.party",
        "scheme": "r.scheme",
        "break_class": "b.class AS break_class",
        "case_id": "CAST(b.case_id AS text) AS case_id",
    }.get(name, f"b.{name}")
    for name in ListedBreak.__dataclass_fields__
)
_BREAKS_WHERE = """FROM recon_run r JOIN recon_break b USING (run_id)
    WHERE (CAST(:day AS date) IS NULL OR r.day = :day)
      AND (CAST(:run_id AS bigint) IS NULL AND r.state IN ('done', 'signed_off') OR r.run_id = :run_id)
      AND (:party = '' OR r.party = :party) AND (:class = '' OR b.class = :class)
      AND (cardinality(CAST(:states AS text[])) = 0 OR b.state = ANY(CAST(:states AS text[])))"""
_BREAKS = text(f"SELECT {_BREAK_COLUMNS} {_BREAKS_WHERE} AND b.break_id > :after ORDER BY b.break_id LIMIT :limit")
_BREAKS_TOTAL = text(f"SELECT count(*) {_BREAKS_WHERE}")
_BREAK = text(
    f"SELECT {_BREAK_COLUMNS} FROM recon_run r JOIN recon_break b USING (run_id) WHERE b.break_id = :break_id"
)

_LATE_WHERE = "business_day <> effective_day AND (business_day = :day OR effective_day = :day)"
_LATE = text(f"""
    SELECT {
    ", ".join(
        "CAST(case_id AS text) AS case_id" if name == "case_id" else name for name in LateEntry.__dataclass_fields__
    )
}
    FROM ledger_entry WHERE {_LATE_WHERE} ORDER BY entry_id LIMIT :limit""")
_LATE_TOTALS = text(f"""
    SELECT business_day = :day AS into, kind, count(*) AS count, sum(amount_fen) AS amount_fen
    FROM ledger_entry WHERE {_LATE_WHERE} GROUP BY 1, 2 ORDER BY 1, 2""")
_SEAL = text(f"SELECT {', '.join(Seal.__dataclass_fields__)} FROM day_seal WHERE business_day = :day")


def runs(connection: Connection, day: date, party: str | None = None) -> list[Run]:
    """The run of each party and scheme, by party; a failed one where nothing better stands."""
    return [_run(row) for row in connection.execute(_RUNS, {"day": day, "party": party})]


def run(connection: Connection, run_id: int) -> Run | None:
    """One run, void or not."""
    row = connection.execute(_RUN, {"run_id": run_id}).first()
    return _run(row) if row is not None else None


def _run(row: Any) -> Run:
    return Run(**{**row._asdict(), "statement_ids": tuple(row.statement_ids)})


def statements(connection: Connection, day: date, *, replaced: bool = True, limit: int = 5_000) -> list[StatementHead]:
    """Statements of a day by party, with those that were replaced."""
    found = connection.execute(_STATEMENTS, {"day": day, "replaced": replaced, "limit": limit})
    return [StatementHead(**row._asdict()) for row in found]


def break_counts(connection: Connection, day: date, today: date) -> list[BreakCount]:
    """Every break of a day, counted; `today` is what ages count to."""
    found = connection.execute(_COUNTS, {"day": day, "today": today})
    return [BreakCount(**{**row._asdict(), "difference_fen": int(row.difference_fen)}) for row in found]


def resolution(connection: Connection, day: date) -> Resolution:
    """How long it took to end breaks of a day."""
    return Resolution(*connection.execute(_RESOLUTION, {"day": day}).one())


def breaks(
    connection: Connection,
    *,
    day: date | None = None,
    run_id: int | None = None,
    party: str = "",
    break_class: str = "",
    states: tuple[str, ...] = (),
    after: int = 0,
    limit: int = 50,
) -> list[ListedBreak]:
    """Breaks of a day's standing runs or of one run, by number; `after` continues a list."""
    values = _filter(day, run_id, party, break_class, states) | {"after": after, "limit": limit}
    return [_listed(row) for row in connection.execute(_BREAKS, values)]


def breaks_total(
    connection: Connection,
    *,
    day: date | None = None,
    run_id: int | None = None,
    party: str = "",
    break_class: str = "",
    states: tuple[str, ...] = (),
) -> int:
    """How many breaks there are of that filter."""
    return int(connection.execute(_BREAKS_TOTAL, _filter(day, run_id, party, break_class, states)).scalar_one())


def one_break(connection: Connection, break_id: int) -> ListedBreak | None:
    """One break, whatever run it is of."""
    row = connection.execute(_BREAK, {"break_id": break_id}).first()
    return _listed(row) if row is not None else None


def _filter(
    day: date | None, run_id: int | None, party: str, break_class: str, states: tuple[str, ...]
) -> dict[str, Any]:
    return {"day": day, "run_id": run_id, "party": party, "class": break_class, "states": list(states)}


def _listed(row: Any) -> ListedBreak:
    return ListedBreak(**{**row._asdict(), "entry_ids": tuple(row.entry_ids)})


def late_entries(connection: Connection, day: date, limit: int) -> list[LateEntry]:
    """Entries that came to this day from another one, or left it for one, the oldest first."""
    return [LateEntry(**row._asdict()) for row in connection.execute(_LATE, {"day": day, "limit": limit})]


def late_totals(connection: Connection, day: date) -> list[LateTotal]:
    """The same, counted by kind."""
    found = connection.execute(_LATE_TOTALS, {"day": day})
    return [LateTotal(into, kind, int(count), int(fen)) for into, kind, count, fen in found]


def seal(connection: Connection, day: date) -> Seal | None:
    """The seal of a day, if it has one."""
    row = connection.execute(_SEAL, {"day": day}).first()
    return Seal(**row._asdict()) if row is not None else None
