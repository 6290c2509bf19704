"""`hub staging`: the tables that the hub polls for messages, seen from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, AsJson, console, fail, open_database, settings, show_json

if TYPE_CHECKING:
    from hub.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Staging tables: whether they can be used, and what lies in them.")
    group.command("show")(show)
    app.add_typer(group, name="staging")


def show(
    party: Annotated[str, typer.Argument(metavar="[PARTY]", help="One party; all without.")] = "",
    as_json: AsJson = False,
) -> None:
    """Open the staging tables of the rule book in force, as the hub's engines do, and count their rows by state.

    Exit code 1 when one cannot be used. Changes nothing.

    Example: hub staging show H44030000001
    """
    from hub.party_secrets import read_secrets

    given = settings()
    polled = _polled(given)
    if party and party not in polled:
        fail(f"{party} has no staging table in the rule book in force")
    secrets = read_secrets(given.party_secrets)
    chosen = {code: name for code, name in polled.items() if party in ("", code)}
    found = [_looked_at(code, secrets.get(code, {}).get(name, ""), name) for code, name in chosen.items()]
    if as_json:
        show_json({"tables": found})
    elif not found:
        console().print("The rule book in force has no staging tables.")
    else:
        for one in found:
            console().print(_line(one), markup=False, soft_wrap=True)
    if any(one["error"] for one in found):
        raise typer.Exit(NEGATIVE)


def _polled(given: Settings) -> dict[str, str]:
    """Party -> the name of its address among its secrets."""
    from hub.books import RuleBooks
    from hub.clock import SystemClock

    with open_database(given) as engine:
        book = RuleBooks(engine, SystemClock()).active().book
    return {code: polling.url_name for code, polling in book.staging_by_code.items()}


def _looked_at(party: str, url: str, name: str) -> dict[str, Any]:
    from store.staging_table import StagingAway, StagingTable

    found: dict[str, Any] = {"party": party, "rows": {}, "waiting_since": None, "error": ""}
    if not url:
        return found | {"error": f"no {name} for it in the file of HUB_PARTY_SECRETS"}
    try:
        table = StagingTable(url)
        try:
            waiting = table.waiting()
            return found | {"rows": dict(table.counts()), "waiting_since": waiting.since and waiting.since.isoformat()}
        finally:
            table.close()
    except StagingAway as away:
        return found | {"error": away.reason}


def _line(one: dict[str, Any]) -> str:
    if one["error"]:
        return f"{one['party']}: cannot be used: {one['error']}"
    rows = ", ".join(f"{state} {count}" for state, count in one["rows"].items()) or "empty"
    since = f"; the oldest waits since {one['waiting_since']}" if one["waiting_since"] else ""
    return f"{one['party']}: {rows}{since}"
