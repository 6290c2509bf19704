"""`hub payer`: how payers fare, and the switch that stops calls to one or to all."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hub.cli.common import AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By, Reason, ask_for

ALL = "all"
Who = Annotated[str, typer.Argument(metavar="CODE|all", help="The payer's code, or all.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Payers: how they fare; stop and resume calls to them.")
    for command in (list_, show, stop, resume):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="payer")


def list_(as_json: AsJson = False) -> None:
    """List the payers of the rule book in force: breaker, stop switch, what is in doubt.

    Example: hub payer list
    """
    _show(ALL, each_process=False, as_json=as_json)


def show(payer: Who, as_json: AsJson = False) -> None:
    """Show one payer, or all, as each process sees it, and what to run next.

    Example: hub payer show ANKANG
    """
    _show(payer, each_process=True, as_json=as_json)


def stop(payer: Who, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Stop calls to a payer, or to all, within a second: new requests are deferred at once, doubts and undos rest.

    Example: hub payer stop ANKANG --reason "they asked us to, maintenance until 02:00" --by li
    """
    _turn("payer.stop", payer, reason, by, as_json=as_json)


def resume(payer: Who, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Let calls to a payer go on; what rested goes out under the retry budget.

    Example: hub payer resume ANKANG --reason "maintenance is over" --by li
    """
    _turn("payer.resume", payer, reason, by, as_json=as_json)


def _turn(kind: str, payer: str, reason: str, by: str, *, as_json: bool) -> None:
    from hub.people.payers import subject_of
    from store.payers import EVERYBODY

    given = settings()
    then = f"to let them go on: hub payer resume {payer} --reason WHY --by YOU"
    if kind == "payer.resume":
        then = "what rested goes out now: hub payer list"
    with open_database(given) as engine:
        subject = subject_of(EVERYBODY if payer == ALL else payer)
        ask_for(engine, given, kind, subject, {}, reason, by, as_json=as_json, then=then)


def _show(payer: str, *, each_process: bool, as_json: bool) -> None:
    from hub.books import RuleBooks
    from hub.cli import payer_views
    from hub.clock import SystemClock
    from hub.people import standing

    only = "" if payer == ALL else payer
    with open_database(settings()) as engine:
        known = RuleBooks(engine, SystemClock()).active().book.party_by_code
        if only and only not in known:
            fail(f"there is no payer {only}; the rule book has {', '.join(sorted(known))}")
        with engine.connect() as connection:
            views: list[Any] = standing.read_payers(connection, [only] if only else sorted(known))
    if as_json:
        show_json({"payers": [standing.payer_as_dict(view) for view in views]})
    else:
        payer_views.show(views, console(), each_process=each_process)
