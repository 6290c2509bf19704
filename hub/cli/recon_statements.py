"""`hub recon import` and `hub recon statements`: parties' books of a day from files, and what has come."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, database_url, fail, settings, show_json
from schemas.counting import how_many

if TYPE_CHECKING:
    from rich.table import Table

    from schemas.errors import HubError
    from schemas.statement import StatementAnswer, StatementHeader
    from store.statements import Stored

DAY = ["%Y-%m-%d"]
Day = Annotated[datetime | None, typer.Option(formats=DAY, help="The day, such as 2026-03-02.")]


def add(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("import")(import_)
    group.command()(statements)


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, readable=True, help=".csv, .xlsx, .zip, .txt, .json"
        ),
    ],
    party: Annotated[str, typer.Option(help="Whose books it is: a payer or an institution.")] = "",
    day: Day = None,
    scheme: Annotated[str, typer.Option(help="By which scheme; see `hub recon schemes`.")] = "daily",
    count: Annotated[int | None, typer.Option(min=0, help="How many lines the party says there are.")] = None,
    total: Annotated[str, typer.Option(help="What their amounts come to, in yuan, as the party says.")] = "",
    declared: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="All of this from a JSON file; FILE.json without."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Let a statement stand again that was replaced.")] = False,
    by: Annotated[
        str, typer.Option("--by", envvar="HUB_OPERATOR", help="Who you are: small letters, such as li.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Take a statement from a file: all of it, or nothing and what is wrong is named.

    A .json is the message of statement.upload, of up to 5,000 lines, and declares itself.

    Example: hub recon import day.csv --party CICI --day 2026-03-02 --count 120 --total 51234.50 --by li
    """
    from hub.books import RuleBooks
    from hub.clock import DatabaseClock
    from hub.people.operators import is_operator
    from hub.recon.statements import take_file
    from schemas.errors import HubError
    from store.database import open_engine

    if by and not is_operator(by):
        fail("--by: 2 to 32 small letters, digits and _ -", USAGE)
    header = _header(path, party, day, scheme, count, total, declared)
    with database_url(settings()) as url:
        engine = open_engine(url, pool_size=2, application="hub-recon", by_key=False)
        try:
            clock = DatabaseClock(engine)
            book = RuleBooks(engine, clock).active().book
            answer = take_file(engine, book, path, header, by=by or "cli", now=clock.now(), again=again)
        except HubError as error:
            _refused(error, as_json=as_json)
        finally:
            engine.dispose()
    _show(answer, as_json=as_json)


def statements(
    day: Day = None,
    party: Annotated[str, typer.Option(help="Only this party's.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the statements that came: those that stand, were replaced, and were refused with the reason.

    Example: hub recon statements --day 2026-03-02
    """
    from hub.cli.common import open_database
    from store import statements as store

    with open_database(settings()) as engine, engine.connect() as connection:
        found = store.listed(connection, day=day.date() if day else None, party=party, limit=limit)
    if as_json:
        show_json({"statements": [_as_dict(one) for one in found]})
    elif not found:
        console().print("No statements.")
    else:
        console().print(_table(found))
        for one in (each for each in found if each.state == "refused"):
            console().print(_why(one), markup=False, soft_wrap=True)


def _header(
    path: Path,
    party: str,
    day: datetime | None,
    scheme: str,
    count: int | None,
    total: str,
    declared: Path | None,
) -> StatementHeader:
    """What is declared, from options or from a file; what both say must agree."""
    from schemas.base import read_message
    from schemas.errors import InvalidMessage
    from schemas.statement import StatementHeader

    beside = path.with_name(path.name + ".json")
    if declared is None and (count is None or not total) and beside.is_file():
        declared = beside
    try:
        if declared is not None:
            header = read_message(StatementHeader, declared.read_bytes())
            if party not in ("", header.party) or (day is not None and day.date() != header.day):
                fail(f"{declared.name} is about {header.party} on {header.day}", USAGE)
            _check_sums(declared, header, count, total)
            return header
        if path.suffix.lower() == ".json" and count is None and not total:
            return _said_by(path, party, day, scheme)
        if not party or day is None or count is None or not total:
            fail("name --party, --day, --count and --total, or --declared FILE.json with all of them", USAGE)
        given = {"party": party, "scheme": scheme, "day": f"{day:%Y-%m-%d}", "count": count, "total": total}
        return read_message(StatementHeader, _bytes(given))
    except InvalidMessage as error:
        fail("; ".join(f"{one.field}: {one.remedy}" for one in error.violations) or error.message, USAGE)


def _check_sums(declared: Path, header: StatementHeader, count: int | None, total: str) -> None:
    """What is typed beside a file must not be forgotten over it."""
    from schemas.base import read_message
    from schemas.money import yuan_of
    from schemas.statement import StatementHeader

    typed = {"count": header.count if count is None else count, "total": total or yuan_of(header.total)}
    said = read_message(StatementHeader, _bytes({"party": header.party, "day": f"{header.day}"} | typed))
    if (said.count, said.total) != (header.count, header.total):
        sums = f"{how_many(header.count, 'line')} and {yuan_of(header.total)} yuan"
        fail(f"{declared.name} declares {sums}, not what is typed", USAGE)


def _said_by(path: Path, party: str, day: datetime | None, scheme: str) -> StatementHeader:
    """What a message in a file says of itself; options that are given must agree."""
    from hub.imports.layout import InvalidFile
    from hub.recon.forms.json_form import read_statement
    from schemas.statement import StatementHeader

    try:
        one = read_statement(path)
    except InvalidFile as error:
        fail("\n  ".join(["the statement is refused: nothing of it is on record", *error.complaints]))
    if (
        party not in ("", one.party)
        or (day is not None and day.date() != one.day)
        or scheme not in ("daily", one.scheme)
    ):
        fail(f"{path.name} is about {one.party}/{one.scheme} on {one.day}", USAGE)
    return StatementHeader(party=one.party, scheme=one.scheme, day=one.day, count=one.count, total=one.total)


def _bytes(value: dict[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(value)


def _refused(error: HubError, *, as_json: bool) -> None:
    from schemas.errors import InvalidMessage

    violations = error.violations if isinstance(error, InvalidMessage) else ()
    if as_json:
        told = [one.as_dict() for one in violations]
        show_json({"taken": False, "code": error.code, "reason": error.message, "problems": told})
        raise typer.Exit(NEGATIVE)
    listed = "".join(f"\n  {one.field}: {one.remedy}" for one in violations)
    fail(f"the statement is refused: {error.message}{listed}")


def _show(answer: StatementAnswer, *, as_json: bool) -> None:
    from schemas.money import yuan_of

    if as_json:
        show_json({"taken": True, **answer.model_dump(mode="json")})
        return
    said = f"statement {answer.statement_id}: {answer.party}/{answer.scheme} {answer.day}, "
    told = f"{said}{how_many(answer.rows, 'line')}, {yuan_of(answer.total)} yuan, SHA-256 {answer.sha256}"
    if answer.replaced is not None and answer.standing:
        told += f"\nit took the place of statement {answer.replaced}"
    if not answer.standing:
        told += "\nthis content came before and was replaced since; --again lets it stand again"
    console().print(told, markup=False, soft_wrap=True)


def _table(found: list[Stored]) -> Table:
    from rich.table import Table

    from routing.days import CHINA_STANDARD_TIME
    from schemas.money import yuan_of

    table = Table(box=None, pad_edge=False)
    for name in ("no", "day", "party/scheme", "state", "form", "lines", "yuan", "SHA-256", "by", "came"):
        table.add_column(name, justify="right" if name in ("no", "lines", "yuan") else "left")
    for one in found:
        came = one.came
        table.add_row(
            str(one.statement_id),
            str(one.key.day),
            f"{one.key.party}/{one.key.scheme}",
            one.state,
            came.form,
            str(one.rows),
            yuan_of(one.total_fen),
            came.sha256[:12],
            came.by,
            f"{came.at.astimezone(CHINA_STANDARD_TIME):%m-%d %H:%M}",
        )
    return table


def _why(one: Stored) -> str:
    said = "".join(f"\n  {each['field']}: {each['remedy']}" for each in one.problems)
    return f"statement {one.statement_id} ({one.came.source}) was refused:{said}"


def _as_dict(one: Stored) -> dict[str, Any]:
    from schemas.money import yuan_of

    return {
        "statement_id": one.statement_id,
        "party": one.key.party,
        "scheme": one.key.scheme,
        "day": one.key.day,
        "state": one.state,
        "form": one.came.form,
        "source": one.came.source,
        "sha256": one.came.sha256,
        "rows": one.rows,
        "total": yuan_of(one.total_fen),
        "replaces": one.replaces,
        "by": one.came.by,
        "received_at": one.came.at.isoformat(),
        "problems": list(one.problems),
    }
