"""What is proposed for a break, and why: one pure table over what the books say and how the leg stands.

`docs/how-to/reconciliation-remedies.md` is this table in words, and the tests walk it row by row. A proposal is only a
proposal: people decide, and what they decide is checked anew when it is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass

from routing.states import CaseState, LegState
from schemas.codes import Layer
from schemas.money import yuan_of
from schemas.statement import EXPLAINED, BreakClass, Remedy

DIFFERENCE_MAX_FEN = 100
"""Up to this a payer's lower amount is proposed to be posted as a difference; above it people look first."""

_ENDED = (LegState.DECLINED, LegState.CANCELLED, LegState.REVERSED)
_NO_WORD = (LegState.IN_DOUBT, LegState.HELD, LegState.DEFERRED)
_UNDOING = (LegState.CANCELLING, LegState.CANCEL_HELD, LegState.REVERSING)


@dataclass(frozen=True, slots=True)
class Side:
    """What one side's books hold of one settlement, whole fen; refunds are counted below zero."""

    settlements: int = 0
    refunds: int = 0
    settled_fen: int = 0
    refunded_fen: int = 0
    account_fen: int = 0

    @property
    def net_fen(self) -> int:
        return self.settled_fen + self.refunded_fen

    @property
    def balance(self) -> int:
        """Settlements less refunds: what stands, or below zero what was taken back of another day's."""
        return self.settlements - self.refunds

    @property
    def stands(self) -> bool:
        """More was settled than taken back."""
        return self.balance > 0


@dataclass(frozen=True, slots=True)
class Able:
    """What the payer's interface can be trusted with, and what is agreed with it."""

    inquire: bool = False
    reverse: bool = False
    """It can be had undone, by a reversal or by an inquiry and a cancellation."""
    undo_again: bool = True
    """It can be told once more to take back what it settled."""
    late_stands: bool = True
    """A late approval is kept; otherwise it is taken back."""


@dataclass(frozen=True, slots=True)
class LegFacts:
    """The leg that a break is about, as it stands now."""

    state: LegState
    layer: Layer
    case_state: CaseState
    recorded: bool = False
    """Its payer was never asked: the basic system adjudicated this part itself, or it came to nothing before."""
    unclaimed_fen: int = 0
    """The bill less what stands at the other payers: the most that this one may bear."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A break and what is known around it. A side that is not compared is None."""

    break_class: BreakClass
    hub: Side | None
    payer: Side | None
    hospital: Side | None
    leg: LegFacts | None
    known: bool
    """The case is known here."""
    answered: bool
    """The hospital was given an answer, and no further one is under way."""
    revisions: int
    has_reference: bool
    """The payer's books name its own number."""
    able: Able
    in_fund: bool = False
    """The payer's amounts hold the personal account too."""
    posted_fen: int = 0
    """What differences posted for this day add to what its payer owes; below zero what they take off."""

    @property
    def less_fen(self) -> int:
        """What the payer's books have less than ours; 0 where they agree or are not compared."""
        if self.payer is None or self.hub is None:
            return 0
        ours_fen = self.hub.net_fen + (self.hub.account_fen if self.in_fund else 0)
        return ours_fen - self.payer.net_fen


@dataclass(frozen=True, slots=True)
class Proposal:
    """A remedy and its reason in words."""

    remedy: Remedy
    reason: str


def decide(facts: Facts) -> Proposal:
    """The one thing proposed."""
    if facts.break_class is BreakClass.NOT_YET_DUE:
        return _not_yet_due(facts)
    if facts.break_class in EXPLAINED:
        return Proposal(Remedy.NONE, "both books come to the same: nothing is to be done")
    if _mended(facts):
        return Proposal(
            Remedy.POST_DIFFERENCE, "its book agrees with its answer by now: take the posted difference back"
        )
    return _TABLE[facts.break_class](facts)


def _mended(facts: Facts) -> bool:
    """Without the difference that was posted both books would be one: the payer has put its own right."""
    if facts.payer is None or facts.leg is None or facts.leg.state not in (LegState.APPROVED, *_ENDED):
        return False
    return facts.posted_fen != 0 and facts.less_fen == facts.posted_fen


def _people(reason: str) -> Proposal:
    return Proposal(Remedy.PEOPLE, reason)


def _not_yet_due(facts: Facts) -> Proposal:
    leg = facts.leg
    if leg is not None and leg.state is LegState.DEFERRED and leg.recorded:
        return Proposal(Remedy.NONE, "nothing was ever sent to its payer, so nothing of it can stand there")
    if leg is not None and leg.state in (*_NO_WORD, *_UNDOING):
        return _ask(facts, leg)
    return Proposal(Remedy.NONE, "it is not due yet: it is compared again in the next run")


def _ask(facts: Facts, leg: LegFacts) -> Proposal:
    """A leg whose payer has no word, or has not confirmed an undo, and whose book helps no further."""
    if leg.state in (LegState.IN_DOUBT, LegState.CANCEL_HELD, LegState.CANCELLING, LegState.REVERSING):
        if facts.able.inquire if leg.state is LegState.IN_DOUBT else facts.able.undo_again:
            return Proposal(Remedy.INQUIRE, f"the leg is {leg.state}: have the payer asked again")
        return _people(f"the leg is {leg.state} and the payer cannot be asked by its interface: telephone")
    return _people(f"the leg is {leg.state}: its payer's word must be entered, or it is undone")


def _missing_at_hospital(facts: Facts) -> Proposal:
    if facts.known and facts.answered:
        return Proposal(Remedy.RESEND_ANSWER, "the hospital was given its answer and does not have it")
    if facts.known:
        return _people("the case is still under way: the hospital has had no final answer")
    return _people("nobody here knows the case")


def _missing_at_hub(facts: Facts) -> Proposal:
    leg = facts.leg
    if facts.payer is not None and facts.payer.stands:
        if leg is None:
            return _people("the payer has it and was never asked by us: ask it for its evidence")
        return _stands_there(facts, leg, facts.payer)
    if leg is not None and leg.state in (*_NO_WORD, *_UNDOING):
        return _ask(facts, leg)
    return _hospital_believes_more(facts)


def _hospital_believes_more(facts: Facts) -> Proposal:
    if facts.known and facts.answered:
        return Proposal(Remedy.RESEND_ANSWER, "the hospital's books hold what its last answer does not say")
    return _people("only the hospital has it: ask the hospital what it settled, and with whom")


def _stands_there(facts: Facts, leg: LegFacts, payer: Side) -> Proposal:
    """The payer's book holds it and ours does not."""
    if leg.recorded:
        return _people("the payer was never asked by us: ask it for its evidence")
    if leg.state in _ENDED:
        return _undo(facts, f"it is {leg.state} here and stands there")
    if leg.state in _UNDOING:
        return _ask(facts, leg)
    if leg.state not in _NO_WORD:
        return _people(f"the leg is {leg.state}: see the case's timeline")
    unwanted = leg.case_state in (CaseState.CANCELLING, CaseState.CANCELLED, CaseState.DECLINED)
    if unwanted or (facts.answered and not facts.able.late_stands):
        return _undo(facts, "nobody wants it any more: the case has ended without it")
    return _take_its_word(facts, leg, payer)


def _take_its_word(facts: Facts, leg: LegFacts, payer: Side) -> Proposal:
    if payer.net_fen > leg.unclaimed_fen:
        return _people(
            f"the payer has {yuan_of(payer.net_fen)}, more than the {yuan_of(leg.unclaimed_fen)} left for it"
        )
    if leg.layer is not Layer.BASIC and facts.has_reference and payer.settlements == 1 and not payer.refunds:
        return Proposal(Remedy.CONFIRM, f"{leg.state} here, and the payer's book says {yuan_of(payer.net_fen)}")
    if leg.state is LegState.IN_DOUBT and facts.able.inquire:
        return Proposal(Remedy.INQUIRE, "its book says too little to take it for its word: have the payer asked again")
    return _people("its book says too little to take it for its word: ask for the whole answer, then enter it")


def _undo(facts: Facts, reason: str) -> Proposal:
    if facts.able.reverse:
        return Proposal(Remedy.REVERSE, reason)
    return _people(f"{reason}: its interface cannot undo it, so its people must")


def _missing_at_payer(facts: Facts) -> Proposal:
    leg = facts.leg
    if leg is None:
        return _people("our books hold it and no leg of ours explains it")
    if leg.state in (LegState.CANCELLING, LegState.CANCEL_HELD):
        return _undone_there(leg)
    if leg.state in (*_NO_WORD, LegState.REVERSING):
        return _ask(facts, leg)
    return _people("the payer has answered for it and its book lacks it: send it its own answer as evidence")


def _undone_there(leg: LegFacts) -> Proposal:
    return Proposal(
        Remedy.CONFIRM, f"the leg is {leg.state} here, and nothing stands in the payer's book: it is undone"
    )


def _status(facts: Facts) -> Proposal:
    if facts.payer is not None and facts.hub is not None and facts.payer.balance != facts.hub.balance:
        return _undone_on_one_side(facts, facts.payer, facts.hub)
    if facts.hospital is not None and facts.hospital.stands:
        return _hospital_believes_more(facts)
    return _people("the hospital has undone it and never told us: it must send its cancellation")


def _undone_on_one_side(facts: Facts, payer: Side, hub: Side) -> Proposal:
    leg = facts.leg
    if leg is None:
        return _people("one side has undone it, and no leg of ours explains it")
    if payer.balance > hub.balance:
        if payer.stands:
            return _stands_there(facts, leg, payer)
        if leg.state in _ENDED:
            return _undo(facts, "our undo of what was settled on another day is not in the payer's book")
        return _people(f"our refund of it is not in the payer's book, and the leg is {leg.state}")
    if leg.state in _UNDOING:
        return _undone_there(leg)
    if leg.state is LegState.APPROVED:
        return _people("the payer has undone it, the hospital believes that it stands: cancel it or have it restored")
    return _people(f"the payer has a refund that we do not have on that day, and the leg is {leg.state}")


def _amount(facts: Facts) -> Proposal:
    less_fen = facts.less_fen
    if less_fen == 0:
        if facts.known and facts.answered and facts.revisions > 1:
            return Proposal(Remedy.RESEND_ANSWER, "the hospital had several answers and may have missed the last")
        same = facts.hub is not None and facts.hospital is not None and facts.hub.net_fen == facts.hospital.net_fen
        what = "bill, or what it says that the patient paid," if same else "amount"
        return _people(f"the hospital's {what} is another than its answer said")
    if 0 < less_fen <= DIFFERENCE_MAX_FEN and facts.leg is not None and facts.leg.state is LegState.APPROVED:
        return Proposal(Remedy.POST_DIFFERENCE, f"the payer has {yuan_of(less_fen)} less: written off, to be explained")
    return _people("the payer's book says another amount than its answer: send it its own answer as evidence")


def _duplicate(facts: Facts) -> Proposal:
    sides = (("payer", facts.payer), ("hospital", facts.hospital), ("hub", facts.hub))
    named = [f"{name} {side.settlements} times" for name, side in sides if side is not None and side.settlements > 1]
    return _people(f"booked more than once ({', '.join(named) or 'see the sides'}): what is too many must go there")


_TABLE = {
    BreakClass.MISSING_AT_HOSPITAL: _missing_at_hospital,
    BreakClass.MISSING_AT_BASIC: _missing_at_payer,
    BreakClass.MISSING_AT_INSURER: _missing_at_payer,
    BreakClass.MISSING_AT_HUB: _missing_at_hub,
    BreakClass.STATUS: _status,
    BreakClass.AMOUNT: _amount,
    BreakClass.DUPLICATE: _duplicate,
}
