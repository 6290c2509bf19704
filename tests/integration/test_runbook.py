"""The runbook: its commands exist as they stand there, and its main ways lead from the alert to its end."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import CliRunner

from adapters.registry import ADAPTERS
from hub.cli.app import app
from hub.incident_words import KINDS
from hub.watch import Watch
from routing.states import CaseState, LegState
from schemas.codes import Outcome
from schemas.payer import Capabilities
from tests.support.builders import (
    BASIC,
    CRITICAL,
    HOSPITAL,
    Behaviour,
    StubPayer,
    lost_after_effect,
    lost_before_effect,
    pays_too_much,
)
from tests.support.dead_letters import a_letter, buried, state_of
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
PLACEHOLDERS = {"WHY": "seen at night", "YOU": "li", "EVIDENCE": "their list of today, line 12", "ANOTHER": "wang"}


def commands_of(page: str) -> list[str]:
    """Every command of the page, in blocks behind `$` and in the text between back quotes."""
    blocks = re.findall(r"^\$ (hub .*)$", page, re.MULTILINE)
    return blocks + re.findall(r"`(hub [^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE))


COMMAND_LINE = typer.main.get_command(app)


def parse(command: str) -> None:
    """As the command line would, without running it; raises what the command line would say."""
    found: Any = COMMAND_LINE
    words = shlex.split(command)[1:]
    while words and hasattr(found, "commands"):
        if words[0] not in found.commands:
            raise LookupError(f"{command}: there is no {words[0]}")
        found = found.commands[words.pop(0)]
    if words or not hasattr(found, "commands"):
        found.make_context(command, words)


def test_every_command_of_the_runbook_exists_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mended.json").write_text("{}")
    commands = commands_of(RUNBOOK.read_text(encoding="utf-8"))

    for command in commands:
        parse(command)

    assert len(commands) > 30


@pytest.mark.parametrize("wrong", ["hub doubt guess H1/S-1/2", "hub payer stop ANKANG --loudly", "hub dlq show"])
def test_a_command_that_does_not_exist_would_be_noticed(wrong: str) -> None:
    with pytest.raises(Exception, match=r"there is no guess|No such option|Missing parameter"):
        parse(wrong)


def test_every_alert_has_its_section() -> None:
    page = RUNBOOK.read_text(encoding="utf-8")
    anchors = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in page.splitlines()
               if line.startswith("## ")}  # fmt: skip

    for kind in KINDS:
        row = re.search(rf"^\| `{re.escape(kind)}` \|.*\(#([\w-]+)\)", page, re.MULTILINE)
        assert row, kind
        assert row[1] in anchors, kind


class Telephone:
    """What the command line knows of the stub payers' interface: nothing can be said to it but a cancellation."""

    capabilities = Capabilities()


@dataclass
class Night:
    """A hub that somebody watches over with the command line alone."""

    hub: TestHub

    def run(self, *arguments: str, exit_code: int = 0) -> str:
        done = CliRunner().invoke(COMMAND_LINE, list(arguments), env={"COLUMNS": "120", "HUB_OPERATOR": "li"})
        assert done.exit_code == exit_code, done.output
        return done.output

    def watch(self, seconds: float = 0.0) -> None:
        """Let time pass, and have the watch look until what is gone counts as gone."""
        self.hub.clock.advance(seconds)
        for _ in range(5):
            Watch(self.hub.database, self.hub.clock)()
            self.hub.clock.advance(15.0)

    def open_kinds(self) -> set[str]:
        self.watch()
        return set(json.loads(self.run("incident", "list", "--json"))["open"])

    def follow(self, kind: str) -> str:
        """Run the command that the alert of this kind names; what it shows."""
        [incident] = json.loads(self.run("incident", "list", "--kind", kind, "--json"))["incidents"]
        assert incident["command"] in self.run("incident", "list", "--kind", kind)  # whole, to be copied
        return self.run_line(incident["command"])

    def run_line(self, line: str) -> str:
        return self.run(*(PLACEHOLDERS.get(word, word) for word in shlex.split(line)[1:]))

    def choose(self, shown: str, choice: str, *more: str) -> str:
        """Run one of the commands that a page offers, with its placeholders filled in."""
        [line] = re.findall(rf"^ *(hub doubt {choice} .*)$", shown, re.MULTILINE)
        for placeholder, value in zip(("YUAN", "THEIR_NO"), more, strict=False):
            line = line.replace(placeholder, value)
        return self.run_line(line)

    def agree(self, said: str) -> str:
        """The second person does what the first one's command says."""
        look, approve = re.findall(r"(hub action (?:show|approve) [^,\n]*)", said)
        assert "requested" in self.run_line(look)
        return self.run_line(approve)


@pytest.fixture
def night(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    """A payer that can neither be asked nor told anything but a cancellation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_DATABASE_URL", database_url)
    monkeypatch.setenv("HUB_PERSON_KEY_SECRET", PERSON_SECRET)
    monkeypatch.setitem(ADAPTERS, "stub", Telephone)
    payers = {BASIC: StubPayer(), CRITICAL: StubPayer(idempotent=False)}
    with a_hub(database_url, payers=payers, running=False) as hub:
        one = Night(hub)
        yield one
        assert "every invariant holds" in one.run("verify")


def a_doubt(night: Night, trouble: Behaviour = lost_after_effect) -> str:
    """The id of a case whose critical-illness part the payer gave no word about."""
    night.hub.payers[CRITICAL].script.append(trouble)
    case_id = night.hub.settle().case_id
    assert case_id is not None
    night.hub.pump()
    night.hub.let_pass(20)
    night.watch(61)
    return case_id


def test_a_doubt_that_the_payer_has_settled(night: Night) -> None:
    case_id = a_doubt(night)
    assert {"leg.in_doubt"} <= night.open_kinds()
    shown = night.follow("leg.in_doubt")
    assert "hub doubt ask" not in shown  # its interface cannot be asked

    night.agree(night.choose(shown, "approve", "75.00", "K-7781"))

    case = night.hub.case(case_id)
    assert (case.state, case.leg(2).amount_fen) == (CaseState.SETTLED, 7_500)
    assert night.hub.payers[CRITICAL].net_fen == 7_500
    assert night.open_kinds() == set()


def test_a_doubt_that_the_payer_has_not_heard_of(night: Night) -> None:
    case_id = a_doubt(night, lost_before_effect)

    night.agree(night.choose(night.follow("leg.in_doubt"), "decline"))

    assert night.hub.answers(case_id)[-1]["cash"] == "150.00"
    assert night.open_kinds() == set()


def test_a_doubt_that_shall_be_undone_by_people(night: Night) -> None:
    case_id = a_doubt(night)
    night.agree(night.choose(night.follow("leg.in_doubt"), "reverse"))
    night.hub.pump()
    assert "undo.held" in night.open_kinds()
    shown = night.follow("undo.held")
    assert re.findall(r"^ *hub doubt (\w+)", shown, re.MULTILINE) == ["undone"]

    night.agree(night.choose(shown, "undone"))

    assert night.hub.case(case_id).leg(2).state is LegState.CANCELLED
    assert night.open_kinds() == set()


def test_asking_where_nobody_can_be_asked_is_refused_and_asking_else_helps(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    case_id = a_doubt(night)
    ask = ("doubt", "ask", f"{case_id}/2", "--reason", "they are back")
    assert "telephone" in night.run(*ask, exit_code=1)

    monkeypatch.setattr(Telephone, "capabilities", Capabilities(inquiry=True))
    night.hub.payers[CRITICAL].capabilities = Capabilities(inquiry=True)
    assert "what became of our request" in night.follow("leg.in_doubt")
    night.run(*ask)
    night.hub.pump()

    assert night.hub.payers[CRITICAL].calls[-1][0] == "inquire"
    assert night.open_kinds() == {"leg.in_doubt"} or night.hub.case(case_id).state is CaseState.SETTLED


def test_an_answer_that_does_not_add_up(night: Night) -> None:
    case_id = a_doubt(night, pays_too_much)
    assert "leg.held" in night.open_kinds()
    shown = night.follow("leg.held")
    assert '"amount": 15001' in shown  # what the payer said stands on the page

    night.agree(night.choose(shown, "approve", "150.00", "K-1"))

    assert night.hub.case(case_id).state is CaseState.SETTLED
    assert night.open_kinds() == set()


def test_an_undo_that_was_refused_and_is_tried_again(night: Night) -> None:
    case_id = night.hub.settle().case_id
    assert case_id is not None
    night.hub.pump()
    night.hub.payers[CRITICAL].script.append(refuses)
    night.hub.cancel()
    night.hub.pump()
    assert "undo.held" in night.open_kinds()

    assert "executed" in night.choose(night.follow("undo.held"), "ask")
    night.hub.pump()

    assert night.hub.case(case_id).state is CaseState.CANCELLED
    assert night.hub.payers[CRITICAL].net_fen == 0
    assert night.open_kinds() == set()


def test_a_payer_is_stopped_and_let_go_on(night: Night) -> None:
    said = night.run("payer", "stop", CRITICAL, "--reason", "they asked us to")
    assert f"hub payer resume {CRITICAL}" in said
    assert "payer.stopped" in night.open_kinds()
    assert "stopped by li" in night.run("payer", "list")

    assert "go on" in night.follow("payer.stopped")

    assert night.open_kinds() == set()


def test_a_dead_letter_is_replayed(night: Night) -> None:
    [letter] = buried(night.hub, a_letter())
    assert "dead_letter.open" in night.open_kinds()
    assert "settlement.settle" in night.follow("dead_letter.open")
    assert f"hub dlq show {letter}" in night.run("dlq", "groups")
    night.run("dlq", "show", str(letter))

    said = night.run("dlq", "replay", str(letter), "--reason", "the error is mended")
    number = re.findall(r"action (\d+)", said)[0]
    night.run("action", "approve", number, "--by", "wang")

    assert state_of(night.hub, letter) == "replayed"
    assert night.open_kinds() == set()


def test_of_several_approvals_one_that_is_refused_does_not_hide_the_others(night: Night) -> None:
    case_id = a_doubt(night)
    said = night.run("doubt", "decline", f"{case_id}/2", "--reason", "by telephone")
    number = re.findall(r"action (\d+)", said)[0]

    shown = night.run("action", "approve", "999", number, "--by", "wang", exit_code=1)

    assert f"action {number} executed" in shown
    assert "action 999: there is no such action" in shown


def test_what_was_undone_before_it_came_is_on_the_list(night: Night) -> None:
    night.hub.reverse("S-NEVER")

    assert "cancelled (never came)" in night.run("case", "list")
    assert "no payer was asked" in night.run("case", "show", f"{HOSPITAL}/S-NEVER")


def refuses(payer: StubPayer, task: Any) -> bytes:
    """Says no without writing it down, so that the next try is judged anew."""
    return json.dumps({"outcome": Outcome.DECLINED, "amount": 0, "reason": "the month is closed"}).encode()
