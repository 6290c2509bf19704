"""What may be done about a leg in doubt, and what each choice would mean for its payer. Pure; for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from adapters.registry import ADAPTERS
from routing.doubt import Move, Situation, move_cancelling, move_in_doubt, move_reversing
from routing.rulebook import Party
from routing.states import LegState
from schemas.codes import Layer
from schemas.payer import Capabilities, Operation
from store.records import CaseRecord, LegRecord

_ASKED = {
    Move.REPEAT: "our request goes out once more under its own id",
    Move.INQUIRE: "it is asked what became of our request",
    Move.REVERSE: "it is told to undo our request",
    Move.CANCEL: "it is told to cancel what it has settled",
    Move.GIVE_UP: "the trial is given up",
}
_WAYS = (
    ("idempotent_submit", "repeat a request"),
    ("inquiry", "inquire"),
    ("reversal", "reverse"),
    ("cancel", "cancel"),
)
_SIGNED = "--reason EVIDENCE --by YOU"


@dataclass(frozen=True, slots=True)
class Way:
    """One choice: its name, the options its command needs, and what it does."""

    name: str
    options: str
    meaning: str


def can_of(party: Party) -> Capabilities | None:
    """What the payer's interface can be trusted with; None for an adapter that this version does not know."""
    adapter = ADAPTERS.get(party.adapter)
    return adapter.capabilities.without(party.lacks) if adapter else None


def abilities(can: Capabilities | None) -> str:
    """What can be said to the payer, in words."""
    if can is None:
        return "unknown"
    able = [words for name, words in _WAYS if getattr(can, name)]
    return ", ".join(able) if able else "nothing"


def next_word(case: CaseRecord, leg: LegRecord, party: Party | None, now: datetime) -> Move | None:
    """What the payer would hear if the hub tried now. PEOPLE: nothing. None: that is not known."""
    can = can_of(party) if party is not None else None
    if party is None or can is None:
        return None
    if leg.state is LegState.IN_DOUBT:
        stands = party.late_approval == "keep"
        situation = Situation(case.purpose is Operation.TRIAL, now < case.answer_by, stands)
        return move_in_doubt(situation, can)
    approved = bool(leg.amount_fen or leg.account_fen)
    known = leg.state is LegState.CANCELLING or (leg.state is LegState.CANCEL_HELD and approved)
    return move_cancelling(can) if known else move_reversing(can)


def ways(case: CaseRecord, leg: LegRecord, party: Party | None, now: datetime) -> list[Way]:
    """The choices that can lead anywhere for this leg as it stands, in the order in which to try them."""
    names = _CHOICES.get(leg.state, ())
    undoing = "whatever stands there is undone"
    move = next_word(case, leg, party, now)
    asked = _ASKED.get(move, "the payer is asked again") if move else "the payer is asked again"
    if move is Move.PEOPLE:
        names = tuple(name for name in names if name != "ask")
    can = can_of(party) if party is not None else None
    if can is not None and move_reversing(can) is Move.PEOPLE:
        undoing = "its interface cannot undo this: its people must; then comes `undone`"
        if leg.state is LegState.CANCEL_HELD:
            names = tuple(name for name in names if name != "reverse")
    amounts = "--amount YUAN --reference THEIR_NO" + (" --basic FILE" if leg.layer is Layer.BASIC else "")
    known = {
        "ask": Way("ask", _SIGNED, asked),
        "approve": Way("approve", f"{amounts} {_SIGNED}", "it says that it has settled so much"),
        "decline": Way("decline", _SIGNED, "it says that it has settled nothing"),
        "reverse": Way("reverse", _SIGNED, undoing),
        "undone": Way("undone", _SIGNED, "it says that it has taken its part back"),
    }
    return [known[name] for name in names]


_CHOICES = {
    LegState.IN_DOUBT: ("ask", "approve", "decline", "reverse"),
    LegState.HELD: ("approve", "decline", "reverse"),
    LegState.REVERSING: ("ask", "undone"),
    LegState.CANCELLING: ("ask", "undone"),
    LegState.CANCEL_HELD: ("ask", "reverse", "undone"),
    LegState.DEFERRED: ("approve", "decline", "reverse"),
}
