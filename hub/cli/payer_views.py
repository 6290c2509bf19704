"""Payers for people and for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from hub.payer_control import ALIVE
from store import doubts, payers
from store.payers import EVERYBODY, Health, Switch

_COUNTED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class View:
    """One payer: what the processes that call it say, its switch, and how much is open with it."""

    code: str
    processes: tuple[Health, ...]
    switch: Switch | None
    everybody: Switch | None
    in_doubt: int
    need_people: int

    @property
    def stopped(self) -> Switch | None:
        """The switch that keeps calls from it."""
        return next((one for one in (self.everybody, self.switch) if one is not None and one.stopped), None)

    @property
    def breaker(self) -> str:
        """The worst that any process sees."""
        states = {one.breaker for one in self.processes}
        return next((state for state in ("open", "half_open", "closed") if state in states), "no process calls it")


def read(connection: Connection, codes: Sequence[str]) -> list[View]:
    """These payers."""
    health = payers.health(connection, datetime.now(UTC) - ALIVE)
    switches = {one.party: one for one in payers.switches(connection)}
    open_doubts = doubts.listed(connection, limit=_COUNTED_MAX)
    in_doubt = Counter(one.payer for one in open_doubts)
    people = Counter(one.payer for one in open_doubts if not one.resolves_itself)
    return [
        View(
            code,
            tuple(one for one in health if one.party == code),
            switches.get(code),
            switches.get(EVERYBODY),
            in_doubt[code],
            people[code],
        )
        for code in codes
    ]


def show(views: Sequence[View], console: Console, *, each_process: bool) -> None:
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
            console.print(
                f"  {one.party} in {one.process}: breaker {one.breaker} since {one.since:%m-%d %H:%M:%S}, "
                f"{one.failures} failures in a row, {one.retries_held} repeats put off, "
                f"heard {one.updated_at:%H:%M:%S}",
                markup=False,
            )
    for view in views:
        for step in _next_steps(view):
            console.print(step, markup=False, soft_wrap=True)


def _next_steps(view: View) -> Iterator[str]:
    """The commands for what is open with this payer."""
    if not view.processes:
        yield f"{view.code} is called by no process: start one with hub run, or hub run --role adapters"
    if view.stopped is not None:
        code = "all" if view.stopped.party == EVERYBODY else view.code
        yield f"{view.code} is stopped: hub payer resume {code} --reason WHY --by YOU"
    if view.need_people:
        shown = f"hub doubt list --needs-people --payer {view.code}"
        yield f"{view.code} has {view.need_people} parts that need you: {shown}"


def as_dict(view: View) -> dict[str, Any]:
    """For JSON."""
    stopped = view.stopped
    return {
        "payer": view.code,
        "breaker": view.breaker,
        "stopped": asdict(stopped) if stopped else None,
        "in_doubt": view.in_doubt,
        "need_people": view.need_people,
        "processes": [asdict(one) for one in view.processes],
    }
