"""Cases and legs as the handlers hold them under the case's row lock, with the facts that the pure core needs.

Records are changed only through `apply` and the named methods; `changed` tells the repository what to write back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from routing.days import believed
from routing.postings import Borne
from routing.states import CaseEvent, CaseState, LegEvent, LegState, next_case_state, next_leg_state
from schemas.codes import Layer
from schemas.payer import BasicResult, Decision, Operation

GIVEN = "adjudicated_by_basic"
"""Reason of a leg that its payer was not asked about: the basic system adjudicated it, and said so."""


@dataclass(slots=True)
class LegRecord:
    """One row of `settlement_leg`; amounts in whole fen."""

    case_id: str
    leg_no: int
    region: str
    payer: str
    layer: Layer
    product: str
    policy_no: str | None
    rule: str
    split: int
    weight: int
    independent: bool
    state: LegState = LegState.PLANNED
    version: int = 0
    attempts: int = 0
    undo_attempts: int = 0
    left_fen: int | None = None
    amount_fen: int = 0
    account_fen: int = 0
    hospital_fen: int = 0
    basic: dict[str, Any] | None = None
    payer_reference: str | None = None
    reason_code: str = ""
    reason_zh: str = ""
    reason_en: str = ""
    claimed_at: datetime | None = None
    doubt_since: datetime | None = None
    """When the payer's word was first missed; kept when the doubt is resolved, as the measure of how long it took.
    An undo has a measure of its own."""
    next_at: datetime | None = None
    """No attempt before this moment: the payer may still be answering, or a repeat is not due."""
    inquiries: int = 0
    not_found_since: datetime | None = None
    """When an inquiry first found nothing."""
    decided_at: datetime | None = None
    changed: bool = False
    decided: bool = False
    """A payer's word was recorded since the leg was read: amounts and reasons must be written too."""
    named: bool = False
    """Its payer called it by a new name since the leg was read."""
    posted: Borne | None = None
    """What the ledger holds of it; see `routing.postings`."""
    effect_at: datetime | None = None
    """When the payer did what was recorded since the leg was read, by its own clock."""

    @property
    def open_at_payer(self) -> bool:
        """The payer deferred: it may still decide by itself."""
        return self.state is LegState.DEFERRED and self.decided_at is not None

    @property
    def recorded(self) -> bool:
        """Its payer was never asked: the basic system adjudicated this part itself."""
        return self.reason_code == GIVEN and self.attempts == 0

    @property
    def request_id(self) -> str:
        """Ours for the claim, the same in every repeat."""
        return f"{self.case_id.replace('-', '')}-{self.leg_no}"

    @property
    def cancel_id(self) -> str:
        """Ours for the undo, be it a cancel or a reversal, the same in every repeat."""
        return f"{self.request_id}-c"

    @property
    def inquiry_id(self) -> str:
        """Ours for the latest inquiry."""
        return f"{self.request_id}-q{self.inquiries}"

    def doubt(self, now: datetime) -> None:
        """Remember since when the payer's word is missed."""
        self.doubt_since = self.doubt_since or now
        self.changed = True

    def rest_until(self, at: datetime | None) -> None:
        """No attempt before `at`; None in doubt means that nothing more happens by itself."""
        self.changed = self.changed or self.next_at != at
        self.next_at = at

    def apply(self, event: LegEvent, *, reason_code: str = "") -> None:
        """Move to the next state of the table; IllegalTransition when there is none."""
        self.state = next_leg_state(self.state, event)
        if reason_code:
            self.reason_code = reason_code
        self.changed = True

    def begin_undo(self, event: LegEvent, now: datetime, *, reason_code: str = "") -> None:
        """Move to the undo, with all its tries: the doubt before it has used up none of them."""
        self.apply(event, reason_code=reason_code)
        self.undo_attempts = self.inquiries = 0
        self.doubt_since = now if self.doubt_since else None
        self.next_at = None

    def call_it(self, reference: str | None) -> None:
        """Take the name that the payer gives its part; the one that it has stays where there is none."""
        if reference and reference != self.payer_reference:
            self.payer_reference = reference
            self.named = True

    def record(self, decision: Decision, event: LegEvent, now: datetime) -> None:
        """Apply a payer's word with its amounts and reasons."""
        self.apply(event)
        self.decided = True
        self.reason_code = decision.reason_code
        self.reason_zh, self.reason_en = decision.reason_zh, decision.reason_en
        self.decided_at, self.effect_at = decision.decided_at or now, believed(decision.decided_at, now)
        if event is not LegEvent.CANCEL_REFUSED:  # the refusal's number is not the one to undo by
            self.call_it(decision.payer_reference)
        if event is LegEvent.APPROVE:
            self.amount_fen = decision.amount_fen
            if decision.basic is not None:
                self.account_fen = decision.basic.account_fen
                self.hospital_fen = decision.basic.hospital_fen
                self.basic = basic_to_json(decision.basic)


@dataclass(slots=True)
class CaseRecord:
    """One row of `settlement_case` with its legs, in the order of the plan."""

    case_id: str
    region: str
    institution: str
    settlement_no: str
    case_key: str
    purpose: Operation
    request_hash: str
    total_fen: int
    rulebook_version: int
    received_at: datetime
    answer_by: datetime
    reply_to: str
    correlation_id: str
    watch_at: datetime | None
    state: CaseState = CaseState.OPEN
    version: int = 0
    revision: int = 0
    overdue: bool = False
    ended_at: datetime | None = None
    business_day: date | None = None
    considered: list[list[str]] = field(default_factory=list)
    """[rule, missed condition or empty] each; written with a new case, read only to explain one."""
    visit_kind: str | None = None
    insurance_type: str | None = None
    """Both as the hospital's message says; written with a new case, read where books are kept by them."""
    legs: list[LegRecord] = field(default_factory=list)
    changed: bool = False
    answered: bool = False
    """Whether the hospital had an answer when the case was read."""

    def leg(self, leg_no: int) -> LegRecord:
        return self.legs[leg_no - 1]

    def apply(self, event: CaseEvent) -> None:
        """Move to the next state of the table; IllegalTransition when there is none."""
        self.state = next_case_state(self.state, event)
        self.changed = True

    def watch(self, at: datetime | None) -> None:
        """When a sweep must look at this case again; None when nothing is open."""
        self.watch_at = at
        self.changed = True


def basic_to_json(basic: BasicResult) -> dict[str, Any]:
    """For the `basic` column."""
    return {
        "total_fen": basic.total_fen,
        "own_pay_fen": basic.own_pay_fen,
        "over_limit_fen": basic.over_limit_fen,
        "first_self_pay_fen": basic.first_self_pay_fen,
        "in_scope_fen": basic.in_scope_fen,
        "deductible_fen": basic.deductible_fen,
        "fund_fen": basic.fund_fen,
        "account_fen": basic.account_fen,
        "cash_fen": basic.cash_fen,
        "hospital_fen": basic.hospital_fen,
        "funds": [list(fund) for fund in basic.funds],
    }


def basic_from_json(value: dict[str, Any]) -> BasicResult:
    """From the `basic` column."""
    return BasicResult(**{**value, "funds": tuple((code, fen) for code, fen in value["funds"])})
