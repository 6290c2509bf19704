"""Waiting for what another thread or process will do, instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S_MIN = 0.005
POLL_S_MAX = 0.1
# A busy machine is no defect: only what never comes true costs the whole time.
WITHIN_S = 30.0


def eventually(predicate: Callable[[], T], within_s: float = WITHIN_S) -> T:
    """The first true value of `predicate()`.

    Asked again and again, ever less often, for `within_s` seconds; an AssertionError of the predicate counts as "not
    yet". At the end the last AssertionError is raised again, or one that shows the last value.
    """
    deadline = time.monotonic() + within_s
    poll_s = POLL_S_MIN
    while True:
        value, failure = _attempt(predicate)
        if value:
            return value  # type: ignore[return-value]
        if time.monotonic() >= deadline:
            raise failure or AssertionError(f"not true within {within_s} s; the last value was {value!r}")
        time.sleep(poll_s)
        poll_s = min(poll_s * 1.5, POLL_S_MAX)


def _attempt(predicate: Callable[[], T]) -> tuple[T | None, AssertionError | None]:
    try:
        return predicate(), None
    except AssertionError as failure:
        return None, failure
