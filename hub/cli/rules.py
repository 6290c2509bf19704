"""`hub rules`: rule books are reviewed files, stored as versions, activated at a moment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, open_database, settings, show_json

if TYPE_CHECKING:
    from routing.rulebook import Institution, Party, RuleBook
    from store.rulebooks import StoredRuleBook

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A rule book in YAML.")]
SHOWN_MAX = 30


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Rule books: who pays, in which order, from when.")
    group.command("check")(check)
    group.command("diff")(diff)
    group.command("activate")(activate)
    group.command("show")(show)
    app.add_typer(group, name="rules")


def check(file: File, as_json: AsJson = False) -> None:
    """Read a rule book and name everything that is wrong with it, with line, field and remedy. Needs no database.

    Example: hub rules check rules.yaml
    """
    from hub.rulebook_check import read_checked
    from routing.rulebook_file import InvalidRuleBook

    try:
        book = read_checked(_content(file))
    except InvalidRuleBook as error:
        if as_json:
            complaints = [{"line": one.line, "field": one.field, "remedy": one.remedy} for one in error.complaints]
            show_json({"ok": False, "complaints": complaints})
        else:
            for one in error.complaints:
                typer.echo(f"{file}:{one.line}: {one.field}: {one.remedy}", err=True)
        raise typer.Exit(NEGATIVE) from None
    if as_json:
        show_json({"ok": True, **_counts(book)})
    else:
        console().print(f"{file} is good: {_in_words(book)}", markup=False)


def diff(
    file: File,
    cases: Annotated[
        int, typer.Option(min=0, max=100_000, help="Also plan the last so many stored cases with both, and compare.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Show what a file would change against the rule book in force; with --cases, whose plans would differ.

    Example: hub rules diff rules.yaml --cases 1000
    """
    from hub.cli.past_cases import last_cases
    from hub.rulebook_check import changes, plan_differences, read_checked
    from routing.rulebook_file import read_rule_book

    new = read_checked(_content(file))
    given = settings()
    with open_database(given) as engine:
        stored = _active(engine)
        old = None if stored is None else read_rule_book(stored.content)
        past = last_cases(engine, given, cases) if cases and old else []
    found = changes(old, new)
    plans = plan_differences(old, new, past) if old else []
    if as_json:
        show_json({
            "active_version": stored and stored.version,
            "changes": [{"kind": one.kind, "what": one.what, "name": one.name, "fields": one.fields} for one in found],
            "cases_planned": len(past),
            "plans": [{"case_id": one.case_id, "institution": one.institution, "settlement_no": one.settlement_no,
                       "before": one.before, "after": one.after} for one in plans],
        })  # fmt: skip
        return
    against = f"version {stored.version}, {stored.title}" if stored else "nothing: no rule book is in force"
    _show_diff(found, f"{file} against {against}")
    if cases:
        _show_plans(plans, len(past))


def activate(
    file: File,
    at: Annotated[str, typer.Option(help="From then on, such as 2026-10-01T00:00+08:00; at once if empty.")] = "",
    as_json: AsJson = False,
) -> None:
    """Store a rule book as a version and put it in force. Activating an older file again is the way back.

    Running processes look for it every two seconds. With other parties, addresses or queues it waits for their restart,
    and with RabbitMQ for `hub topology apply` before that.

    Example: hub rules activate rules.yaml --at 2026-10-01T00:00+08:00
    """
    from hub.rulebook_check import needs_restart, read_checked
    from routing.rulebook_file import read_rule_book
    from store import rulebooks

    content = _content(file)
    book = read_checked(content)
    now = datetime.now(UTC)
    moment = _moment(at) if at else now
    with open_database(settings()) as engine:
        before = _active(engine)
        with engine.begin() as connection:
            version = rulebooks.add(connection, book.title, content)
            in_force = before is not None and before.version == version and not at
            if not in_force:
                rulebooks.activate(connection, version, moment)
    restart = before is not None and needs_restart(read_rule_book(before.content), book)
    if as_json:
        show_json({"version": version, "title": book.title, "already_in_force": in_force,
                   "active_from": None if in_force else moment.isoformat(), "restart_needed": restart})  # fmt: skip
        return
    when = "in force already" if in_force else f"in force from {moment.isoformat(timespec='seconds')}"
    console().print(f"version {version}, {book.title}: {_in_words(book)}; {when}", markup=False)
    if restart:
        console().print(
            "other parties or queues: run `hub topology apply` (with RabbitMQ), then restart the hub's processes; "
            "until then they go on with the version they have"
        )


def show(
    version: Annotated[int, typer.Option(min=0, help="Another version than the one in force.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show the rule book in force, or another version, as it was given; with --json its facts.

    Example: hub rules show > rules.yaml
    """
    from routing.rulebook_file import read_rule_book
    from store import rulebooks

    with open_database(settings()) as engine, engine.connect() as connection:
        stored = rulebooks.by_version(connection, version) if version else _active(engine)
    if stored is None:
        fail(f"there is no version {version}" if version else "no rule book is in force: `hub rules activate FILE`")
    if not as_json:
        typer.echo(stored.content, nl=not stored.content.endswith("\n"))
        return
    book = read_rule_book(stored.content)
    show_json({"version": stored.version, "title": stored.title, "sha256": stored.sha256,
               "created_at": stored.created_at.isoformat(),
               "active_from": stored.active_from and stored.active_from.isoformat(),
               **_counts(book), "links": _links(book)})  # fmt: skip


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        fail(f"FILE: {file} is not UTF-8", USAGE)


def _active(engine: Any) -> StoredRuleBook | None:
    from store import rulebooks

    with engine.connect() as connection:
        return rulebooks.active(connection, datetime.now(UTC))


def _moment(at: str) -> datetime:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        fail("--at: write a moment such as 2026-10-01T00:00+08:00", USAGE)
    if moment.tzinfo is None:
        fail("--at: add the time zone, such as +08:00", USAGE)
    return moment


def _counts(book: RuleBook) -> dict[str, int]:
    counts = {"parties": len(book.parties), "institutions": len(book.institutions), "rules": len(book.rules)}
    return counts | ({"products": len(book.products)} if book.products else {})


def _links(book: RuleBook) -> dict[str, str]:
    """Who is met otherwise than directly, and how."""
    everybody: list[Institution | Party] = [*book.institutions, *book.parties]
    return {one.code: one.link for one in everybody if one.link != "realtime"}


def _in_words(book: RuleBook) -> str:
    counted = ", ".join(f"{count} {what}" for what, count in _counts(book).items())
    links = "; ".join(f"{code} by {link}" for code, link in _links(book).items())
    return f"{counted} ({links})" if links else counted


def _show_diff(found: list[Any], title: str) -> None:
    console().print(title, markup=False)
    for one in found:
        fields = f" ({', '.join(one.fields)})" if one.fields else ""
        console().print(f"  {one.kind} {one.what} {one.name}{fields}", markup=False)
    if not found:
        console().print("  no difference")


def _show_plans(plans: list[Any], planned: int) -> None:
    console().print(f"{planned} stored cases planned with both: {len(plans)} would differ")
    for one in plans[:SHOWN_MAX]:
        console().print(f"  {one.institution}/{one.settlement_no}", markup=False)
        console().print(f"    now:  {one.before}\n    then: {one.after}", markup=False)
    if len(plans) > SHOWN_MAX:
        console().print(f"  ... and {len(plans) - SHOWN_MAX} more (--json shows all)")
