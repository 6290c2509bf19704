"""`hub exchange`: messages in bulk, by files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import NEGATIVE, AsJson, console, database_url, fail, settings, show_json

if TYPE_CHECKING:
    from hub.message_files import FileDone, MessageFolder
    from hub.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("exchange")(exchange)


def exchange(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Has inbox/ and outbox/.")],
    party: Annotated[str, typer.Option(help="Whose messages they are: an institution or a party with link: files.")],
    every: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 5.0,
    rest: Annotated[float, typer.Option(min=0, max=3600, help="Seconds that a file must have rested.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take messages from FOLDER/inbox/TRANSACTION-anything.jsonl and put their answers into FOLDER/outbox.

    A line is a message; a file that comes twice gets the same answers. With --once the exit code is 1 when a message
    was refused.

    Example: hub exchange /srv/exchange/basic --party BASIC-440300 --once
    """
    import time

    from schemas.errors import Forbidden, Unavailable
    from store.database import database_is_away

    given = settings()
    with _folder(given, folder, party, rest) as messages:
        while True:
            refused, problem = False, ""
            try:
                for done in messages.look():
                    refused = refused or bool(done.refused or done.why)
                    _show(done, as_json=as_json)
            except (Forbidden, Unavailable) as error:
                problem = str(error)
            except Exception as error:
                if once or not database_is_away(error):
                    raise
                problem = "the database is away"
            if once and problem:
                fail(problem)
            if once:
                raise typer.Exit(NEGATIVE if refused else 0)
            if problem:
                typer.echo(f"hub: {problem}", err=True)
            time.sleep(every)


def _show(done: FileDone, *, as_json: bool) -> None:
    if as_json:
        show_json(asdict(done))
    elif done.why:
        console().print(f"{done.name}: not read: {done.why}", markup=False, soft_wrap=True)
    else:
        counts = f"{done.answered} answered, {done.taken} taken, {done.refused} refused"
        console().print(f"{done.name}: {counts}", markup=False, soft_wrap=True)


@contextlib.contextmanager
def _folder(given: Settings, folder: Path, party: str, rest: float) -> Iterator[MessageFolder]:
    """The folder on the hub's database. What its messages send leaves through the processes of the hub that run."""
    from hub.books import RuleBooks
    from hub.bootstrap import broker_topology, desk_of
    from hub.clock import DatabaseClock
    from hub.doors import KnownDoors
    from hub.message_files import MessageFolder
    from hub.people.office import NoTransport
    from hub.work import WorkUnits
    from store.database import open_engine

    with database_url(given) as url:
        engine = open_engine(url, pool_size=3, application="hub-exchange")
        try:
            clock = DatabaseClock(engine)
            books = RuleBooks(engine, clock)
            layout = broker_topology(books.active().book, given.queue_name_secret.get_secret_value())
            work_units = WorkUnits(engine, NoTransport(), layout.resolve if given.embedded_broker else None)
            desk = desk_of(given, work_units, books, clock, {})
            doors = KnownDoors(engine)
            yield MessageFolder(folder, party, engine, desk.take, clock, books, doors, still_for_s=rest)
        finally:
            engine.dispose()
