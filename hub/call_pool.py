"""A bounded pool of threads for one payer's calls.

The standard executor makes a future with a lock for every call; nobody waits for ours, and those futures were a fifth
of what the adapters' process spent. Threads are started as calls come, up to the bound, and end with the pool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

import structlog

log = structlog.get_logger()

Call = Callable[[], None]


class Pool(Protocol):
    """Where the calls to one payer run."""

    def submit(self, call: Call) -> None: ...

    def shutdown(self) -> None: ...


class CallPool:
    """Runs calls on at most `size` threads; further calls wait their turn."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def submit(self, call: Call) -> None:
        """Run `call` on a thread of the pool. Only one thread may submit. The call must handle its own errors."""
        self._calls.put(call)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def shutdown(self) -> None:
        """Wait until every call has ended; take no more."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:  # the call's own handling failed: say so, keep the thread
                log.exception("payer_call_crashed", pool=self._name, error=type(error).__name__)
            self._idle.release()
