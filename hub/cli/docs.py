"""`hub docs`: the generated pages of docs/, written anew from the code."""

from __future__ import annotations

import typer

from hub.cli.common import console

GENERATORS = (
    "routing.diagram",
    "schemas.export",
    "schemas.wsdl_export",
    "hub.gateway.openapi",
    "hub.transaction_page",
)


def register(app: typer.Typer) -> None:
    """Add the command, which makes sense in a source folder only."""
    app.command("docs", hidden=True)(docs)


def docs() -> None:
    """Write the generated pages of docs/ anew: states, transactions, schemas, WSDL, OpenAPI.

    Run it in the source folder.
    """
    import subprocess
    import sys

    for module in GENERATORS:
        done = subprocess.run([sys.executable, "-m", module], check=False)
        if done.returncode != 0:
            raise typer.Exit(1)
        console().print(f"{module} written")
