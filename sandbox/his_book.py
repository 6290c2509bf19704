"""What the hospitals were told: the newest answer to every settlement, durable, by hospital and settlement number."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from schemas.money import fen_of

_CREATE = """
CREATE TABLE IF NOT EXISTS told (
    institution TEXT NOT NULL,
    settlement_no TEXT NOT NULL,
    case_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    status TEXT NOT NULL,
    final INTEGER NOT NULL,
    total_fen INTEGER NOT NULL,
    account_fen INTEGER NOT NULL,
    hospital_fen INTEGER NOT NULL,
    cash_fen INTEGER NOT NULL,
    deferred_fen INTEGER NOT NULL,
    shares TEXT NOT NULL,
    PRIMARY KEY (institution, settlement_no)
) WITHOUT ROWID
"""
_UPSERT = """
INSERT INTO told VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (institution, settlement_no) DO UPDATE SET
    case_id = excluded.case_id, revision = excluded.revision, status = excluded.status, final = excluded.final,
    total_fen = excluded.total_fen, account_fen = excluded.account_fen, hospital_fen = excluded.hospital_fen,
    cash_fen = excluded.cash_fen, deferred_fen = excluded.deferred_fen, shares = excluded.shares
WHERE excluded.revision > told.revision
"""
_SELECT = "SELECT * FROM told"


@dataclass(frozen=True, slots=True)
class Told:
    """The newest answer of one settlement, whole fen; `shares` are (payer, state, fen) in the order of the legs."""

    institution: str
    settlement_no: str
    case_id: str
    revision: int
    status: str
    final: bool
    total_fen: int
    account_fen: int
    hospital_fen: int
    cash_fen: int
    deferred_fen: int
    shares: tuple[tuple[str, str, int], ...]


class HospitalBook:
    """One SQLite file (or memory, without a path) for all hospitals of a run. Thread-safe."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_CREATE)

    def write(self, answers: Iterable[dict[str, Any]]) -> None:
        """Keep combined answers (parsed JSON) in one commit; an older revision never replaces a newer one."""
        rows = [_row(answer) for answer in answers]
        if not rows:
            return
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_UPSERT, rows)
            self._connection.execute("COMMIT")

    def told(self, institution: str, settlement_no: str) -> Told | None:
        """The newest answer of one settlement."""
        query = f"{_SELECT} WHERE institution = ? AND settlement_no = ?"
        return next(iter(self._read(query, institution, settlement_no)), None)

    def all(self) -> Iterator[Told]:
        """The newest answer of every settlement, by institution and number."""
        return iter(self._read(f"{_SELECT} ORDER BY institution, settlement_no"))

    def open_cases(self) -> list[Told]:
        """Settlements whose newest answer is not final."""
        return self._read(f"{_SELECT} WHERE final = 0")

    def paid_by_payer(self) -> dict[str, int]:
        """Whole fen that each payer bears according to what the hospitals were told."""
        paid: Counter[str] = Counter()
        for told in self.all():
            for payer, _, amount_fen in told.shares:
                paid[payer] += amount_fen
        return dict(paid)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _read(self, query: str, *values: str) -> list[Told]:
        with self._lock:
            rows = self._connection.execute(query, values).fetchall()
        return [_told(row) for row in rows]


def _row(answer: dict[str, Any]) -> tuple[object, ...]:
    shares = [[share["payer"], share["state"], fen_of(share["amount"])] for share in answer["shares"]]
    return (
        answer["institution"],
        answer["settlement_no"],
        answer["case_id"],
        answer["revision"],
        answer["status"],
        int(answer["final"]),
        fen_of(answer["total"]),
        fen_of(answer["account"]),
        fen_of(answer["hospital_borne"]),
        fen_of(answer["cash"]),
        fen_of(answer["deferred"]),
        orjson.dumps(shares).decode(),
    )


def _told(row: tuple[Any, ...]) -> Told:
    shares = tuple((payer, state, fen) for payer, state, fen in orjson.loads(row[-1]))
    values: list[Any] = [*row[:5], bool(row[5]), *row[6:-1], shares]
    return Told(*values)
