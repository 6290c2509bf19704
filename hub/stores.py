"""The store as the handlers use it. The tables of PostgreSQL stand behind it; the simulator puts its own memory there.

The modules of `store` satisfy these protocols as they are: what a function does is said there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from routing.plan import Coverage
from store import answers, cases, coverage, exchanges, inbox, outbox, search
from store.answers import StoredAnswer, StoredUndo
from store.exchanges import Exchange
from store.inbox import Received
from store.outbox import Message, StoredMessage
from store.records import CaseRecord
from store.search import Known

M = TypeVar("M", bound=Message)


class CaseStore(Protocol):
    """Cases with their legs; see `store.cases`."""

    def insert_new(self, connection: Connection, new: Sequence[CaseRecord]) -> set[str]: ...

    def lock(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, CaseRecord]: ...

    def read(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, CaseRecord]: ...

    def save(self, connection: Connection, touched: Iterable[CaseRecord]) -> None: ...

    def find_by_key(
        self, connection: Connection, keys: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[str, str]]: ...

    def lock_watched(self, connection: Connection, now: Any, limit: int) -> dict[str, CaseRecord]: ...


class ExchangeStore(Protocol):
    """Raw messages kept as evidence; see `store.exchanges`."""

    def add(self, connection: Connection, new: Sequence[Exchange]) -> None: ...

    def requests_of(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, bytes]: ...


class AnswerStore(Protocol):
    """Combined answers and undo requests; see `store.answers`."""

    def add(self, connection: Connection, new: Sequence[StoredAnswer]) -> None: ...

    def latest(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, StoredAnswer]: ...

    def add_undos(self, connection: Connection, new: Sequence[StoredUndo]) -> set[tuple[str, str]]: ...

    def undos_of(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, list[StoredUndo]]: ...


class InboxStore(Protocol):
    """Messages already taken; see `store.inbox`."""

    def take(self, connection: Connection, messages: Sequence[Received]) -> set[Received]: ...

    def leave_a_mark(self, connection: Connection) -> None: ...


class OutboxStore(Protocol):
    """Messages on their way out; see `store.outbox`."""

    def add(
        self, connection: Connection, messages: Sequence[M], queue_of: Callable[[str, str], str] | None = None
    ) -> list[M]: ...

    def delete(self, connection: Connection, ids: Iterable[int]) -> int: ...

    def lease_stale(
        self, connection: Connection, older_than_s: float, lease_s: float, limit: int
    ) -> list[StoredMessage]: ...


class CoverageStore(Protocol):
    """Policies by person; see `store.coverage`."""

    def find(self, connection: Connection, keys: Iterable[str]) -> dict[str, list[Coverage]]: ...


class SearchStore(Protocol):
    """By what people know a case; see `store.search`."""

    def add(self, connection: Connection, known: Iterable[Known]) -> None: ...


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that a handler reads and writes inside a unit of work."""

    cases: CaseStore
    exchanges: ExchangeStore
    answers: AnswerStore
    inbox: InboxStore
    outbox: OutboxStore
    coverage: CoverageStore
    search: SearchStore


SQL = Stores(cases, exchanges, answers, inbox, outbox, coverage, search)
