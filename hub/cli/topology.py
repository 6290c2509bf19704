"""`hub topology`: what the rule book needs in RabbitMQ."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, database_url, fail, settings, show_json

if TYPE_CHECKING:
    from hub.broker.declare import ApplyReport
    from hub.broker.topology import Topology
    from hub.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Exchanges and queues in RabbitMQ, from the active rule book.")
    group.command("apply")(apply)
    group.command("check")(check)
    app.add_typer(group, name="topology")


def apply(as_json: AsJson = False) -> None:
    """Declare every exchange, queue and binding; running it again changes nothing.

    Example: HUB_BROKER_URL=amqp://hub:secret@rabbit/hub hub topology apply
    """
    given = _with_broker()
    with database_url(given) as url:
        report = declare_topology(given, url)
    if as_json:
        show_json({"ok": report.ok, "exchanges": report.exchanges, "queues": report.queues,
                   "bindings": report.bindings, "refused": list(report.refused)})  # fmt: skip
    else:
        console().print(f"{report.exchanges} exchanges, {report.queues} queues, {report.bindings} bindings are there")
        for refused in report.refused:
            console().print(f"refused: {refused}", markup=False)
    if not report.ok:
        raise typer.Exit(NEGATIVE)


def check(as_json: AsJson = False) -> None:
    """Compare the broker with the rule book, and try on throw-away queues that it behaves as the hub relies on.

    Example: hub topology check --json
    """
    from hub.broker import declare

    given = _with_broker()
    with database_url(given) as url, _named():
        report = declare.check(_wanted(given, url), *_urls(given))
    if as_json:
        show_json({"ok": report.ok, "differences": list(report.differences), "behaviour": dict(report.behaviour)})
    else:
        for difference in report.differences:
            console().print(f"differs: {difference}", markup=False)
        for tried, result in report.behaviour.items():
            console().print(f"{'ok  ' if result == 'ok' else 'FAIL'}  {tried}: {result}", markup=False)
        console().print("the broker is as the rule book needs it" if report.ok else "the broker is not as needed")
    if not report.ok:
        raise typer.Exit(NEGATIVE)


def declare_topology(given: Settings, url: str) -> ApplyReport:
    """Declare what the active rule book in the database at `url` needs. Unavailable when no broker answers."""
    from hub.broker import declare

    with _named():
        return declare.apply(_wanted(given, url), *_urls(given))


def reach_broker(given: Settings) -> None:
    """Connect to each broker of the settings and leave again. Unavailable when one does not answer."""
    from hub.broker import declare
    from hub.broker.topology import Topology

    with _named():
        declare.apply(Topology((), (), (), ()), *_urls(given))


def _with_broker() -> Settings:
    given = settings()
    if given.embedded_broker:
        fail("HUB_BROKER_URL: the embedded broker needs no topology; set amqp://user:password@host:5672/vhost", USAGE)
    return given


def _wanted(given: Settings, url: str) -> Topology:
    from hub.books import RuleBooks
    from hub.bootstrap import broker_topology
    from hub.clock import SystemClock
    from store.database import open_engine

    engine = open_engine(url, pool_size=2, application="hub-topology")
    try:
        secret = given.queue_name_secret.get_secret_value()
        return broker_topology(RuleBooks(engine, SystemClock()).active().book, secret)
    finally:
        engine.dispose()


def _urls(given: Settings) -> tuple[str, str]:
    return given.broker_url.get_secret_value(), given.edge_broker_url.get_secret_value()


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Say which setting to look at when no broker answers."""
    from schemas.errors import Unavailable

    try:
        yield
    except Unavailable as error:
        if "broker" not in error.message:
            raise
        reason = error.context.get("error", "")
        raise Unavailable(f"HUB_BROKER_URL: RabbitMQ cannot be reached, or refuses user or vhost ({reason})") from error
