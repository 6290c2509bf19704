"""`hub party`: what a party needs to speak to the hub."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from hub.cli.common import USAGE, AsJson, fail, settings, show_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Parties: institutions and insurers that speak to the hub.")
    group.command("token")(token)
    app.add_typer(group, name="party")


def token(
    code: Annotated[str, typer.Argument(help="The party's code, such as H44030000001 or ANKANG.")],
    as_json: AsJson = False,
) -> None:
    """Print the bearer token with which a party authenticates over HTTP.

    It is derived from HUB_PARTY_TOKEN_SECRET; a new secret makes all tokens invalid.

    Example: curl -H "Authorization: Bearer $(hub party token H44030000001)" …
    """
    from hub.gateway.identity import token_for
    from schemas.identity import INSTITUTION_PATTERN, PARTY_PATTERN

    if not (re.fullmatch(PARTY_PATTERN, code) or re.fullmatch(INSTITUTION_PATTERN, code)):
        fail("CODE: an institution's code (H44030000001) or a party's (ANKANG)", USAGE)
    secret = settings().party_token_secret.get_secret_value()
    if not secret:
        fail("HUB_PARTY_TOKEN_SECRET: must be set, 32 random characters or more; the gateway needs the same", USAGE)
    made = token_for(secret, code)
    if as_json:
        show_json({"party": code, "token": made})
    else:
        typer.echo(made)
