"""What people may do about a leg in doubt: have it asked again, give the payer's true word with the evidence, have it
undone. Whatever moves money needs a second person; what was decided is kept as an exchange beside the payer's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from hub.outcomes import SWEEP_GRACE_S, adds_up
from hub.people.actions import ActionKind
from hub.ports import Clock
from hub.progress import advance_all
from hub.routes import leg_command
from hub.work import Work
from routing.states import CaseEvent, CaseState, LegEvent, LegState
from schemas.codes import Layer, Outcome
from schemas.errors import Conflict, InvalidMessage, NotFound, Violation
from schemas.money import fen_of, yuan_of
from schemas.payer import BasicResult, Decision
from store import visits
from store.actions import Action
from store.doubts import PEOPLE
from store.exchanges import Exchange
from store.records import CaseRecord, LegRecord

_SUBJECT = re.compile(r"leg/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/([1-9][0-9]{0,3})", re.ASCII)
_REFERENCE = re.compile(r"[0-9A-Za-z._:-]{1,64}(/[0-9A-Za-z._:-]{1,64})?", re.ASCII)
"""What every payer's interface can say: it is sent back to undo by, and goes out in statements. Behind the stroke may
stand the number of the visit."""
_BASIC_FIELDS = ("own_pay", "over_limit", "first_self_pay", "in_scope", "deductible", "account", "cash", "hospital")
_UNKNOWN_WORD = (LegState.IN_DOUBT, LegState.HELD, LegState.DEFERRED)
_UNDOING = (LegState.CANCELLING, LegState.REVERSING)


def subject_of(case_id: str, leg_no: int) -> str:
    """How an action names a leg."""
    return f"leg/{case_id}/{leg_no}"


@dataclass(frozen=True, slots=True)
class _Choice:
    """One thing people may decide: from which states, and what it does."""

    states: tuple[LegState, ...]
    carry_out: Callable[[CaseRecord, LegRecord, Action, datetime], str]
    remedy: str


def doubt_kinds(clock: Clock) -> tuple[ActionKind, ...]:
    """The kinds `doubt.ask|approve|decline|reverse|undone|take_back`, each about `leg/<case id>/<leg no>`."""
    return tuple(_kind(name, choice, clock) for name, choice in _CHOICES.items())


def _kind(name: str, choice: _Choice, clock: Clock) -> ActionKind:
    def run(work: Work, action: Action) -> str:
        return _run(work, action, choice, clock.now())

    def check(work: Work, action: Action) -> None:
        case, leg = _found(work, action)
        _check_state(leg, choice)
        if name == "doubt.approve":
            _check_visit(work, case)
            _checked_decision(case, leg, action, clock.now())

    harmless = name == "doubt.ask"
    return ActionKind(name, run, second_person=lambda _work, _action: not harmless, check=check)


def _run(work: Work, action: Action, choice: _Choice, now: datetime) -> str:
    case, leg = _found(work, action)
    _check_state(leg, choice)
    if choice.carry_out is _approve:
        _check_visit(work, case)
    before = leg.state
    done = choice.carry_out(case, leg, action, now)
    work.store.exchanges.add(work.connection, [_evidence(case, leg, action, now)])
    if leg.state in (*_UNDOING, LegState.IN_DOUBT):
        work.send(leg_command(case.case_id, leg.leg_no, leg.payer, case.region))
    if case.watch_at is None and case.state in (CaseState.OPEN, CaseState.CANCELLING):
        case.watch(now + timedelta(seconds=SWEEP_GRACE_S))
    advance_all(work, [case], now)
    return f"{leg.payer}: {before} -> {leg.state}, {done}"


def _found(work: Work, action: Action) -> tuple[CaseRecord, LegRecord]:
    named = _SUBJECT.fullmatch(action.subject)
    if named is None:
        remedy = "write leg/<case id>/<leg number>"
        raise InvalidMessage("no leg", Violation("subject", "doubt.subject", remedy), code="operator.invalid")
    case = work.store.cases.lock(work.connection, [named[1]]).get(named[1])
    if case is None or int(named[2]) > len(case.legs):
        raise NotFound("there is no such leg", code="doubt.not_found")
    return case, case.leg(int(named[2]))


def _check_state(leg: LegRecord, choice: _Choice) -> None:
    if leg.state not in choice.states:
        raise Conflict(f"the leg is {leg.state}: {choice.remedy}", code="doubt.state")


def _check_visit(work: Work, case: CaseRecord) -> None:
    """A visit that was settled again meanwhile is not settled twice."""
    if visits.held_by_another(work.connection, case.case_id):
        raise Conflict(
            "another settlement has taken this visit's lines: reverse the leg instead", code="doubt.visit_settled"
        )


def _ask(_case: CaseRecord, leg: LegRecord, _action: Action, now: datetime) -> str:
    """Anew, with all its tries; what is said to the payer follows from what its interface can be trusted with."""
    if leg.state is LegState.CANCEL_HELD:
        leg.apply(LegEvent.CANCEL if leg.amount_fen or leg.account_fen else LegEvent.REVERSE)
    # The time for which it is tried begins anew as well.
    leg.doubt_since = now if leg.doubt_since else None
    leg.inquiries = leg.undo_attempts = 0
    leg.rest_until(None)
    leg.changed = True
    return "the payer is asked again"


def _approve(case: CaseRecord, leg: LegRecord, action: Action, now: datetime) -> str:
    decision = _checked_decision(case, leg, action, now)
    _reopen(case)
    leg.record(decision, LegEvent.APPROVE, now)
    leg.rest_until(None)
    return f"approved {yuan_of(decision.amount_fen)} under {decision.payer_reference}"


def _decline(case: CaseRecord, leg: LegRecord, _action: Action, now: datetime) -> str:
    _reopen(case)
    reason_zh, reason_en = "经人工核实，支付方未赔付", "checked by our staff: the payer did not pay"
    decision = Decision(
        Outcome.DECLINED, reason_code="people.declined", reason_zh=reason_zh, reason_en=reason_en, decided_at=now
    )
    leg.record(decision, LegEvent.DECLINE, now)
    leg.rest_until(None)
    return "nothing stands at the payer"


def _reverse(case: CaseRecord, leg: LegRecord, _action: Action, now: datetime) -> str:
    _reopen(case)
    leg.begin_undo(LegEvent.REVERSE, now)
    return "whatever stands there is undone"


def _take_back(case: CaseRecord, leg: LegRecord, _action: Action, now: datetime) -> str:
    """Ended here, and the payer's book holds it all the same: its undo goes out, once more where it was cancelled."""
    if leg.attempts == 0:
        raise Conflict("the payer was never asked: nothing of ours stands there", code="doubt.state")
    _reopen(case)
    leg.begin_undo(LegEvent.TAKE_BACK, now)
    return "whatever its book holds is undone"


def _undone(_case: CaseRecord, leg: LegRecord, _action: Action, now: datetime) -> str:
    leg.effect_at = now
    leg.apply(LegEvent.CANCEL_CONFIRMED, reason_code="undone")
    leg.rest_until(None)
    return "the payer has taken it back"


def _reopen(case: CaseRecord) -> None:
    if case.state in (CaseState.SETTLED, CaseState.DECLINED, CaseState.CANCELLED):
        case.apply(CaseEvent.REOPEN)
        case.ended_at = None


_CHOICES = {
    "doubt.ask": _Choice(
        (LegState.IN_DOUBT, LegState.CANCEL_HELD, *_UNDOING), _ask, "only what is in doubt or not undone is asked again"
    ),
    "doubt.approve": _Choice(_UNKNOWN_WORD, _approve, "only an unknown word can be given"),
    "doubt.decline": _Choice(_UNKNOWN_WORD, _decline, "only an unknown word can be given"),
    "doubt.reverse": _Choice(
        (LegState.IN_DOUBT, LegState.HELD, LegState.DEFERRED, LegState.CANCEL_HELD),
        _reverse,
        "only what is in doubt is reversed; cancel the settlement to undo what is approved",
    ),
    "doubt.take_back": _Choice(
        (LegState.DECLINED, LegState.CANCELLED, LegState.REVERSED), _take_back, "only what has ended here is taken back"
    ),
    "doubt.undone": _Choice((LegState.CANCEL_HELD, *_UNDOING), _undone, "no undo of it is under way"),
}


def _checked_decision(case: CaseRecord, leg: LegRecord, action: Action, now: datetime) -> Decision:
    """The payer's word as people give it; InvalidMessage names what cannot be true."""
    detail = action.detail
    amount_fen = _fen(detail, "amount")
    reference = detail.get("reference")
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference.strip()):
        raise _wrong("reference", "give the payer's own number for what it settled: letters, digits and . _ : - alone")
    basic = _basic(case, detail, amount_fen) if leg.layer is Layer.BASIC else None
    decision = Decision(
        Outcome.APPROVED, amount_fen, reference.strip(), decided_at=_decided_at(detail, now), basic=basic
    )
    if case.state is CaseState.CANCELLING:
        raise Conflict("the case is being cancelled: reverse the leg instead", code="doubt.cancelling")
    if not adds_up(case, leg, decision):
        raise _wrong("amount", "must not exceed what is left of the bill for this payer, and must divide it whole")
    return decision


def _decided_at(detail: Mapping[str, Any], now: datetime) -> datetime:
    """When the payer settled, by its own books where they say it: the day that it counts on follows from it."""
    given = detail.get("decided_at")
    if given is None:
        return now
    try:
        moment = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise _wrong("decided_at", "write a moment with its zone, such as 2026-03-02T10:15:00+08:00") from None
    if moment.tzinfo is None or moment > now:
        raise _wrong("decided_at", "give a moment with its zone that is not in the future")
    return moment


def _basic(case: CaseRecord, detail: Mapping[str, Any], fund_fen: int) -> BasicResult:
    given = detail.get("basic")
    if not isinstance(given, Mapping):
        raise _wrong("basic", f"give the adjudication: {', '.join(_BASIC_FIELDS)}, each in yuan")
    fen = {name: _fen(given, name) for name in _BASIC_FIELDS}
    return BasicResult(
        total_fen=case.total_fen,
        own_pay_fen=fen["own_pay"],
        over_limit_fen=fen["over_limit"],
        first_self_pay_fen=fen["first_self_pay"],
        in_scope_fen=fen["in_scope"],
        deductible_fen=fen["deductible"],
        fund_fen=fund_fen,
        account_fen=fen["account"],
        cash_fen=fen["cash"],
        hospital_fen=fen["hospital"],
    )


def _fen(detail: Mapping[str, Any], name: str) -> int:
    try:
        return fen_of(detail[name])
    except (KeyError, ValueError, TypeError):
        raise _wrong(name, 'write yuan with two decimals as text, for example "1234.50"') from None


def _wrong(field: str, remedy: str) -> InvalidMessage:
    return InvalidMessage("not a payer's word", Violation(field, "doubt.word", remedy), code="operator.invalid")


def _evidence(case: CaseRecord, leg: LegRecord, action: Action, now: datetime) -> Exchange:
    body = {"action": action.id, "kind": action.kind, "detail": action.detail, "reason": action.reason}
    return Exchange(
        region=case.region,
        case_id=case.case_id,
        leg_no=leg.leg_no,
        party=leg.payer,
        direction="in",
        operation=PEOPLE,
        request_id=f"action/{action.id}",
        attempt=1,
        body=orjson.dumps(body),
        at=now,
        outcome=action.kind.removeprefix("doubt."),
    )
