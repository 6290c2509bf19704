"""The newcomer's page, done: its files written, its commands run, its Northcare certified."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import adapters.insurer
import sandbox
from adapters import registry, samples
from hub.cli.app import app
from sandbox.book import Book
from sandbox.insurer_rest import RestInsurer
from sandbox.parties import ANKANG, DESKS
from schemas.payer import Capabilities
from tests.support.one_party import listening
from tests.support.page_blocks import Block, blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "adapters" / "ADDING_A_PARTY.md"
NEW = ("adapters.insurer.northcare", "sandbox.insurer_northcare")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A place where the page's files are importable and its samples the only ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adapters.insurer, "__path__", [*adapters.insurer.__path__, str(tmp_path / "adapters/insurer")])
    monkeypatch.setattr(sandbox, "__path__", [*sandbox.__path__, str(tmp_path / "sandbox")])
    monkeypatch.setattr(samples, "ADAPTERS", tmp_path / "adapters")
    shutil.copytree(ROOT / "adapters/insurer/rest/samples", "adapters/insurer/rest/samples")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(NEW)]:
        del sys.modules[name]


def written(block: Block, at: Path) -> None:
    file = at / block.file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.text, encoding="utf-8")


def done(command: str, addresses: dict[str, str]) -> None:
    """Do what a line of the page says."""
    for told, real in addresses.items():
        command = command.replace(told, real)
    words = shlex.split(command)
    match words:
        case ["hub", *arguments]:
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, f"{command}\n{result.output}"
        case ["mkdir", "-p", made]:
            Path(made).mkdir(parents=True, exist_ok=True)
        case ["cp", source, target]:
            shutil.copy(source, target)
        case ["python", "-m", "adapters.samples", adapter, task, ">", target]:
            Path(target).write_bytes(samples.request_of(adapter, Path(task)) + b"\n")
        case _:
            pytest.fail(f"nobody knows how to test: {command}")


def northcare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line in the registry."""
    from adapters.insurer.northcare.client import Northcare

    (name, class_name) = re.findall(r'^    "([\w.]+)": (\w+),$', PAGE.read_text(encoding="utf-8"), re.MULTILINE)[0]
    assert class_name == Northcare.__name__
    monkeypatch.setitem(registry.ADAPTERS, name, Northcare)


def test_the_page_leads_from_nothing_to_a_certified_insurer(folder, monkeypatch):
    for block in blocks(PAGE):
        if block.file:
            written(block, folder)
    northcare(monkeypatch)
    from sandbox.insurer_northcare import NorthcareInsurer

    ankang = RestInsurer(ANKANG, Book(volatile=True), DESKS[ANKANG])
    insurer = NorthcareInsurer("NORTHCARE", Book(volatile=True))
    with listening(ankang) as theirs, listening(insurer) as ours:
        addresses = {"http://127.0.0.1:18803": theirs, "http://127.0.0.1:18811": ours}
        for block in blocks(PAGE):
            if any("18811" in command for command in block.commands):
                rules = (folder / "rules.yaml").read_text(encoding="utf-8")
                own = rules.replace("insurer.rest", "insurer.northcare").replace("ANKANG-MEDICAL", "NORTHCARE-FAMILY")
                (folder / "rules.yaml").write_text(own, encoding="utf-8")
            for command in block.commands:
                done(command, addresses)

    assert insurer.book.totals().settled > 10
    assert (insurer.book.totals().net_fen, ankang.book.totals().net_fen) == (0, 0)
    assert (folder / "certificates" / "NORTHCARE.html").exists()


def test_the_page_names_what_there_is():
    text = PAGE.read_text(encoding="utf-8")

    listed = set(re.findall(r"`((?:basic|insurer)\.[a-z.0-9]+)`", text.partition("## 1.")[0]))
    assert listed == set(registry.ADAPTERS)
    capabilities = set(
        re.findall(r"^\| `(\w+)` \|", text.partition("### What the party can be trusted")[2], re.MULTILINE)
    )
    assert capabilities | {"numbers", "shared_numbers", "needs"} == set(Capabilities.__dataclass_fields__)
    for name in re.findall(r"`(tests/[\w/]+\.py|schemas/[\w/]+\.py|sandbox/\w+\.py)`", text):
        assert (ROOT / name).exists() or "northcare" in name, name
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert (PAGE.parent / target).exists(), target
    for name in re.findall(r"`(?:copy )?((?:basic|insurer)/\w+/)`", text):
        assert (PAGE.parent / name).is_dir(), name
