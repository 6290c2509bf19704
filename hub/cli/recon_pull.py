"""`hub recon pull`: payers' books of days, asked for and put on record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, settings, show_json
from hub.cli.recon_exchange import DAY, SchemeCode, database

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hub.recon.pulling_together import Pulled, Wanted
    from routing.rulebook import RuleBook

_PARTY_WIDTH = 24


def add(group: typer.Typer) -> None:
    """Add the command."""
    group.command()(pull)


def pull(
    day: Annotated[
        list[datetime] | None,
        typer.Option(formats=DAY, help="A day in China; may be repeated. Without: what is due and missing."),
    ] = None,
    party: Annotated[
        list[str] | None,
        typer.Option(help="A payer; may be repeated. Without: all whose scheme says that they are pulled."),
    ] = None,
    scheme: SchemeCode = "daily",
    minutes: Annotated[float, typer.Option(min=0, help="Begin no question after so many minutes; 0: no end.")] = 0.0,
    by: Annotated[
        str, typer.Option("--by", envvar="HUB_OPERATOR", help="Who you are: small letters, such as li.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Ask payers for their books of days and put them on record as their statements, several payers at a time.

    Each statement is a line, as it comes. A payer that is not heard about one day is not asked for its others. Exit
    code 1 when one is missing.

    Example: hub recon pull --party ANKANG --day 2026-03-02 --by li
    """
    from hub.people.operators import is_operator

    if by and not is_operator(by):
        fail("--by: 2 to 32 small letters, digits and _ -", USAGE)
    days, parties = sorted({one.date() for one in day or []}), list(dict.fromkeys(party or []))
    found = _pull(days, parties, scheme, minutes, by or "cli", quiet=as_json)
    if as_json:
        show_json(_as_dict(found))
    missing = [one for one in found if one.error is not None]
    if not as_json and len(found) > 1:
        console().print(f"{len(found) - len(missing)} of {len(found)} statements are here")
    if missing:
        raise typer.Exit(NEGATIVE)


def _pull(
    days: Sequence[date], parties: Sequence[str], scheme: str, minutes: float, by: str, *, quiet: bool
) -> list[Pulled]:
    import time

    from hub.recon.askable import payers_of
    from hub.recon.pulling import Pulling
    from hub.recon.pulling_patience import Patience
    from hub.recon.pulling_together import AT_ONCE, pull_all

    found = []
    with (
        database(AT_ONCE + 2) as (engine, url, books, clock),
        payers_of(settings(), url, books, clock) as payer_of,
    ):
        wanted = _wanted(engine, books.active().book, days, parties, scheme, clock.now())
        if not wanted and not quiet:
            console().print("nothing that is due is missing")
        patience = Patience(until=time.monotonic() + 60 * minutes) if minutes else Patience()
        for one in pull_all(Pulling(engine, books, clock, payer_of), wanted, by, patience):
            found.append(one)
            if not quiet:
                console().print(_line(one), markup=False, soft_wrap=True)
    return found


def _wanted(
    engine: Engine, book: RuleBook, days: Sequence[date], parties: Sequence[str], scheme: str, now: datetime
) -> list[Wanted]:
    """Every payer's every day that was named; without days what is due and missing."""
    from hub.recon.continuous_due import due_now
    from hub.recon.pulling import pulled_schemes
    from hub.recon.pulling_together import Wanted

    if days:
        named = [(party, scheme) for party in parties] or pulled_schemes(book)
        if not named:
            fail("no payer's scheme says that its statement is pulled: name one with --party")
        return [Wanted(party, code, day) for party, code in named for day in days]
    missing = [one for one in due_now(engine, book, now).late if one.pull]
    if parties:
        missing = [one for one in missing if one.scheme.party in parties and one.scheme.code == scheme]
    return [Wanted(one.scheme.party, one.scheme.code, one.day) for one in missing]


def _line(one: Pulled) -> str:
    from schemas.counting import how_many
    from schemas.errors import InvalidMessage
    from schemas.money import yuan_of

    lead = f"{one.wanted.day}  {f'{one.wanted.party}/{one.wanted.scheme}':<{_PARTY_WIDTH}}"
    if one.answer is not None:
        replaced = f"; it replaces {one.answer.replaced}" if one.answer.replaced else ""
        came = f"{how_many(one.answer.rows, 'line')}, {yuan_of(one.answer.total)} yuan, "
        came += f"statement {one.answer.statement_id}{replaced}"
        return f"{lead}  {came}"
    error = one.error
    named = error.violations if isinstance(error, InvalidMessage) else ()
    why = f"{error.code}: {error.message}" if error is not None else ""
    return f"{lead}  missing: {why}" + "".join(f"\n            {of.field}: {of.remedy}" for of in named)


def _as_dict(found: Sequence[Pulled]) -> dict[str, Any]:
    from schemas.errors import InvalidMessage

    missing = []
    for one in found:
        if one.error is None:
            continue
        named = one.error.violations if isinstance(one.error, InvalidMessage) else ()
        missing.append(
            {
                "party": one.wanted.party,
                "scheme": one.wanted.scheme,
                "day": one.wanted.day,
                "code": one.error.code,
                "message": one.error.message,
                "asked": one.asked,
                "violations": [{"field": of.field, "remedy": of.remedy} for of in named],
            }
        )
    came = [one.answer.model_dump(mode="json") for one in found if one.answer is not None]
    return {"statements": came, "missing": missing}
