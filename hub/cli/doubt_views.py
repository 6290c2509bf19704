"""Doubts for people and for JSON. Shown are ids, moments, states and amounts, nobody's personal data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from hub.people.masking import masked
from hub.people.standing import DoubtView, decided_by_people
from hub.people.ways import abilities, can_of, ways
from routing.states import LegState
from schemas.money import yuan_of
from schemas.texts import reason_text
from store import doubts
from store.doubts import OpenDoubt
from store.exchanges import Exchange
from store.records import LegRecord


def table(found: Sequence[OpenDoubt]) -> Table:
    """The list."""
    view = Table(box=None, pad_edge=False)
    for name in ("leg", "hospital's number", "payer", "state", "since", "tries", "next"):
        view.add_column(
            name, justify="right" if name in ("since", "tries") else "left", no_wrap=name == "leg", overflow="fold"
        )
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


def show(view: DoubtView, console: Console) -> None:
    """One leg in full: how it stands, what was said, and each choice as a command to copy."""
    leg, case = view.leg, view.case
    now = datetime.now(UTC)
    console.print(f"Leg {leg.leg_no} of case {case.case_id}: {leg.payer} ({leg.layer}), {leg.state}")
    console.print(f"  {case.institution}/{case.settlement_no}, {case.state}, bill {yuan_of(case.total_fen)} yuan")
    if because := _because(leg):
        console.print(f"  because {because}", markup=False)
    console.print(f"  our request {leg.request_id}, undo {leg.cancel_id}")
    console.print(f"  at most {yuan_of(leg.left_fen or 0)} yuan; on record {yuan_of(leg.amount_fen)} yuan")
    if view.party is not None:
        console.print(f"  its interface can: {abilities(can_of(view.party))}")
    console.print(f"  {_how_it_goes_on(leg, now)}")
    console.print(_said(view.said))
    if view.last_word is not None:
        shown = masked(view.last_word.body, entries_max=1)
        console.print(f"Its last word (personal data hidden): {shown}", markup=False)
    for way in ways(case, leg, view.party, now):
        console.print(f"{way.name}: {way.meaning}", markup=False)
        console.print(f"  hub doubt {way.name} {case.case_id}/{leg.leg_no} {way.options}", markup=False, soft_wrap=True)


def _because(leg: LegRecord) -> str:
    reason = reason_text(leg.reason_code)
    theirs = f"{leg.reason_zh} {leg.reason_en}".strip()
    return " / ".join(filter(None, (reason.en if reason else leg.reason_code, theirs)))


def _said(said: Sequence[Exchange]) -> Table:
    table = Table(title="What was said", title_justify="left", box=None)
    for name in ("at (UTC)", "direction", "what", "try", "result", "HTTP", "bytes"):
        table.add_column(name, justify="right" if name in ("try", "HTTP", "bytes") else "left")
    for one in said:
        who = (
            "from our people"
            if decided_by_people(one)
            else "from the payer"
            if one.direction == "in"
            else "to the payer"
        )
        table.add_row(
            f"{one.at.astimezone(UTC):%m-%d %H:%M:%S.%f}"[:-3],
            "from our people" if decided_by_people(one) else who,
            one.request_id if decided_by_people(one) else one.operation,
            str(one.attempt),
            one.outcome or "-",
            str(one.status or "-"),
            str(len(one.body)),
        )
    return table


def _how_it_goes_on(leg: LegRecord, now: datetime) -> str:
    if leg.state not in doubts.OPEN_STATES:
        return "nothing is open about it"
    if leg.state in (LegState.HELD, LegState.CANCEL_HELD) or leg.next_at is None:
        return "needs you: the hub tries nothing more by itself; ask its people what stands in their books"
    return f"the hub goes on by itself, next attempt {_next(leg.next_at, now)}"


def _age(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _next(at: datetime | None, now: datetime) -> str:
    if at is None or at <= now:
        return "now"
    return f"in {_age(at - now)}"


def summary(found: Sequence[OpenDoubt], wanted: Sequence[OpenDoubt], every: Sequence[OpenDoubt]) -> str:
    """How many there are and what to run next."""
    people = sum(not one.resolves_itself for one in every)
    if not found:
        return f"nothing needs you; {len(every)} resolve themselves" if every else "no open doubts"
    more = f"; {len(wanted) - len(found)} more: use --limit" if len(wanted) > len(found) else ""
    return f"{len(every)} open, {people} need you: hub doubt show LEG{more}"
