"""`hub recon`: hold every party's books against ours, day by day, until each day is sealed."""

from __future__ import annotations

import typer

from hub.cli import recon_exchange, recon_people, recon_pull, recon_report, recon_runs, recon_statements
from hub.cli.common import AsJson, console, show_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Reconciliation: statements, runs, breaks, remedies, sign-off.")
    group.command("schemes")(schemes)
    recon_statements.add(group)
    recon_runs.add(group)
    recon_report.add(group)
    recon_exchange.add(group)
    recon_pull.add(group)
    recon_people.add(group)
    app.add_typer(group, name="recon")


def schemes(as_json: AsJson = False) -> None:
    """List how each party's books are compared: the switches in force.

    Example: hub recon schemes
    """
    from rich.table import Table

    from hub.books import RuleBooks
    from hub.cli.common import open_database, settings
    from hub.clock import SystemClock

    with open_database(settings()) as engine:
        book = RuleBooks(engine, SystemClock()).active().book
    codes = [*book.party_by_code, *book.institution_by_code]
    found = [scheme for code in codes for scheme in book.schemes_of(code)]
    if as_json:
        show_json({"schemes": [scheme.model_dump(mode="json") for scheme in found]})
        return
    columns = ("party/scheme", "due", "day", "refunds", "account", "body", "cut-off", "tolerance")
    table = Table(*columns, box=None, pad_edge=False)
    for one in found:
        due = f"+{one.due_days} d {one.due_at:%H:%M}"
        table.add_row(
            one.name,
            due,
            one.day,
            one.refunds,
            one.account,
            one.body,
            f"{one.cut_off_days} d",
            f"{one.tolerance_fen} fen",
        )
    console().print(table)
