"""A party's own durable book: one SQLite file, one writer thread, and one commit for all that arrived together.

Nobody gets an answer before its entry is on disk. The book is what tests and reconciliation hold against the hub.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from sandbox.entries import CANCELLED, UNDO, Entry, Totals, fate, record, review, standing, total

BATCH_MAX = 512
_COLUMNS = tuple(field.name for field in fields(Entry))
_NAMES = ", ".join(_COLUMNS)
_INTEGERS = {"amount_fen", "effect_fen", "account_fen"}
_CREATE = f"""
CREATE TABLE IF NOT EXISTS entry (
    seq INTEGER PRIMARY KEY,
    {", ".join(f"{name} {'INTEGER' if name in _INTEGERS else 'TEXT'} NOT NULL" for name in _COLUMNS)}
);
CREATE UNIQUE INDEX IF NOT EXISTS entry_one_per_request ON entry (request_id);
CREATE INDEX IF NOT EXISTS entry_by_original ON entry (original_request_id) WHERE original_request_id <> '';
"""
_INSERT = f"INSERT INTO entry ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_FIND = f"SELECT {_NAMES} FROM entry WHERE request_id = ?"
_UNDO_OF = f"""
SELECT {_NAMES} FROM entry WHERE original_request_id = ? AND original_request_id <> ''
    AND operation IN ('cancel', 'reverse')
ORDER BY outcome = 'cancelled' DESC, seq LIMIT 1
"""
_PAGE = f"SELECT {_NAMES} FROM entry ORDER BY seq LIMIT ? OFFSET ?"


_TOTALS = """
SELECT count(*), ifnull(sum(outcome = 'approved'), 0), ifnull(sum(effect_fen) FILTER (WHERE outcome = 'approved'), 0),
    ifnull(sum(outcome = 'cancelled'), 0), ifnull(-sum(effect_fen) FILTER (WHERE outcome = 'cancelled'), 0),
    ifnull(sum(effect_fen), 0), ifnull(sum(account_fen), 0)
FROM entry
"""


class _SqliteShelf:
    """Entries in a file; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_CREATE)

    def find(self, request_id: str) -> Entry | None:
        return self._one(_FIND, request_id)

    def undo_of(self, original_request_id: str) -> Entry | None:
        return self._one(_UNDO_OF, original_request_id)

    def put(self, entry: Entry) -> None:
        self._connection.execute(_INSERT, [getattr(entry, name) for name in _COLUMNS])

    def page(self, limit: int, offset: int) -> list[Entry]:
        return [Entry(*row) for row in self._connection.execute(_PAGE, (limit, offset))]

    def totals(self) -> Totals:
        return Totals(*self._connection.execute(_TOTALS).fetchone())

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def _one(self, query: str, key: str) -> Entry | None:
        row = self._connection.execute(query, (key,)).fetchone()
        return None if row is None else Entry(*row)


class _MemoryShelf:
    """Entries in memory, gone with the process."""

    def __init__(self) -> None:
        self._by_id: dict[str, Entry] = {}
        self._undos: dict[str, Entry] = {}

    def find(self, request_id: str) -> Entry | None:
        return self._by_id.get(request_id)

    def undo_of(self, original_request_id: str) -> Entry | None:
        return self._undos.get(original_request_id)

    def put(self, entry: Entry) -> None:
        self._by_id[entry.request_id] = entry
        if entry.operation not in UNDO:
            return
        earlier = self._undos.get(entry.original_request_id)
        if earlier is None or (earlier.outcome != CANCELLED and entry.outcome == CANCELLED):
            self._undos[entry.original_request_id] = entry

    def page(self, limit: int, offset: int) -> list[Entry]:
        return list(self._by_id.values())[offset : offset + limit]

    def totals(self) -> Totals:
        return total(self._by_id.values())

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class Book:
    """The durable book of one party at `path`; `volatile=True` keeps it in memory instead.

    A volatile book answers at once and forgets everything with its process: for benches that want parties which cost
    nothing, never for a proof. Thread-safe. Raises sqlite3.Error when the disk refuses.
    """

    def __init__(self, path: Path | None = None, *, volatile: bool = False) -> None:
        if path is None and not volatile:
            raise ValueError("a durable book needs a path")
        self._volatile = volatile
        self._lock = threading.Lock()
        self._shelf: _SqliteShelf | _MemoryShelf
        self._inbox: queue.SimpleQueue[_Wish | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        if volatile or path is None:
            self._shelf = _MemoryShelf()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._shelf = _SqliteShelf(path)
        self._writer = threading.Thread(target=self._write, name=f"book-{path.stem}", daemon=True)
        self._writer.start()

    def record(self, entries: Sequence[Entry]) -> list[Entry]:
        """Write entries in one commit; the answer of each, in order, the first one's for a repeated request."""
        with self._lock:
            return self._commit(entries)

    async def recorded(self, entry: Entry) -> Entry:
        """Like `record` for one entry, sharing its commit with whatever else is waiting."""
        if self._volatile:
            return self.record([entry])[0]
        loop = asyncio.get_running_loop()
        wish = _Wish(entry, loop, loop.create_future())
        self._inbox.put(wish)
        return await wish.answer

    def review(self, wanted: Entry) -> Entry | None:
        """Decide a deferral by hand; None when `wanted.original_request_id` is no open deferral."""
        with self._lock:
            self._shelf.begin()
            try:
                decided = review(self._shelf, wanted)
                self._shelf.commit()
            except sqlite3.Error:
                self._shelf.rollback()
                raise
            return decided

    def find(self, request_id: str) -> Entry | None:
        """What the party says of a request now; None when it never heard of it."""
        with self._lock:
            return standing(self._shelf, request_id)

    def fate(self, request_id: str) -> Entry | None:
        """What became of a request, its undoing included; None when the party never heard of it."""
        with self._lock:
            return fate(self._shelf, request_id)

    def effective(self, request_id: str) -> int:
        """Whole fen that a request moves once its undo, if any, is counted; 0 for an unknown one."""
        with self._lock:
            entry = standing(self._shelf, request_id)
            undo = self._shelf.undo_of(request_id)
        if entry is None:
            return 0
        return entry.effect_fen + (undo.effect_fen if undo is not None else 0)

    def entries(self, limit: int = -1, offset: int = 0) -> list[Entry]:
        """Entries in the order in which they were written; all of them without a limit."""
        with self._lock:
            return self._shelf.page(limit if limit >= 0 else 2**40, offset)

    def totals(self) -> Totals:
        """Sums over the whole book."""
        with self._lock:
            return self._shelf.totals()

    def close(self) -> None:
        """Finish what waits and close the file."""
        if self._writer is not None:
            self._inbox.put(None)
            self._writer.join()
            self._writer = None
        with self._lock:
            self._shelf.close()

    def _commit(self, entries: Sequence[Entry]) -> list[Entry]:
        self._shelf.begin()
        try:
            answers = [record(self._shelf, entry) for entry in entries]
            self._shelf.commit()
        except sqlite3.Error:
            self._shelf.rollback()
            raise
        return answers

    def _write(self) -> None:
        while wishes := _drain(self._inbox):
            try:
                answers = self.record([wish.entry for wish in wishes])
            except sqlite3.Error as error:
                _tell(wishes, [error] * len(wishes))
            else:
                _tell(wishes, answers)


class _Wish:
    """One entry that somebody awaits."""

    __slots__ = ("answer", "entry", "loop")

    def __init__(self, entry: Entry, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Entry]) -> None:
        self.entry = entry
        self.loop = loop
        self.answer = answer


def _drain(inbox: queue.SimpleQueue[_Wish | None]) -> list[_Wish]:
    """What waits now, at least one; empty once the end has been asked for."""
    first = inbox.get()
    wishes = [] if first is None else [first]
    while wishes and len(wishes) < BATCH_MAX:
        try:
            wish = inbox.get_nowait()
        except queue.Empty:
            break
        if wish is None:
            inbox.put(None)
            break
        wishes.append(wish)
    return wishes


def _tell(wishes: Sequence[_Wish], answers: Sequence[Entry | Exception]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Entry], Entry | Exception]]] = defaultdict(list)
    for wish, answer in zip(wishes, answers, strict=True):
        by_loop[wish.loop].append((wish.answer, answer))
    for loop, told in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, told)


def _resolve(told: Sequence[tuple[asyncio.Future[Entry], Entry | Exception]]) -> None:
    for waiting, answer in told:
        if waiting.done():
            continue
        if isinstance(answer, Exception):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)
