"""What the commands for operators share: who acts, why, and how the result is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, console, fail, show_json

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hub.people.office import Office
    from hub.settings import Settings
    from store.actions import Action

By = Annotated[str, typer.Option("--by", envvar="HUB_OPERATOR", help="Who you are: small letters, such as li.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in one line without anybody's personal data.")]


@contextlib.contextmanager
def office_of(engine: Engine, given: Settings) -> Iterator[Office]:
    """The operators' office on this database. What it sends leaves through the processes of the hub that run."""
    from hub.books import RuleBooks
    from hub.bootstrap import broker_topology
    from hub.clock import SystemClock
    from hub.people.office import NoTransport, open_office
    from hub.work import WorkUnits

    clock = SystemClock()
    books = RuleBooks(engine, clock)
    book = books.active().book
    layout = broker_topology(book)
    work_units = WorkUnits(engine, NoTransport(), layout.resolve if given.embedded_broker else None)
    yield open_office(work_units, clock, lambda: layout, lambda: book.party_by_code)


def ask_for(
    engine: Engine,
    given: Settings,
    kind: str,
    subject: str,
    detail: Mapping[str, Any],
    reason: str,
    by: str,
    *,
    as_json: bool,
) -> None:
    """Ask for an action and show what became of it."""
    if not by:
        fail("--by: say who you are, or set HUB_OPERATOR")
    with office_of(engine, given) as office:
        show_action(office.actions.request(kind, subject, detail, reason, by), as_json=as_json)


def show_action(action: Action, *, as_json: bool) -> None:
    """What became of an action, and who must do what next; ends the command when it failed."""
    if as_json:
        show_json(as_dict(action))
    elif action.state == "requested":
        console().print(
            f"Action {action.id} waits for a second person: hub action approve {action.id} --by <another operator>"
        )
    elif action.state == "executed":
        console().print(f"Done: {action.outcome}")
    else:
        console().print(f"Action {action.id} {action.state}: {action.outcome}")
    if action.state == "failed":
        raise typer.Exit(NEGATIVE)


def as_dict(action: Action) -> dict[str, Any]:
    """For JSON."""
    from dataclasses import asdict

    return asdict(action)
