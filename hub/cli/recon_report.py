"""`hub recon report`: a day as people sign it, on the screen, as a page and as a workbook."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import NEGATIVE, AsJson, console, database_url, settings, show_json
from schemas.counting import how_many

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hub.recon.report import Report


def add(group: typer.Typer) -> None:
    """Add the command."""
    group.command("report")(report)


def report(
    day: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The business day, China Standard Time.")],
    html: Annotated[Path | None, typer.Option(help="Write one page that can be printed.")] = None,
    excel: Annotated[Path | None, typer.Option(help="Write a workbook (.xlsx).")] = None,
    breaks: Annotated[int, typer.Option(min=0, max=100_000, help="List at most so many breaks.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Report a day: totals by party, breaks by class and age, statements, late entries, balances and the seal.

    Exit code 1 when something waits for somebody or was not compared.

    Example: hub recon report 2026-03-02 --html day.html --excel day.xlsx
    """
    from hub.recon.report import as_dict

    found = _read(day, breaks)
    if html is not None:
        from hub.recon.report_html import as_html

        html.write_text(as_html(found), encoding="utf-8")
    if excel is not None:
        from hub.recon.report_excel import write_excel

        write_excel(found, excel)
    if as_json:
        show_json(as_dict(found))
    else:
        _show(console(), found, [path for path in (html, excel) if path is not None])
    if not found.clean:
        raise typer.Exit(NEGATIVE)


def _read(day: datetime, breaks_max: int) -> Report:
    from hub.books import RuleBooks
    from hub.clock import SystemClock
    from hub.recon.report import read_report
    from store.database import open_engine

    with database_url(settings()) as url:
        engine = open_engine(url, pool_size=1, application="hub-report", by_key=False)
        try:
            clock = SystemClock()
            book = RuleBooks(engine, clock).active().book
            with engine.connect() as connection:
                return read_report(connection, book, day.date(), clock.now(), breaks_max=breaks_max)
        finally:
            engine.dispose()


def _show(screen: Console, found: Report, written: list[Path]) -> None:
    from hub.recon.report_words import moment

    sealed = f"sealed {moment(found.seal.sealed_at)}" if found.seal else "not sealed"
    screen.print(f"{found.day}: {'nothing is open' if found.clean else 'not closed'}, {sealed}")
    if found.parties:
        screen.print(_parties(found))
    if found.classes:
        screen.print(_classes(found))
    for one in found.parties:
        if one.finding:
            screen.print(f"{one.party}: {one.finding}", markup=False)
        if one.note:
            screen.print(f"{one.party}: {one.note}", markup=False)
    for party in found.not_run:
        screen.print(f"{party} was not compared: hub recon run --day {found.day} --party {party}", markup=False)
    if found.breaks_total:
        waiting = how_many(found.breaks_total, "break waits", "breaks wait")
        screen.print(f"{waiting}: {found.list_command}", markup=False)
    for path in written:
        screen.print(f"written: {path}", markup=False, soft_wrap=True)


def _parties(found: Report) -> Table:
    from rich import box
    from rich.table import Table

    from hub.recon.report_words import yuan

    table = Table("party", "state", "side", box=box.SIMPLE)
    for name in ("settled", "refunds", "net, yuan", "off by", "open"):
        table.add_column(name, justify="right")
    for one in found.parties:
        own = one.sides.get("hub")
        for number, (side, figures) in enumerate(one.sides.items()):
            off = figures.net_fen - own.net_fen if own and side != "hub" else None
            lead = (one.party, one.run.state if one.run else "") if number == 0 else ("", "")
            waits = str(one.states.get("open", 0) + one.states.get("waiting", 0)) if number == 0 else ""
            counts = (f"{figures.settlements:,}", f"{figures.refunds:,}", yuan(figures.net_fen))
            table.add_row(*lead, side, *counts, yuan(off) if off is not None else "", waits)
    return table


def _classes(found: Report) -> Table:
    from rich import box
    from rich.table import Table

    from hub.recon.report_words import yuan
    from store.recon_reports import STATES

    table = Table("class", box=box.SIMPLE)
    for name in (*STATES, "open, yuan"):
        table.add_column(name, justify="right")
    for row in found.classes:
        table.add_row(row.break_class.value, *(str(row.states.get(one, 0)) for one in STATES), yuan(row.open_fen))
    return table
