"""`hub verify`: the invariants' views, which must be empty, and the seals, which must hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import chain, islice
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.case import moment
from hub.cli.common import NEGATIVE, USAGE, AsJson, console, database_url, fail, settings, show_json
from schemas.counting import how_many

if TYPE_CHECKING:
    from rich.table import Table
    from sqlalchemy import Engine

    from store.invariants import Invariant, Violation

SEALS = "seals"


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of one view. `error` says why it could not be read."""

    invariant: Invariant
    found: list[Violation]
    more: bool
    took_ms: float
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.found and not self.error


@dataclass(frozen=True, slots=True)
class Seals:
    """What came of looking at seals and signatures. `days` None: nobody looked."""

    days: int | None = None
    faults: tuple[str, ...] = ()
    more: bool = False
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.faults and not self.error


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    only: Annotated[
        list[str] | None, typer.Option(help="Only this one, by code or view; may be given several times.")
    ] = None,
    since: Annotated[
        str, typer.Option(help="Only cases that came in since, or are open: 30m, 6h, 2d, or a moment with zone.")
    ] = "",
    timeout: Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds that one view may take.")] = 60.0,
    rows: Annotated[int, typer.Option(min=1, max=1_000, help="Show at most so many rows of a broken one.")] = 10,
    sealed_days: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Of sealed days look at the last so many; without: at all.")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(help="DAY=CHAIN: a sealed day's chain as you kept it elsewhere; may be given several times."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the invariants in the database: one view each, and each must be empty. Reads only.

    Then whether sealed days and signed-off runs are still what they were (`--only seals`: nothing else).

    Exit code 1 when one is broken or could not be checked.

    Example: hub verify --only I03 --since 1d
    """
    from store.database import open_engine

    only = only or []
    wanted = _wanted([one for one in only if one != SEALS]) if not only or set(only) != {SEALS} else []
    from_when, chains = moment(since), _chains(expect or [])
    if chains and only and SEALS not in only:
        fail("--expect: it is about seals, which --only leaves out", USAGE)
    with database_url(settings()) as url:
        # Reports want the planner's free choice, unlike the statements of the hot path.
        engine = open_engine(url, pool_size=1, application="hub-verify", by_key=False)
        try:
            looked = [_look(engine, one, from_when, timeout, rows) for one in wanted]
            wanted_seals = not only or SEALS in only
            seals = _look_at_seals(engine, sealed_days, chains, timeout, rows) if wanted_seals else Seals()
        finally:
            engine.dispose()
    if as_json:
        fine = seals.ok and all(one.ok for one in looked)
        show_json({"ok": fine, "invariants": [_as_dict(one) for one in looked], "seals": asdict(seals)})
    else:
        if looked:
            _show(looked)
        _show_seals(seals)
    if not (seals.ok and all(one.ok for one in looked)):
        raise typer.Exit(NEGATIVE)


def _wanted(only: list[str]) -> list[Invariant]:
    from store.invariants import INVARIANTS, find

    found = [find(which) or fail(f"--only: there is no invariant {which}", USAGE) for which in only]
    return found or list(INVARIANTS)


def _look(engine: Engine, one: Invariant, since: datetime | None, timeout_s: float, rows: int) -> Looked:
    from sqlalchemy.exc import DBAPIError

    from store import invariants

    began = perf_counter()
    found: list[Violation] = []
    error = ""
    try:
        with engine.connect() as connection:
            invariants.prepare(connection, timeout_s)
            found = invariants.broken(connection, one, since, rows + 1)
    except DBAPIError as refusal:
        code = getattr(refusal.orig, "pgcode", None)
        # A view that cannot compute over what is stored has found something wrong as well: data that is none.
        if code != "57014" and not str(code or "").startswith("22"):
            raise
        error = "it took too long: give it more with --timeout" if code == "57014" else "what is stored cannot be read"
    return Looked(one, found[:rows], len(found) > rows, (perf_counter() - began) * 1000, error)


def _chains(given: Sequence[str]) -> dict[date, str]:
    """The chains that were kept elsewhere, by day."""
    found = {}
    for one in given:
        day, _, kept = one.partition("=")
        if not re.fullmatch("[0-9a-f]{64}", kept := kept.strip().lower()):
            fail("--expect: write DAY=CHAIN; a chain has 64 digits of 0-9 and a-f", USAGE)
        try:
            found[date.fromisoformat(day.strip())] = kept
        except ValueError:
            fail("--expect: write the day as 2026-03-02", USAGE)
    return found


def _look_at_seals(engine: Engine, last: int | None, chains: Mapping[date, str], timeout_s: float, rows: int) -> Seals:
    from sqlalchemy.exc import DBAPIError

    from store import invariants, seal_checks, seals

    try:
        with engine.connect() as connection:
            invariants.prepare(connection, timeout_s)
            days = len(seals.listed(connection, last))
            every = chain(seal_checks.unexpected(connection, chains), seal_checks.faults(connection, last))
            told = (f"{one.subject}: {one.detail}" for one in every)
            found = tuple(islice(told, rows + 1))
    except DBAPIError as refusal:
        if getattr(refusal.orig, "pgcode", None) != "57014":
            raise
        return Seals(error="it took too long: give it more with --timeout, or look at --sealed-days N")
    return Seals(days, found[:rows], len(found) > rows)


def _show_seals(seals: Seals) -> None:
    shown = console()
    for fault in seals.faults:
        shown.print(f"seal {fault}", markup=False, soft_wrap=True)
    if seals.more:
        shown.print("and more: --rows")
    if seals.error:
        shown.print(f"seals: {seals.error}", markup=False)
    elif seals.days is not None and seals.ok:
        shown.print(f"every seal and signature holds ({how_many(seals.days, 'sealed day')})")


def _as_dict(one: Looked) -> dict[str, Any]:
    return {
        "code": one.invariant.code,
        "view": one.invariant.view,
        "rule": one.invariant.rule,
        "not_stored": one.invariant.not_stored,
        "ok": one.ok,
        "error": one.error,
        "rows": [{"subject": row.subject, "detail": row.detail, "case_id": row.case_id} for row in one.found],
        "more": one.more,
        "took_ms": round(one.took_ms, 1),
    }


def _show(looked: list[Looked]) -> None:
    shown = console()
    shown.print(_table(looked))
    for one in looked:
        for row in one.found:
            shown.print(f"{one.invariant.code} {row.subject}: {row.detail}", markup=False)
        if one.error:
            shown.print(f"{one.invariant.code} {one.error}", markup=False)
    broken = sum(not one.ok for one in looked)
    shown.print("every invariant holds" if not broken else f"{broken} of {len(looked)} invariants do not hold")


def _table(looked: list[Looked]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table("", "invariant", "view", "rows", "took", box=box.SIMPLE)
    for one in looked:
        count = "?" if one.error else f"{len(one.found)}{'+' if one.more else ''}"
        table.add_row(
            "ok" if one.ok else "NO",
            f"{one.invariant.code} {one.invariant.rule}",
            one.invariant.view,
            count,
            f"{one.took_ms:.0f} ms",
        )
    return table
