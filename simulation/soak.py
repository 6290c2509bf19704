"""Many seeds, on as many processes as are given, and the sum of what became of them."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from simulation.chaos import Fault
from simulation.run import Report, run_seed

CHUNK = 50
LOST = ("I5", "I6 lost", "I12", "I13", "endless")
DOUBLED = ("I1", "I2", "I6 invented", "I6 unknown", "I7")
WRONG_FEN = ("I3", "I6 wrong fen", "I9 amount")


@dataclass(slots=True)
class Tally:
    """The sum of many runs."""

    seeds: int = 0
    cases: int = 0
    answers: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    resolved_s: float = 0.0
    slowest: int = 0
    """The seed that had the case that took longest."""
    failed: list[tuple[int, str]] = field(default_factory=list)
    """Seeds that failed, with their first failure."""

    def add(self, report: Report) -> None:
        """One more run."""
        self.seeds += 1
        self.cases += report.cases
        self.answers += report.answers
        self.faults.update(report.faults)
        self.doubts.update(report.doubts)
        self.failures.update({failure.kind for failure in report.failures})
        if report.failures:
            self.failed.append((report.seed, str(report.failures[0])))
        if report.resolved_s > self.resolved_s:
            self.resolved_s, self.slowest = report.resolved_s, report.seed

    def merge(self, other: Tally) -> None:
        """The runs of another process."""
        self.seeds += other.seeds
        self.cases += other.cases
        self.answers += other.answers
        self.faults.update(other.faults)
        self.doubts.update(other.doubts)
        self.failures.update(other.failures)
        self.failed += other.failed
        if other.resolved_s > self.resolved_s:
            self.resolved_s, self.slowest = other.resolved_s, other.slowest

    def of(self, kinds: tuple[str, ...]) -> int:
        """How many seeds failed in one of these ways."""
        return sum(number for kind, number in self.failures.items() if kind.startswith(kinds))


def run_all(seeds: range, *, cases: int = 5, jobs: int = 1, stop_at_failure: bool = True) -> Tally:
    """Run these seeds; with `stop_at_failure` not much longer than until the first that fails."""
    tally = Tally()
    for part in _parts(seeds, cases, jobs):
        tally.merge(part)
        if tally.failed and stop_at_failure:
            break
    return tally


def _parts(seeds: range, cases: int, jobs: int) -> Iterator[Tally]:
    run = partial(_run_chunk, cases=cases)
    if jobs == 1:
        with _garbage_between_seeds():
            yield from map(run, _chunks(seeds, 1))
        return
    with ProcessPoolExecutor(jobs) as processes:
        try:
            yield from processes.map(run, _chunks(seeds, CHUNK))
        finally:
            processes.shutdown(wait=False, cancel_futures=True)


def _chunks(seeds: range, size: int) -> Iterator[tuple[int, ...]]:
    for begin in range(0, len(seeds), size):
        yield tuple(seeds[begin : begin + size])


def _run_chunk(seeds: tuple[int, ...], cases: int) -> Tally:
    tally = Tally()
    with _garbage_between_seeds():
        for seed in seeds:
            tally.add(run_seed(seed, cases=cases))
            gc.collect(0)
    return tally


@contextmanager
def _garbage_between_seeds() -> Iterator[None]:
    """Garbage is looked for after each seed, among what it made: a run's world is one big circle."""
    if not gc.isenabled():
        yield
        return
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
