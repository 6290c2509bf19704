"""Callers of the gateway that count every answer that is none: traffic for the tests of rolling changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson
import urllib3

from sandbox.day import DayCase
from sandbox.his import HospitalRequest, settle

PAUSE_S = 0.1
"""Six callers leave no moment of a roll without a call, and the new processes time to start."""


@dataclass
class Callers:
    """Threads that send one bill after another; an answer other than 200 and a broken connection are failures."""

    url: str
    bills: Iterator[DayCase]
    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def calling(self, *, keeping_alive: int, reconnecting: int) -> Iterator[None]:
        """So many callers of each kind for the length of the block; bills run out only if there are too few."""
        for number in range(keeping_alive + reconnecting):
            thread = threading.Thread(target=self._call_on, args=(number < keeping_alive,), name=f"caller-{number}")
            self._threads.append(thread)
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _call_on(self, keeps_alive: bool) -> None:
        pool = urllib3.PoolManager(maxsize=1, retries=False, timeout=30.0)
        while not self._stop.is_set():
            with self._lock:
                bill = next(self.bills, None)
            if bill is None:
                self.failures.append("the bills ran out")
                return
            self._call(pool, settle(bill), {} if keeps_alive else {"Connection": "close"})
            self._stop.wait(PAUSE_S)

    def _call(self, pool: urllib3.PoolManager, request: HospitalRequest, more: dict[str, str]) -> None:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": request.key,
            "X-Party": request.institution,
            "Prefer": "wait=20",
            **more,
        }
        address = f"{self.url}/api/v1/transactions/{request.transaction}"
        try:
            answer = pool.request("POST", address, body=request.body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            return
        if answer.status == 200:
            self.answers.append(orjson.loads(answer.data))
        else:
            self.failures.append(f"{answer.status}: {answer.data[:300]!r}")
