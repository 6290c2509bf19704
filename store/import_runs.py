"""Imports of master data: what was brought, by whom, how far it came, and what stood in its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, text

ALIVE = 7_204_117
"""First key of the lock that a process holds as long as it works on an import; the second is the import's number."""
_COLUMNS = (
    "id, kind, owner, source, name, sha256, operator, state, phase, rows_read, rows_new, rows_changed, rows_unchanged, "
    "problem_count, started_at, seen_at, ended_at"
)


@dataclass(frozen=True, slots=True)
class ImportRun:
    """One import as it stands."""

    id: int
    kind: str
    owner: str
    source: str
    name: str
    sha256: str
    operator: str
    state: str
    phase: str
    rows_read: int
    rows_new: int
    rows_changed: int
    rows_unchanged: int
    problem_count: int
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None


def start(
    connection: Connection, *, kind: str, owner: str, source: str, name: str, sha256: str, operator: str = ""
) -> int:
    """A new import; its number."""
    return int(
        connection.execute(
            text(
                "INSERT INTO import_run (kind, owner, source, name, sha256, operator, state, phase) "
                "VALUES (:kind, :owner, :source, :name, :sha256, :operator, 'running', 'reading') RETURNING id"
            ),
            {"kind": kind, "owner": owner, "source": source, "name": name, "sha256": sha256, "operator": operator},
        ).scalar_one()
    )


def progress(connection: Connection, import_id: int, phase: str, rows_read: int, problem_count: int) -> None:
    """A sign of life."""
    connection.execute(
        text(
            "UPDATE import_run SET phase = :phase, rows_read = :rows, problem_count = :problems, seen_at = now() "
            "WHERE id = :id AND state = 'running'"
        ),
        {"id": import_id, "phase": phase, "rows": rows_read, "problems": problem_count},
    )


def done(connection: Connection, import_id: int, rows_read: int, new: int, changed: int, unchanged: int) -> None:
    """Written in the transaction that puts the rows in force."""
    connection.execute(
        text(
            "UPDATE import_run SET state = 'done', phase = 'done', rows_read = :rows, rows_new = :new, "
            "rows_changed = :changed, rows_unchanged = :unchanged, seen_at = now(), ended_at = now() WHERE id = :id"
        ),
        {"id": import_id, "rows": rows_read, "new": new, "changed": changed, "unchanged": unchanged},
    )


def end(
    connection: Connection,
    import_id: int,
    state: str,
    *,
    rows_read: int = 0,
    problem_count: int = 0,
    problems: Sequence[dict[str, Any]] = (),
) -> None:
    """`refused` or `failed`: nothing of it is in force."""
    connection.execute(
        text(
            "UPDATE import_run SET state = :state, rows_read = :rows, problem_count = :count, "
            "problems = CAST(:problems AS jsonb), seen_at = now(), ended_at = now() "
            "WHERE id = :id AND state = 'running'"
        ),
        {
            "id": import_id,
            "state": state,
            "rows": rows_read,
            "count": problem_count,
            "problems": orjson.dumps(list(problems)).decode(),
        },
    )


def stay_alive(connection: Connection, import_id: int) -> None:
    """Hold the import's lock on this connection, until it ends by whatever way."""
    connection.execute(text("SELECT pg_advisory_lock(:alive, :id)"), {"alive": ALIVE, "id": _lock_of(import_id)})


def rest(connection: Connection, import_id: int) -> None:
    """Let the import's lock go."""
    connection.execute(text("SELECT pg_advisory_unlock(:alive, :id)"), {"alive": ALIVE, "id": _lock_of(import_id)})


def _lock_of(import_id: int) -> int:
    return import_id % 2**31


def bury(connection: Connection) -> list[int]:
    """Mark imports whose process is gone; their numbers. Nothing of them is in force: their rows went with them."""
    running = connection.execute(text("SELECT id FROM import_run WHERE state = 'running' ORDER BY id")).scalars().all()
    dead = []
    for import_id in running:
        key = {"alive": ALIVE, "id": _lock_of(import_id)}
        if connection.execute(text("SELECT pg_try_advisory_xact_lock(:alive, :id)"), key).scalar_one():
            connection.execute(
                text("UPDATE import_run SET state = 'died', ended_at = now() WHERE id = :id AND state = 'running'"),
                {"id": import_id},
            )
            dead.append(int(import_id))
    return dead


def of_file(connection: Connection, kind: str, owner: str, sha256: str) -> ImportRun | None:
    """The import by which this very file came in before."""
    return _first(
        connection,
        "WHERE kind = :kind AND owner = :owner AND sha256 = :sha256 AND state = 'done' AND source = 'file'",
        kind=kind,
        owner=owner,
        sha256=sha256,
    )


def get(connection: Connection, import_id: int) -> ImportRun | None:
    """One import."""
    return _first(connection, "WHERE id = :id", id=import_id)


def problems_of(connection: Connection, import_id: int) -> list[dict[str, Any]]:
    """What stood in its way: row, field, code and remedy of the first of them."""
    found = connection.execute(text("SELECT problems FROM import_run WHERE id = :id"), {"id": import_id})
    return list(found.scalar_one())


def listed(connection: Connection, *, kind: str = "", state: str = "", limit: int = 20) -> list[ImportRun]:
    """Imports, the newest first; empty filters let everything through."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM import_run WHERE (:kind = '' OR kind = :kind) AND (:state = '' OR state = :state) "
            "ORDER BY id DESC LIMIT :limit"
        ),
        {"kind": kind, "state": state, "limit": limit},
    )
    return [ImportRun(*row) for row in rows]


def _first(connection: Connection, where: str, **values: object) -> ImportRun | None:
    row = connection.execute(text(f"SELECT {_COLUMNS} FROM import_run {where} LIMIT 1"), values).first()
    return ImportRun(*row) if row is not None else None
