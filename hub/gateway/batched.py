"""From the event loop into threads and back: what has arrived together is handled together.

No call waits for company: a free worker takes whatever is there. No call waits for ever either: one that was not begun
in time is withdrawn and has had no effect.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from schemas.errors import OutcomeUnknown, Unavailable

T = TypeVar("T")
R = TypeVar("R")

PENDING_MAX = 5_000


@dataclass(slots=True, eq=False)
class _Call(Generic[T, R]):
    item: T
    future: asyncio.Future[R]
    begun: bool = False


class BatchedCalls(Generic[T, R]):
    """Hands items from coroutines to `handle` in batches, on `workers` threads.

    `handle` gives one result per item, in order; a result that is an exception is raised in its own call, an exception
    that `handle` raises in all calls of the batch.
    """

    def __init__(
        self,
        name: str,
        handle: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        batch_max: int,
        workers: int,
        has_effects: bool = False,
    ) -> None:
        self._handle = handle
        self._batch_max = batch_max
        self._has_effects = has_effects
        self._waiting: deque[_Call[T, R]] = deque()
        self._news = threading.Condition()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(workers)
        ]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to work for coroutines of `loop`."""
        self._loop = loop
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish what is waiting, then end."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join(timeout_s)

    async def __call__(self, item: T, within_s: float) -> R:
        """The result for `item`.

        Unavailable: not begun within `within_s` (or never), so nothing happened. OutcomeUnknown: begun and, in a pool
        with effects, not ended in time.
        """
        assert self._loop is not None
        call = _Call[T, R](item, self._loop.create_future())
        with self._news:
            if self._closed or len(self._waiting) >= PENDING_MAX:
                raise Unavailable("too much is waiting")
            self._waiting.append(call)
            self._news.notify()
        try:
            async with asyncio.timeout(within_s):
                return await call.future
        except TimeoutError:
            raise self._too_late(call) from None

    def _too_late(self, call: _Call[T, R]) -> Unavailable | OutcomeUnknown:
        with self._news:
            begun = call.begun
            if not begun:
                self._waiting.remove(call)
        if begun and self._has_effects:
            return OutcomeUnknown("no answer from the database in time")
        return Unavailable("not begun in time")

    def _work(self) -> None:
        while batch := self._next_batch():
            self._deliver(batch, self._results(batch))

    def _next_batch(self) -> list[_Call[T, R]]:
        with self._news:
            while not self._waiting:
                if self._closed:
                    return []
                self._news.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_max))]
            for call in batch:
                call.begun = True
            return batch

    def _results(self, batch: Sequence[_Call[T, R]]) -> Sequence[R | Exception]:
        try:
            return self._handle([call.item for call in batch])
        except Exception as error:  # noqa: BLE001 - it is raised again in every call of the batch
            return [error] * len(batch)

    def _deliver(self, batch: Sequence[_Call[T, R]], results: Sequence[R | Exception]) -> None:
        assert self._loop is not None
        futures = [call.future for call in batch]
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, futures, results)


def _resolve(futures: Sequence[asyncio.Future[R]], results: Sequence[R | Exception]) -> None:
    for future, result in zip(futures, results, strict=True):
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
