"""`hub action`: what operators asked for, and the second person's yes or no."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By, Reason, as_dict, office_of

if TYPE_CHECKING:
    from hub.people.office import Office

_STATES = ("requested", "executed", "rejected", "failed", "all")
ActionId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The action's number.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Operators' actions: what waits for a second person, what was done.")
    for command in (list_, show, approve, reject):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="action")


def list_(
    state: Annotated[str, typer.Option(help="requested, executed, rejected, failed or all.")] = "requested",
    kind: Annotated[str, typer.Option(help="Only this kind (dlq.replay) or family (dlq).")] = "",
    subject: Annotated[str, typer.Option(help="Only this subject, such as dead_letter/12.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List actions, by default those that wait for a second person.

    Example: hub action list
    """
    from hub.cli import action_views

    if state not in _STATES:
        fail(f"--state: one of {', '.join(_STATES)}", USAGE)
    with _office() as office:
        wanted = "" if state == "all" else state
        found = office.actions.listed(state=wanted, kind=kind, subject=subject, limit=limit)
    if as_json:
        show_json({"actions": [as_dict(one) for one in found]})
    else:
        empty = "Nothing waits for a second person." if state == "requested" else "No such actions."
        console().print(action_views.table(found) if found else empty)


def show(action: ActionId, as_json: AsJson = False) -> None:
    """Show one action: what exactly would be or was done, by whom and why.

    Example: hub action show 7
    """
    from hub.cli import action_views

    with _office() as office:
        found = office.actions.get(action)
        letters = action_views.letters_of(office, found)
    if as_json:
        show_json(as_dict(found))
    else:
        action_views.show(found, letters, console())


def approve(
    actions: Annotated[list[int], typer.Argument(metavar="ID...", help="The actions' numbers.")],
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Say yes to what somebody else asked for: it is done at once. Look at it first with `hub action show`.

    Example: hub action approve 7 --by wang
    """
    from hub.cli import action_views

    with _office() as office:
        done = [office.actions.approve(one, _operator(by)) for one in actions]
    if as_json:
        show_json({"actions": [as_dict(one) for one in done]})
    else:
        for one in done:
            console().print(action_views.ended(one), markup=False)
    if any(one.state == "failed" for one in done):
        raise typer.Exit(NEGATIVE)


def reject(action: ActionId, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Say no to what somebody asked for, or withdraw what you asked for yourself.

    Example: hub action reject 7 --reason "the hospital has cancelled" --by wang
    """
    from hub.cli import action_views

    with _office() as office:
        done = office.actions.reject(action, _operator(by), reason)
    if as_json:
        show_json(as_dict(done))
    else:
        console().print(action_views.ended(done), markup=False)


@contextlib.contextmanager
def _office() -> Iterator[Office]:
    given = settings()
    with open_database(given) as engine, office_of(engine, given) as office:
        yield office


def _operator(by: str) -> str:
    from hub.people.operators import is_operator

    if not is_operator(by):
        fail("--by: say who you are (or set HUB_OPERATOR): 2 to 32 small letters, digits and _ -", USAGE)
    return by
