"""When to try again, by the class of the failure: written once, with an end in count and in time.

Delays are seconds; the broker rounds them to its tiers. None means: no more tries, people or the deadline decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DAY_S = 86_400.0


class Failure(StrEnum):
    """Why a call brought no answer."""

    NOT_SENT = "not_sent"
    """Provably nothing left: repeat freely while the cashier waits."""
    IN_DOUBT = "in_doubt"
    """The payer may have been heard: ask what became of it, or repeat where its interface makes that harmless."""
    UNDO = "undo"
    """An undo that has not been confirmed: nobody waits at a window, so be patient and persistent."""
    NOTICE = "notice"
    """A notice that was not taken: saying it again is harmless, and what follows it waits for it."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`delays_s[n]` is the wait after attempt n+1; the last one repeats up to `attempts_max` attempts in all.

    No attempt begins later than `for_s` after the first: then people decide.
    """

    delays_s: tuple[float, ...]
    attempts_max: int
    for_s: float

    def delay_s(self, attempts_made: int, since_s: float = 0.0) -> float | None:
        """Seconds to wait after `attempts_made` attempts in `since_s` seconds; None when they are used up."""
        if attempts_made >= self.attempts_max or since_s >= self.for_s:
            return None
        return self.delays_s[min(max(attempts_made, 1), len(self.delays_s)) - 1]


POLICIES: dict[Failure, RetryPolicy] = {
    Failure.NOT_SENT: RetryPolicy(delays_s=(1, 1, 5, 30), attempts_max=6, for_s=120),
    Failure.IN_DOUBT: RetryPolicy(delays_s=(1, 5, 30, 120, 600, 3600), attempts_max=30, for_s=2 * DAY_S),
    Failure.NOTICE: RetryPolicy(delays_s=(1, 2, 5, 10, 30, 120, 600, 3600), attempts_max=100, for_s=3 * DAY_S),
    Failure.UNDO: RetryPolicy(delays_s=(1, 5, 30, 120, 600, 3600), attempts_max=60, for_s=3 * DAY_S),
}
