"""What the adapter needs of whoever keeps the claims and accumulators of hosted products."""

from __future__ import annotations

from typing import Protocol

from schemas.errors import Unavailable
from schemas.hosted import HostedAnswer
from schemas.payer import ClaimCancel, ClaimTask


class HostedBook(Protocol):
    """One transaction per call. Unavailable: nothing was stored. OutcomeUnknown: whether it was is not known."""

    def claim(self, task: ClaimTask, timeout_s: float) -> HostedAnswer:
        """Adjudicate and book; a trial only adjudicates. A repeat gets the first answer."""
        ...

    def undo(self, cancel: ClaimCancel, timeout_s: float) -> HostedAnswer:
        """Take back what stands; a reversal that comes before its claim blocks it."""
        ...

    def inquire(self, request_id: str, timeout_s: float) -> HostedAnswer | None:
        """How the claim under this id stands; None when there is none."""
        ...

    def close(self) -> None: ...


class NoBook:
    """For those who build an adapter to look at it, or to prepare and decode: it is never told anything."""

    def claim(self, task: ClaimTask, timeout_s: float) -> HostedAnswer:
        raise Unavailable("no book is kept here")

    def undo(self, cancel: ClaimCancel, timeout_s: float) -> HostedAnswer:
        raise Unavailable("no book is kept here")

    def inquire(self, request_id: str, timeout_s: float) -> HostedAnswer | None:
        raise Unavailable("no book is kept here")

    def close(self) -> None:
        """Nothing is open."""
