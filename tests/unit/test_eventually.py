"""`eventually` waits, gives back what it waited for, and says what it last saw."""

from __future__ import annotations

from itertools import count

import pytest

from tests.support.eventually import eventually


def test_the_first_true_value_is_given_back() -> None:
    numbers = count()

    assert eventually(lambda: next(numbers)) == 1


def test_a_failing_assertion_counts_as_not_yet() -> None:
    numbers = count()

    def third() -> bool:
        assert next(numbers) >= 3
        return True

    assert eventually(third)


def test_what_never_becomes_true_shows_its_last_value() -> None:
    with pytest.raises(AssertionError, match="the last value was 0"):
        eventually(lambda: 0, within_s=0.01)


def test_an_assertion_that_never_holds_is_shown_itself() -> None:
    def never() -> bool:
        raise AssertionError("two letters are missing")

    with pytest.raises(AssertionError, match="two letters"):
        eventually(never, within_s=0.01)
