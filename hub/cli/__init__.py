"""The command line. Modules here import what they need inside their commands, so that `hub --help` is quick."""

from __future__ import annotations


def main() -> None:
    """The console script `hub`."""
    from hub.cli.app import app

    app()
