"""The budget of a case and the patience with each failure."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.deadline import ANSWER_RESERVE_S, CALL_MIN_S, CASE_DEADLINE_MAX_S, answer_due, call_timeout_s
from routing.retry import POLICIES, Failure
from tests.support.builders import MOMENT


@pytest.mark.parametrize(
    ("asked_s", "profile_s", "expected_s"),
    [(None, 15, 15), (3, 15, 3), (60, 15, 60), (121, 15, CASE_DEADLINE_MAX_S), (-5, 15, -5)],
)
def test_the_answer_is_due_when_the_sender_wishes_within_reason(asked_s, profile_s, expected_s):
    asked_for = None if asked_s is None else MOMENT + timedelta(seconds=asked_s)

    assert answer_due(MOMENT, asked_for, profile_s) == MOMENT + timedelta(seconds=expected_s)


@given(st.floats(-100, 200), st.floats(0.01, 60))
def test_a_call_never_outlasts_the_answer_nor_the_party(left_s, party_timeout_s):
    timeout_s = call_timeout_s(MOMENT, MOMENT + timedelta(seconds=left_s), party_timeout_s)

    if timeout_s is None:
        assert left_s < ANSWER_RESERVE_S + CALL_MIN_S + 1e-5
    else:
        assert 0 < timeout_s <= party_timeout_s
        assert timeout_s <= left_s - ANSWER_RESERVE_S + 1e-5


@pytest.mark.parametrize("failure", list(Failure))
def test_waits_never_shrink_and_come_to_an_end(failure):
    policy = POLICIES[failure]
    delays = [policy.delay_s(made) for made in range(1, policy.attempts_max)]

    assert None not in delays
    assert delays == sorted(delays)
    assert policy.delay_s(policy.attempts_max) is None
    assert policy.delay_s(0) == policy.delay_s(1) == policy.delays_s[0]


@pytest.mark.parametrize("failure", list(Failure))
def test_no_try_begins_after_the_time_is_up(failure):
    policy = POLICIES[failure]

    assert policy.delay_s(1, policy.for_s - 1) is not None
    assert policy.delay_s(1, policy.for_s) is None


@pytest.mark.parametrize(("failure", "hours"), [(Failure.IN_DOUBT, 20), (Failure.UNDO, 48)])
def test_the_tries_of_a_doubt_and_of_an_undo_outlast_a_night(failure, hours):
    policy = POLICIES[failure]

    assert sum(policy.delay_s(made) for made in range(1, policy.attempts_max)) >= hours * 3600
