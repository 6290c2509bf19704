"""Many statements at once: several payers side by side, each payer's days one after the other.

Who is not heard about one day is not asked for its others, so that a payer that is down costs one day's patience and
holds up nobody else.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import structlog

from hub.recon.pulling_patience import NotAsked, Patience, away
from schemas.errors import HubError
from schemas.statement import StatementAnswer

log = structlog.get_logger()

AT_ONCE = 4
"""Payers that are asked at the same time."""

Item = TypeVar("Item")


class Puller(Protocol):
    """Fetches a payer's statement and puts it on record; a HubError when that cannot be done."""

    def pull(self, party: str, scheme_code: str, day: date, by: str, patience: Patience = ...) -> Any: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A statement that is to be fetched."""

    party: str
    scheme: str
    day: date


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of it: the statement, or why there is none."""

    wanted: Wanted
    answer: StatementAnswer | None = None
    error: HubError | None = None
    took_s: float = 0.0

    @property
    def asked(self) -> bool:
        """Whether the payer was asked at all."""
        return not isinstance(self.error, NotAsked)


@dataclass(frozen=True, slots=True)
class _Given(Generic[Item]):
    item: Item


class OnePayer:
    """Asks one payer for whatever is wanted of it, until it is not heard. Belongs to one thread.

    `down`: its breaker is open, so that one question must do to find out whether it is back.
    """

    def __init__(self, party: str, patience: Patience, *, down: bool = False) -> None:
        self.party = party
        self._patience = replace(patience, tries_max=1) if down else patience
        self._full = patience
        self._not_heard: HubError | None = None

    def ask(self, what: Callable[[Patience], Any]) -> Any:
        """What `what` returns, or its HubError; NotAsked when the payer was not heard before."""
        if self._not_heard is not None:
            raise NotAsked(f"not asked: a moment ago it was not heard ({self._not_heard.code})", party=self.party)
        try:
            answer = what(self._patience)
        except HubError as error:
            if away(error):
                self._not_heard = error
                log.warning("payer_not_heard", payer=self.party, code=error.code, tries=self._patience.tries_max)
            raise
        self._patience = self._full
        return answer

    def pull(self, puller: Puller, wanted: Wanted, by: str) -> Pulled:
        """Fetch one statement."""
        began = time.monotonic()
        try:
            answer = self.ask(lambda patience: puller.pull(wanted.party, wanted.scheme, wanted.day, by, patience))
        except HubError as error:
            return Pulled(wanted, error=error, took_s=time.monotonic() - began)
        return Pulled(wanted, answer, took_s=time.monotonic() - began)


def pull_all(
    puller: Puller,
    wanted: Sequence[Wanted],
    by: str,
    patience: Patience,
    *,
    down: Collection[str] = (),
    at_once: int = AT_ONCE,
) -> Iterator[Pulled]:
    """Fetch all of these; each as it comes to its end. `down`: payers whose breakers are open."""
    by_payer: dict[str, list[Wanted]] = {}
    for one in wanted:
        by_payer.setdefault(one.party, []).append(one)

    def of_one(party: str) -> Iterator[Pulled]:
        payer = OnePayer(party, patience, down=party in down)
        for one in by_payer[party]:
            yield payer.pull(puller, one, by)

    with side_by_side([partial(of_one, party) for party in by_payer], at_once) as pulled:
        yield from pulled


@contextmanager
def side_by_side(tasks: Sequence[Callable[[], Iterable[Item]]], at_once: int) -> Iterator[Iterator[Item]]:
    """What the tasks give, as it comes, so many tasks at a time, each on one thread; they begin at once.

    What a task raises is raised where its items are read. With the block the tasks end, each with the item that it is
    at.
    """
    waiting: queue.SimpleQueue[Callable[[], Iterable[Item]]] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    found: queue.SimpleQueue[_Given[Item] | BaseException | None] = queue.SimpleQueue()
    ending = threading.Event()
    count = min(at_once, len(tasks))
    threads = [
        threading.Thread(target=_work, args=(waiting, found, ending), name=f"side-by-side-{number}", daemon=True)
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield _read(found, count)
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def _work(
    waiting: queue.SimpleQueue[Callable[[], Iterable[Item]]],
    found: queue.SimpleQueue[_Given[Item] | BaseException | None],
    ending: threading.Event,
) -> None:
    over: BaseException | None = None
    try:
        while not ending.is_set() and (task := _next(waiting)) is not None:
            for item in task():
                found.put(_Given(item))
                if ending.is_set():
                    break
    except BaseException as error:  # noqa: BLE001 - carried to the thread that reads, and raised there
        over = error
    found.put(over)


def _read(found: queue.SimpleQueue[_Given[Item] | BaseException | None], running: int) -> Iterator[Item]:
    while running:
        given = found.get()
        if isinstance(given, BaseException):
            raise given
        if given is None:
            running -= 1
        else:
            yield given.item


def _next(waiting: queue.SimpleQueue[Callable[[], Iterable[Item]]]) -> Callable[[], Iterable[Item]] | None:
    try:
        return waiting.get_nowait()
    except queue.Empty:
        return None
