"""All commands by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from hub.cli import (
    action,
    case,
    certify,
    coverage,
    database,
    demo,
    dlq,
    docs,
    doubt,
    exchange,
    fund,
    imports,
    incident,
    ledger,
    operator,
    party,
    payer,
    recon,
    rules,
    run,
    sandbox,
    send,
    simulate,
    staging,
    topology,
    verify,
    visit,
)
from hub.cli.common import fail


class HubGroup(TyperGroup):
    """The root of the commands: errors that can be expected become one line and an exit code, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, TyperException):
            raise  # no failure of ours to explain, and explaining loads every library that can fail
        except Exception as error:
            from hub.cli.failures import explain

            explained = explain(error)
            if explained is None:
                raise
            fail(explained.text, explained.exit_code)


app = typer.Typer(
    name="hub",
    cls=HubGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="One-stop settlement: one bill, every payer, one answer.\n\n"
    "Settings are variables HUB_… of the environment or of a file .env here; docs/how-to/operations.md lists them. "
    "Exit codes: 0 done, 1 the answer is no or something is not reachable, 2 wrong usage or settings.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("settlement-hub"))
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None: ...


demo.register(app)
run.register(app)
send.register(app)
case.register(app)
dlq.register(app)
action.register(app)
incident.register(app)
doubt.register(app)
visit.register(app)
payer.register(app)
verify.register(app)
rules.register(app)
ledger.register(app)
fund.register(app)
recon.register(app)
topology.register(app)
database.register(app)
coverage.register(app)
imports.register(app)
staging.register(app)
exchange.register(app)
party.register(app)
certify.register(app)
operator.register(app)
sandbox.register(app)
simulate.register(app)
docs.register(app)
