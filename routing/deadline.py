"""One budget for the whole case: the moment the cashier must have an answer, handed along the legs."""

from __future__ import annotations

from datetime import datetime, timedelta

ANSWER_RESERVE_S = 0.5
"""Kept back from every call so that the combined answer is out before the deadline, not at it."""
CALL_MIN_S = 0.2
"""With less than this a call is not begun: it would only create doubt."""
CASE_DEADLINE_MAX_S = 120.0


def answer_due(received_at: datetime, asked_for: datetime | None, profile_s: float) -> datetime:
    """The moment the cashier must have an answer: the sender's wish, capped, else the profile's."""
    if asked_for is None:
        return received_at + timedelta(seconds=profile_s)
    return min(asked_for, received_at + timedelta(seconds=CASE_DEADLINE_MAX_S))


def call_timeout_s(now: datetime, answer_by: datetime, party_timeout_s: float) -> float | None:
    """Seconds that a call begun now may take; None when it should not be begun."""
    left_s = (answer_by - now).total_seconds() - ANSWER_RESERVE_S
    if left_s < CALL_MIN_S:
        return None
    return min(left_s, party_timeout_s)
