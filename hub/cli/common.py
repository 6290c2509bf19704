"""What the commands share: settings, the database, and how results and refusals are shown."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Engine

    from hub.settings import Settings

OK, NEGATIVE, USAGE = 0, 1, 2
TIMEOUT_S = 10.0

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document instead of text.")]


def settings() -> Settings:
    """The settings of this process; InvalidSettings names each wrong variable."""
    from hub.settings import read_settings

    return read_settings(os.environ, Path.cwd())


def console() -> Console:
    """Where results go. Tables keep their columns and numbers their digits when the output is no terminal."""
    from rich.console import Console

    wide = {} if sys.stdout.isatty() else {"width": int(os.environ.get("COLUMNS", "240"))}
    return Console(highlight=False, soft_wrap=False, **wide)  # type: ignore[arg-type]


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def fail(text: str, exit_code: int = NEGATIVE) -> NoReturn:
    """One line on standard error, then the end."""
    typer.echo(f"hub: {text}", err=True)
    raise typer.Exit(exit_code)


def _log_to_standard_error() -> None:
    """A command's output is its result: what the hub's own parts have to say on the way goes elsewhere."""
    from hub.logs import only_warnings

    only_warnings()


@contextlib.contextmanager
def database_url(given: Settings) -> Iterator[str]:
    """The address of the database of these settings; the embedded one runs, up to date, for the length of the block."""
    _log_to_standard_error()
    if not given.embedded_database:
        yield given.database_url.get_secret_value()
        return
    from hub.local_postgres import local_postgres
    from store.database import upgrade

    with local_postgres(given.data_dir) as url:
        upgrade(url)
        yield url


@contextlib.contextmanager
def open_database(given: Settings) -> Iterator[Engine]:
    """An engine on the database of these settings."""
    from store.database import open_engine

    with database_url(given) as url:
        engine = open_engine(url, pool_size=2, application="hub-cli")
        try:
            yield engine
        finally:
            engine.dispose()
