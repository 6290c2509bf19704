"""The life of a case and of a leg: one table each, and no other line decides a state.

`docs/states.md` is drawn from these tables; the tests walk every (state, event) pair.
"""

from __future__ import annotations

from enum import StrEnum

from schemas.errors import IllegalTransition


class LegState(StrEnum):
    """One payer's part of a case."""

    PLANNED = "planned"
    CLAIMED = "claimed"
    IN_DOUBT = "in_doubt"
    APPROVED = "approved"
    DECLINED = "declined"
    DEFERRED = "deferred"
    HELD = "held"
    NOT_NEEDED = "not_needed"
    CANCELLING = "cancelling"
    CANCEL_HELD = "cancel_held"
    CANCELLED = "cancelled"
    REVERSING = "reversing"
    REVERSED = "reversed"


class LegEvent(StrEnum):
    """What can happen to a leg."""

    CLAIM = "claim"
    NOT_SENT = "not_sent"
    ANSWER_LOST = "answer_lost"
    APPROVE = "approve"
    DECLINE = "decline"
    DEFER = "defer"
    HOLD = "hold"
    WITHDRAW = "withdraw"
    CANCEL = "cancel"
    CANCEL_CONFIRMED = "cancel_confirmed"
    CANCEL_REFUSED = "cancel_refused"
    NOT_HEARD = "not_heard"
    REVERSE = "reverse"
    TAKE_BACK = "take_back"
    """People have found that the payer's book still holds what has ended here."""


class CaseState(StrEnum):
    """One settlement of one visit."""

    OPEN = "open"
    SETTLED = "settled"
    DECLINED = "declined"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class CaseEvent(StrEnum):
    """What can happen to a case."""

    COMPLETE = "complete"
    REFUSE = "refuse"
    CANCEL = "cancel"
    UNDONE = "undone"
    REOPEN = "reopen"


_ANSWERS = {
    LegEvent.APPROVE: LegState.APPROVED,
    LegEvent.DECLINE: LegState.DECLINED,
    LegEvent.DEFER: LegState.DEFERRED,
    LegEvent.HOLD: LegState.HELD,
}

LEG_TRANSITIONS: dict[LegState, dict[LegEvent, LegState]] = {
    LegState.PLANNED: {
        LegEvent.CLAIM: LegState.CLAIMED,
        LegEvent.DEFER: LegState.DEFERRED,
        LegEvent.WITHDRAW: LegState.NOT_NEEDED,
    },
    LegState.CLAIMED: {
        LegEvent.NOT_SENT: LegState.PLANNED,
        LegEvent.ANSWER_LOST: LegState.IN_DOUBT,
        **_ANSWERS,
    },
    # A repeat that never left says nothing about the first attempt: still in doubt.
    LegState.IN_DOUBT: {
        LegEvent.NOT_SENT: LegState.IN_DOUBT,
        LegEvent.ANSWER_LOST: LegState.IN_DOUBT,
        LegEvent.NOT_HEARD: LegState.DEFERRED,
        LegEvent.REVERSE: LegState.REVERSING,
        **_ANSWERS,
    },
    # People have looked at the evidence and give the payer's true word, or have it undone.
    LegState.HELD: {
        LegEvent.APPROVE: LegState.APPROVED,
        LegEvent.DECLINE: LegState.DECLINED,
        LegEvent.REVERSE: LegState.REVERSING,
    },
    LegState.APPROVED: {LegEvent.CANCEL: LegState.CANCELLING},
    # The undo goes out under one request id until the payer confirms it, so a lost answer changes nothing.
    LegState.CANCELLING: {
        LegEvent.NOT_SENT: LegState.CANCELLING,
        LegEvent.ANSWER_LOST: LegState.CANCELLING,
        LegEvent.CANCEL_CONFIRMED: LegState.CANCELLED,
        LegEvent.CANCEL_REFUSED: LegState.CANCEL_HELD,
    },
    LegState.CANCEL_HELD: {
        LegEvent.CANCEL: LegState.CANCELLING,
        LegEvent.REVERSE: LegState.REVERSING,
        LegEvent.CANCEL_CONFIRMED: LegState.CANCELLED,
    },
    # Undo of a request whose outcome nobody knows. Where the payer cannot do that it is asked what became of the
    # request: APPROVE and DECLINE are its word, NOT_HEARD that it surely never came.
    LegState.REVERSING: {
        LegEvent.NOT_SENT: LegState.REVERSING,
        LegEvent.ANSWER_LOST: LegState.REVERSING,
        LegEvent.APPROVE: LegState.CANCELLING,
        LegEvent.DECLINE: LegState.REVERSED,
        LegEvent.NOT_HEARD: LegState.REVERSED,
        LegEvent.CANCEL_CONFIRMED: LegState.REVERSED,
        LegEvent.CANCEL_REFUSED: LegState.CANCEL_HELD,
    },
    # A payer that deferred may decide later; then its late word counts, or the deferral is withdrawn with the case.
    LegState.DEFERRED: {
        LegEvent.APPROVE: LegState.APPROVED,
        LegEvent.DECLINE: LegState.DECLINED,
        LegEvent.HOLD: LegState.HELD,
        LegEvent.REVERSE: LegState.REVERSING,
    },
    # Where the payer's book says otherwise, people may have what stands there undone.
    LegState.DECLINED: {LegEvent.TAKE_BACK: LegState.REVERSING},
    LegState.NOT_NEEDED: {},
    LegState.CANCELLED: {LegEvent.TAKE_BACK: LegState.REVERSING},
    # Taken for never received by a payer that cannot reverse, and it stands there after all.
    LegState.REVERSED: {LegEvent.APPROVE: LegState.CANCELLING, LegEvent.TAKE_BACK: LegState.REVERSING},
}

CASE_TRANSITIONS: dict[CaseState, dict[CaseEvent, CaseState]] = {
    CaseState.OPEN: {
        CaseEvent.COMPLETE: CaseState.SETTLED,
        CaseEvent.REFUSE: CaseState.DECLINED,
        CaseEvent.CANCEL: CaseState.CANCELLING,
    },
    # A payer's late word opens an ended case once more: its answer gets another revision.
    CaseState.SETTLED: {CaseEvent.CANCEL: CaseState.CANCELLING, CaseEvent.REOPEN: CaseState.OPEN},
    CaseState.DECLINED: {CaseEvent.CANCEL: CaseState.CANCELLING, CaseEvent.REOPEN: CaseState.OPEN},
    CaseState.CANCELLING: {CaseEvent.CANCEL: CaseState.CANCELLING, CaseEvent.UNDONE: CaseState.CANCELLED},
    # What a payer says to have settled after all is undone as well.
    CaseState.CANCELLED: {CaseEvent.CANCEL: CaseState.CANCELLED, CaseEvent.REOPEN: CaseState.CANCELLING},
}

AWAITING_PAYER = frozenset({LegState.CLAIMED, LegState.IN_DOUBT, LegState.CANCELLING, LegState.REVERSING})
"""The payer has been, or may have been, asked and has not answered."""
UNDOING = frozenset({LegState.CANCELLING, LegState.REVERSING})
"""What stands at the payer, or may stand, is on its way back."""
AWAITING_PEOPLE = frozenset({LegState.HELD, LegState.CANCEL_HELD})
UNDECIDED = frozenset({LegState.PLANNED, LegState.CLAIMED, LegState.IN_DOUBT, LegState.HELD})
"""The payer's share is not known yet."""


def next_leg_state(state: LegState, event: LegEvent) -> LegState:
    """The state after `event`; IllegalTransition when the table does not allow it."""
    try:
        return LEG_TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition("leg", state=state.value, event=event.value) from None


def next_case_state(state: CaseState, event: CaseEvent) -> CaseState:
    """The state after `event`; IllegalTransition when the table does not allow it."""
    try:
        return CASE_TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition("case", state=state.value, event=event.value) from None
