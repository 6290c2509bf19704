"""A circuit breaker for one payer: "it is down" becomes an immediate deferral instead of everybody's timeout.

Moments are seconds of a monotonic clock, so that no jump of the wall clock opens or closes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OPEN_S = 5.0
OPEN_S_MAX = 60.0


class BreakerState(StrEnum):
    """Closed lets everything through, open nothing, half-open one probe at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """Opens after `failures_max` failed calls one after the other; 0 never opens. One thread at a time."""

    failures_max: int
    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    open_s: float = OPEN_S
    """How long it stays open; doubled with every probe that fails."""
    _opened_at: float = 0.0
    _probed_at: float = 0.0

    def allows(self, now: float) -> bool:
        """Whether a call may be made; in the half-open state the first one is the probe."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN and now - self._opened_at < self.open_s:
            return False
        # A probe of which nothing was heard (its claim was rolled back) must not keep the breaker shut for ever.
        if self.state is BreakerState.HALF_OPEN and now - self._probed_at < self.open_s:
            return False
        self.state = BreakerState.HALF_OPEN
        self._probed_at = now
        return True

    def opens_in(self, now: float) -> float:
        """Seconds until the next call may go; 0 while everything may."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        since = self._opened_at if self.state is BreakerState.OPEN else self._probed_at
        return max(0.0, self.open_s - (now - since))

    def succeeded(self) -> None:
        """The payer gave a usable answer."""
        self.state = BreakerState.CLOSED
        self.failures = 0
        self.open_s = OPEN_S

    def failed(self, now: float) -> None:
        """No connection, no answer in time, or nothing that could be read."""
        self.failures += 1
        if self.state is BreakerState.HALF_OPEN:
            self.open_s = min(2 * self.open_s, OPEN_S_MAX)
        elif self.state is BreakerState.OPEN or not self.failures_max or self.failures < self.failures_max:
            return
        self.state = BreakerState.OPEN
        self._opened_at = now
