"""`hub coverage`: who is insured by which policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import USAGE, AsJson, console, fail, open_database, settings, show_json

if TYPE_CHECKING:
    from store.coverage import CoverageRow

BATCH = 2000


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Policies by person; identity numbers are stored as keyed hashes.")
    group.command("import")(import_)
    app.add_typer(group, name="coverage")


def import_(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV in UTF-8 with a header line.")
    ],
    as_json: AsJson = False,
) -> None:
    """Add policies from a CSV file; those already there are left as they are, so importing twice is harmless.

    Columns: id_type, id_no, product, policy_no, region, valid_from, valid_until (empty for open end). Nothing is
    stored when a line is wrong: every wrong line is named.

    Example: hub coverage import policies.csv
    """
    from hub.bootstrap import person_secret
    from hub.cli.coverage_file import InvalidCoverage, read_coverage
    from store import coverage

    given = settings()
    secret = person_secret(given)
    try:
        rows = read_coverage(file, secret)
    except InvalidCoverage as error:
        fail("the file cannot be imported:\n  " + "\n  ".join(error.complaints[:20]), USAGE)
    added = 0
    with open_database(given) as engine:
        for batch in _batches(rows):
            with engine.begin() as connection:
                added += coverage.add(connection, batch)
    if as_json:
        show_json({"read": len(rows), "added": added})
    else:
        console().print(f"{len(rows)} policies read, {added} added, {len(rows) - added} were there")


def _batches(rows: list[CoverageRow]) -> Iterator[list[CoverageRow]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
