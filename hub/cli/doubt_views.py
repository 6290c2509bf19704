"""Doubts for people and for JSON. Shown are ids, moments, states and amounts, nobody's personal data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from routing.states import LegState
from schemas.money import yuan_of
from schemas.texts import reason_text
from store import cases, exchanges
from store.doubts import OpenDoubt
from store.exchanges import Exchange
from store.records import CaseRecord, LegRecord

_CHOICES = {
    LegState.IN_DOUBT: ("ask", "approve", "decline", "reverse"),
    LegState.HELD: ("approve", "decline", "reverse"),
    LegState.REVERSING: ("ask", "undone"),
    LegState.CANCELLING: ("ask", "undone"),
    LegState.CANCEL_HELD: ("ask", "reverse", "undone"),
    LegState.DEFERRED: ("approve", "decline", "reverse"),
}


@dataclass(frozen=True, slots=True)
class View:
    """One leg with everything that was said about it."""

    case: CaseRecord
    leg: LegRecord
    said: Sequence[Exchange]


def read(connection: Connection, case_id: str, leg_no: int) -> View:
    """A leg that exists."""
    case = cases.read(connection, [case_id])[case_id]
    said = [one for one in exchanges.of_case(connection, case_id) if one.leg_no == leg_no]
    return View(case, case.leg(leg_no), said)


def table(found: Sequence[OpenDoubt]) -> Table:
    """The list."""
    view = Table(title=f"{len(found)} open doubts" if found else "No open doubts", title_justify="left", box=None)
    for name in ("leg", "hospital's number", "payer", "state", "since", "tries", "next"):
        view.add_column(name, justify="right" if name in ("since", "tries") else "left", overflow="fold")
    now = datetime.now(UTC)
    for one in found:
        tries = max(one.attempts + one.inquiries, one.undo_attempts)
        view.add_row(
            f"{one.case_id}/{one.leg_no}",
            f"{one.institution}/{one.settlement_no}",
            one.payer,
            one.state,
            _age(now - one.since),
            str(tries),
            _next(one.next_at, now) if one.resolves_itself else "needs you",
        )
    return view


def show(view: View, console: Console) -> None:
    """One leg in full."""
    leg, case = view.leg, view.case
    now = datetime.now(UTC)
    reason = reason_text(leg.reason_code)
    console.print(f"Leg {leg.leg_no} of case {case.case_id}: {leg.payer} ({leg.layer}), {leg.state}")
    console.print(f"  {case.institution}/{case.settlement_no}, {case.state}, bill {yuan_of(case.total_fen)} yuan")
    if reason or leg.reason_code:
        console.print(f"  because {reason.en if reason else leg.reason_code}")
    console.print(f"  our request {leg.request_id}, undo {leg.cancel_id}")
    console.print(f"  at most {yuan_of(leg.left_fen or 0)} yuan; on record {yuan_of(leg.amount_fen)} yuan")
    console.print(f"  {_how_it_goes_on(leg, now)}")
    said = Table(title="What was said", title_justify="left", box=None)
    for name in ("at (UTC)", "direction", "what", "try", "result", "HTTP", "bytes"):
        said.add_column(name, justify="right" if name in ("try", "HTTP", "bytes") else "left")
    for one in view.said:
        said.add_row(
            f"{one.at.astimezone(UTC):%m-%d %H:%M:%S.%f}"[:-3],
            "to the payer" if one.direction == "out" else "from the payer" if one.operation != "people" else "people",
            one.operation,
            str(one.attempt),
            one.outcome or "-",
            str(one.status or "-"),
            str(len(one.body)),
        )
    console.print(said)
    for choice in _CHOICES.get(leg.state, ()):
        console.print(f"  hub doubt {choice} {case.case_id}/{leg.leg_no} …")


def _how_it_goes_on(leg: LegRecord, now: datetime) -> str:
    if leg.state not in _CHOICES or leg.state is LegState.DEFERRED:
        return "nothing is open about it"
    if leg.state in (LegState.HELD, LegState.CANCEL_HELD) or leg.next_at is None:
        return "needs you: the hub tries nothing more by itself"
    return f"the hub goes on by itself, next attempt {_next(leg.next_at, now)}"


def as_dict(one: OpenDoubt) -> dict[str, Any]:
    """For JSON."""
    return {**asdict(one), "resolves_itself": one.resolves_itself}


def view_as_dict(view: View) -> dict[str, Any]:
    """For JSON; bodies stay in the database."""
    leg = {
        name: getattr(view.leg, name)
        for name in (
            "leg_no",
            "payer",
            "layer",
            "state",
            "reason_code",
            "left_fen",
            "amount_fen",
            "payer_reference",
            "attempts",
            "inquiries",
            "undo_attempts",
            "doubt_since",
            "next_at",
            "not_found_since",
            "request_id",
            "cancel_id",
        )
    }
    said = [{**asdict(one), "body": len(one.body)} for one in view.said]
    for one in said:
        one["bytes"] = one.pop("body")
    return {
        "case_id": view.case.case_id,
        "case_state": view.case.state,
        "leg": leg,
        "said": said,
        "choices": list(_CHOICES.get(view.leg.state, ())),
    }


def _age(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _next(at: datetime | None, now: datetime) -> str:
    if at is None or at <= now:
        return "now"
    return f"in {_age(at - now)}"
