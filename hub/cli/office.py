"""What the commands for operators share: who acts, why, and how the result is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, USAGE, console, fail, open_database, settings, show_json

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hub.people.office import Office
    from hub.settings import Settings
    from store.actions import Action

By = Annotated[str, typer.Option("--by", envvar="HUB_OPERATOR", help="Who you are: small letters, such as li.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in one line without anybody's personal data.")]

Then = str | Callable[["Action"], str]


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


@contextlib.contextmanager
def the_office() -> Iterator[Office]:
    """The operators' office on the database of this process's settings."""
    given = settings()
    with open_database(given) as engine, office_of(engine, given) as office:
        yield office


def operator(by: str) -> str:
    """Who acts; ends the command when nobody is named."""
    from hub.people.operators import is_operator

    if not is_operator(by):
        fail("--by: say who you are (or set HUB_OPERATOR): 2 to 32 small letters, digits and _ -", USAGE)
    return by


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
    then: Then = "",
) -> None:
    """Ask for an action and show what became of it; `then` is what to run when it is done, or says it of the action."""
    from hub.people.views import action_as_dict

    by = operator(by)
    with office_of(engine, given) as office:
        action = office.actions.request(kind, subject, detail, reason, by)
    if as_json:
        show_json(action_as_dict(action))
    else:
        console().print(told(action), markup=False, soft_wrap=True)
        if then and action.state == "executed":
            console().print(then if isinstance(then, str) else then(action), markup=False, soft_wrap=True)
    if action.state == "failed":
        raise typer.Exit(NEGATIVE)


def told(action: Action) -> str:
    """What became of an action, and who must do what next."""
    if action.state == "requested":
        return (
            f"action {action.id} waits for a second person: hub action show {action.id}, "
            f"then hub action approve {action.id} --by ANOTHER"
        )
    return f"action {action.id} {action.state}: {action.outcome}"
