"""`hub visit` and `hub notice`: what is known of a visit, and what payers were told of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hub.cli.common import AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By, Reason, ask_for

RequestId = Annotated[str, typer.Argument(metavar="NOTICE", help="The notice's request id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    visit = typer.Typer(no_args_is_help=True, help="Visits before their settlement: how they stand.")
    visit.command("show")(show_visit)
    app.add_typer(visit, name="visit")
    notice = typer.Typer(no_args_is_help=True, help="What payers are told outside settlements, and have not taken.")
    notice.command("list")(list_)
    for command in (show, retry, close):
        notice.command(command.__name__)(command)
    app.add_typer(notice, name="notice")


def show_visit(
    institution: Annotated[str, typer.Argument(help="The institution's code.")],
    visit_no: Annotated[str, typer.Argument(help="Its own number of the visit.")],
    as_json: AsJson = False,
) -> None:
    """Show a visit: its state, what its fee lines come to, its settlement, what payers were told.

    Example: hub visit show H44030000001 V-1
    """
    from hub.cli import visit_views
    from store import notices, visits

    with open_database(settings()) as engine, engine.connect() as connection:
        visit = visits.read(connection, [(institution, visit_no)]).get((institution, visit_no))
        if visit is None:
            fail(f"{institution} has no visit {visit_no} (a cancelled one is not shown)")
        told = notices.of_visit(connection, visit.visit_id)
    if as_json:
        show_json(visit_views.visit_as_dict(visit, told))
    else:
        visit_views.show_visit(visit, told, console())


def list_(
    payer: Annotated[str, typer.Option("--payer", help="Only this payer's.")] = "", as_json: AsJson = False
) -> None:
    """List what no payer has taken: waiting, refused, given up.

    Example: hub notice list --payer ANKANG
    """
    from hub.cli import visit_views
    from store import notices

    with open_database(settings()) as engine, engine.connect() as connection:
        found = notices.not_taken(connection, payer)
    if as_json:
        show_json({"notices": [visit_views.notice_as_dict(one) for one in found]})
    else:
        visit_views.show_notices(found, console())


def show(notice: RequestId, as_json: AsJson = False) -> None:
    """Show one notice: how often it was said, and what came back. The message itself is not shown.

    Example: hub notice show 01a200bdb7a372fb8ef80d4438d1e175-n
    """
    from hub.cli import visit_views
    from store import notices

    with open_database(settings()) as engine, engine.connect() as connection:
        found = notices.find(connection, notice)
    if found is None:
        fail(f"there is no notice {notice}")
    if as_json:
        show_json(visit_views.notice_as_dict(found))
    else:
        visit_views.show_notices([found], console())
        visit_views.show_next(found, console())


def retry(notice: RequestId, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Have a notice said again, under the same request id, from now on.

    Example: hub notice retry 01a200bdb7a372fb8ef80d4438d1e175-n --reason "they entered the policy" --by li
    """
    _decide("notice.retry", notice, reason, by, as_json=as_json)


def close(notice: RequestId, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Leave a notice: people have told the payer, or it need not know.

    Example: hub notice close 01a200bdb7a372fb8ef80d4438d1e175-n --reason "told by telephone" --by li
    """
    _decide("notice.close", notice, reason, by, as_json=as_json)


def _decide(kind: str, notice: str, reason: str, by: str, *, as_json: bool) -> None:
    from hub.people.notices import subject_of

    given = settings()
    detail: dict[str, Any] = {}
    with open_database(given) as engine:
        ask_for(engine, given, kind, subject_of(notice), detail, reason, by, as_json=as_json)
