"""`hub party`: what a party needs to speak to the hub, and who may."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import USAGE, AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By, Reason, operator

if TYPE_CHECKING:
    from hub.broker.admin import BrokerAdmin
    from hub.people.parties import Parties, PartyView
    from hub.settings import Settings

Code = Annotated[str, typer.Argument(metavar="CODE", help="The party's code, such as H44030000001 or ANKANG.")]
DryRun = Annotated[bool, typer.Option("--show", help="Say what would be done, and do nothing.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="Take the password from the first line of this file instead of making one.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Parties: institutions and insurers that speak to the hub.")
    for command in (list_, show, add, rotate, disable, enable, token):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="party")


def list_(as_json: AsJson = False) -> None:
    """List everybody in the rule book: who may come in, by which ways, and what the broker has otherwise.

    Example: hub party list
    """
    from hub.cli import party_views

    with _parties(settings(), changes=False) as parties:
        views = parties.listed()
    if as_json:
        show_json({"parties": [party_views.as_dict(view) for view in views]})
    else:
        party_views.list_all(views, console())


def show(code: Code, as_json: AsJson = False) -> None:
    """Show what a party needs to know to speak to the hub, and how its door stands. No password is shown.

    Example: hub party show H44030000005
    """
    from hub.cli import party_views

    given = settings()
    with _parties(given, changes=False) as parties:
        view = parties.show(code)
    _tell(view, given, "", as_json=as_json, first=party_views.standing(view))


def add(
    code: Code,
    reason: Reason = "",
    by: By = "",
    password_file: PasswordFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Let a party in; where it uses the broker, with a user that may write its exchange and read its queue.

    The password is shown once. Running it again sets rights and limits anew and leaves the password.

    Example: hub party add H44030000005 --reason "goes live on Monday" --by li
    """
    given = settings()
    with _parties(given) as parties:
        if dry_run:
            return _would(parties.show(code), given, "add")
        view, password = parties.add(code, reason, operator(by), _first_line(password_file))
    return _tell(view, given, password, as_json=as_json, first=f"{code} may come in")


def rotate(
    code: Code,
    reason: Reason = "",
    by: By = "",
    password_file: PasswordFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give a party a new password and a new HTTP token; the old ones are void at once.

    Its connections are closed; nothing in its queue is lost.

    Example: hub party rotate H44030000005 --reason "the yearly change" --by li
    """
    given = settings()
    with _parties(given) as parties:
        if dry_run:
            return _would(parties.show(code), given, "rotate")
        view, password = parties.rotate(code, reason, operator(by), _first_line(password_file))
    return _tell(view, given, password, as_json=as_json, first=f"{code} has a new token: hub party token {code}")


def disable(code: Code, reason: Reason = "", by: By = "", dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Shut a party out, on the broker at once, over HTTP within two seconds. What waits in its queue goes on waiting.

    Example: hub party disable H44030000005 --reason "its password was seen in a ticket" --by li
    """
    given = settings()
    with _parties(given) as parties:
        if dry_run:
            return _would(parties.show(code), given, "disable")
        view = parties.disable(code, reason, operator(by))
    again = f"{code} is shut out; to let it in again: hub party enable {code} --reason WHY --by YOU"
    return _tell(view, given, "", as_json=as_json, first=again)


def enable(code: Code, reason: Reason = "", by: By = "", dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Let a party in again that was disabled, with the password and the token that it had.

    Example: hub party enable H44030000005 --reason "its new password is set" --by li
    """
    given = settings()
    with _parties(given) as parties:
        if dry_run:
            return _would(parties.show(code), given, "enable")
        view = parties.enable(code, reason, operator(by))
    return _tell(view, given, "", as_json=as_json, first=f"{code} may come in")


def token(code: Code, as_json: AsJson = False) -> None:
    """Print the bearer token with which a party authenticates over HTTP.

    It is derived from HUB_PARTY_TOKEN_SECRET; a new secret makes all tokens invalid, `hub party rotate` one party's.

    Example: curl -H "Authorization: Bearer $(hub party token H44030000001)" …
    """
    from hub.gateway.identity import token_for
    from schemas.identity import INSTITUTION_PATTERN, PARTY_PATTERN

    if not (re.fullmatch(PARTY_PATTERN, code) or re.fullmatch(INSTITUTION_PATTERN, code)):
        fail("CODE: an institution's code (H44030000001) or a party's (ANKANG)", USAGE)
    given = settings()
    secret = given.party_token_secret.get_secret_value()
    if not secret:
        fail("HUB_PARTY_TOKEN_SECRET: must be set, 32 random characters or more; the gateway needs the same", USAGE)
    made = token_for(secret, code, _generation(given, code))
    if as_json:
        show_json({"party": code, "token": made})
    else:
        typer.echo(made)


def _generation(given: Settings, code: str) -> int:
    """Which generation of the party's tokens is good: the first, where there is no database yet to say otherwise."""
    from store import parties

    if given.embedded_database and not given.data_dir.exists():
        return 0
    with open_database(given) as engine, engine.connect() as connection:
        return next((one.token_generation for one in parties.everybody(connection) if one.party == code), 0)


@contextlib.contextmanager
def _parties(given: Settings, *, changes: bool = True) -> Iterator[Parties]:
    """The parties' doors. A change on RabbitMQ needs its management API, and queue names that cannot be guessed."""
    from hub.books import RuleBooks
    from hub.bootstrap import broker_topology
    from hub.clock import SystemClock
    from hub.people.actions import Actions
    from hub.people.office import NoTransport
    from hub.people.parties import Limits, Parties
    from hub.work import WorkUnits

    if changes and not given.embedded_broker:
        _refuse_half_measures(given)
    clock = SystemClock()
    with open_database(given) as engine:
        book = RuleBooks(engine, clock).active().book
        layout = broker_topology(book, given.queue_name_secret.get_secret_value())
        work_units = WorkUnits(engine, NoTransport(), layout.resolve if given.embedded_broker else None)
        limits = Limits(given.party_connections_max, given.party_channels_max)
        yield Parties(work_units, clock, Actions(work_units, clock), book, layout, _admin(given), limits)


def _refuse_half_measures(given: Settings) -> None:
    if not given.broker_admin_url.get_secret_value():
        fail("HUB_BROKER_ADMIN_URL: set http(s)://user:password@host:15672 of RabbitMQ's management plugin", USAGE)
    if not given.queue_name_secret.get_secret_value():
        fail(
            "HUB_QUEUE_NAME_SECRET: must be set, 32 random characters or more, the same for every process of the hub; "
            "without it one party could count what waits for another",
            USAGE,
        )


def _admin(given: Settings) -> BrokerAdmin | None:
    from hub.broker.admin import BrokerAdmin

    url = given.broker_admin_url.get_secret_value()
    if given.embedded_broker or not url:
        return None
    return BrokerAdmin(url, _vhost(given))


def _vhost(given: Settings) -> str:
    from hub.broker.admin import vhost_of

    return vhost_of(given.edge_broker_url.get_secret_value() or given.broker_url.get_secret_value())


def _first_line(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--password-file: {file} cannot be read: {type(error).__name__}", USAGE)
    return lines[0] if lines and lines[0] else fail(f"--password-file: {file} is empty", USAGE)


def _would(view: PartyView, given: Settings, what: str) -> None:
    from hub.cli import party_views

    for step in party_views.steps(view, what, given.party_connections_max, given.party_channels_max):
        console().print(f"would {step}", markup=False, soft_wrap=True)


def _tell(view: PartyView, given: Settings, password: str, *, as_json: bool, first: str) -> None:
    from hub.cli import party_views

    vhost = "" if given.embedded_broker else _vhost(given)
    if as_json:
        show_json(party_views.as_dict(view, vhost, password))
        return
    console().print(first, markup=False, soft_wrap=True)
    party_views.show(view, vhost, password, console())
