"""The gate before one payer: stop switch, circuit breaker and retry budget, asked before every call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from routing.breaker import Breaker, BreakerState
from routing.budget import RetryBudget
from routing.rulebook import Party

STOPPED_REST_S = 30.0
NO_BUDGET_REST_S = 5.0


@dataclass(frozen=True, slots=True)
class Closed:
    """No call now: why, and when to look again."""

    reason: str
    again_s: float


@dataclass(frozen=True, slots=True)
class GateView:
    """How a gate stands, for people."""

    breaker: BreakerState
    failures: int
    last_error: str
    retries_held: int


class Gate:
    """One payer's gate in this process. Thread-safe."""

    def __init__(
        self, party: Party, *, by_queue: bool = False, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        # What is put into a queue always arrives: there is nothing to break.
        self._breaker = Breaker(0 if by_queue else party.breaker_failures)
        self._budget = RetryBudget()
        self._monotonic = monotonic
        self._stopped = False
        self._last_error = ""
        self._lock = threading.Lock()

    def first(self) -> Closed | None:
        """None when a new request may go."""
        with self._lock:
            now = self._monotonic()
            self._budget.first(now)
            return self._shut(now)

    def again(self) -> Closed | None:
        """None when a repeat, an inquiry or an undo that was tried before may go."""
        with self._lock:
            now = self._monotonic()
            if self._stopped or self._breaker.opens_in(now) > 0:
                return self._shut(now)
            # The budget first: a repeat that must rest must not use up the one probe of a payer that was down.
            if not self._budget.take(now):
                return Closed("retry_budget", NO_BUDGET_REST_S)
            return self._shut(now)

    def ended(self, error: str = "") -> None:
        """A call ended: with a usable answer, or with the code of what went wrong."""
        with self._lock:
            if error:
                self._last_error = error
                self._breaker.failed(self._monotonic())
            else:
                self._breaker.succeeded()

    def stop(self, stopped: bool) -> None:
        """Let nothing through until it is released."""
        with self._lock:
            self._stopped = stopped

    def view(self) -> GateView:
        """How it stands now."""
        with self._lock:
            return GateView(self._breaker.state, self._breaker.failures, self._last_error, self._budget.held)

    def _shut(self, now: float) -> Closed | None:
        if self._stopped:
            return Closed("payer_stopped", STOPPED_REST_S)
        if not self._breaker.allows(now):
            return Closed("payer_down", max(1.0, self._breaker.opens_in(now)))
        return None
