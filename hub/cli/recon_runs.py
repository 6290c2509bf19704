"""`hub recon run|show|breaks`: make runs, and see what they found."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hub.recon.runs import RunResult
    from store.matching_runs import Break, Run

PAGE = 5_000
STATES = ("open", "waiting", "resolved", "explained")


def _day(text: str) -> str:
    if text:
        try:
            date.fromisoformat(text)
        except ValueError:
            fail("name a day as 2026-03-02", USAGE)
    return text


Day = Annotated[str, typer.Option("--day", help="The business day, as 2026-03-02.", callback=_day)]
Party = Annotated[str, typer.Option("--party", help="A payer's or an institution's code.")]
SchemeCode = Annotated[str, typer.Option("--scheme", help="One of the party's schemes; see `hub recon schemes`.")]


def add(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("run")(run)
    group.command("show")(show)
    group.command("breaks")(breaks)


def run(day: Day, party: Party = "", scheme: SchemeCode = "", by: By = "", as_json: AsJson = False) -> None:
    """Hold the parties' books of a day against ours; without --party, everybody's who has business on that day.

    A run takes the place of the one before it. Exit code 1 when breaks are left that somebody must see to.

    Example: hub recon run --day 2026-03-02 --by li
    """
    from hub.cli.office import operator

    if not day:
        fail("--day: name the day", USAGE)
    results, refused = _run_all(date.fromisoformat(day), party, scheme, operator(by))
    if as_json:
        show_json({"runs": [_result_as_dict(one) for one in results], "refused": refused})
    else:
        from hub.cli import recon_run_views

        recon_run_views.show_results(results, refused, console())
    if refused or any(one.open for one in results):
        raise typer.Exit(NEGATIVE)


def _run_all(day: date, party: str, scheme: str, by: str) -> tuple[list[RunResult], dict[str, str]]:
    """What the runs found, and those that were not made with the reason."""
    from hub.books import RuleBooks
    from hub.clock import SystemClock
    from hub.recon.runs import Runs
    from schemas.errors import Conflict, NotFound

    results, refused = [], {}
    with open_database(settings()) as engine:
        books = RuleBooks(engine, SystemClock())
        runs = Runs(engine, books, SystemClock())
        wanted = books.active().book.schemes_of(party) if party else runs.due(day)
        named = [(one.party, one.code) for one in wanted if scheme in ("", one.code)]
        if not named and party:
            fail(f"there is no {party}{'/' if scheme else ''}{scheme} in the rule book")
        for code, of in named:
            try:
                results.append(runs.run(code, of, day, by))
            except (Conflict, NotFound) as refusal:
                refused[f"{code}/{of}"] = str(refusal)
    return results, refused


def show(
    run_id: Annotated[int | None, typer.Argument(metavar="RUN", help="The number of a run.")] = None,
    day: Day = "",
    party: Party = "",
    scheme: SchemeCode = "daily",
    as_json: AsJson = False,
) -> None:
    """Show one run: what every side comes to, items by class, and the switches that it was made with.

    Example: hub recon show --party ANKANG --day 2026-03-02
    """
    with open_database(settings()) as engine, engine.connect() as connection:
        found = _find(connection, run_id, day, party, scheme)
        since = _stale(connection, found) if found.state == "done" else []
    if as_json:
        show_json({**{name: getattr(found, name) for name in found.__dataclass_fields__}, "stale": since})
        return
    from hub.cli import recon_run_views

    recon_run_views.show_run(found, console())
    for why in since:
        console().print(f"since then: {why}", markup=False, soft_wrap=True)


def _stale(connection: Connection, run: Run) -> list[str]:
    """Why it would come out otherwise today."""
    from hub.recon.remedies import book_in_force
    from hub.recon.staleness import stale
    from store import signing

    head = signing.read(connection, run.run_id)
    return [one.text for one in stale(connection, head, book_in_force(connection))] if head is not None else []


def _find(connection: Connection, run_id: int | None, day: str, party: str, scheme: str) -> Run:
    from store import matching_runs
    from store.matching_runs import Day as RunDay

    if run_id is not None:
        return matching_runs.by_id(connection, run_id) or fail(f"there is no run {run_id}")
    if not day or not party:
        fail("name a run by its number, or by --party and --day", USAGE)
    of = RunDay(party, scheme, date.fromisoformat(day))
    found = matching_runs.standing(connection, of) or matching_runs.newest(connection, of)
    return found or fail(f"{of.name} has not been run: hub recon run --party {party} --day {day}")


def breaks(
    run_id: Annotated[int | None, typer.Option("--run", help="Of this run, also where it is void.")] = None,
    day: Day = "",
    party: Party = "",
    break_class: Annotated[str, typer.Option("--class", help="Only of this class, such as amount.")] = "",
    state: Annotated[str, typer.Option(help="Only open, waiting, resolved or explained ones.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000_000, help="At most so many.")] = 1_000,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV, amounts in yuan.")] = False,
    as_json: AsJson = False,
) -> None:
    """List breaks: what each side has of a settlement that does not agree, and what is proposed.

    Example: hub recon breaks --day 2026-03-02 --state open
    """
    from schemas.statement import BreakClass

    if run_id is None and not day:
        fail("name the breaks by --run or --day", USAGE)
    _one_of("--class", break_class, [one.value for one in BreakClass])
    _one_of("--state", state, STATES)
    asked = {"run_id": run_id, "day": date.fromisoformat(day) if day else None, "party": party,
             "break_class": break_class, "state": state}  # fmt: skip
    with open_database(settings()) as engine, engine.connect() as connection:
        found = _read(connection, asked, limit)
        if as_csv:
            _write_csv(found)
        elif as_json:
            show_json({"breaks": [one._asdict() for one in found]})
        else:
            from hub.cli import recon_run_views

            recon_run_views.show_breaks(list(found), limit, console())


def _one_of(option: str, given: str, known: Sequence[str]) -> None:
    """A misspelt word would find nothing, which reads like good news."""
    if given and given not in known:
        fail(f"{option}: one of {', '.join(known)}", USAGE)


def _read(connection: Connection, asked: dict[str, Any], limit: int) -> Iterator[Break]:
    """Page by page: a run may have as many breaks as settlements."""
    from store import matching_runs

    after, left = 0, limit
    while left > 0:
        page = matching_runs.breaks(connection, **asked, after=after, limit=min(PAGE, left))
        yield from page
        if len(page) < min(PAGE, left):
            return
        after, left = page[-1].break_id, left - len(page)


def _write_csv(found: Iterator[Break]) -> None:
    from schemas.money import yuan_of
    from store.matching_runs import Break

    sides = ("hub", "payer_side", "hospital")
    figures = ("settlements", "refunds", "settled", "refunded", "account")
    plain = [name for name in Break._fields if name not in (*sides, "difference_fen")]
    writer = csv.writer(sys.stdout)
    writer.writerow([*plain, "difference", *(f"{side}_{figure}" for side in sides for figure in figures)])
    for one in found:
        told: list[object] = [_cell(getattr(one, name)) for name in plain]
        told.append(yuan_of(one.difference_fen))
        for side in sides:
            values = getattr(one, side)
            told += [""] * len(figures) if values is None else [*values[:2], *map(yuan_of, values[2:])]
        writer.writerow(told)


def _cell(value: object) -> object:
    """No spreadsheet shall take a value for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _result_as_dict(one: RunResult) -> dict[str, Any]:
    names = ("run_id", "party", "scheme", "day", "counts", "open", "resolved", "finding", "totals")
    return {name: getattr(one, name) for name in names}


def moment(value: datetime | None) -> str:
    """A moment for people, China Standard Time."""
    from routing.days import CHINA_STANDARD_TIME

    return f"{value.astimezone(CHINA_STANDARD_TIME):%Y-%m-%d %H:%M:%S}" if value is not None else ""
