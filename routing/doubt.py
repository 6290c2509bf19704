"""What to do about a payer whose word is missing: pure, from what is known of the leg and what the payer can.

Unknown is never guessed. A doubt ends in the payer's own word, in a confirmed reversal, or with people; a submit is
repeated only under its own id, and only where the payer makes that harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from schemas.payer import Capabilities


class Move(Enum):
    """The one thing to do now."""

    REPEAT = "repeat"
    """Ask again under the same request id."""
    INQUIRE = "inquire"
    REVERSE = "reverse"
    CANCEL = "cancel"
    GIVE_UP = "give_up"
    """Nothing can have been booked: a trial."""
    PEOPLE = "people"
    """The interface offers nothing that could end the doubt."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Around a leg in doubt."""

    trial: bool
    cashier_waits: bool
    late_approval_stands: bool
    """The party's policy: `keep`, not `reverse`."""


def move_in_doubt(situation: Situation, can: Capabilities) -> Move:
    """For a submit whose answer is missing. REVERSE means: from now on it shall be undone."""
    if situation.trial:
        return Move.REPEAT if situation.cashier_waits else Move.GIVE_UP
    if situation.cashier_waits:
        return _first(can, Move.REPEAT, Move.INQUIRE)
    if situation.late_approval_stands:
        # After the deadline a repeat could make a claim that never was; an inquiry cannot.
        return _first(can, Move.INQUIRE, Move.REPEAT, Move.REVERSE)
    if can.reversal or can.inquiry or (can.idempotent_submit and can.cancel):
        return Move.REVERSE
    return Move.PEOPLE


def move_reversing(can: Capabilities) -> Move:
    """For a request that shall be undone though its outcome is not known."""
    if can.reversal:
        return Move.REVERSE
    if not can.cancel:
        return Move.PEOPLE
    return _first(can, Move.INQUIRE, Move.REPEAT)


def move_cancelling(can: Capabilities) -> Move:
    """For what the payer is known to have settled."""
    return _first(can, Move.CANCEL, Move.REVERSE)


def _first(can: Capabilities, *wanted: Move) -> Move:
    possible = {
        Move.REPEAT: can.idempotent_submit,
        Move.INQUIRE: can.inquiry,
        Move.REVERSE: can.reversal,
        Move.CANCEL: can.cancel,
    }
    return next((move for move in wanted if possible[move]), Move.PEOPLE)


def not_found_counts_from(
    now: datetime, sent_at: datetime | None, not_found_since: datetime | None, window_s: float
) -> datetime | None:
    """When an inquiry that finds nothing will prove that the request never came; None when this one does.

    The first "not found" proves nothing: the request may be under way inside the payer. It counts when a second one
    comes a settle window after the first, and a settle window after the request was last sent.
    """
    window = timedelta(seconds=window_s)
    since = not_found_since or now
    due = max(since + window, (sent_at or since) + window)
    return None if now >= due else due
