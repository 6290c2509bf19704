"""`hub doubt`: legs whose payer has not given its word, or has not confirmed an undo, and how people end that."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import USAGE, AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By, Reason, ask_for

if TYPE_CHECKING:
    from sqlalchemy import Connection


_LEG = re.compile(r"(?P<case>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[^/\s]+/[^/\s]+)/(?P<leg>[1-9][0-9]{0,3})")


_READ_MAX = 100_000


def _named(which: str) -> str:
    if not _LEG.fullmatch(which):
        fail("name a leg as CASE_ID/LEG_NO or INSTITUTION/SETTLEMENT_NO/LEG_NO", USAGE)
    return which


Which = Annotated[
    str, typer.Argument(metavar="CASE/LEG_NO", help="Case id or INSTITUTION/SETTLEMENT_NO, then /1.", callback=_named)
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Doubts: payers without a word, undos without a confirmation.")
    for command in (list_, show, ask, approve, decline, reverse, undone):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="doubt")


def list_(
    payer: Annotated[str, typer.Option(help="Only legs of this payer.")] = "",
    needs_people: Annotated[bool, typer.Option("--needs-people", help="Only what does not resolve itself.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the oldest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List open doubts, the oldest first, and whether each still resolves itself.

    Example: hub doubt list --needs-people
    """
    from hub.cli import doubt_views
    from hub.people import standing
    from store import doubts

    with open_database(settings()) as engine, engine.connect() as connection:
        every = doubts.listed(connection, payer=payer, limit=_READ_MAX)
    wanted = [one for one in every if not (needs_people and one.resolves_itself)]
    found = wanted[:limit]
    if as_json:
        show_json({"doubts": [standing.open_doubt_as_dict(one) for one in found]})
        return
    shown = console()
    if found:
        shown.print(doubt_views.table(found))
    shown.print(doubt_views.summary(found, wanted, every))


def show(leg: Which, as_json: AsJson = False) -> None:
    """Show one leg: how it stands, what was said to the payer and what came back, and what may be done.

    Example: hub doubt show 01a2001f-14c8-7056-bf4b-409e7ef560e0/2
    """
    from hub.cli import doubt_views
    from hub.people import standing

    with open_database(settings()) as engine, engine.connect() as connection:
        case_id, leg_no = find(connection, leg)
        view = standing.read_doubt(connection, case_id, leg_no)
    if as_json:
        show_json(standing.doubt_as_dict(view))
    else:
        doubt_views.show(view, console())


def ask(leg: Which, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Have the payer asked again now, with all tries anew. Needs no second person.

    `hub doubt show` says what it would hear. Refused where its interface can hear nothing that helps.

    Example: hub doubt ask CASE/2 --reason "their system is back since 09:40" --by li
    """
    _act("doubt.ask", leg, {}, reason, by, as_json=as_json)


def approve(
    leg: Which,
    amount: Annotated[str, typer.Option(help="What the payer has settled, in yuan: 123.45.")],
    reference: Annotated[str, typer.Option(help="The payer's own number of it.")],
    reason: Reason,
    basic: Annotated[
        Path | None,
        typer.Option(
            help="Of a basic system: JSON with own_pay, over_limit, first_self_pay, in_scope, deductible, "
            "account, cash, hospital, each in yuan as text."
        ),
    ] = None,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Enter the payer's word that it has settled. A second person must approve; `--reason` names the evidence.

    Example: hub doubt approve CASE/2 --amount 88.20 --reference K-7781 --reason "their daily list of 3 March, line 12"
    """
    detail: dict[str, Any] = {"amount": amount, "reference": reference}
    if basic is not None:
        detail["basic"] = _json_of(basic)
    _act("doubt.approve", leg, detail, reason, by, as_json=as_json)


def decline(leg: Which, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Enter the payer's word that it has settled nothing. A second person must approve.

    Example: hub doubt decline CASE/2 --reason "Mrs Chen of ANKANG by telephone, ticket 8812: never received"
    """
    _act("doubt.decline", leg, {}, reason, by, as_json=as_json)


def reverse(leg: Which, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Have whatever stands at the payer undone, by our request id. A second person must approve.

    Example: hub doubt reverse CASE/2 --reason "the patient has paid and left"
    """
    _act("doubt.reverse", leg, {}, reason, by, as_json=as_json)


def undone(leg: Which, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Enter the payer's word that it has taken its part back. A second person must approve.

    Example: hub doubt undone CASE/1 --reason "their letter of 4 March, number 2026-118"
    """
    _act("doubt.undone", leg, {}, reason, by, as_json=as_json)


def _act(kind: str, leg: str, detail: dict[str, Any], reason: str, by: str, *, as_json: bool) -> None:
    from hub.people.doubts import subject_of

    given = settings()
    with open_database(given) as engine:
        with engine.connect() as connection:
            case_id, leg_no = find(connection, leg)
            if kind == "doubt.ask":
                _check_that_it_can_hear(connection, case_id, leg_no)
        ask_for(engine, given, kind, subject_of(case_id, leg_no), detail, reason, by, as_json=as_json)


def _check_that_it_can_hear(connection: Connection, case_id: str, leg_no: int) -> None:
    """An ask of which the payer hears nothing would only look like progress."""
    from hub.people import standing
    from hub.people.ways import next_word
    from routing.doubt import Move
    from routing.states import LegState

    view = standing.read_doubt(connection, case_id, leg_no)
    asked = (LegState.IN_DOUBT, LegState.CANCEL_HELD, LegState.REVERSING, LegState.CANCELLING)
    if view.leg.state not in asked:
        return
    if next_word(view.case, view.leg, view.party, datetime.now(UTC)) is Move.PEOPLE:
        fail(
            f"{view.leg.payer} cannot be asked through its interface: telephone, then enter its word; "
            f"the ways: hub doubt show {case_id}/{leg_no}"
        )


def find(connection: Connection, which: str) -> tuple[str, int]:
    """Case id and leg number; ends the command when there is none."""
    from hub.cli.case import find_case
    from store import cases

    named = _LEG.fullmatch(which)
    if named is None:
        fail("name a leg as CASE_ID/LEG_NO or INSTITUTION/SETTLEMENT_NO/LEG_NO", USAGE)
    case_id, leg_no = find_case(connection, named["case"]), int(named["leg"])
    if leg_no > len(cases.read(connection, [case_id])[case_id].legs):
        fail(f"case {named['case']} has no leg {leg_no}")
    return case_id, leg_no


def _json_of(path: Path) -> Any:
    import orjson

    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        fail(f"--basic: {path} cannot be read: {error.strerror}", USAGE)
    except orjson.JSONDecodeError:
        fail(f"--basic: {path} is not JSON", USAGE)
