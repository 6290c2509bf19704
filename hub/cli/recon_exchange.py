"""`hub recon export`: our books of a day for a party."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import USAGE, AsJson, console, database_url, fail, settings, show_json

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hub.books import RuleBooks
    from hub.ports import Clock
    from hub.recon.writers import Form

DAY = ["%Y-%m-%d"]
Day = Annotated[datetime, typer.Option(formats=DAY, help="The day in China Standard Time, such as 2026-03-02.")]
Party = Annotated[str, typer.Option(help="A payer or an institution, by its code.")]
SchemeCode = Annotated[str, typer.Option(help="By which scheme; see `hub recon schemes`.")]


def add(group: typer.Typer) -> None:
    """Add the command."""
    group.command()(export)


def export(
    party: Party,
    day: Day,
    out: Annotated[
        Path, typer.Option(dir_okay=False, help="The file; what it declares goes into FILE.json beside it.")
    ],
    form: Annotated[str, typer.Option(help="csv, excel, national or json.")] = "csv",
    scheme: SchemeCode = "daily",
    by_payer: Annotated[bool, typer.Option("--by-payer", help="An institution's, one line for each payer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write what the hub has in its books of a party's day, as a statement that the party can lay beside its own.

    Example: hub recon export --party ANKANG --day 2026-03-02 --out ankang.csv
    """
    from hub.recon.outgoing import export as write_books
    from schemas.counting import how_many
    from schemas.errors import HubError
    from schemas.money import yuan_of

    wanted = _form(form)
    with database() as (engine, _, books, _):
        try:
            header = write_books(
                engine, books.active().book, party, day.date(), wanted, out, scheme=scheme, by_payer=by_payer
            )
        except HubError as error:
            fail(f"{error.code}: {error.message}")
    beside = out.with_name(out.name + ".json")
    beside.write_text(header.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if as_json:
        show_json(header.model_dump(mode="json") | {"file": str(out), "declared": str(beside)})
        return
    console().print(f"{out}: {how_many(header.count, 'line')}, {yuan_of(header.total)} yuan; declared in {beside.name}")


def _form(name: str) -> Form:
    from hub.recon.writers import Form

    try:
        return Form(name)
    except ValueError:
        fail(f"--form: one of {', '.join(Form)}", USAGE)


@contextmanager
def database(pool_size: int = 2) -> Iterator[tuple[Engine, str, RuleBooks, Clock]]:
    """An engine for whole days, where it is, the rule books and the time."""
    from hub.books import RuleBooks
    from hub.clock import DatabaseClock
    from store.database import open_engine

    with database_url(settings()) as url:
        engine = open_engine(url, pool_size=pool_size, application="hub-recon", by_key=False)
        try:
            clock = DatabaseClock(engine)
            yield engine, url, RuleBooks(engine, clock), clock
        finally:
            engine.dispose()
