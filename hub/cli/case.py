"""`hub case`: how cases stand and what happened to them. No patient's data is shown unless asked for."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import USAGE, AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By, Reason, operator

if TYPE_CHECKING:
    from sqlalchemy import Connection

_CASE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _named(which: str) -> str:
    if "/" not in which and not _CASE_ID.fullmatch(which):
        fail("name a case by its id or as INSTITUTION/SETTLEMENT_NO; `hub case find` knows every other number", USAGE)
    return which


Which = Annotated[str, typer.Argument(metavar="ID|INSTITUTION/SETTLEMENT_NO", help="The case.", callback=_named)]
_AGO = re.compile(r"(\d+)([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Cases: how they stand, why, and what happened.")
    group.command("show")(show)
    group.command("list")(list_)
    group.command("find")(find)
    group.command("timeline")(timeline)
    group.command("sent")(sent)
    app.add_typer(group, name="case")


def show(case: Which, as_json: AsJson = False) -> None:
    """Show a case: each payer's part with state, amount, time and reason, then why each payer was asked or not.

    Example: hub case show H44030000001/S20260930-0000042
    """
    from hub.cli import case_views

    with open_database(settings()) as engine:
        with engine.connect() as connection:
            case_id = find_case(connection, case)
        view = case_views.read(engine, case_id)
    if as_json:
        show_json(case_views.as_dict(view))
    else:
        case_views.show(view, console())


def find(
    key: Annotated[str, typer.Argument(help="Any number that somebody has in hand; - reads it from standard input.")],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find cases by a number of the hospital, of a payer, of the hub or of the person, whatever it is.

    Knows settlement, visit, policy, cancel, claim and payment numbers, message ids, payers' references, setl_id,
    mdtrt_id and msgid, and identity numbers. Give an identity number on standard input: then no history keeps it.

    Example: hub case find S20260930-0000042
    """
    from hub.bootstrap import person_secret
    from hub.cli import case_views
    from hub.people.finding import Finder, found_as_dict
    from schemas.errors import InvalidMessage

    key = sys.stdin.readline() if key == "-" else key
    given = settings()
    finder = Finder(person_secret(given))
    try:
        with open_database(given) as engine, engine.connect() as connection:
            found = finder.find(connection, key, limit)
    except InvalidMessage:
        fail("give a number, a name or an id of a case", USAGE)
    if as_json:
        show_json({"cases": [found_as_dict(one) for one in found]})
    elif found:
        console().print(case_views.found_table(found))
    else:
        fail("no case goes by this")


def timeline(case: Which, as_json: AsJson = False) -> None:
    """Show what happened to a case, moment by moment.

    Example: hub case timeline 01a2001f-14c8-7056-bf4b-409e7ef560e0
    """
    from hub.cli import case_views

    with open_database(settings()) as engine, engine.connect() as connection:
        case_id = find_case(connection, case)
        events = case_views.events_of(connection, case_id)
    if as_json:
        show_json({"case_id": case_id, "events": [event.as_dict() for event in events]})
    else:
        console().print(case_views.timeline_table(events, f"Case {case_id}"))


def sent(
    case: Which,
    payer: Annotated[str, typer.Option(help="Only what left for this payer.")] = "",
    values: Annotated[bool, typer.Option("--values", help="The values too; who looks, and why, is recorded.")] = False,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Show what each payer was told about a case: the fields of every message, from its stored bytes.

    Example: hub case sent H44030000001/S20260930-0000042 --payer ANKANG
    """
    from hub.cli import sent_views
    from hub.clock import SystemClock
    from hub.people.actions import Actions
    from hub.people.disclosures import Disclosures
    from hub.people.office import NoTransport
    from hub.work import WorkUnits

    with open_database(settings()) as engine:
        with engine.connect() as connection:
            case_id = find_case(connection, case)
        work_units = WorkUnits(engine, NoTransport())
        disclosures = Disclosures(work_units, Actions(work_units, SystemClock()))
        if values:
            disclosures.reveal(case_id, payer, reason, operator(by))
        messages = disclosures.of_case(case_id, payer)
    if as_json:
        show_json({"case_id": case_id, "sent": [sent_views.as_dict(one, values=values) for one in messages]})
    elif messages:
        sent_views.show(messages, console(), values=values)
    else:
        console().print(f"Nothing has left{' for ' + payer if payer else ''} about this case.")


def list_(
    state: Annotated[
        str, typer.Option(help="Only cases in this state: open, settled, declined, cancelling, cancelled.")
    ] = "",
    institution: Annotated[str, typer.Option(help="Only cases of this institution.")] = "",
    since: Annotated[str, typer.Option(help="Only cases since: 30m, 6h, 2d, or 2026-09-30T08:00+08:00.")] = "",
    trials: Annotated[bool, typer.Option(help="Trials too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List cases, the newest first.

    Example: hub case list --state open --since 1h
    """
    from hub.cli import case_views
    from routing.states import CaseState

    if state and state not in set(CaseState):
        fail(f"--state: one of {', '.join(CaseState)}", USAGE)
    wanted = case_views.Wanted(state, institution, moment(since), trials, limit)
    with open_database(settings()) as engine, engine.connect() as connection:
        found = case_views.listed(connection, wanted)
    if as_json:
        show_json({"cases": [case_views.listed_as_dict(one) for one in found]})
    else:
        console().print(case_views.list_table(found))


def find_case(connection: Connection, which: str) -> str:
    """The case's id; ends the command when there is none."""
    from store import cases

    institution, slash, number = which.partition("/")
    if slash:
        known = cases.find_by_key(connection, [(institution, number)])
        found = known[institution, number][0] if (institution, number) in known else None
    else:
        found = which if cases.read(connection, [which]) else None
    return found or fail(f"there is no case {which}")


def moment(since: str) -> datetime | None:
    """The moment that `--since` means; ends the command when it means none."""
    if not since:
        return None
    if ago := _AGO.fullmatch(since):
        return datetime.now(UTC) - int(ago[1]) * _UNITS[ago[2]]
    try:
        named = datetime.fromisoformat(since)
    except ValueError:
        fail("--since: write 30m, 6h, 2d, or a moment such as 2026-09-30T08:00+08:00", USAGE)
    if named.tzinfo is None:
        fail("--since: add the time zone, such as +08:00", USAGE)
    return named
