"""`hub incident`: what needs people's eyes, and whether alerts reach them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import USAGE, AsJson, console, fail, open_database, settings, show_json

if TYPE_CHECKING:
    from rich.console import Console

LATE_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Incidents: what needs people's eyes, and who was told.")
    group.command("list")(list_)
    group.command("show")(show)
    group.command("test-webhook")(try_webhook)
    app.add_typer(group, name="incident")


def list_(
    kind: Annotated[str, typer.Option(help="Only this kind, such as case.overdue.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what is wrong now, the newest first, with the reason and what happens next.

    Example: hub incident list --kind case.overdue
    """
    from hub.incident_words import KINDS
    from hub.incidents import listing

    if kind and kind not in KINDS:
        fail(f"--kind: one of {', '.join(sorted(KINDS))}", USAGE)
    with open_database(settings()) as engine, engine.connect() as connection:
        told = listing(connection, kind=kind, recovered=all_, limit=limit)
    if as_json:
        show_json(told)
        return
    shown = console()
    looked_at: datetime | None = told["watched_at"]
    if looked_at is None or (datetime.now(UTC) - looked_at).total_seconds() > LATE_S:
        shown.print(f"the watch has not looked since {looked_at or 'ever'}: start a relay with `hub run`", markup=False)
    for one in told["incidents"]:
        _show_one(one, shown)
    if told["open"]:
        shown.print("open: " + ", ".join(f"{name} {count}" for name, count in told["open"].items()))
    elif not told["incidents"]:
        shown.print("there is nothing")


def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The incident's number.")], as_json: AsJson = False
) -> None:
    """Show one incident: what is wrong since when, what happens next, the command to run, and who was told when.

    Example: hub incident show 17
    """
    from hub.incidents import as_dict
    from store import incidents

    with open_database(settings()) as engine, engine.connect() as connection:
        found = incidents.read(connection, number) or fail(f"there is no incident {number}")
    told = as_dict(found)
    if as_json:
        show_json(told)
        return
    shown = console()
    for name, value in told.items():
        if name != "facts":
            shown.print(f"{name:<18} {_text(value)}", markup=False)
    for name, value in told["facts"].items():
        shown.print(f"  {name:<16} {_text(value)}", markup=False)


def try_webhook(as_json: AsJson = False) -> None:
    """Post a test alert to HUB_ALERT_WEBHOOK_URL now and say what became of it; stores nothing.

    Example: hub incident test-webhook
    """
    import orjson

    from hub.alerts import a_test_alert
    from hub.watch import webhook_of

    webhook = webhook_of(settings()) or fail("HUB_ALERT_WEBHOOK_URL is not set: alerts stand in the log only", USAGE)
    alert = a_test_alert()
    error = webhook.post(orjson.dumps(alert.body), alert.alert_id, datetime.now(UTC))
    if as_json:
        show_json({"id": alert.alert_id, "delivered": not error, "error": error})
    elif not error:
        console().print(f"test alert {alert.alert_id} arrived")
    if error:
        fail(f"HUB_ALERT_WEBHOOK_URL: the test alert did not arrive: {error}")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)


def _show_one(one: dict[str, Any], shown: Console) -> None:
    """A few lines; the command on a line of its own that is never broken, so that it can be copied."""
    from rich.markup import escape
    from rich.padding import Padding

    from routing.days import CHINA_STANDARD_TIME

    ended = one["recovered_at"]
    opened = one["opened_at"].astimezone(CHINA_STANDARD_TIME)
    shown.print(f"{one['id']}  [bold]{one['kind']}[/]  since {opened:%m-%d %H:%M:%S}")
    shown.print(Padding(escape(one["summary"]), (0, 0, 0, 4)))
    if ended:
        shown.print(f"    over since {ended.astimezone(CHINA_STANDARD_TIME):%m-%d %H:%M:%S}")
        return
    shown.print(Padding(escape(one["next_step"]), (0, 0, 0, 4)))
    shown.print(f"    {one['command']}", markup=False, soft_wrap=True)
