"""Dead letters for people and for JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hub.cli.case_views import timeline_table
from hub.people.dead_letters import LetterView
from hub.people.forecast import Effect, Forecast
from hub.people.letters import facts_of
from hub.people.masking import difference, masked, plain
from hub.people.views import action_as_dict
from routing.days import CHINA_STANDARD_TIME
from store.actions import Action
from store.dead_letters import LetterGroup, StoredLetter

_SHORT = 40


def list_table(letters: Sequence[StoredLetter], now: datetime) -> Table:
    """The list for people."""
    table = Table(box=None, pad_edge=False)
    table.add_column("id", justify="right")
    for column in ("age", "party", "what", "cause", "owner", "message"):
        table.add_column(column, no_wrap=True)
    for one in letters:
        facts = facts_of(one)
        state = "" if one.state == "open" else f" ({one.state})"
        what = facts.what + (" (edited)" if one.edited_body is not None else "")
        table.add_row(
            str(one.id), _age(one.died_at, now), *map(escape, (facts.party or "?", what, one.cause + state,
            one.owner or "-", _short(one.message_id))),
        )  # fmt: skip
    return table


def group_table(groups: Sequence[LetterGroup], by: str, now: datetime) -> Table:
    """Groups for people, with a letter of each to look at."""
    table = Table(box=None, pad_edge=False)
    table.add_column(by, no_wrap=True)
    for column in ("letters", "unowned", "oldest", "newest"):
        table.add_column(column, justify="right")
    table.add_column("look at")
    for one in groups:
        table.add_row(
            escape(one.key or "-"), str(one.letters), str(one.unowned), _age(one.oldest_at, now),
            _age(one.newest_at, now), f"hub dlq show {one.example_id}",
        )  # fmt: skip
    return table


def forecast_table(letters: Sequence[StoredLetter], told: Sequence[Forecast]) -> Table:
    """What a replay would do, letter by letter."""
    table = Table(box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("what", no_wrap=True)
    table.add_column("effect", no_wrap=True)
    table.add_column("a replay now")
    for letter, one in zip(letters, told, strict=True):
        table.add_row(str(letter.id), escape(facts_of(letter).what), one.effect, escape(one.text.en))
    return table


def forecast_summary(told: Sequence[Forecast]) -> str:
    """How many of each kind."""
    counts = {effect: sum(one.effect is effect for one in told) for effect in Effect}
    return f"{_letters(len(told))}: " + ", ".join(f"{count} {effect}" for effect, count in counts.items() if count)


def show(view: LetterView, console: Console, *, reveal: bool, full: bool = False) -> None:
    """One letter for people: diagnosis first, then the message and its trail. `full`: long lists to their end."""
    letter, facts = view.letter, view.facts
    money = "money: a second person must approve" if facts.money else "no money"
    console.print(f"[bold]Letter {letter.id}[/]  {escape(facts.what)}  {escape(facts.party or '?')}  ({money})")
    console.print(f"{_state(letter)}; died {_moment(letter.died_at)} of [bold]{escape(letter.cause)}[/]")
    _diagnosis(view, console)
    _origin(view, console)
    _message(letter, console, reveal=reveal, full=full)
    _trail(view, console)


def _state(letter: StoredLetter) -> str:
    owner = f"with {letter.owner}" if letter.owner else "nobody looks after it"
    if letter.state == "open":
        return f"open, {owner}"
    at = _moment(letter.resolved_at) if letter.resolved_at else ""
    return escape(f"{letter.state} {at} by {letter.resolved_by}: {letter.resolution}")


def _diagnosis(view: LetterView, console: Console) -> None:
    found = view.diagnosis
    rows = [("what happened", found.happened), ("why", found.why), ("what to do", found.todo)]
    if view.letter.state == "open":
        rows += [("a replay now", view.forecast.text), ("is it safe", view.safety)]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in rows:
        table.add_row(name, f"{escape(text.en)}\n[dim]{escape(text.zh)}[/]")
    if view.letter.detail:
        table.add_row("detail", escape(view.letter.detail))
    console.print(table)


def _origin(view: LetterView, console: Console) -> None:
    letter = view.letter
    console.print(
        f"\n[bold]Came[/] through {escape(letter.exchange or '?')} as {escape(letter.routing_key)} into "
        f"{escape(letter.source_queue)}, delivery {letter.attempt}"
    )
    console.print(f"message id {letter.message_id or '(none)'}", markup=False)
    if letter.correlation_id:
        console.print(f"correlation {letter.correlation_id}", markup=False)
    if view.case_id:
        console.print(f"case {view.case_id}", markup=False)


def _message(letter: StoredLetter, console: Console, *, reveal: bool, full: bool) -> None:
    hidden = "" if reveal else "  (personal data hidden; --reveal shows it)"
    console.print(f"\n[bold]Message[/], {len(letter.body)} bytes{hidden}")
    console.print(plain(letter.body) if reveal else masked(letter.body, entries_max=0 if full else 1), markup=False)
    if letter.edited_body is not None:
        console.print("\n[bold]Edited[/]: a replay sends this")
        console.print(difference(letter.body, letter.edited_body, hidden=not reveal), markup=False)


def _trail(view: LetterView, console: Console) -> None:
    if view.timeline:
        console.print()
        console.print(timeline_table(view.timeline, f"Case {view.case_id}"))
    if view.replay_of:
        console.print(f"\nIt is itself a replay: hub dlq show {view.replay_of}")
    for one in view.replays:
        console.print(f"\nIts replay died too: hub dlq show {one.id} ({escape(one.cause)}, {one.state})")
    if view.actions:
        console.print("\n[bold]Operators[/]")
        for action in view.actions:
            console.print(f"  {action_line(action)}", markup=False)


def action_line(action: Action) -> str:
    """One action in one line."""
    second = f", {action.decided_by}" if action.decided_by else ""
    reason = f": {action.reason}" if action.reason else ""
    outcome = f" [{action.outcome}]" if action.outcome not in ("", "done") else ""
    return (
        f"{_moment(action.requested_at)}  {action.id}  {action.kind}  {action.state}  {action.requested_by}{second}"
        f"{reason}{outcome}"
    )


def show_acted(made: Sequence[Action], left: Sequence[str], console: Console) -> None:
    """What became of a replay or a discard."""
    for action in made:
        if action.state == "requested":
            waits = f"action {action.id} waits for a second person ({_letters(len(action.detail['letters']))})"
            console.print(f"{waits}: hub action approve {action.id} --by …")
        else:
            console.print(action.outcome, markup=False)
    for text in left:
        console.print(f"left {text}", markup=False)


@contextlib.contextmanager
def progress(what: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while many letters are on their way; the function moves it forward."""
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True, disable=not shown or total < 2)
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def acted_as_dict(made: Sequence[Action], left: Sequence[str]) -> dict[str, Any]:
    """What became of a replay or a discard, for JSON."""
    return {"actions": [action_as_dict(one) for one in made], "left": list(left)}


def _moment(at: datetime) -> str:
    return at.astimezone(CHINA_STANDARD_TIME).strftime("%m-%d %H:%M:%S")


def _age(at: datetime, now: datetime) -> str:
    age = max(now - at.astimezone(UTC), timedelta())
    if age >= timedelta(days=1):
        return f"{age.days}d"
    minutes, seconds = divmod(int(age.total_seconds()), 60)
    return f"{minutes // 60}h{minutes % 60:02}m" if minutes >= 60 else f"{minutes}m" if minutes else f"{seconds}s"


def _letters(count: int) -> str:
    return "1 letter" if count == 1 else f"{count} letters"


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"
