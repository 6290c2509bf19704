"""A simulator that passes proves nothing unless it fails when a safety mechanism is missing."""

from __future__ import annotations

from functools import cache

import pytest

from simulation.run import Report, run_seed
from tests.simulation.mutations import MUTATIONS, Mutation, rows_are_not_locked


@cache
def as_it_is(seed: int) -> Report:
    """The run of the unchanged hub."""
    return run_seed(seed)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_missing_mechanism_is_noticed(mutation: Mutation) -> None:
    with pytest.MonkeyPatch.context() as patch:
        mutation.switch_off(patch)
        seed = next((seed for seed in range(mutation.from_seed, mutation.by_seed + 1) if notices(mutation, seed)), None)

    assert seed is not None, f"nobody misses: {mutation.name}"
    assert as_it_is(seed).failures == []


def notices(mutation: Mutation, seed: int) -> bool:
    return any(failure.kind.startswith(mutation.noticed_as) for failure in run_seed(seed).failures)


def test_the_version_fence_alone_protects_where_no_row_is_locked() -> None:
    with pytest.MonkeyPatch.context() as patch:
        rows_are_not_locked(patch)
        broken = [failure for seed in range(1, 60) for failure in run_seed(seed).failures]

    assert [str(one) for one in broken if one.kind.startswith(("I2", "I6", "I9", "I3"))] == []
