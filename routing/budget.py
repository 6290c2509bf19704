"""How many repeats one payer is sent: an outage must not be followed by a storm.

A token bucket. It fills at half the rate at which new requests usually come, so that with repeats the payer sees at
most one and a half times its normal load; a slow trickle flows even where nothing new comes, so that it drains.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

REPEATS_PER_FIRST = 0.5
TRICKLE_PER_S = 2.0
BURST_MIN = 10.0
BURST_S = 2.0
"""A full bucket holds what this many seconds of repeats need."""
MEMORY_S = 600.0
"""Over how long "usually" is measured; longer than most outages."""


@dataclass(slots=True)
class RetryBudget:
    """Seconds are of a monotonic clock. One thread at a time."""

    tokens: float = BURST_MIN
    held: int = 0
    """Repeats that were put off so far."""
    _firsts: float = 0.0
    _since: float | None = None
    _at: float = 0.0

    @property
    def per_s(self) -> float:
        """Repeats per second that are granted in the long run."""
        return max(TRICKLE_PER_S, REPEATS_PER_FIRST * self._normal_per_s)

    @property
    def _normal_per_s(self) -> float:
        if self._since is None:
            return 0.0
        # A young memory holds less than it will: divide by the time that it spans.
        spanned = MEMORY_S * (1 - exp(-max(self._at - self._since, 1.0) / MEMORY_S))
        return self._firsts / spanned

    def first(self, now: float) -> None:
        """A new request came, whether it was sent or not."""
        self._pass_time(now)
        self._firsts += 1

    def take(self, now: float) -> bool:
        """Whether one repeat may go now."""
        self._pass_time(now)
        if self.tokens < 1:
            self.held += 1
            return False
        self.tokens -= 1
        return True

    def _pass_time(self, now: float) -> None:
        if self._since is None:
            self._since = self._at = now
        passed = max(0.0, now - self._at)
        self._at = max(self._at, now)
        self._firsts *= exp(-passed / MEMORY_S)
        per_s = self.per_s
        self.tokens = min(self.tokens + passed * per_s, max(BURST_MIN, BURST_S * per_s))
