"""Signing off: what stands in the way of it, and the signature itself. See `store.seals` for what the digest holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from store import doubts, seals
from store.seals import RUN_ENTRIES

_COLUMNS = (
    "run_id, party, scheme, day, state, switches, rulebook_version, statement_ids, neighbour_ids, ledger_to, digest, "
    "signed_by, approved_by"
)
_BOOKED = "('settle', 'late_approval', 'cancel', 'reversal', 'opening')"
_LOCK = text(f"SELECT {_COLUMNS} FROM recon_run WHERE run_id = :run FOR UPDATE")
_READ = text(f"SELECT {_COLUMNS} FROM recon_run WHERE run_id = :run")
_STANDING = text(f"""
    SELECT {_COLUMNS} FROM recon_run
    WHERE party = :party AND scheme = :scheme AND day = :day AND state IN ('running', 'done', 'signed_off')""")
_OPEN = text("SELECT break_id FROM recon_break WHERE run_id = :run AND state IN ('open', 'waiting') ORDER BY break_id")
_NOT_DUE = text("""
    SELECT count(*) FROM recon_break WHERE run_id = :run AND class = 'not_yet_due' AND state = 'explained'""")
_PARTIES = text("SELECT statement_id, party FROM statement WHERE statement_id = ANY(:ids)")
_NEAR_GONE = text("""
    SELECT EXISTS (SELECT 1 FROM statement WHERE statement_id = ANY(:ids) AND state <> 'standing')
       AND EXISTS (SELECT 1 FROM recon_break WHERE run_id = :run AND class IN ('late_cut_off', 'reversed_pair'))""")
# Signed runs that had taken rows of this day's books for their own, before these books were replaced by others.
_LENT = text("""
    SELECT r.run_id, r.day, count(*) AS rows FROM recon_run r JOIN recon_break b USING (run_id)
    WHERE r.party = :party AND r.scheme = :scheme AND r.state = 'signed_off' AND b.class = 'late_cut_off'
      AND EXISTS (SELECT 1 FROM statement s
                  WHERE s.statement_id = ANY(r.neighbour_ids) AND s.day = :day AND s.state <> 'standing')
    GROUP BY r.run_id, r.day ORDER BY r.day""")
_OWN = text("SELECT EXISTS (SELECT 1 FROM statement WHERE statement_id = ANY(:ids) AND party = :party)")
_NEWER = text(f"""
    SELECT count(*) FROM ledger_entry
    WHERE {RUN_ENTRIES.replace("(entry_id <= :top OR entry_id = ANY(:linked))", "entry_id > :top")}
      AND kind IN {_BOOKED} AND entry_id <> ALL(:linked)""")
_LINKED = text(
    "SELECT coalesce(array_agg(DISTINCT e.id), '{}') FROM recon_break b, unnest(b.entry_ids) AS e(id) "
    "WHERE b.run_id = :run"
)
_SIGN = text("""
    UPDATE recon_run SET state = 'signed_off', signed_by = :by, approved_by = :approver, signed_at = :now
    WHERE run_id = :run""")
_DIGEST = text("UPDATE recon_run SET digest = :digest WHERE run_id = :run")
_ACTIVE = text("""
    SELECT payer FROM ledger_entry WHERE business_day = :day
    UNION SELECT payer FROM ledger_entry WHERE effective_day = :day
    UNION SELECT institution FROM ledger_entry WHERE business_day = :day AND institution = ANY(:declared)
    UNION SELECT party FROM statement WHERE day = :day AND state = 'standing'""")
_INSTITUTIONS = text("SELECT DISTINCT institution FROM ledger_entry WHERE business_day = :day")
_RUNS_OF_DAY = text("""
    SELECT party || '/' || scheme AS name, run_id, state FROM recon_run
    WHERE day = :day AND state IN ('running', 'done', 'signed_off')""")
_EARLIER = text("""
    SELECT min(business_day) FROM ledger_entry
    WHERE business_day < :day AND (CAST(:sealed AS date) IS NULL OR business_day > :sealed)""")


@dataclass(frozen=True, slots=True)
class RunHead:
    """What signing needs to know of a run."""

    run_id: int
    party: str
    scheme: str
    day: date
    state: str
    switches: Mapping[str, Any]
    rulebook_version: int
    statement_ids: list[int]
    neighbour_ids: list[int]
    ledger_to: int
    digest: str
    signed_by: str
    approved_by: str

    @property
    def name(self) -> str:
        """For people."""
        return f"run {self.run_id} of {self.party}/{self.scheme} for {self.day}"


def lock(connection: Connection, run_id: int) -> RunHead | None:
    """The run, held until the transaction ends."""
    return _head(connection.execute(_LOCK, {"run": run_id}).first())


def read(connection: Connection, run_id: int) -> RunHead | None:
    """The run."""
    return _head(connection.execute(_READ, {"run": run_id}).first())


def standing(connection: Connection, party: str, scheme: str, day: date) -> RunHead | None:
    """The run of party, scheme and day that is not void."""
    return _head(connection.execute(_STANDING, {"party": party, "scheme": scheme, "day": day}).first())


def _head(row: Row[Any] | None) -> RunHead | None:
    return None if row is None else RunHead(**row._asdict())


def open_breaks(connection: Connection, run_id: int) -> list[int]:
    """Breaks that nobody has decided, and those that wait for an effect."""
    return [int(row.break_id) for row in connection.execute(_OPEN, {"run": run_id})]


def not_yet_due(connection: Connection, run_id: int) -> int:
    """Items that were still under way, or not due, when the run was made."""
    return int(connection.execute(_NOT_DUE, {"run": run_id}).scalar_one())


def parties_of(connection: Connection, statement_ids: Collection[int]) -> dict[int, str]:
    """Whose books these statements are."""
    found = connection.execute(_PARTIES, {"ids": list(statement_ids)})
    return {int(row.statement_id): row.party for row in found}


def neighbours_replaced(connection: Connection, run: RunHead) -> bool:
    """Whether books of another day, in which the run found rows of this one, do not stand any more."""
    values = {"ids": run.neighbour_ids, "run": run.run_id}
    return bool(connection.execute(_NEAR_GONE, values).scalar_one())


def lent(connection: Connection, run: RunHead) -> list[tuple[int, date, int]]:
    """(run, day, rows) of runs of other days, signed off, which explained rows by books of this day that have been
    replaced since."""
    values = {"party": run.party, "scheme": run.scheme, "day": run.day}
    return [(int(row.run_id), row.day, int(row.rows)) for row in connection.execute(_LENT, values)]


def has_own_statement(connection: Connection, run: RunHead) -> bool:
    """Whether the party's own books were compared."""
    return bool(connection.execute(_OWN, {"ids": run.statement_ids, "party": run.party}).scalar_one())


def newer_entries(connection: Connection, run: RunHead) -> int:
    """What was booked of the party and day after the run had read the ledger, its own remedies' entries apart."""
    linked = list(connection.execute(_LINKED, {"run": run.run_id}).scalar_one())
    values = {
        "party": run.party,
        "day": run.day,
        "top": run.ledger_to,
        "linked": linked,
        "by_business_day": run.switches.get("day") == "business",
    }
    return int(connection.execute(_NEWER, values).scalar_one())


def sign(connection: Connection, run_id: int, *, by: str, approver: str, now: datetime) -> str:
    """Sign the run, which is held; its digest. From now on no row that it is made of may change."""
    seals.free(connection)
    connection.execute(_SIGN, {"run": run_id, "by": by, "approver": approver, "now": now})
    parts = seals.run_parts(connection, run_id)
    digest = seals.digest_of(parts)
    seals.keep(connection, seals.run_subject(run_id), parts)
    connection.execute(_DIGEST, {"run": run_id, "digest": digest})
    return digest


def active_parties(connection: Connection, day: date, declared: Collection[str]) -> set[str]:
    """Payers in whose books the day must or may have something, institutions likewise where they are `declared` to be
    compared, and everybody whose books came."""
    values = {"day": day, "declared": list(declared)}
    in_doubt = {payer for _, payer in doubts.payers_on(connection, [day])}
    return in_doubt | {row.payer for row in connection.execute(_ACTIVE, values) if row.payer}


def institutions_of(connection: Connection, day: date) -> set[str]:
    """Institutions with entries that count on the day."""
    return {row.institution for row in connection.execute(_INSTITUTIONS, {"day": day}) if row.institution}


def runs_of_day(connection: Connection, day: date) -> dict[str, tuple[int, str]]:
    """Run and state by `party/scheme`."""
    return {row.name: (row.run_id, row.state) for row in connection.execute(_RUNS_OF_DAY, {"day": day})}


def earlier_open_day(connection: Connection, day: date, sealed: date | None) -> date | None:
    """The first day before that has entries and no seal."""
    found: date | None = connection.execute(_EARLIER, {"day": day, "sealed": sealed}).scalar()
    return found
