"""What the hospitals were told: the newest answer to every settlement, durable, by hospital and settlement number."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson

from sandbox import clock
from sandbox.clock import CHINA
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
_CREATE_MOVEMENT = """
CREATE TABLE IF NOT EXISTS movement (
    seq INTEGER PRIMARY KEY,
    institution TEXT NOT NULL,
    settlement_no TEXT NOT NULL,
    day TEXT NOT NULL,
    at TEXT NOT NULL,
    total_fen INTEGER NOT NULL,
    amount_fen INTEGER NOT NULL,
    account_fen INTEGER NOT NULL,
    cash_fen INTEGER NOT NULL
)
"""
_MOVE = """
INSERT INTO movement (institution, settlement_no, day, at, total_fen, amount_fen, account_fen, cash_fen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_MOVED = """
SELECT settlement_no, at, total_fen, amount_fen, account_fen, cash_fen FROM movement
WHERE institution = ? AND day = ? ORDER BY seq
"""
_BOOKED = """
SELECT sum(total_fen), sum(amount_fen), sum(account_fen), sum(cash_fen) FROM movement
WHERE institution = ? AND settlement_no = ?
"""
_STANDING = frozenset({"settled", "partly_settled"})


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


@dataclass(frozen=True, slots=True)
class Movement:
    """One row of a hospital's day book: what an answer changed, whole fen, below zero for what was taken back."""

    settlement_no: str
    at: str
    total_fen: int
    amount_fen: int
    account_fen: int
    cash_fen: int


class HospitalBook:
    """One SQLite file (or memory, without a path) for all hospitals of a run. Thread-safe."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_CREATE)
        self._connection.execute(_CREATE_MOVEMENT)

    def write(self, answers: Iterable[dict[str, Any]]) -> None:
        """Keep combined answers (parsed JSON) in one commit; an older revision never replaces a newer one."""
        heard = [(answer, _row(answer)) for answer in answers]
        if not heard:
            return
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            for answer, row in heard:
                if self._connection.execute(_UPSERT, row).rowcount:
                    self._book(answer)
            self._connection.execute("COMMIT")

    def movements(self, institution: str, day: date) -> list[Movement]:
        """What an institution has in its day book of a day, in the order in which it was told."""
        with self._lock:
            rows = self._connection.execute(_MOVED, (institution, day.isoformat())).fetchall()
        return [Movement(*row) for row in rows]

    def _book(self, answer: dict[str, Any]) -> None:
        """Write down what this answer changes. What is being undone stands until it is undone."""
        if answer["status"] == "cancelling":
            return
        key = answer["institution"], answer["settlement_no"]
        booked = [fen or 0 for fen in self._connection.execute(_BOOKED, key).fetchone()]
        change = [now - before for now, before in zip(_stands(answer), booked, strict=True)]
        if not any(change):
            return
        at = answer.get("answered_at") or clock.now().isoformat()
        first = not any(booked) and answer.get("business_day")
        day = answer["business_day"] if first else _day_of(at)
        self._connection.execute(_MOVE, (*key, day, at, *change))

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


def _stands(answer: dict[str, Any]) -> tuple[int, int, int, int]:
    """(bill, payers' shares, personal account, cash) as this answer leaves them; zeros when no payer's share stands."""
    shares = [fen_of(share["amount"]) for share in answer["shares"] if share["state"] == "approved"]
    if answer["status"] not in _STANDING or not shares:
        return 0, 0, 0, 0
    return fen_of(answer["total"]), sum(shares), fen_of(answer["account"]), fen_of(answer["cash"])


def _day_of(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(CHINA).date().isoformat()


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
