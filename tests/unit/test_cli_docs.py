"""The pages say what is so: generated ones are current, settings and commands exist, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from hub.cli.app import app
from hub.settings import Settings
from routing import diagram
from routing.rulebook_file import read_rule_book
from tests.unit.test_cli_surface import commands

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = dict(commands(typer.main.get_command(app)))
GROUPS = {name.split()[0] for name in COMMANDS}


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_states_page_is_drawn_from_the_tables() -> None:
    assert (ROOT / "docs" / "states.md").read_text(encoding="utf-8") == diagram.page()


def test_the_settings_table_lists_every_setting_and_no_other() -> None:
    text = (ROOT / "docs" / "how-to" / "operations.md").read_text(encoding="utf-8")
    listed = {
        name for row in re.findall(r"^\| (`HUB_.*?) \|", text, re.MULTILINE) for name in re.findall(r"HUB_\w+", row)
    }

    assert listed == {f"HUB_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_every_command_on_a_page_exists(page: Path) -> None:
    for words in re.findall(
        r"(?:^|[`$(&] ?)hub ((?:[a-z]+(?:-[a-z]+)* ?)+)", page.read_text(encoding="utf-8"), re.MULTILINE
    ):
        first, *rest = words.split()
        if first in GROUPS:
            assert first in COMMANDS or not rest or f"{first} {rest[0]}" in COMMANDS, words


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_every_option_on_a_page_exists(page: Path) -> None:
    # One line may name two commands, each with options of its own.
    for line in re.findall(r"\bhub ((?:(?!\bhub )[^`|\n])*)", page.read_text(encoding="utf-8")):
        name = next((name for name in COMMANDS if line.startswith(f"{name} ")), None)
        if name is None:
            continue
        known = {flag for parameter in COMMANDS[name].params for flag in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)) <= known, line


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_example_rule_book_is_a_good_one() -> None:
    text = (ROOT / "docs" / "how-to" / "rules.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)

    book = read_rule_book(example)

    assert yaml.safe_load(example)["title"] == book.title
    assert len(book.rules) == 2
