"""`hub send`: a hospital's message by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, settings, show_json

if TYPE_CHECKING:
    from hub.cli.sending import Message

File = Annotated[str, typer.Argument(metavar="FILE|-", help="The message as JSON; - reads standard input.")]
TransactionName = Annotated[
    str, typer.Option("--transaction", "-t", help="settlement.settle, .trial, .cancel or case.query; guessed if empty.")
]
PartyCode = Annotated[str, typer.Option("--party", help="Who speaks; the message's institution if empty.")]
Key = Annotated[str, typer.Option(help="Message id; from the message's own numbers if empty, so that a repeat is one.")]
Url = Annotated[str, typer.Option(help="The hub's HTTP address; from HUB_HTTP_HOST and HUB_HTTP_PORT if empty.")]
Token = Annotated[str, typer.Option(envvar="HUB_PARTY_TOKEN", help="Bearer token; made from the settings if empty.")]
Wait = Annotated[float, typer.Option(min=0, max=60, help="Seconds to wait for the answer.")]
Amqp = Annotated[bool, typer.Option("--amqp", help="Publish to RabbitMQ (in.PARTY) and read the reply (out.PARTY).")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("send", short_help="Send a message as a hospital would, and show the answer.")(send)


def send(
    file: File,
    transaction: TransactionName = "",
    party: PartyCode = "",
    key: Key = "",
    url: Url = "",
    token: Token = "",
    wait: Wait = 20.0,
    amqp: Amqp = False,
    as_json: AsJson = False,
) -> None:
    """Send a canonical message and show the answer; of a settlement each payer's part, the reason, the next step, and
    the cash.

    Exit code 0 when there is an answer, 1 when the hub refuses, declines or has no answer yet.

    Example: hub send settle.json        Example: hub send cancel.json --amqp --json
    """
    from hub.cli.sending import Refused, by_amqp, by_http, message_of

    try:
        message = message_of(_read(file), transaction, party, key)
        answer = by_amqp(message, settings(), wait) if amqp else by_http(message, settings(), url, token, wait)
    except Refused as refused:
        if refused.problem is None:
            fail(str(refused), USAGE if refused.usage else NEGATIVE)
        _show_problem(refused.problem, as_json)
        raise typer.Exit(NEGATIVE) from None
    _show(message, answer, as_json)
    if answer.get("status") in ("declined", "processing"):
        raise typer.Exit(NEGATIVE)


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        fail(f"FILE: {file} cannot be read: {error.strerror}", USAGE)


def _show(message: Message, answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    from hub.cli.answer_view import show_answer, show_fields

    if "shares" in answer:
        show_answer(answer, console(), repeated=message.repeated)
    else:
        show_fields(answer, console(), repeated=message.repeated)


def _show_problem(problem: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(problem)
        return
    from hub.cli.answer_view import problem_lines

    for line in problem_lines(problem):
        typer.echo(line, err=True)
