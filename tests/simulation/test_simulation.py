"""The hub on virtual time: two thousand seeds, and what the simulator promises of itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sqlalchemy import CheckConstraint

from simulation.chaos import RATES, Chaos, Fault
from simulation.run import run_seed
from simulation.shrink import shrink
from simulation.soak import Tally, run_all
from simulation.stores import CONSTRAINTS
from store.tables import cases, exchanges, legs
from tests.simulation.mutations import not_found_is_believed_at_once

SEEDS = 2_000
PARTS = 8
"""Each part is a test of its own, so that a failure is known early and workers share the load."""


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_doubled_or_wrong(part: int) -> None:
    size = SEEDS // PARTS
    tally = run_all(range(part * size + 1, (part + 1) * size + 1))

    assert tally.failed == []
    assert tally.seeds == size
    # About 5 bills and a dozen faults in each run: 10,000 bills and 120,000 faults in all.
    assert tally.cases >= 5 * size
    assert sum(tally.faults.values()) >= 8 * size


def test_every_kind_of_fault_happens() -> None:
    tally = run_all(range(3_001, 3_061))

    assert set(tally.faults) == set(Fault) == set(RATES)


def test_a_seed_gives_exactly_one_run() -> None:
    first, second = run_seed(77, trace=True), run_seed(77, trace=True)

    assert first == second
    assert len(first.trace) > 20


def test_a_run_is_the_same_in_every_interpreter() -> None:
    code = "from simulation.run import run_seed; print([run_seed(seed, trace=True).trace for seed in range(40, 50)])"
    shown = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert shown[0] == shown[1]


def test_a_suppressed_fault_does_not_happen_and_others_stay() -> None:
    whole = list(run_seed(5).injected)

    report = run_seed(5, suppressed=frozenset(whole[:3]))

    assert not set(whole[:3]) & set(report.injected)
    assert set(report.injected) & set(whole[3:])


def test_decisions_depend_on_their_own_name_only() -> None:
    one, other = Chaos(3), Chaos(3)
    one.number("a")

    assert one.number("b") == other.number("b")


def test_a_failing_seed_shrinks_to_what_matters() -> None:
    with pytest.MonkeyPatch.context() as patch:
        not_found_is_believed_at_once(patch)
        seed = next(seed for seed in range(1, 200) if run_seed(seed).failures)
        whole = run_seed(seed)
        minimal = shrink(seed)

    assert minimal.kind in {failure.kind for failure in minimal.report.failures}
    assert len(minimal.report.injected) < len(whole.injected)
    assert len(minimal.cases) < 5
    assert any("VIOLATED" in line for line in minimal.report.trace)


def test_a_seed_that_passes_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink(1, cases=1)


def test_the_checks_of_the_tables_hold_in_memory_too() -> None:
    declared = {
        str(constraint.name)
        for table in (cases, legs, exchanges)
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }

    assert declared == CONSTRAINTS


def test_sums_of_processes_add_up() -> None:
    alone, together = run_all(range(1, 21)), Tally()
    for part in (range(1, 11), range(11, 21)):
        together.merge(run_all(part))

    assert together == alone
