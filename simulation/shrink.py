"""A failing seed made small: fewer cases, fewer faults, the same failure."""

from __future__ import annotations

from dataclasses import dataclass

from simulation.chaos import Fault
from simulation.run import Report, run_seed

RUNS_MAX = 400


@dataclass(frozen=True, slots=True)
class Minimal:
    """The smallest run found that still fails in the same way, with its trace."""

    report: Report
    cases: tuple[int, ...]
    kind: str
    runs: int


class _Shrinking:
    def __init__(self, seed: int, cases: int, excluded: frozenset[Fault]) -> None:
        self._seed = seed
        self._cases = cases
        self._excluded = excluded
        self.runs = 0
        self.only = frozenset(range(1, cases + 1))
        self.suppressed: frozenset[str] = frozenset()
        self.report = self._run(self.only, self.suppressed)
        if not self.report.failures:
            raise ValueError(f"seed {seed} does not fail")
        self.kind = self.report.failures[0].kind

    def _run(self, only: frozenset[int], suppressed: frozenset[str], *, trace: bool = False) -> Report:
        self.runs += 1
        return run_seed(
            self._seed, cases=self._cases, only=only, suppressed=suppressed, excluded=self._excluded, trace=trace
        )

    def try_without(self, only: frozenset[int], suppressed: frozenset[str]) -> bool:
        """Keep the smaller run if it fails in the same way."""
        if self.runs >= RUNS_MAX:
            return False
        report = self._run(only, suppressed)
        if all(failure.kind != self.kind for failure in report.failures):
            return False
        self.only, self.suppressed, self.report = only, suppressed, report
        return True

    def drop_cases(self) -> None:
        for number in sorted(self.only):
            if len(self.only) > 1:
                self.try_without(self.only - {number}, self.suppressed)

    def drop_faults(self) -> None:
        size = max(1, len(self.report.injected) // 2)
        while size >= 1:
            dropped, begin = False, 0
            while begin < len(self.report.injected):
                chunk = list(self.report.injected)[begin : begin + size]
                if self.try_without(self.only, self.suppressed | frozenset(chunk)):
                    dropped = True
                else:
                    begin += size
            if not dropped or size == 1:
                size //= 2
            if self.runs >= RUNS_MAX:
                return

    def traced(self) -> Report:
        return self._run(self.only, self.suppressed, trace=True)


def shrink(seed: int, *, cases: int = 5, excluded: frozenset[Fault] = frozenset()) -> Minimal:
    """The smallest run that fails as this seed does; ValueError when it does not fail."""
    shrinking = _Shrinking(seed, cases, excluded)
    shrinking.drop_cases()
    shrinking.drop_faults()
    shrinking.drop_cases()
    return Minimal(shrinking.traced(), tuple(sorted(shrinking.only)), shrinking.kind, shrinking.runs)
