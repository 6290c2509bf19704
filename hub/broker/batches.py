"""Handing what arrived together to a handler, and giving each delivery its verdict when the handler raises."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import structlog

from hub.broker.errors import described
from hub.broker.transport import BatchHandler, Delivery, Subscription, dead, retry
from schemas.errors import HubError, Unavailable
from store.database import database_is_away

log = structlog.get_logger(__name__)

_HOLD_S_MAX = 30.0
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.2, 5.0
_RETRY_DELAY_S = 5.0


class Settleable(Delivery, Protocol):
    """A delivery of our own transports: it also knows whether it still awaits its verdict."""

    @property
    def settled(self) -> bool: ...


D = TypeVar("D", bound=Settleable)


class BatchRunner:
    """Runs one handler; `stopping` cuts short the wait for something that is away."""

    def __init__(self, handle: BatchHandler, stopping: threading.Event, hold_s_max: float = _HOLD_S_MAX) -> None:
        self._handle = handle
        self._stopping = stopping
        self._hold_s_max = hold_s_max

    def run(self, batch: Sequence[D]) -> None:
        """Handle `batch`. A handler that raises must not have kept deliveries to settle later."""
        try:
            self._handle(batch)
        except Exception as error:  # noqa: BLE001 - every delivery ends in a verdict below
            self._after_error(batch, error)

    def _after_error(self, batch: Sequence[D], error: Exception) -> None:
        left = [one for one in batch if not one.settled]
        if not left:
            log.error("handler_failed_after_settling", **described(error))
        elif is_unavailable(error):
            self._hold(left, error)
        elif len(batch) == 1:
            self._condemn(left[0], error)
        else:
            # What is left alone is tried alone before it is blamed.
            middle = len(left) // 2
            for half in (left[:middle], left[middle:]):
                if half:
                    self.run(half)

    def _hold(self, left: list[D], error: Exception) -> None:
        """Try again in place for a while: what is away for one message is away for all of them."""
        until = time.monotonic() + self._hold_s_max
        pause_s = _PAUSE_S_MIN
        while time.monotonic() < until and not self._stopping.is_set():
            log.warning("handler_waits", messages=len(left), error=type(error).__name__)
            self._stopping.wait(random.uniform(pause_s / 2, pause_s))
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)
            try:
                self._handle(left)
                return
            except Exception as again:  # noqa: BLE001 - every delivery ends in a verdict
                if not is_unavailable(again):
                    self._after_error(left, again)
                    return
                left = [one for one in left if not one.settled]
                if not left:
                    return
        for one in left:
            one.settle(retry(_RETRY_DELAY_S, cause_of(error)))

    @staticmethod
    def _condemn(delivery: Settleable, error: Exception) -> None:
        # A HubError holds identifiers and field names only; the text of any other error may hold anything.
        detail = str(error) if isinstance(error, HubError) else type(error).__name__
        log.error(
            "delivery_condemned",
            queue=delivery.queue,
            message_id=delivery.message_id,
            cause=cause_of(error),
            **described(error),
        )
        delivery.settle(dead(cause_of(error), detail))


def is_unavailable(error: BaseException) -> bool:
    """Whether something we need is away, so that the same work may succeed later."""
    return isinstance(error, Unavailable) or database_is_away(error)


def cause_of(error: BaseException) -> str:
    """The code that a dead or retried message carries."""
    if isinstance(error, HubError):
        return error.code
    return Unavailable.code if is_unavailable(error) else "hub.bug"


class HandlerThreads(Generic[D]):
    """The threads of one subscription: each takes what has arrived, never waiting for company, and handles it."""

    def __init__(self, subscription: Subscription, on_idle: Callable[[], None] = lambda: None) -> None:
        """`on_idle` is called by a thread that has nothing more to do."""
        self._on_idle = on_idle
        self._batch_max = subscription.batch_max
        self._waiting: deque[D] = deque()
        self._news = threading.Condition()
        self._idle = 0
        self._closed = False
        self._stopping = threading.Event()
        runner = BatchRunner(subscription.handle, self._stopping)
        for number in range(subscription.workers):
            name = f"{subscription.queue}-{number}"
            threading.Thread(target=self._work, args=(runner,), name=name, daemon=True).start()

    def put(self, arrived: Sequence[D]) -> None:
        with self._news:
            self._waiting.extend(arrived)
            if self._idle:
                self._news.notify()

    def take_back(self) -> list[D]:
        """What no thread has begun to handle; it is handled no more."""
        with self._news:
            waiting = list(self._waiting)
            self._waiting.clear()
            return waiting

    def stop(self) -> None:
        """Hold nothing any longer for something that is away; deliveries are still handled."""
        self._stopping.set()

    def close(self) -> None:
        """Let the threads end when nothing is left."""
        self._stopping.set()
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _work(self, runner: BatchRunner) -> None:
        while batch := self._next_batch():
            runner.run(batch)

    @property
    def hungry(self) -> bool:
        """Whether a thread waits for work."""
        return self._idle > 0 and not self._waiting

    def _next_batch(self) -> list[D]:
        with self._news:
            while not self._waiting:
                if self._closed:
                    return []
                self._idle += 1
                self._on_idle()
                self._news.wait()
                self._idle -= 1
            count = min(len(self._waiting), self._batch_max)
            batch = [self._waiting.popleft() for _ in range(count)]
            if self._waiting and self._idle:
                self._news.notify()
            return batch
