"""Which answers wait to be written into staging tables: noted with the answer, removed when the table has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from store.rows import as_json

_NOTE = text("""
    INSERT INTO staging_due (party, case_id, region, revision)
    VALUES (:party, CAST(:case_id AS uuid), :region, :revision)
    ON CONFLICT ON CONSTRAINT staging_due_pk DO UPDATE SET revision = EXCLUDED.revision
    WHERE staging_due.revision < EXCLUDED.revision""")
_DUE = text("SELECT CAST(case_id AS text) FROM staging_due WHERE party = :party ORDER BY since LIMIT :count")
# A row that is just being noted again is passed over: waiting for it could end in a deadlock, and it is not done with.
_WRITTEN = text("""
    DELETE FROM staging_due d USING (
        SELECT d.party, d.case_id FROM staging_due d
        JOIN json_to_recordset(CAST(:rows AS json)) AS r(case_id uuid, revision integer) ON r.case_id = d.case_id
        WHERE d.party = :party AND d.revision <= r.revision FOR UPDATE OF d SKIP LOCKED) AS done
    WHERE d.party = done.party AND d.case_id = done.case_id""")
_INSTITUTIONS = text(
    "SELECT CAST(case_id AS text), institution FROM settlement_case WHERE case_id = ANY(CAST(:ids AS uuid[]))"
)


def note(connection: Connection, party: str, case_id: str, region: str, revision: int) -> None:
    """This answer of the case is to be written into the party's table."""
    connection.execute(_NOTE, {"party": party, "case_id": case_id, "region": region, "revision": revision})


def due(connection: Connection, party: str, count: int) -> list[str]:
    """The cases whose newest answer the party's table may not have, those that have waited longest first."""
    return [row[0] for row in connection.execute(_DUE, {"party": party, "count": count})]


def written(connection: Connection, party: str, revisions: Mapping[str, int]) -> None:
    """The table has these revisions, by case."""
    rows = [{"case_id": case_id, "revision": revision} for case_id, revision in sorted(revisions.items())]
    connection.execute(_WRITTEN, {"party": party, "rows": as_json(rows)})


def institutions_of(connection: Connection, case_ids: Sequence[str]) -> dict[str, str]:
    """Whose cases these are; a case that is not ours is left out."""
    return {row[0]: row[1] for row in connection.execute(_INSTITUTIONS, {"ids": list(case_ids)})}
