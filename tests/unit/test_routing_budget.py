"""The retry budget: an outage is not followed by a storm, and what was put off goes out in the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.budget import BURST_MIN, BURST_S, MEMORY_S, REPEATS_PER_FIRST, TRICKLE_PER_S, RetryBudget

OUTAGE_S = 600


def settled_at(rate: int, seconds: int = 1_800) -> RetryBudget:
    """A budget that has seen `rate` first asks per second for that long."""
    budget = RetryBudget()
    for second in range(seconds):
        for _ in range(rate):
            budget.first(float(second))
    return budget


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=300))
def test_no_window_holds_more_repeats_than_the_budget(arrivals):
    """Over any window: a full bucket, the trickle, and half of the firsts, counted at the highest rate it ever saw."""
    budget, now, granted, per_s_max = RetryBudget(), 0.0, [], TRICKLE_PER_S
    for passed, is_first in arrivals:
        now += passed
        if is_first:
            budget.first(now)
        elif budget.take(now):
            granted.append(now)
        per_s_max = max(per_s_max, budget.per_s)
    bucket = max(BURST_MIN, BURST_S * per_s_max)
    for begin, since in enumerate(granted):
        for count, until in enumerate(granted[begin:], start=1):
            assert count <= bucket + per_s_max * (until - since) + 1e-6


@pytest.mark.parametrize("rate", [4, 20, 100])
def test_after_an_outage_the_payer_sees_at_most_one_and_a_half_times_its_normal_rate(rate):
    """New requests keep coming while it is down; each of them becomes a repeat, all due at once when it is back."""
    budget = settled_at(rate)
    begin = 1_800
    waiting = 0
    for second in range(begin, begin + OUTAGE_S):
        for _ in range(rate):
            budget.first(float(second))
            waiting += 1
    seen, second = [], begin + OUTAGE_S
    while waiting:
        firsts = rate
        for _ in range(firsts):
            budget.first(float(second))
        repeats = 0
        while waiting and budget.take(float(second)):
            waiting -= 1
            repeats += 1
        seen.append(firsts + repeats)
        second += 1

    burst = max(BURST_MIN, BURST_S * REPEATS_PER_FIRST * rate)
    for begin in range(0, len(seen), 10):
        window = seen[begin : begin + 10]
        assert sum(window) <= 1.5 * rate * len(window) * 1.02 + (burst if begin == 0 else 1)
    assert max(seen[1:]) <= 1.5 * rate + 1
    assert len(seen) <= 2.1 * OUTAGE_S, "what was put off must drain"


def test_what_was_put_off_drains_where_nothing_new_comes():
    budget, second, waiting = RetryBudget(), 0.0, 200
    while waiting:
        second += 1
        while waiting and budget.take(second):
            waiting -= 1

    assert second <= 200 / TRICKLE_PER_S
    assert budget.held > 0


def test_a_first_request_is_never_refused_and_costs_nothing():
    budget = RetryBudget()
    for _ in range(1_000):
        budget.first(0.0)

    assert budget.take(0.0)
    assert budget.held == 0


def test_a_clock_that_goes_back_grants_nothing():
    budget = RetryBudget()
    while budget.take(100.0):
        pass

    assert not any(budget.take(now) for now in (50.0, 0.0, 100.0))


def test_a_young_memory_knows_the_rate_already():
    budget = settled_at(10, seconds=20)

    assert budget.per_s == pytest.approx(5, rel=0.15)
    assert MEMORY_S >= OUTAGE_S, "an outage must not be forgotten before it is over"
