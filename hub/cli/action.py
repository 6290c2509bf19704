"""`hub action`: what operators asked for, and the second person's yes or no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, show_json
from hub.cli.office import By, Reason, operator, the_office, told

if TYPE_CHECKING:
    from store.actions import Action

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
    from hub.people.views import action_as_dict

    if state not in _STATES:
        fail(f"--state: one of {', '.join(_STATES)}", USAGE)
    with the_office() as office:
        wanted = "" if state == "all" else state
        found = office.actions.listed(state=wanted, kind=kind, subject=subject, limit=limit)
    if as_json:
        show_json({"actions": [action_as_dict(one) for one in found]})
    else:
        empty = "Nothing waits for a second person." if state == "requested" else "No such actions."
        console().print(action_views.table(found) if found else empty)


def show(action: ActionId, as_json: AsJson = False) -> None:
    """Show one action: what exactly would be or was done, by whom and why.

    Example: hub action show 7
    """
    from hub.cli import action_views
    from hub.people.views import action_as_dict

    with the_office() as office:
        found = office.actions.get(action)
        letters = action_views.letters_of(office, found)
    if as_json:
        show_json(action_as_dict(found))
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
    from hub.people.views import action_as_dict
    from schemas.errors import Conflict, Forbidden, NotFound

    by = operator(by)
    done: list[Action] = []
    refused: list[str] = []
    with the_office() as office:
        # One that cannot be approved must not hide what was done about the others.
        for one in dict.fromkeys(actions):
            try:
                done.append(office.actions.approve(one, by))
            except (Conflict, Forbidden, NotFound) as error:
                refused.append(f"action {one}: {error.message or error.code}")
    if as_json:
        show_json({"actions": [action_as_dict(one) for one in done], "refused": refused})
    else:
        for action in done:
            console().print(told(action), markup=False, soft_wrap=True)
    if refused:
        fail("; ".join(refused))
    if any(action.state == "failed" for action in done):
        raise typer.Exit(NEGATIVE)


def reject(action: ActionId, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Say no to what somebody asked for, or withdraw what you asked for yourself.

    Example: hub action reject 7 --reason "the hospital has cancelled" --by wang
    """
    from hub.people.views import action_as_dict

    with the_office() as office:
        done = office.actions.reject(action, operator(by), reason)
    if as_json:
        show_json(action_as_dict(done))
    else:
        console().print(told(done), markup=False, soft_wrap=True)
