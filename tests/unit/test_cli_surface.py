"""The command line as people meet it: quick help, examples, one-line refusals with the right exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from click.testing import CliRunner

from hub.cli.app import app

HEAVY = ("sqlalchemy", "pika", "zeep", "lxml", "alembic", "starlette", "pydantic", "structlog", "urllib3")
WITHOUT_JSON = {"run", "sandbox", "docs"}


def commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command  # type: ignore[misc]
        return
    for name, child in children.items():
        yield from commands(child, (*path, name))


COMMAND_LINE = typer.main.get_command(app)
COMMANDS = dict(commands(COMMAND_LINE))


@pytest.fixture(autouse=True)
def an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(COMMAND_LINE, list(arguments), env=environment)
    return done.exit_code, done.stdout, done.stderr


def test_the_commands_are_those_that_were_promised() -> None:
    promised = {
        "run", "send", "case show", "case list", "case timeline", "rules check", "rules diff", "rules activate",
        "rules show", "topology apply", "topology check", "db upgrade", "coverage import", "party token", "sandbox",
        "demo", "health",
    }  # fmt: skip

    assert promised <= set(COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, hub.cli.app; print([name for name in {HEAVY!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"docs"}))
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    exit_code, shown, _ = run(*name.split(), "--help")

    assert exit_code == 0
    assert "Example:" in shown


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_JSON))
def test_every_result_can_be_had_as_json(name: str) -> None:
    assert "--json" in {flag for parameter in COMMANDS[name].params for flag in parameter.opts}


def test_without_a_command_the_help_is_shown() -> None:
    exit_code, shown, said = run()

    assert exit_code == 2
    assert "demo" in shown + said


def test_an_unknown_option_is_wrong_usage() -> None:
    assert run("health", "--jsno")[0] == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HUB_HTTP_PORT", "many"), ("HUB_PARTY_TOKEN_SECRET", "short"), ("HUB_DATABASE_URL", "postgresql://db/hub")],
)
def test_a_wrong_setting_is_named_and_ends_with_2(variable: str, value: str) -> None:
    exit_code, _, said = run("health", **{variable: value})

    named = "HUB_PERSON_KEY_SECRET" if variable == "HUB_DATABASE_URL" else variable
    assert exit_code == 2
    assert named in said
    assert "Traceback" not in said


def test_a_secret_in_a_setting_is_not_repeated() -> None:
    _, _, said = run("health", HUB_PARTY_TOKEN_SECRET="hunter2")

    assert "hunter2" not in said


def test_an_unknown_role_is_wrong_usage() -> None:
    exit_code, _, said = run("run", "--role", "cashier")

    assert exit_code == 2
    assert "gateway, engine, adapters, relay" in said


def test_the_embedded_broker_has_no_topology_to_apply() -> None:
    exit_code, _, said = run("topology", "apply")

    assert exit_code == 2
    assert "HUB_BROKER_URL" in said


def test_a_partys_token_needs_the_secret_and_a_code() -> None:
    secret = "0123456789abcdef0123456789abcdef"

    assert run("party", "token", "ANKANG")[0] == 2
    assert run("party", "token", "not a code", HUB_PARTY_TOKEN_SECRET=secret)[0] == 2
    exit_code, shown, _ = run("party", "token", "ANKANG", HUB_PARTY_TOKEN_SECRET=secret)
    assert exit_code == 0
    assert shown.startswith("ANKANG.")


def test_a_case_is_named_by_its_id_or_its_number() -> None:
    exit_code, _, said = run("case", "show", "42")

    assert exit_code == 2
    assert "INSTITUTION/SETTLEMENT_NO" in said


@pytest.mark.parametrize("since", ["yesterday", "2026-09-30T08:00"])
def test_a_moment_is_explained(since: str) -> None:
    exit_code, _, said = run("case", "list", "--since", since)

    assert exit_code == 2
    assert "--since" in said
