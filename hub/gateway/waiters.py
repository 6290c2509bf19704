"""Requests that wait for their case's answer: woken by hints, and by a poll for the hints that got lost.

No thread waits for a case. One thread fetches answers, for everything that was hinted at in one statement.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from schemas.errors import Unavailable
from store.answers import StoredAnswer

log = structlog.get_logger()

POLL_S = 0.2
WAITING_MAX = 5_000
EARLY_HINTS_MAX = 10_000

Read = Callable[[Sequence[str]], Mapping[str, StoredAnswer]]
Wanted = Callable[[StoredAnswer], bool]


@dataclass(slots=True, eq=False)
class _Waiter:
    wanted: Wanted
    future: asyncio.Future[StoredAnswer | None]


class AnswerWaiters:
    """Who waits for which case. `hint` may be called from any thread, `wait` is for coroutines of the loop."""

    def __init__(self, read: Read, *, poll_s: float = POLL_S) -> None:
        self._read = read
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._waiting: dict[str, list[_Waiter]] = {}
        self._count = 0
        self._hinted: set[str] = set()
        self._early: OrderedDict[str, None] = OrderedDict()
        """Hints for cases that nobody waits for yet: a quick case may be done before its request begins to wait."""
        self._news = threading.Event()
        self._giving_up = False
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="gateway-answers", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread; nobody should be waiting any more."""
        self._stopping = True
        self._news.set()
        self._thread.join(timeout_s)

    def hint(self, case_id: str) -> None:
        """There may be an answer for this case."""
        with self._lock:
            if case_id in self._waiting:
                self._hinted.add(case_id)
                self._news.set()
                return
            self._early[case_id] = None
            if len(self._early) > EARLY_HINTS_MAX:
                self._early.popitem(last=False)

    async def wait(self, case_id: str, wanted: Wanted, within_s: float) -> StoredAnswer | None:
        """The newest answer of the case as soon as it is `wanted`; None when the time is over."""
        assert self._loop is not None
        if self._giving_up or within_s <= 0:
            return None
        waiter = _Waiter(wanted, self._loop.create_future())
        self._add(case_id, waiter)
        try:
            async with asyncio.timeout(within_s):
                return await waiter.future
        except TimeoutError:
            return None
        finally:
            self._remove(case_id, waiter)

    def give_up(self) -> None:
        """Let everybody go without an answer, from now on at once; only on the loop's thread."""
        self._giving_up = True
        with self._lock:
            waiters = [waiter for of_case in self._waiting.values() for waiter in of_case]
        for waiter in waiters:
            if not waiter.future.done():
                waiter.future.set_result(None)

    def _add(self, case_id: str, waiter: _Waiter) -> None:
        with self._lock:
            if self._count >= WAITING_MAX:
                raise Unavailable("too many wait")
            self._count += 1
            self._waiting.setdefault(case_id, []).append(waiter)
            if case_id in self._early:
                del self._early[case_id]
                self._hinted.add(case_id)
            if self._count == 1 or case_id in self._hinted:
                self._news.set()

    def _remove(self, case_id: str, waiter: _Waiter) -> None:
        with self._lock:
            self._count -= 1
            self._waiting[case_id].remove(waiter)
            if not self._waiting[case_id]:
                del self._waiting[case_id]
                self._hinted.discard(case_id)

    # The thread that fetches.

    def _run(self) -> None:
        poll_at = 0.0
        while not self._stopping:
            idle = self._count == 0
            self._news.wait(None if idle else max(0.0, poll_at - time.monotonic()))
            self._news.clear()
            if idle:
                poll_at = time.monotonic() + self._poll_s
            poll = time.monotonic() >= poll_at
            if case_ids := self._due(everything=poll):
                self._fetch(case_ids)
            if poll:
                poll_at = time.monotonic() + self._poll_s

    def _due(self, *, everything: bool) -> list[str]:
        with self._lock:
            case_ids = list(self._waiting) if everything else list(self._hinted)
            self._hinted.clear()
            return case_ids

    def _fetch(self, case_ids: Sequence[str]) -> None:
        try:
            found = self._read(case_ids)
        except Exception as error:  # noqa: BLE001 - the poll asks again; who waits in vain is told so
            log.warning("answers_not_read", waiting=len(case_ids), error=type(error).__name__)
            return
        if found and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, found)

    def _deliver(self, found: Mapping[str, StoredAnswer]) -> None:
        for case_id, answer in found.items():
            for waiter in tuple(self._waiting.get(case_id, ())):
                if not waiter.future.done() and waiter.wanted(answer):
                    waiter.future.set_result(answer)
