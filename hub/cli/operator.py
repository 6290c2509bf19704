"""`hub operator`: what an operator needs to speak to the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli.common import USAGE, AsJson, fail, settings, show_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Operators: the people who look after the hub.")
    group.command("token")(token)
    app.add_typer(group, name="operator")


def token(
    name: Annotated[str, typer.Argument(help="The operator's name: small letters, such as li.")],
    as_json: AsJson = False,
) -> None:
    """Print the bearer token with which an operator authenticates over HTTP.

    It is derived from HUB_OPERATOR_TOKEN_SECRET; a new secret makes all tokens invalid.

    Example: curl -H "Authorization: Bearer $(hub operator token li)" …
    """
    from hub.gateway.identity import operator_token
    from hub.people.operators import is_operator

    if not is_operator(name):
        fail("NAME: 2 to 32 small letters, digits and _ -, a letter first", USAGE)
    secret = settings().operator_token_secret.get_secret_value()
    if not secret:
        fail("HUB_OPERATOR_TOKEN_SECRET: must be set, 32 random characters or more; the gateway needs the same", USAGE)
    made = operator_token(secret, name)
    if as_json:
        show_json({"operator": name, "token": made})
    else:
        typer.echo(made)
