"""`hub db`: the schema."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli.common import AsJson, console, settings, show_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The database's schema.")
    group.command("upgrade")(upgrade)
    app.add_typer(group, name="db")


def upgrade(
    revision: Annotated[str, typer.Argument(help="The revision to reach.")] = "head", as_json: AsJson = False
) -> None:
    """Bring the database of HUB_DATABASE_URL to the schema of this version; running it again changes nothing.

    Example: hub db upgrade
    """
    import contextlib

    from hub.cli.schema import schema_state
    from hub.local_postgres import local_postgres
    from store.database import open_engine
    from store.database import upgrade as bring_to

    given = settings()
    server = (
        local_postgres(given.data_dir)
        if given.embedded_database
        else contextlib.nullcontext(given.database_url.get_secret_value())
    )
    with server as url:
        bring_to(url, revision)
        engine = open_engine(url, pool_size=2, application="hub-db")
        present, wanted = schema_state(engine)
        engine.dispose()
    if as_json:
        show_json({"revision": present, "newest": wanted})
    else:
        console().print(f"the database is at revision {present}" + ("" if present == wanted else f" of {wanted}"))
