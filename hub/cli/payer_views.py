"""Payers for people and for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from hub.people.standing import PayerView
from routing.days import CHINA_STANDARD_TIME
from store.payers import EVERYBODY


def show(views: Sequence[PayerView], console: Console, *, each_process: bool) -> None:
    """As a table; with `each_process` what every process says of it as well."""
    table = Table(box=None)
    for name in ("payer", "breaker", "switch", "in doubt", "need people", "last error"):
        table.add_column(name, justify="right" if name in ("in doubt", "need people") else "left", overflow="fold")
    for view in views:
        worst = max(view.processes, key=lambda one: one.failures, default=None)
        stopped = view.stopped
        table.add_row(
            view.code,
            view.breaker.replace("_", "-"),
            f"stopped by {stopped.changed_by}: {stopped.reason}" if stopped else "on",
            str(view.in_doubt),
            str(view.need_people),
            worst.last_error if worst is not None and worst.failures else "",
        )
    console.print(table)
    if each_process:
        for one in (health for view in views for health in view.processes):
            since, heard = (at.astimezone(CHINA_STANDARD_TIME) for at in (one.since, one.updated_at))
            console.print(
                f"  {one.party} in {one.process}: breaker {one.breaker} since {since:%m-%d %H:%M:%S}, "
                f"{one.failures} failures in a row, {one.retries_held} repeats put off, "
                f"heard {heard:%H:%M:%S}",
                markup=False,
            )
    for view in views:
        for step in _next_steps(view):
            console.print(step, markup=False, soft_wrap=True)


def _next_steps(view: PayerView) -> Iterator[str]:
    """The commands for what is open with this payer."""
    if not view.processes:
        yield f"{view.code} is called by no process: start one with hub run, or hub run --role adapters"
    if view.stopped is not None:
        code = "all" if view.stopped.party == EVERYBODY else view.code
        yield f"{view.code} is stopped: hub payer resume {code} --reason WHY --by YOU"
    if view.need_people:
        shown = f"hub doubt list --needs-people --payer {view.code}"
        yield f"{view.code} has {view.need_people} parts that need you: {shown}"
