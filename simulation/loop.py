"""Virtual time: events in one heap, tasks that can wait, processes that can die, freeze and wake.

A task is a greenlet: handlers run in it as they are, and where they would wait (for a lock, for a payer) the loop runs
others. Only one thing runs at any moment, in an order that the seed alone decides.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

EPOCH = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
EVENTS_MAX = 60_000
"""A run that needs more is going round in circles."""


class Died(BaseException):
    """This process has just been killed."""


class Endless(Exception):
    """A run that does not come to rest."""


class Process:
    """Something that dies as a whole and loses its memory. `incarnation` counts its lives."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.incarnation = 0
        self.alive = False
        self.frozen = False
        self.skew_s = 0.0
        self.tasks: dict[greenlet, None] = {}
        self.parked: list[greenlet] = []
        self.on_death: list[Callable[[], None]] = []

    def now(self) -> datetime:
        """The time of day as this process believes it is."""
        return self.loop.wall(self.skew_s)


class Parking:
    """Where one task waits for one value."""

    __slots__ = ("_loop", "_task", "value", "woken")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._task: greenlet | None = None
        self.woken = False
        self.value: Any = None

    def wake(self, value: Any = None) -> None:
        """Give the value; only the first counts."""
        if self.woken:
            return
        self.woken = True
        self.value = value
        if self._task is not None:
            self._loop.at(self._loop.now, self._loop.resume, self._task)
            self._task = None

    def wait(self, timeout_s: float) -> bool:
        """Wait for the value; False when the time is over."""
        if not self.woken:
            self._task = self._loop.this_task()
            self._loop.at(self._loop.now + timeout_s, self._time_over, self._task)
            self._loop.yield_to_others()
        return self.woken

    def _time_over(self, task: greenlet) -> None:
        if self._task is task:
            self._task = None
            self._loop.resume(task)


class Loop:
    """The heap of events and the tasks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.trace: list[str] | None = None
        self.current: Process | None = None
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._main = getcurrent()
        self._owners: dict[greenlet, Process] = {}

    def wall(self, skew_s: float = 0.0) -> datetime:
        return EPOCH + timedelta(seconds=self.now + skew_s)

    def note(self, who: str, what: str) -> None:
        """One line of the trace; callers look whether there is one before they build a costly text."""
        if self.trace is not None:
            self.trace.append(f"{self.now:12.3f}  {who:<12}  {what}")

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Do this at that time."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(when, self.now), self._sequence, call, arguments))

    def after(self, delay_s: float, call: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now + delay_s, call, *arguments)

    def run_until(self, end: float) -> None:
        """Do everything that is due by then."""
        while self._heap and self._heap[0][0] <= end:
            self.now, _, call, arguments = heapq.heappop(self._heap)
            self.events += 1
            if self.events > EVENTS_MAX:
                raise Endless(f"more than {EVENTS_MAX} events by {self.now:.0f} s")
            call(*arguments)
        self.now = max(self.now, end)

    @property
    def quiet(self) -> bool:
        return not self._heap

    # Tasks.

    def spawn(self, process: Process, work: Callable[..., None], *arguments: Any) -> None:
        """Run `work` as a task of this process, from the next event on."""
        incarnation = process.incarnation

        def body() -> None:
            try:
                work(*arguments)
            except (Died, GreenletExit):
                pass
            finally:
                process.tasks.pop(task, None)
                self._owners.pop(task, None)

        task = greenlet(body, self._main)
        process.tasks[task] = None
        self._owners[task] = process
        self.at(self.now, self._begin, task, process, incarnation)

    def _begin(self, task: greenlet, process: Process, incarnation: int) -> None:
        if process.alive and process.incarnation == incarnation:
            self.resume(task)

    def this_task(self) -> greenlet:
        task = getcurrent()
        assert task is not self._main, "only a task can wait"
        return task

    @property
    def in_task(self) -> bool:
        return getcurrent() is not self._main

    def resume(self, task: greenlet) -> None:
        """Let a waiting task go on, once its process can."""
        process = self._owners.get(task)
        if process is None or not process.alive:
            return
        if process.frozen:
            process.parked.append(task)
            return
        self.current = process
        try:
            task.switch()
        finally:
            self.current = None

    def yield_to_others(self) -> None:
        """From a task: everybody else, until somebody resumes it."""
        self._main.switch()

    def sleep(self, delay_s: float) -> None:
        """From a task: wait."""
        self.at(self.now + delay_s, self.resume, self.this_task())
        self._main.switch()

    # Processes.

    def kill(self, process: Process) -> None:
        """SIGKILL. From within one of its own tasks the caller must raise Died afterwards."""
        if not process.alive:
            return
        process.alive = False
        process.frozen = False
        process.parked.clear()
        self.at(self.now, self._reap, process, process.incarnation, list(process.tasks))
        for call in process.on_death:
            call()
        process.on_death.clear()

    def _reap(self, process: Process, incarnation: int, tasks: list[greenlet]) -> None:
        for task in tasks:
            if not task.dead:
                process.tasks.pop(task, None)
                self._owners.pop(task, None)
                task.throw(GreenletExit)

    def freeze(self, process: Process) -> None:
        """SIGSTOP."""
        process.frozen = True

    def thaw(self, process: Process) -> None:
        """SIGCONT: everything that became due meanwhile happens now."""
        if not process.frozen:
            return
        process.frozen = False
        parked, process.parked = process.parked, []
        for task in parked:
            self.at(self.now, self.resume, task)

    def close(self) -> None:
        """End every task that still waits."""
        for task, process in list(self._owners.items()):
            process.alive = False
            if not task.dead:
                task.throw(GreenletExit)
        self._owners.clear()
        self._heap.clear()
