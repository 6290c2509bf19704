"""`hub dlq`: dead letters, from finding them to their end. Personal data is shown only when asked for and noted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, show_json
from hub.cli.office import By, Reason, operator, the_office

if TYPE_CHECKING:
    from hub.people.office import Office
    from store.actions import Action
    from store.dead_letters import LetterFilter, StoredLetter

_AGO = re.compile(r"(\d{1,5})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_STATES = ("open", "replayed", "discarded", "all")
LETTERS_AT_ONCE = 100

LetterId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The letter's number.")]
LetterIds = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="The letters' numbers.")]
Cause = Annotated[str, typer.Option(help="Only letters of this cause.")]
QueueName = Annotated[str, typer.Option("--queue", help="Only letters that died in this queue.")]
TypeName = Annotated[str, typer.Option("--type", help="Only this transaction or message type.")]
Owner = Annotated[str, typer.Option(help="Only this operator's letters; - for nobody's.")]
OlderThan = Annotated[str, typer.Option(help="Only letters that died longer ago: 30m, 6h, 2d.")]
MessageId = Annotated[str, typer.Option("--message", help="Only letters with this message id.")]
All = Annotated[bool, typer.Option("--all", help="All open letters that the options let through.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen to each.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Dead letters: messages that nobody could handle.")
    for command in (list_, groups, show, take, edit, replay, discard):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="dlq")


def list_(
    cause: Cause = "",
    queue: QueueName = "",
    type_: TypeName = "",
    owner: Owner = "",
    older_than: OlderThan = "",
    message: MessageId = "",
    state: Annotated[str, typer.Option(help="open, replayed, discarded or all.")] = "open",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the oldest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the oldest first.

    Example: hub dlq list --cause hub.bug --owner -
    """
    from hub.cli import dlq_views
    from hub.people import views

    wanted = _filter(cause, queue, type_, owner, older_than, message, state)
    with the_office() as office:
        found, total = office.dead_letters.listed(wanted, limit=limit), office.dead_letters.count(wanted)
    if as_json:
        show_json({"letters": [views.listed_as_dict(one) for one in found], "total": total})
        return
    console().print(dlq_views.list_table(found, datetime.now(UTC)) if found else "No such dead letters.")
    if total > len(found):
        console().print(f"{total - len(found)} more: use --limit, or hub dlq groups")


def groups(
    by: Annotated[str, typer.Option(help="cause, owner, age, queue or type.")] = "cause",
    cause: Cause = "",
    queue: QueueName = "",
    type_: TypeName = "",
    owner: Owner = "",
    older_than: OlderThan = "",
    as_json: AsJson = False,
) -> None:
    """Count open dead letters by what they have in common, the largest group first.

    Example: hub dlq groups --by owner
    """
    from hub.cli import dlq_views
    from hub.people import views

    wanted = _filter(cause, queue, type_, owner, older_than, "", "open")
    with the_office() as office:
        found = office.dead_letters.groups(wanted, by)
    if as_json:
        show_json({"by": by, "groups": [views.group_as_dict(one) for one in found]})
    else:
        console().print(dlq_views.group_table(found, by, datetime.now(UTC)) if found else "No open dead letters.")


def show(
    letter: LetterId,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show personal data too; needs --by and --reason.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Long lists of the message to their end.")] = False,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Show one letter: what happened and what to do, what a replay would do, the message, and its trail.

    Example: hub dlq show 12
    """
    from hub.cli import dlq_views
    from hub.people import views

    with the_office() as office:
        if reveal:
            office.dead_letters.reveal(letter, _reason(reason), operator(by))
        view = office.dead_letters.show(letter)
    if as_json:
        show_json(views.as_dict(view, reveal=reveal))
    else:
        dlq_views.show(view, console(), reveal=reveal, full=full)


def take(
    letters: Annotated[list[int], typer.Argument(metavar="ID...", help="The letters' numbers.")],
    to: Annotated[str, typer.Option(help="Somebody else shall look after them; - for nobody.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Look after letters: others see whose they are.

    Example: hub dlq take 12 13 --by li
    """
    owner = {"": None, "-": ""}.get(to, to)
    with the_office() as office:
        taken = office.dead_letters.take(letters, operator(by), owner=owner)
    if as_json:
        show_json({"taken": taken})
    elif taken:
        console().print(f"{taken} now with {by if owner is None else owner or 'nobody'}")
    if not taken:
        fail("none of them is open any more: see `hub dlq list --state all`")


def edit(
    letter: LetterId,
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, readable=True, help="The new body.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to the body as it came.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the body to this file to edit it; holds personal data.", dir_okay=False)
    ] = None,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Set what a replay will send, and show the difference. Nothing is sent: replay it afterwards.

    Example: hub dlq edit 12 --file mended.json --reason "total corrected, agreed with the hospital" --by li
    """
    from hub.people.masking import plain

    if [file is not None, undo, out is not None].count(True) != 1:
        fail("name one of --file, --undo, --out", USAGE)
    if out is not None and out.exists():
        fail(f"--out: {out} exists already", USAGE)
    with the_office() as office:
        if out is not None:
            given = office.dead_letters.reveal(letter, _reason(reason), operator(by))
            _write_new(out, plain(given.to_send))
            difference = ""
        else:
            body = file.read_bytes() if file is not None else None
            difference = office.dead_letters.edit(letter, body, _reason(reason), operator(by))
    if as_json:
        show_json({"letter": letter, "difference": difference, "written": out and str(out)})
    elif out is not None:
        console().print(f"written to {out}; then: hub dlq edit {letter} --file {out}", markup=False)
    else:
        console().print(difference or "Nothing differs from the body as it came.", markup=False)


def replay(
    letters: LetterIds = None,
    all_: All = False,
    cause: Cause = "",
    queue: QueueName = "",
    type_: TypeName = "",
    owner: Owner = "",
    older_than: OlderThan = "",
    dry_run: DryRun = False,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Send letters again, as the messages they were. With money in it, a second person must approve.

    Name letters, or filter them, or take --all. What cannot be replayed is left and named; of what was not named by
    number, also what would only be refused again.

    Example: hub dlq replay --cause hub.bug --dry-run
    """
    wanted = _selection(letters, all_, _filter(cause, queue, type_, owner, older_than, "", "open"))
    with the_office() as office:
        found = _found(office, letters, wanted)
        if dry_run:
            _foretell(office, found, as_json=as_json)
            return
        reason, by = _reason(reason), operator(by)
        useful, left = _useful(office, found, named=bool(letters))
        _act(office, "replay", useful, reason, by, left, as_json=as_json)


def discard(
    letters: LetterIds = None,
    all_: All = False,
    cause: Cause = "",
    queue: QueueName = "",
    type_: TypeName = "",
    owner: Owner = "",
    older_than: OlderThan = "",
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Set letters aside for good; the rows stay. With money in it, a second person must approve.

    Example: hub dlq discard 12 --reason "sent again by the hospital as M-88" --by li
    """
    wanted = _selection(letters, all_, _filter(cause, queue, type_, owner, older_than, "", "open"))
    with the_office() as office:
        found = _found(office, letters, wanted)
        _act(office, "discard", found, _reason(reason), operator(by), [], as_json=as_json)


def _reason(reason: str) -> str:
    return reason.strip() or fail("--reason: say why, in one line", USAGE)


def _filter(cause: str, queue: str, type_: str, owner: str, older_than: str, message: str, state: str) -> LetterFilter:
    from store.dead_letters import LetterFilter

    if state not in _STATES:
        fail(f"--state: one of {', '.join(_STATES)}", USAGE)
    ago = _AGO.fullmatch(older_than)
    if older_than and not ago:
        fail("--older-than: write 30m, 6h or 2d", USAGE)
    died_before = datetime.now(UTC) - int(ago[1]) * _UNITS[ago[2]] if ago else None
    return LetterFilter("" if state == "all" else state, cause, queue, type_, owner, message, died_before)


def _selection(letters: Sequence[int] | None, all_: bool, wanted: LetterFilter) -> LetterFilter:
    from store.dead_letters import LetterFilter

    filtered = wanted != LetterFilter()
    if letters and (all_ or filtered):
        fail("name letters, or filter them: not both", USAGE)
    if not letters and not all_ and not filtered:
        fail("name letters, or filter them (see --help), or take --all", USAGE)
    return wanted


def _found(office: Office, letters: Sequence[int] | None, wanted: LetterFilter) -> list[StoredLetter]:
    if letters:
        return [office.dead_letters.get(one) for one in dict.fromkeys(letters)]
    found: list[StoredLetter] = []
    while page := office.dead_letters.listed(wanted, limit=500, after=found[-1].id if found else 0):
        found += page
    return found or fail("no open letters are like that")


def _foretell(office: Office, found: Sequence[StoredLetter], *, as_json: bool) -> None:
    from hub.cli import dlq_views
    from hub.people import views

    told = office.dead_letters.forecasts(found)
    if as_json:
        show_json({"forecasts": [views.forecast_as_dict(one) for one in told]})
    else:
        console().print(dlq_views.forecast_table(found, told))
        console().print(dlq_views.forecast_summary(told))


def _useful(office: Office, found: Sequence[StoredLetter], *, named: bool) -> tuple[list[StoredLetter], list[str]]:
    from hub.people.forecast import Effect

    useless = {Effect.BLOCKED} if named else {Effect.BLOCKED, Effect.REFUSED}
    told = office.dead_letters.forecasts(found)
    left = [f"{one.letter_id}: {one.text.en}" for one in told if one.effect in useless]
    return [letter for letter, one in zip(found, told, strict=True) if one.effect not in useless], left


def _act(
    office: Office, what: str, found: Sequence[StoredLetter], reason: str, by: str, left: list[str], *, as_json: bool
) -> None:
    """Replay or discard in parts, so that one sees it go on; what cannot be done is said and the rest goes on."""
    from hub.cli import dlq_views
    from hub.people.dead_letters import AT_ONCE_MAX, in_parts
    from schemas.errors import Conflict

    ask = office.dead_letters.replay if what == "replay" else office.dead_letters.discard
    made: list[Action] = []
    with dlq_views.progress(what, len(found), shown=not as_json) as forward:
        for part in in_parts(found, LETTERS_AT_ONCE, AT_ONCE_MAX):
            try:
                made.append(ask(part, reason, by))
            except Conflict as error:
                left.append(error.message)
            forward(len(part))
    if as_json:
        show_json(dlq_views.acted_as_dict(made, left))
    else:
        dlq_views.show_acted(made, left, console())
    if not made:
        raise typer.Exit(NEGATIVE)


def _write_new(path: Path, text: str) -> None:
    """A file that only its owner reads; one that is there is left alone."""
    import os

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        fail(f"--out: {path}: {error.strerror}", USAGE)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
