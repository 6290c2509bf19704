"""One payer's circuit breaker on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.breaker import OPEN_S, OPEN_S_MAX, Breaker, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def an_open(failures_max: int = 3, at: float = 100.0) -> Breaker:
    breaker = Breaker(failures_max)
    for _ in range(failures_max):
        breaker.failed(at)
    assert breaker.state is OPEN
    return breaker


def test_it_opens_probes_and_closes():
    breaker = Breaker(2)
    breaker.failed(10.0)
    assert (breaker.state, breaker.allows(10.0), breaker.opens_in(10.0)) == (CLOSED, True, 0.0)
    breaker.failed(11.0)
    assert (breaker.state, breaker.allows(11.0), breaker.opens_in(12.0)) == (OPEN, False, OPEN_S - 1)
    assert not breaker.allows(11.0 + OPEN_S - 0.1)

    assert breaker.allows(11.0 + OPEN_S)
    assert breaker.state is HALF_OPEN
    assert not breaker.allows(11.0 + OPEN_S)
    breaker.succeeded()
    assert (breaker.state, breaker.failures, breaker.open_s) == (CLOSED, 0, OPEN_S)
    assert all(breaker.allows(17.0) for _ in range(3))


def test_every_probe_that_fails_doubles_the_wait_up_to_a_minute():
    breaker, now, waits = an_open(), 100.0, []
    for _ in range(6):
        waits.append(breaker.opens_in(now))
        now += breaker.open_s
        assert breaker.allows(now)
        breaker.failed(now)

    assert waits == [5, 10, 20, 40, 60, 60]
    assert breaker.open_s == OPEN_S_MAX


def test_a_probe_of_which_nothing_was_heard_does_not_keep_it_shut():
    breaker = an_open()
    assert breaker.allows(105.0)
    assert not breaker.allows(109.9)
    assert breaker.opens_in(109.0) == 1.0

    assert breaker.allows(110.0)


def test_a_late_success_of_a_call_from_before_closes_it():
    breaker = an_open()

    breaker.succeeded()

    assert (breaker.state, breaker.allows(100.0)) == (CLOSED, True)


def test_without_a_limit_it_never_opens():
    breaker = Breaker(0)
    for now in range(1_000):
        breaker.failed(float(now))

    assert (breaker.state, breaker.allows(1_000.0)) == (CLOSED, True)


@pytest.mark.parametrize("now", [0.0, 1.0, 1e9])
def test_a_new_one_lets_through_whatever_the_clock_says(now):
    assert (Breaker(1).allows(now), Breaker(1).opens_in(now)) == (True, 0.0)


steps = st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["ask", "fails", "works"])), max_size=80)


@given(steps=steps, failures_max=st.integers(1, 5))
def test_it_opens_only_after_failures_in_a_row_and_probes_one_at_a_time(steps, failures_max):
    breaker, now, in_a_row = Breaker(failures_max), 0.0, 0
    probes: list[tuple[float, float]] = []
    for passed, what in steps:
        now += passed
        before = breaker.state
        if what == "ask":
            allowed = breaker.allows(now)
            if before is CLOSED:
                assert allowed
            elif allowed:
                if probes:
                    last, wait = probes[-1]
                    assert now - last >= wait
                probes.append((now, breaker.open_s))
        elif what == "fails":
            in_a_row += 1
            breaker.failed(now)
            if before is CLOSED:
                assert (breaker.state is OPEN) == (in_a_row >= failures_max)
        else:
            in_a_row = 0
            breaker.succeeded()
            probes.clear()
            assert breaker.state is CLOSED
