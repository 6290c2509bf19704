"""`hub import`: master data from files: checked as a whole, in force as a whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, database_url, fail, settings, show_json

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hub.imports.job import Order, Outcome, Progress
    from routing.rulebook import RuleBook

KIND_NAMES = ("catalogue", "mapping", "disease", "institution", "staff", "population", "enrolment", "blacklist")
_KINDS_HELP = f"{', '.join(KIND_NAMES[:-1])} or {KIND_NAMES[-1]}."
Kind = Annotated[str, typer.Option(help=_KINDS_HELP)]
Sender = Annotated[
    str, typer.Option(help="Whose rows they are: a party or institution of the rule book; the hub's own without.")
]


class FileFirst(TyperGroup):
    """`hub import FILE …` is `hub import file FILE …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        asks_for_help = bool(args) and args[0] in ctx.help_option_names
        if args and args[0] not in self.commands and not asks_for_help:
            args = ["file", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        cls=FileFirst,
        no_args_is_help=True,
        help="Master data from files. `hub import FILE --kind KIND` takes all of the file or nothing of it.",
    )
    for command in (file, status, list_, watch):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="import")


def file(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help=".csv, .xlsx, .txt, .zip")
    ],
    kind: Kind,
    sender: Sender = "",
    by: Annotated[
        str, typer.Option("--by", envvar="HUB_OPERATOR", help="Who you are: small letters, such as li.")
    ] = "",
    rows: Annotated[int | None, typer.Option(min=1, help="How many rows the sender says there are.")] = None,
    columns: Annotated[str, typer.Option(help="Heads of the columns, by comma, for a file that has none.")] = "",
    sheet: Annotated[str, typer.Option(help="Which sheet of a workbook.")] = "",
    errors: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the wrong rows here: .csv or .xlsx.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import a file: all of it, or nothing and every wrong row is named. The same file twice is taken once.

    Example: hub import catalogue.xlsx --kind catalogue --sender BASIC-440300 --errors wrong.csv
    """
    from hub.cli import import_views
    from hub.imports.layout import InvalidFile
    from hub.imports.report import write_report

    if errors is not None and errors.suffix.lower() not in (".csv", ".xlsx"):
        fail("--errors: write to a file .csv or .xlsx", USAGE)
    with _engine() as (engine, secret):
        order = _order(engine, path, kind, sender, by, rows, columns, sheet, dry_run=dry_run)
        with import_views.shown(as_json=as_json) as progress:
            try:
                outcome = _run(engine, secret, order, progress)
            except InvalidFile as error:
                fail("the file cannot be imported:\n  " + "\n  ".join(error.complaints), USAGE)
        written = 0
        if outcome.problem_count and errors is not None:
            written = write_report(
                errors, path, order.row_kind, outcome.problems, columns=order.columns, sheet=order.sheet
            )
    if as_json:
        show_json(import_views.outcome_as_dict(outcome, dry_run=dry_run))
    else:
        import_views.show_outcome(outcome, console(), dry_run=dry_run, written=written, errors=errors)
    if outcome.problem_count:
        raise typer.Exit(NEGATIVE)


def _run(engine: Engine, secret: bytes, order: Order, progress: Progress) -> Outcome:
    from hub.imports.job import Importer

    return Importer(engine, secret, progress).run(order)


def status(
    import_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", min=1, help="The import's number; the newest without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far an import is or how it ended, and what stood in its way.

    Example: hub import status 12
    """
    from hub.cli import import_views
    from store import import_runs

    with _engine() as (engine, _), engine.begin() as connection:
        import_runs.bury(connection)
        newest = import_runs.listed(connection, limit=1) if import_id is None else []
        found = newest[0] if newest else import_runs.get(connection, import_id or 0)
        problems = import_runs.problems_of(connection, found.id) if found is not None else []
    if found is None:
        fail("there is no such import")
    if as_json:
        show_json(import_views.run_as_dict(found) | {"problems": problems})
    else:
        import_views.show_run(found, problems, console())


def list_(
    kind: Annotated[str, typer.Option(help=f"Only this kind: {_KINDS_HELP}")] = "",
    state: Annotated[str, typer.Option(help="Only: running, done, refused, failed or died.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List imports, by file and by message, the newest first.

    Example: hub import list --kind catalogue
    """
    from hub.cli import import_views
    from store import import_runs

    with _engine() as (engine, _), engine.begin() as connection:
        import_runs.bury(connection)
        found = import_runs.listed(connection, kind=kind, state=state, limit=limit)
    if as_json:
        show_json({"imports": [import_views.run_as_dict(one) for one in found]})
    else:
        console().print(import_views.table(found) if found else "No imports.")


def watch(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Has a folder for each party.")],
    every: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 5.0,
    rest: Annotated[float, typer.Option(min=0, max=3600, help="Seconds that a file must have rested.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import what parties drop into FOLDER/PARTY/, such as catalogue-2026.csv; then it is in done/ or failed/.

    Example: hub import watch /srv/drop
    """
    import time

    from hub.cli import import_views
    from hub.imports.folder import DropFolder
    from hub.imports.job import Importer

    with _engine() as (engine, secret):
        drop = DropFolder(folder, Importer(engine, secret), lambda: _book(engine), still_for_s=rest)
        while True:
            for handled in drop.look():
                if as_json:
                    show_json(import_views.handled_as_dict(handled))
                else:
                    console().print(import_views.handled_line(handled), markup=False, soft_wrap=True)
            if once:
                return
            time.sleep(every)


@contextlib.contextmanager
def _engine() -> Iterator[tuple[Engine, bytes]]:
    """The database of these settings, free to read whole tables, and the key of persons."""
    from hub.bootstrap import person_secret
    from store.database import open_engine

    given = settings()
    with database_url(given) as url:
        engine = open_engine(url, pool_size=3, application="hub-import", by_key=False)
        try:
            yield engine, person_secret(given)
        finally:
            engine.dispose()


def _order(
    engine: Engine,
    path: Path,
    kind: str,
    sender: str,
    by: str,
    rows: int | None,
    columns: str,
    sheet: str,
    *,
    dry_run: bool,
) -> Order:
    from hub.imports.job import Order
    from hub.master_rows import ROW_KINDS, bringer_of
    from hub.master_rows import operator as hub_itself
    from hub.people.operators import is_operator

    if kind not in ROW_KINDS:
        fail(f"--kind: one of {', '.join(KIND_NAMES)}", USAGE)
    if kind == "mapping" and not sender:
        fail("--sender: name the hospital or the payer whose codes are mapped", USAGE)
    if by and not is_operator(by):
        fail("--by: 2 to 32 small letters, digits and _ -", USAGE)
    row_kind = ROW_KINDS[kind]
    bringer = bringer_of(_book(engine), sender, row_kind.transaction) if sender else hub_itself()
    named = tuple(one.strip() for one in columns.split(",")) if columns else ()
    return Order(path, row_kind, bringer, by, rows, named, sheet, dry_run)


def _book(engine: Engine) -> RuleBook:
    from hub.books import RuleBooks
    from hub.clock import SystemClock

    return RuleBooks(engine, SystemClock()).active().book
