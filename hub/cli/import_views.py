"""Imports for people and for JSON."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from hub.imports.folder import Handled
from hub.imports.job import Outcome
from hub.imports.job import Progress as Tell
from routing.days import CHINA_STANDARD_TIME
from store.import_runs import ImportRun

_PROBLEMS_SHOWN = 20
LINE_EVERY_S = 2.0
_PHASES = {"reading": "reading", "checking": "comparing with what is stored", "storing": "putting in force"}


@contextlib.contextmanager
def shown(*, as_json: bool) -> Iterator[Tell]:
    """How far it is, on standard error: a bar on a terminal, a line now and then elsewhere."""
    if as_json:
        yield lambda *_: None
    elif sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    else:
        yield _lines()


@contextlib.contextmanager
def _bar() -> Iterator[Tell]:
    rows, wrong = TextColumn("{task.fields[rows]:,} rows"), TextColumn("{task.fields[wrong]}")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), rows, wrong, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=1.0, rows=0, wrong="")

        def tell(phase: str, rows: int, part: float, wrong: int) -> None:
            told = f"[red]{wrong:,} problems[/]" if wrong else ""
            progress.update(task, description=_PHASES[phase], completed=part, rows=rows, wrong=told)

        yield tell


def _lines() -> Tell:
    last = (time.monotonic(), "reading")

    def tell(phase: str, rows: int, part: float, wrong: int) -> None:
        nonlocal last
        now = time.monotonic()
        if phase != last[1] or now - last[0] >= LINE_EVERY_S:
            last = (now, phase)
            sys.stderr.write(f"{_PHASES[phase]}: {rows:,} rows, {part:.0%} of the file, {wrong:,} problems\n")

    return tell


def show_outcome(outcome: Outcome, out: Console, *, dry_run: bool, written: int, errors: Path | None) -> None:
    """What became of a file."""
    if outcome.earlier is not None:
        done = outcome.earlier
        at = done.ended_at and done.ended_at.astimezone(CHINA_STANDARD_TIME).strftime("%Y-%m-%d %H:%M")
        by = f" by {done.operator}" if done.operator else ""
        out.print(f"already imported on {at}{by} as import {done.id} ({done.name}); nothing done", markup=False)
        return
    if outcome.applied is not None:
        told = outcome.applied
        head = "dry run, nothing changed" if dry_run else f"import {outcome.import_id} is in force"
        counts = f"{told.new:,} new, {told.changed:,} changed, {told.unchanged:,} unchanged"
        out.print(f"{head}: {outcome.rows:,} rows, {counts}", markup=False, soft_wrap=True)
        return
    out.print(f"refused, nothing changed: {outcome.problem_count:,} problems in {outcome.rows:,} rows", markup=False)
    out.print(_problems([one.model_dump() for one in outcome.problems[:_PROBLEMS_SHOWN]]))
    if outcome.problem_count > _PROBLEMS_SHOWN:
        out.print(f"and {outcome.problem_count - _PROBLEMS_SHOWN:,} more", markup=False)
    said = (
        f"{written:,} problems with their rows are in {errors}" if errors else "--errors FILE.csv writes them to a file"
    )
    out.print(said, markup=False, soft_wrap=True)


def _problems(found: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("row", justify="right")
    for column in ("field", "code", "remedy"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(str(one["row"] or ""), one["field"], one["code"], one["remedy"])
    return table


def outcome_as_dict(outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    """For JSON; problems are the first thousand."""
    counts = outcome.applied
    state = "already_imported" if outcome.earlier else "refused" if outcome.problem_count else "done"
    return {
        "import": outcome.import_id,
        "state": "dry_run" if dry_run and state == "done" else state,
        "rows": outcome.rows,
        "new": counts.new if counts else 0,
        "changed": counts.changed if counts else 0,
        "unchanged": counts.unchanged if counts else 0,
        "problem_count": outcome.problem_count,
        "problems": [one.model_dump() for one in outcome.problems],
    }


def run_as_dict(run: ImportRun) -> dict[str, Any]:
    """One import for JSON."""
    return {name: getattr(run, name) for name in ImportRun.__dataclass_fields__}


def show_run(run: ImportRun, problems: Sequence[dict[str, Any]], out: Console) -> None:
    """One import for people."""
    out.print(f"[bold]Import {run.id}[/]  {run.kind} of {run.owner}, from {run.source} {run.name}")
    out.print(f"{_told(run)}; begun {_at(run)}{f' by {run.operator}' if run.operator else ''}", markup=False)
    if problems:
        out.print(_problems(problems[:_PROBLEMS_SHOWN]))
        if run.problem_count > _PROBLEMS_SHOWN:
            out.print(
                f"and {run.problem_count - _PROBLEMS_SHOWN:,} more; --json lists the first thousand", markup=False
            )


def _told(run: ImportRun) -> str:
    counts = f"{run.rows_new:,} new, {run.rows_changed:,} changed, {run.rows_unchanged:,} unchanged"
    return {
        "running": f"{_PHASES.get(run.phase, run.phase)}, {run.rows_read:,} rows so far",
        "done": f"in force: {run.rows_read:,} rows, {counts}",
        "refused": f"refused, nothing changed: {run.problem_count:,} problems in {run.rows_read:,} rows",
        "failed": f"failed while {_PHASES.get(run.phase, run.phase)}, after {run.rows_read:,} rows; nothing changed",
        "died": f"its process ended while {_PHASES.get(run.phase, run.phase)}, after {run.rows_read:,} rows; "
        "nothing changed, import the file again",
    }[run.state]


def _at(run: ImportRun) -> str:
    return run.started_at.astimezone(CHINA_STANDARD_TIME).strftime("%Y-%m-%d %H:%M:%S")


def table(runs: Sequence[ImportRun]) -> Table:
    """The list for people; moments in China Standard Time."""
    made = Table(box=None, pad_edge=False)
    made.add_column("id", justify="right")
    for column in ("begun", "kind", "owner", "from", "state"):
        made.add_column(column, no_wrap=True)
    for column in ("rows", "new", "changed", "problems"):
        made.add_column(column, justify="right")
    for run in runs:
        made.add_row(
            str(run.id), _at(run), run.kind, run.owner, f"{run.source} {run.name}", run.state, f"{run.rows_read:,}",
            f"{run.rows_new:,}", f"{run.rows_changed:,}", f"{run.problem_count:,}",
        )  # fmt: skip
    return made


def handled_line(handled: Handled) -> str:
    """What became of a dropped file, in one line."""
    name = f"{handled.party}/{handled.name}"
    if handled.why:
        return f"{name}: failed: {handled.why}"
    if handled.outcome is not None and handled.outcome.earlier is not None:
        return f"{name}: already imported as import {handled.outcome.import_id}"
    number = handled.outcome.import_id if handled.outcome else ""
    return f"{name}: in force as import {number}"


def handled_as_dict(handled: Handled) -> dict[str, Any]:
    """A dropped file for JSON."""
    outcome = handled.outcome
    return {
        "party": handled.party,
        "name": handled.name,
        "import": outcome.import_id if outcome else None,
        "problem_count": outcome.problem_count if outcome else 0,
        "why": handled.why,
    }
