"""Cases for people and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, Engine, text

from hub.answers import combined_answer
from hub.books import RuleBooks
from hub.clock import SystemClock
from hub.demo.report import timeline_table
from hub.people.finding import WORDS
from hub.timeline import TimelineEvent, timeline
from routing.days import CHINA_STANDARD_TIME
from routing.plan import Considered, route_of
from routing.rulebook import RuleBook
from routing.states import CaseState
from schemas.answer import CombinedAnswer, RouteStep
from schemas.money import yuan_of
from store import answers, cases, exchanges
from store.records import CaseRecord, LegRecord
from store.search import Found

__all__ = ["timeline_table"]

_LIST = text(
    """
    SELECT c.case_id, c.institution, c.settlement_no, c.purpose, c.state, c.revision, c.total_fen, c.received_at,
           c.ended_at, c.overdue, min(a.answered_at) AS answered_at,
           sum(l.amount_fen) FILTER (WHERE l.state = 'approved') AS paid_fen, count(l.leg_no) AS legs
    FROM (
        SELECT * FROM settlement_case
        WHERE (:state = '' OR state = :state) AND (:institution = '' OR institution = :institution)
          AND received_at >= :since AND (:trials OR purpose = 'settle')
        ORDER BY received_at DESC LIMIT :limit
    ) c LEFT JOIN settlement_leg l USING (case_id)
    LEFT JOIN case_answer a ON a.case_id = c.case_id AND a.revision = 1
    GROUP BY c.case_id, c.institution, c.settlement_no, c.purpose, c.state, c.revision, c.total_fen, c.received_at,
             c.ended_at, c.overdue
    ORDER BY c.received_at DESC
    """
)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filters of a list; empty ones let everything through."""

    state: str
    institution: str
    since: datetime | None
    trials: bool
    limit: int


@dataclass(frozen=True, slots=True)
class View:
    """A case with everything one asks about it."""

    case: CaseRecord
    answer: CombinedAnswer
    route: tuple[RouteStep, ...]
    book: RuleBook


def read(engine: Engine, case_id: str) -> View:
    """A case that exists."""
    books = RuleBooks(engine, SystemClock())
    with engine.connect() as connection:
        case = cases.read(connection, [case_id])[case_id]
        considered = cases.considered(connection, case_id)
    book = books.version(case.rulebook_version)
    route = route_of(book, [Considered(rule, missed) for rule, missed in considered])
    return View(case, combined_answer(case, datetime.now(UTC)), route, book)


def events_of(connection: Connection, case_id: str) -> tuple[TimelineEvent, ...]:
    """What happened to a case that exists."""
    case = cases.read(connection, [case_id])[case_id]
    return timeline(case, exchanges.of_case(connection, case_id), answers.history(connection, case_id))


def listed(connection: Connection, wanted: Wanted) -> Sequence[Any]:
    """Rows of the list, the newest first."""
    values = {
        "state": wanted.state,
        "institution": wanted.institution,
        "since": wanted.since or _LONG_AGO,
        "trials": wanted.trials,
        "limit": wanted.limit,
    }
    return connection.execute(_LIST, values).all()


def as_dict(view: View) -> dict[str, Any]:
    """The combined answer as the case stands now, with route and legs."""
    answer = view.answer.model_copy(update={"route": view.route})
    return {
        **orjson.loads(answer.model_dump_json(exclude_none=True)),
        "state": view.case.state.value,
        "received_at": view.case.received_at.isoformat(),
        "answer_by": view.case.answer_by.isoformat(),
        "rulebook_version": view.case.rulebook_version,
        "legs": [
            {"leg_no": leg.leg_no, "payer": leg.payer, "state": leg.state.value, "attempts": leg.attempts,
             "left": None if leg.left_fen is None else yuan_of(leg.left_fen), "amount": yuan_of(leg.amount_fen),
             "decided_at": leg.decided_at and leg.decided_at.isoformat()}
            for leg in view.case.legs
        ],
    }  # fmt: skip


def listed_as_dict(row: Any) -> dict[str, Any]:
    """One row of the list for JSON."""
    return {
        "case_id": str(row.case_id),
        "institution": row.institution,
        "settlement_no": row.settlement_no,
        "purpose": row.purpose,
        "state": row.state,
        "revision": row.revision,
        "total": yuan_of(row.total_fen),
        "paid": yuan_of(int(row.paid_fen or 0)),
        "payers": row.legs,
        "overdue": row.overdue,
        "received_at": row.received_at.isoformat(),
        "answered_at": row.answered_at and row.answered_at.isoformat(),
        "ended_at": row.ended_at and row.ended_at.isoformat(),
    }


def list_table(rows: Sequence[Any]) -> Table:
    """The list for people; moments in China Standard Time."""
    table = Table(box=None, pad_edge=False)
    for column in ("received", "case", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("bill", "payers bear", "payers", "answered ms"):
        table.add_column(column, justify="right")
    for row in rows:
        took = "" if row.answered_at is None else f"{(row.answered_at - row.received_at).total_seconds() * 1000:.0f}"
        state = f"{row.state} (never came)" if _tombstone(row.state, row.legs) else row.state
        state = state if row.purpose == "settle" else f"{state} (trial)"
        table.add_row(
            _local(row.received_at), f"{row.institution}/{row.settlement_no}", state, yuan_of(row.total_fen),
            yuan_of(int(row.paid_fen or 0)), str(row.legs), took,
        )  # fmt: skip
    return table


def found_table(found: Sequence[Found]) -> Table:
    """What a search found, and by what."""
    table = Table(box=None, pad_edge=False)
    for column in ("received", "case", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("bill", justify="right")
    table.add_column("found by", overflow="fold")
    table.add_column("id", no_wrap=True)
    for one in found:
        state = one.state if one.purpose == "settle" else f"{one.state} (trial)"
        by = ", ".join(f"{WORDS[name].zh} {WORDS[name].en}" for name in one.by)
        table.add_row(
            _local(one.received_at), f"{one.institution}/{one.settlement_no}", state, yuan_of(one.total_fen), by,
            one.case_id,
        )  # fmt: skip
    return table


def show(view: View, console: Console) -> None:
    """The case for people: head, parts, what is left to the patient, and the route."""
    case, answer = view.case, view.answer
    institution = view.book.institution_by_code.get(case.institution)
    name = f" {institution.name}" if institution else ""
    console.print(f"[bold]{case.institution}{name}  {case.settlement_no}[/]   case {case.case_id}")
    console.print(
        f"{case.purpose.value}: [bold]{answer.status.value}[/], revision {case.revision}"
        f"{'' if answer.final else ', not final'}; received {_local(case.received_at)}, answer due "
        f"{_local(case.answer_by)}{', overdue' if case.overdue else ''}; rule book version {case.rulebook_version}"
    )
    if _tombstone(case.state, len(case.legs)):
        console.print("Its reversal came and it never did: no payer was asked, and it is refused should it come later.")
        return
    console.print(f"{answer.message.zh}  {answer.message.en}\n")
    console.print(_parts(view))
    console.print()
    console.print(_route(view.route))


def _tombstone(state: str, legs: int) -> bool:
    """Whether this only holds the place of a settlement that was undone before it came."""
    return state == CaseState.CANCELLED and not legs


def _parts(view: View) -> Table:
    answer = view.answer
    table = Table(box=None, pad_edge=False)
    for column, justify in (("leg", "right"), ("payer", "left"), ("product", "left"), ("state", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for column in ("may bear", "bears", "took ms"):
        table.add_column(column, justify="right")
    table.add_column("reason", overflow="fold")
    for leg, share in zip(view.case.legs, answer.shares, strict=True):
        reason = f"{share.reason.zh} {share.reason.en}" if share.reason else ""
        table.add_row(
            str(leg.leg_no), f"{leg.payer} {_name(view.book, leg)}", leg.product, leg.state.value,
            "" if leg.left_fen is None else yuan_of(leg.left_fen), yuan_of(share.amount), _took(leg), reason,
        )  # fmt: skip
    for what, fen in (
        ("personal account", answer.account), ("hospital bears", answer.hospital_borne),
        ("patient, cash", answer.cash), ("  of it may still be paid", answer.deferred), ("bill", answer.total),
    ):  # fmt: skip
        table.add_row("", what, "", "", "", f"[bold]{yuan_of(fen)}[/]", "", "")
    return table


def _route(route: Sequence[RouteStep]) -> Table:
    table = Table(title="Why these payers", title_justify="left", box=None, pad_edge=False)
    for column in ("rule", "layer", "payer", "asked", "reason"):
        table.add_column(column)
    for step in route:
        reason = f"{step.reason.zh} {step.reason.en}"
        table.add_row(step.rule, step.layer.value, step.payer, "yes" if step.chosen else "no", reason)
    return table


def _name(book: RuleBook, leg: LegRecord) -> str:
    party = book.party_by_code.get(leg.payer)
    return party.name.zh if party else ""


def _took(leg: LegRecord) -> str:
    if leg.claimed_at is None or leg.decided_at is None or leg.decided_at < leg.claimed_at:
        return ""
    return f"{(leg.decided_at - leg.claimed_at).total_seconds() * 1000:.0f}"


def _local(moment: datetime) -> str:
    return moment.astimezone(CHINA_STANDARD_TIME).strftime("%m-%d %H:%M:%S")
