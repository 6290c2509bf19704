"""What people do about breaks: `hub recon propose|apply|export-breaks|import-breaks|sign-off|seal|seals`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By, Reason, ask_for, office_of, operator, told
from schemas.counting import how_many

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hub.recon.remedies_apply import Decision, Outcome
    from hub.settings import Settings
    from schemas.statement import Remedy
    from store.actions import Action
    from store.signing import RunHead

_SHOWN = 200
DAY = ["%Y-%m-%d"]
RunId = Annotated[int, typer.Argument(metavar="RUN", min=1, help="The run's number.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would come of it, break by break.")]
Except = Annotated[
    list[str] | None,
    typer.Option("--except", help="NAME=REASON: what is left out all the same, and why; may be given several times."),
]


def add(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("propose")(propose)
    group.command("apply")(apply)
    group.command("export-breaks")(export_breaks)
    group.command("import-breaks")(import_breaks)
    group.command("sign-off")(sign_off)
    group.command("seal")(seal)
    group.command("seals")(seals)


def propose(run: RunId, as_json: AsJson = False) -> None:
    """Propose a remedy for each open break of a run, with the reason. A run does so itself; this does it anew.

    Example: hub recon propose 17
    """
    from collections import Counter

    from hub.recon import remedies
    from store import breaks, seals

    with open_database(settings()) as engine, engine.begin() as connection:
        of = _the_run(connection, run)
        if of.state != "done":
            fail(f"{of.name} is {of.state}: its breaks stay as they are")
        seals.free(connection)
        breaks.hold_runs(connection, run)
        breaks.follow(connection, datetime.now().astimezone(), run)
        count = remedies.propose(connection, run)
        proposed = Counter(one.proposal for one in breaks.of_run(connection, run, states=("open",)))
    if as_json:
        show_json({"run": run, "breaks": count, "proposals": dict(proposed)})
        return
    said = ", ".join(f"{number} {name}" for name, number in sorted(proposed.items())) or "no break is open"
    console().print(f"run {run}: {said}", soft_wrap=True)


def apply(
    run: Annotated[int, typer.Option("--run", min=1, help="The run's number.")],
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[BREAK]...", help="Only these; without: all.")] = None,
    class_: Annotated[str, typer.Option("--class", help="Only breaks of this class, such as missing_at_hub.")] = "",
    proposed: Annotated[str, typer.Option(help="Only breaks with this proposal.")] = "",
    remedy: Annotated[str, typer.Option(help="Do this instead of what is proposed.")] = "",
    dry_run: DryRun = False,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Have remedies carried out: what is proposed, or what --remedy says. Where money moves, a second person approves.

    Example: hub recon apply --run 17 --class missing_at_hub --reason "their statement of 3 March" --by li --dry-run
    """
    from hub.recon.remedies_apply import as_proposed
    from store import breaks

    chosen = _remedy(remedy)
    given = settings()
    with open_database(given) as engine:
        with engine.connect() as connection:
            _the_run(connection, run)
            if numbers:
                known = breaks.by_id(connection, numbers)
                found = [known[one] for one in numbers if one in known] if len(known) == len(set(numbers)) else []
                if not found:
                    fail(f"not every one of these is a break: {', '.join(map(str, numbers))}")
            else:
                every = breaks.of_run(connection, run, states=("open",), break_class=class_, proposal=proposed)
                found = list(every)
        decided, left = as_proposed(found, chosen)
        if not decided:
            needs = f"{how_many(left, 'break needs', 'breaks need')} people to look and decide (--remedy)"
            fail(needs if left else "there are no such breaks")
        if dry_run:
            _show_dry_run(engine, given, run, decided, reason or "a dry run", by, left, as_json=as_json)
            return
        _ask(engine, given, run, decided, reason, by, left, as_json=as_json)


def export_breaks(
    run: RunId,
    path: Annotated[Path, typer.Argument(metavar="FILE.xlsx", dir_okay=False, help="Where to write.")],
    class_: Annotated[str, typer.Option("--class", help="Only breaks of this class.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write a run's open breaks into a spreadsheet; people fill in the columns decision and note.

    Example: hub recon export-breaks 17 breaks.xlsx
    """
    from hub.imports.layout import InvalidFile
    from hub.recon import sheet
    from store import breaks

    if path.suffix.lower() != ".xlsx":
        fail("name the file .xlsx", USAGE)
    with open_database(settings()) as engine, engine.connect() as connection:
        _the_run(connection, run)
        try:
            count = sheet.write(path, breaks.of_run(connection, run, states=("open", "waiting"), break_class=class_))
        except InvalidFile as error:
            fail(str(error))
    if as_json:
        show_json({"run": run, "breaks": count, "file": str(path)})
    else:
        said = f"{how_many(count, 'break')} in {path}; then: hub recon import-breaks {path}"
        console().print(said, markup=False, soft_wrap=True)


def import_breaks(
    path: Annotated[Path, typer.Argument(metavar="FILE.xlsx", exists=True, dir_okay=False, help="As it was exported.")],
    dry_run: DryRun = False,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Take back a spreadsheet of breaks with people's decisions: all of it, or nothing and each wrong cell is named.

    Example: hub recon import-breaks breaks.xlsx --reason "looked at with ANKANG on 4 March" --by li
    """
    from hub.imports.layout import InvalidFile
    from hub.recon import sheet

    given = settings()
    with open_database(given) as engine:
        with engine.connect() as connection:
            try:
                decided = sheet.read(connection, path)
            except InvalidFile as error:
                for complaint in error.complaints:
                    typer.echo(complaint, err=True)
                fail(f"nothing of {path.name} was taken")
        if dry_run:
            _show_dry_run(engine, given, decided.run_id, decided.decisions, reason or "a dry run", by, 0,
                          as_json=as_json)  # fmt: skip
            return
        _ask(engine, given, decided.run_id, decided.decisions, reason, by, 0, as_json=as_json)


def sign_off(
    party: Annotated[str, typer.Option(help="Whose books were compared.")],
    day: Annotated[datetime, typer.Option(formats=DAY, help="The day, such as 2026-03-02.")],
    reason: Reason,
    scheme: Annotated[str, typer.Option(help="By which scheme.")] = "daily",
    except_: Except = None,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Sign a run off: it is closed and its rows stand under a digest. A second person must approve.

    Refused while breaks are open, unless each is named: --except 12="their letter of 5 March is awaited". The names
    `statement` (none has come) and `doubts` (legs still in doubt) are exceptions too.

    Example: hub recon sign-off --party CICI --day 2026-03-02 --reason "all agree" --by li
    """
    from store import seals as sealing
    from store import signing

    given = settings()
    with open_database(given) as engine:
        with engine.connect() as connection:
            found = signing.standing(connection, party, scheme, day.date())
        if found is None:
            remedy = f"hub recon run --party {party} --day {day.date()}"
            fail(f"{party}/{scheme} was not compared for {day.date()}: {remedy}")
        detail = {"exceptions": _named(except_)}
        subject = sealing.run_subject(found.run_id)
        ask_for(engine, given, "recon.sign_off", subject, detail, reason, by, as_json=as_json)


def seal(
    day: Annotated[datetime, typer.Argument(formats=DAY, help="The day, such as 2026-03-02.")],
    reason: Reason,
    except_: Except = None,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Seal a day: nothing is booked on it any more. A second person must approve; days are sealed in order.

    Shows with whose books it was compared and with whose not. Refused until the run of everybody who is due is signed
    off, unless it is named: --except ANKANG/daily="...". The name `nobody` leaves out that no books were compared.

    Example: hub recon seal 2026-03-02 --reason "all signed off" --by li
    """
    from store import seals as sealing

    given, named = settings(), _named(except_)
    with open_database(given) as engine:
        detail = {"exceptions": named}
        if not as_json:
            _show_books(engine, day.date(), named)
        subject = sealing.day_subject(day.date())
        ask_for(engine, given, "recon.seal", subject, detail, reason, by, as_json=as_json)


def seals(
    last: Annotated[int, typer.Option(min=1, max=10_000, help="So many, the newest.")] = 31,
    day: Annotated[
        datetime | None, typer.Option(formats=DAY, help="This day, and whose books it was compared with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the sealed days with their chain. Keep the newest chain where nobody here can change it, and have it
    compared: hub verify --only seals --expect DAY=CHAIN.

    Example: hub recon seals --last 7
    """
    from dataclasses import asdict

    from rich.table import Table

    from schemas.money import yuan_of
    from store import seals as sealing

    with open_database(settings()) as engine, engine.connect() as connection:
        every = sealing.listed(connection, None if day is not None else last)
    found = [one for one in every if day is None or one.business_day == day.date()]
    if as_json:
        show_json({"seals": [asdict(one) for one in found]})
        return
    table = Table("day", "entries", "yuan", "sealed by", "approved by", "chain", box=None, pad_edge=False)
    for one in found:
        table.add_row(str(one.business_day), str(one.entries), yuan_of(one.amount_fen), one.sealed_by,
                      one.approved_by, one.chain)  # fmt: skip
    console().print(table if found else "No day is sealed." if day is None else "The day is not sealed.")
    if day is not None and found:
        _print_books(found[0].books)


def _show_books(engine: Engine, day: date, named: Mapping[str, str]) -> None:
    from hub.clock import SystemClock
    from hub.recon.remedies import book_in_force
    from hub.recon.seal_books import day_books

    with engine.connect() as connection:
        _print_books(day_books(connection, book_in_force(connection), day, named, SystemClock().now()).as_dict())


def _print_books(books: Mapping[str, Mapping[str, Any]]) -> None:
    said = (
        ("compared", "compared with", "run {}"),
        ("left_out", "left out", "{}"),
        ("not_compared", "not compared with", "{}"),
    )
    for part, title, form in said:
        for name, value in list(books.get(part, {}).items())[:_SHOWN]:
            console().print(f"{title} {name}: {form.format(value)}", markup=False, soft_wrap=True)
        if (more := len(books.get(part, {})) - _SHOWN) > 0:
            console().print(f"{title} {more} more: --json")


def _the_run(connection: Any, run_id: int) -> RunHead:
    from store import signing

    found = signing.read(connection, run_id)
    if found is None:
        fail(f"there is no run {run_id}")
    return found


def _remedy(name: str) -> Remedy | None:
    from schemas.statement import Remedy

    if not name:
        return None
    words = [one.value for one in Remedy if one is not Remedy.NONE]
    if name not in words:
        fail(f"--remedy: one of {', '.join(words)}", USAGE)
    return Remedy(name)


def _named(given: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for one in given or ():
        name, equals, why = one.partition("=")
        if not equals or not name.strip() or not why.strip():
            fail("--except: write NAME=REASON", USAGE)
        found[name.strip()] = why.strip()
    return found


def _ask(
    engine: Engine, given: Settings, run_id: int, decided: Sequence[Decision], reason: str, by: str, left: int, *,
    as_json: bool,
) -> None:  # fmt: skip
    from hub.people.views import action_as_dict
    from hub.recon.remedies_apply import detail_of
    from store import seals as sealing

    by = operator(by)
    made: list[Action] = []
    with office_of(engine, given) as office:
        # What one person may do is not kept waiting by what needs two.
        for harmless in (True, False):
            part = [one for one in decided if _is_harmless(one) is harmless]
            for some in _portions(part):
                subject, detail = sealing.run_subject(run_id), detail_of(run_id, some)
                made.append(office.actions.request("recon.apply", subject, detail, reason, by))
    if as_json:
        show_json({"actions": [action_as_dict(one) for one in made], "left_to_people": left})
    else:
        for action in made:
            console().print(told(action), markup=False, soft_wrap=True)
        if left:
            said = how_many(left, "more needs", "more need")
            console().print(f"{said} people to look and decide: hub recon breaks --run {run_id} --state open")
    if any(action.state == "failed" for action in made):
        raise typer.Exit(NEGATIVE)


def _portions(decided: Sequence[Decision]) -> list[Sequence[Decision]]:
    """As many as one action may hold."""
    from hub.recon.remedies_apply import BREAKS_MAX

    return [decided[first : first + BREAKS_MAX] for first in range(0, len(decided), BREAKS_MAX)]


def _is_harmless(one: Decision) -> bool:
    from hub.recon.remedies_apply import HARMLESS

    return one.remedy in HARMLESS


def _show_dry_run(
    engine: Engine, given: Settings, run_id: int, decided: Sequence[Decision], reason: str, by: str, left: int, *,
    as_json: bool,
) -> None:  # fmt: skip
    from rich.markup import escape
    from rich.table import Table

    from hub.books import RuleBooks
    from hub.bootstrap import broker_topology
    from hub.clock import SystemClock
    from hub.people.office import NoTransport
    from hub.people.recon import dry_run
    from hub.work import WorkUnits

    clock = SystemClock()
    layout = broker_topology(RuleBooks(engine, clock).active().book)
    work_units = WorkUnits(engine, NoTransport(), layout.resolve if given.embedded_broker else None)
    made: list[Outcome] = []
    for some in _portions(decided):
        made += dry_run(work_units, clock, run_id, some, reason, operator(by))
    if as_json:
        show_json({"run": run_id, "would": [
            {"break": one.break_id, "remedy": one.remedy, "done": one.done, "text": one.text} for one in made
        ], "left_to_people": left})  # fmt: skip
        _end_of(made)
        return
    table = Table("break", "remedy", "", "what would come of it", box=None, pad_edge=False)
    for one in made[:_SHOWN]:
        table.add_row(str(one.break_id), one.remedy, "ok" if one.done else "NO", escape(one.text))
    console().print(table)
    fine = sum(one.done for one in made)
    more = f"; {len(made) - _SHOWN} more are not shown (--json)" if len(made) > _SHOWN else ""
    needs = f"{how_many(left, 'needs', 'need')} people{more}"
    console().print(f"{fine} of {len(made)} would be done, {len(made) - fine} not, {needs}")
    _end_of(made)


def _end_of(made: Sequence[Outcome]) -> None:
    """The exit code of a dry run: 1 where something would not be done."""
    if not all(one.done for one in made):
        raise typer.Exit(NEGATIVE)
