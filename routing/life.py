"""What comes next in a case: pure arithmetic over its legs. The engine asks, acts, and asks again.

All amounts are whole fen. Forward, payers are asked one after the other, each about what is left; coinsurers of one
layer share what was left when their layer began. Backward, approved legs are undone in the opposite order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from routing.states import AWAITING_PAYER, UNDECIDED, CaseState, LegState
from schemas.codes import Layer
from schemas.money import split_fen


class Leg(Protocol):
    """A leg as the arithmetic sees it; a stored record satisfies it as well as `LegFacts`."""

    @property
    def leg_no(self) -> int: ...
    @property
    def layer(self) -> Layer: ...
    @property
    def state(self) -> LegState: ...
    @property
    def amount_fen(self) -> int: ...
    @property
    def account_fen(self) -> int: ...
    @property
    def hospital_fen(self) -> int: ...
    @property
    def split(self) -> int: ...
    @property
    def weight(self) -> int: ...
    @property
    def independent(self) -> bool: ...
    @property
    def open_at_payer(self) -> bool:
        """The payer deferred: it may still decide by itself."""
        ...


class Case(Protocol):
    """A case as the arithmetic sees it; legs in the order of the plan."""

    @property
    def state(self) -> CaseState: ...
    @property
    def total_fen(self) -> int: ...
    @property
    def legs(self) -> Sequence[Leg]: ...
    @property
    def overdue(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class LegFacts:
    """A leg by itself. Legs with the same `split` > 0 are coinsurers of one rule."""

    leg_no: int
    payer: str
    layer: Layer
    state: LegState
    amount_fen: int = 0
    account_fen: int = 0
    hospital_fen: int = 0
    split: int = 0
    weight: int = 100
    independent: bool = False
    """Asked even when a payer before it has not decided."""
    decided: bool = False
    """The payer itself gave a word."""

    @property
    def open_at_payer(self) -> bool:
        return self.state is LegState.DEFERRED and self.decided


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """A case by itself."""

    state: CaseState
    total_fen: int
    legs: tuple[LegFacts, ...]
    overdue: bool = False
    """The cashier's deadline has passed: no payer that was not asked yet will be."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the claim of this leg; `left_fen` is the most that the payer may bear."""

    leg_no: int
    left_fen: int


@dataclass(frozen=True, slots=True)
class Undo:
    """Send the cancellation of this leg."""

    leg_no: int


@dataclass(frozen=True, slots=True)
class Reverse:
    """Have whatever stands of this leg undone: nobody knows what the payer made of it."""

    leg_no: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """Do not ask this leg's payer: nothing is left, or a payer before it is undecided, or the time is up."""

    leg_no: int
    state: LegState
    reason_code: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A payer or a person has the next word."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing more to ask: the case ends in this state."""

    state: CaseState


Step = Ask | Undo | Reverse | SetAside | Wait | Finish


def next_step(case: Case) -> Step:
    """The one thing to do now."""
    if case.state is CaseState.CANCELLING:
        return _next_undo(case)
    if case.state is not CaseState.OPEN:
        return Wait()
    return _next_forward(case)


_BASIC_WITHOUT_SHARE = (LegState.DECLINED, LegState.DEFERRED, LegState.CANCELLED, LegState.REVERSED)
_WAITS = (*AWAITING_PAYER, LegState.CANCEL_HELD)


def _next_forward(case: Case) -> Step:
    basic = case.legs[0]
    # Without the basic share nothing after it can be computed: the bill is the patient's, and nothing was booked.
    if basic.layer is Layer.BASIC and basic.state in _BASIC_WITHOUT_SHARE:
        step = _set_aside_rest(case, LegState.NOT_NEEDED, "basic_not_settled")
        return step or _take_back_rest(case) or Finish(CaseState.DECLINED)
    if case.overdue and (step := _set_aside_rest(case, LegState.DEFERRED, "time_up")):
        return step
    for leg in case.legs:
        if leg.state is LegState.PLANNED:
            if _undecided_before(case, leg) and not leg.independent:
                return SetAside(leg.leg_no, LegState.DEFERRED, "earlier_payer_undecided")
            left = left_for(case, leg)
            if left == 0:
                return SetAside(leg.leg_no, LegState.NOT_NEEDED, "nothing_left")
            return Ask(leg.leg_no, left)
        if leg.state in _WAITS:
            return Wait()
    if any(leg.state in UNDECIDED for leg in case.legs):
        return Wait()
    return Finish(CaseState.SETTLED)


def _undecided_before(case: Case, leg: Leg) -> bool:
    """Whether what is left for `leg` is not known yet; coinsurers bear their own parts and wait for nobody's."""
    return any(
        other.state in (LegState.DEFERRED, LegState.HELD, LegState.REVERSED)
        for other in case.legs
        if other.leg_no < leg.leg_no and not _coinsured(other, leg)
    )


def _set_aside_rest(case: Case, state: LegState, reason: str) -> SetAside | None:
    for leg in case.legs:
        if leg.state is LegState.PLANNED:
            return SetAside(leg.leg_no, state, reason)
    return None


def _take_back_rest(case: Case) -> Undo | Wait | None:
    """An independent payer may have been asked although the basic system had not decided."""
    for leg in reversed(case.legs):
        if leg.state is LegState.APPROVED:
            return Undo(leg.leg_no)
        if leg.state in _WAITS or leg.state is LegState.HELD:
            return Wait()
    return None


def _next_undo(case: Case) -> Step:
    if step := _set_aside_rest(case, LegState.NOT_NEEDED, "cancelled"):
        return step
    for leg in reversed(case.legs):
        if leg.state is LegState.APPROVED:
            return Undo(leg.leg_no)
        if leg.state in (LegState.IN_DOUBT, LegState.HELD) or leg.open_at_payer:
            return Reverse(leg.leg_no)
        if leg.state in _WAITS:
            return Wait()
    return Finish(CaseState.CANCELLED)


def left_for(case: Case, leg: Leg) -> int:
    """The most that `leg`'s payer may bear: the bill less what payers before it, account and hospital bear."""
    before = [other for other in case.legs if other.leg_no < leg.leg_no and not _coinsured(other, leg)]
    left = case.total_fen - sum(
        other.amount_fen + other.account_fen + other.hospital_fen for other in before if _bears(case, other)
    )
    if not leg.split:
        return left
    group = [other for other in case.legs if _coinsured(other, leg)]
    parts = split_fen(left, [other.weight for other in group])
    return parts[group.index(leg)]


def _coinsured(one: Leg, other: Leg) -> bool:
    return one.split > 0 and one.split == other.split


def _bears(case: Case, leg: Leg) -> bool:
    """Whether the payer's share counts. In a case that is not cancelled, a share on its way back was never promised:
    the approval came too late, and the patient has paid."""
    if leg.state in (LegState.CANCELLING, LegState.CANCEL_HELD):
        return case.state is not CaseState.OPEN
    return leg.state is LegState.APPROVED


def unclaimed_fen(case: Case, leg: Leg) -> int:
    """The bill less everything that stands at payers other than `leg`'s, be it on its way back or not."""
    standing = (LegState.APPROVED, LegState.CANCELLING, LegState.CANCEL_HELD)
    others = [other for other in case.legs if other.leg_no != leg.leg_no and other.state in standing]
    return case.total_fen - sum(other.amount_fen + other.account_fen + other.hospital_fen for other in others)


@dataclass(frozen=True, slots=True)
class Totals:
    """How the bill stands: total = shares + account + hospital + cash; `deferred` is the part of cash still open."""

    total_fen: int
    shares_fen: int
    account_fen: int
    hospital_fen: int
    cash_fen: int
    deferred_fen: int


def totals(case: Case) -> Totals:
    """Who bears what at this moment. A cancelled case is the patient's again, whole."""
    bearing: Sequence[Leg] = [leg for leg in case.legs if _bears(case, leg)]
    shares = sum(leg.amount_fen for leg in bearing)
    account = sum(leg.account_fen for leg in bearing)
    hospital = sum(leg.hospital_fen for leg in bearing)
    cash = case.total_fen - shares - account - hospital
    undecided = [leg for leg in case.legs if leg.state in UNDECIDED or leg.state is LegState.DEFERRED]
    nothing_open = case.state in (CaseState.DECLINED, CaseState.CANCELLED)
    may_still_be_borne = 0 if nothing_open else sum(left_for(case, leg) for leg in undecided)
    return Totals(case.total_fen, shares, account, hospital, cash, min(cash, may_still_be_borne))
