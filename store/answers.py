"""The combined answers as they were given, one row per revision; and the undo requests of a case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from store.copying import copy_objects
from store.rows import as_json, insert_rows
from store.tables import answers, undos


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One revision of a case's answer."""

    case_id: str
    revision: int
    region: str
    final: bool
    body: bytes
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class StoredUndo:
    """A request to undo a case, and where its answer goes."""

    case_id: str
    cancel_no: str
    region: str
    reason: str
    reply_to: str
    correlation_id: str
    asked_at: datetime


_ANSWER_COLUMNS = tuple(StoredAnswer.__dataclass_fields__)
_UNDO_COLUMNS = tuple(StoredUndo.__dataclass_fields__)
_INSERT_UNDOS = insert_rows(
    undos, _UNDO_COLUMNS, unless="one_undo_per_cancel_number", returning=("case_id", "cancel_no")
)
_LATEST = text(
    f"SELECT DISTINCT ON (case_id) {', '.join(_ANSWER_COLUMNS)} FROM case_answer "
    "WHERE case_id = ANY(CAST(:ids AS uuid[])) ORDER BY case_id, revision DESC"
)
_ALL = text(f"SELECT {', '.join(_ANSWER_COLUMNS)} FROM case_answer WHERE case_id = CAST(:id AS uuid) ORDER BY revision")
_UNDOS = text(f"SELECT {', '.join(_UNDO_COLUMNS)} FROM case_undo WHERE case_id = ANY(CAST(:ids AS uuid[]))")


def add(connection: Connection, new: Sequence[StoredAnswer]) -> None:
    """Keep these answers."""
    if new:
        copy_objects(connection, answers, _ANSWER_COLUMNS, new)


def latest(connection: Connection, case_ids: Iterable[str]) -> dict[str, StoredAnswer]:
    """The newest answer of each case that has one."""
    ids = list(case_ids)
    if not ids:
        return {}
    return {str(row.case_id): _answer(row) for row in connection.execute(_LATEST, {"ids": ids})}


def history(connection: Connection, case_id: str) -> list[StoredAnswer]:
    """Every answer of a case, oldest first."""
    return [_answer(row) for row in connection.execute(_ALL, {"id": case_id})]


def _answer(row: Any) -> StoredAnswer:
    return StoredAnswer(**{**row._asdict(), "case_id": str(row.case_id), "body": bytes(row.body)})


def add_undos(connection: Connection, new: Sequence[StoredUndo]) -> set[tuple[str, str]]:
    """Keep these undo requests; the (case_id, cancel_no) that are new."""
    rows = [{name: getattr(undo, name) for name in _UNDO_COLUMNS} for undo in new]
    return {(str(case_id), cancel_no) for case_id, cancel_no in _INSERT_UNDOS.rows(connection, as_json(rows))}


def undos_of(connection: Connection, case_ids: Iterable[str]) -> dict[str, list[StoredUndo]]:
    """The undo requests of each case."""
    found: dict[str, list[StoredUndo]] = {}
    for row in connection.execute(_UNDOS, {"ids": list(case_ids)}):
        found.setdefault(str(row.case_id), []).append(StoredUndo(**{**row._asdict(), "case_id": str(row.case_id)}))
    return found
