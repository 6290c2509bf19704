"""Operators' actions for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hub.cli.dlq_views import action_line, forecast_summary, forecast_table
from hub.people.masking import difference
from hub.people.office import Office
from routing.days import CHINA_STANDARD_TIME
from store.actions import Action
from store.dead_letters import StoredLetter

_LETTERS_SHOWN = 20
LEG = "leg/"
REMEDIES = "recon.apply"
Told = tuple[list[StoredLetter], Table | None, str]


def table(actions: Sequence[Action]) -> Table:
    """The list for people."""
    made = Table(box=None, pad_edge=False)
    made.add_column("id", justify="right")
    for column in ("asked", "kind", "subject", "by", "state"):
        made.add_column(column, no_wrap=True)
    made.add_column("reason")
    for one in actions:
        asked = one.requested_at.astimezone(CHINA_STANDARD_TIME).strftime("%m-%d %H:%M")
        second = f" {one.decided_by}" if one.decided_by else ""
        made.add_row(str(one.id), asked, one.kind, escape(one.subject), one.requested_by, one.state + second,
                     escape(one.reason))  # fmt: skip
    return made


def letters_of(office: Office, action: Action) -> Told:
    """The dead letters that an action is about, and what their replay would do now."""
    ids = action.detail.get("letters")
    if not isinstance(ids, list):
        return [], None, ""
    letters = [office.dead_letters.get(one) for one in ids]
    if action.kind != "dlq.replay" or action.state != "requested":
        return letters, None, ""
    told = office.dead_letters.forecasts(letters)
    return letters, forecast_table(letters[:_LETTERS_SHOWN], told[:_LETTERS_SHOWN]), forecast_summary(told)


def show(action: Action, told: Told, console: Console) -> None:
    """One action for people; for dead letters with what they would do and how they were edited."""
    letters, forecasts, summary = told
    console.print(f"[bold]Action {action.id}[/]  {action.kind}  {escape(action.subject)}")
    console.print(action_line(action), markup=False)
    if action.kind == REMEDIES:
        _show_remedies(action, console)
    elif letters:
        console.print(f"letters: {_some([letter.id for letter in letters])}")
    elif action.detail:
        console.print(orjson.dumps(dict(action.detail), option=orjson.OPT_INDENT_2).decode(), markup=False)
    if action.subject.startswith(LEG):
        console.print(f"about: hub doubt show {action.subject.removeprefix(LEG)}", markup=False, soft_wrap=True)
    if forecasts is not None:
        console.print(forecasts)
        console.print(summary)
    for letter in letters[:_LETTERS_SHOWN]:
        if letter.edited_body is not None:
            console.print(f"\n[bold]Letter {letter.id} was edited[/]  (personal data hidden)")
            console.print(difference(letter.body, letter.edited_body), markup=False)
    if action.state == "requested":
        console.print(
            f"\nWaits for somebody other than {action.requested_by}: hub action approve {action.id} --by YOU, "
            f"or hub action reject {action.id} --reason WHY --by YOU",
            soft_wrap=True,
        )


def _show_remedies(action: Action, console: Console) -> None:
    """What is to be done about how many breaks, and about the first of them each."""
    decided = [(number, remedy, note) for number, remedy, note in action.detail["remedies"]]
    counted = Counter(remedy for _, remedy, _ in decided)
    told = ", ".join(f"{count} {remedy}" for remedy, count in counted.items())
    console.print(f"run {action.detail['run']}: {told}; hub recon breaks --run {action.detail['run']}", markup=False)
    for number, remedy, note in decided[:_LETTERS_SHOWN]:
        console.print(f"  break {number}: {remedy}{f' ({note})' if note else ''}", markup=False)
    if len(decided) > _LETTERS_SHOWN:
        console.print(f"  and {len(decided) - _LETTERS_SHOWN} more")


def _some(ids: Sequence[int]) -> str:
    shown = ", ".join(str(one) for one in ids[:_LETTERS_SHOWN])
    more = len(ids) - _LETTERS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
