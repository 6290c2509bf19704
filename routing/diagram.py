"""docs/states.md, drawn from the tables of `routing.states`: `python -m routing.diagram` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from routing.states import AWAITING_PAYER, AWAITING_PEOPLE, CASE_TRANSITIONS, LEG_TRANSITIONS, CaseState, LegState

PAGE = Path(__file__).parents[1] / "docs" / "states.md"
Table = Mapping[Any, Mapping[Any, Any]]

_HEAD = """# States

Written by `python -m routing.diagram` from `routing/states.py`; a test keeps both the same. No other line of the
program decides a state: an event that a table does not know for a state is refused as a bug.
"""
_LEG_HEAD = """
## A leg: one payer's part of a case

`in_doubt` means that the payer may have been heard and no usable answer came: what became of the request is found out
under its own id, or it is undone (`reversing`); it is never sent under a new one.
{payer} wait for the payer. {people} wait for people.
"""
_CASE_HEAD = """
## A case: one settlement of one visit
"""


def page() -> str:
    """The whole page."""
    payer, people = _named(AWAITING_PAYER), _named(AWAITING_PEOPLE)
    legs = [*_diagram(LEG_TRANSITIONS, LegState.PLANNED), *_rows(LEG_TRANSITIONS)]
    cases = [*_diagram(CASE_TRANSITIONS, CaseState.OPEN), *_rows(CASE_TRANSITIONS)]
    parts = [_HEAD, _LEG_HEAD.format(payer=payer, people=people), *legs, _CASE_HEAD, *cases]
    return "\n".join(parts) + "\n"


def _named(states: frozenset[LegState]) -> str:
    return ", ".join(f"`{state.value}`" for state in LegState if state in states)


def _diagram(table: Table, first: StrEnum) -> Iterator[str]:
    """Mermaid; events with the same beginning and end share an arrow."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {first.value}"
    for state, moves in table.items():
        by_target: dict[StrEnum, list[str]] = {}
        for event, target in moves.items():
            by_target.setdefault(target, []).append(event.value)
        for target, events in by_target.items():
            yield f"    {state.value} --> {target.value}: {', '.join(events)}"
        if not moves:
            yield f"    {state.value} --> [*]"
    yield "```"


def _rows(table: Table) -> Iterator[str]:
    yield ""
    yield "| in state | on event | goes to |"
    yield "|---|---|---|"
    for state, moves in table.items():
        for event, target in moves.items():
            yield f"| {state.value} | {event.value} | {target.value} |"
        if not moves:
            yield f"| {state.value} | (the end) | |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
