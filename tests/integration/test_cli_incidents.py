"""What `hub incident` and `hub verify` show, on a real PostgreSQL with a hub that has something to hide."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.cli.app import app
from hub.watch import Watch
from routing.days import CHINA_STANDARD_TIME
from store.invariants import INVARIANTS
from tests.support.builders import CRITICAL, StubPayer, an_id_card, lost_after_effect
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub
from tests.support.scripted_server import Peer, http, scripted_server

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line on a database of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_DATABASE_URL", database_url)
    monkeypatch.setenv("HUB_PERSON_KEY_SECRET", PERSON_SECRET)

    def run_it(*arguments: str, **environment: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160", **environment})
        return done.exit_code, done.stdout, done.stderr

    return run_it


@pytest.fixture
def worked(database_url: str) -> Iterator[TestHub]:
    """A hub with one case that is settled and one in doubt."""
    payers = {CRITICAL: StubPayer(idempotent=False, script=[lost_after_effect])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        for number in ("S-1", "S-2"):
            hub.settle(number)
            hub.pump()
        yield hub


def test_a_sound_database_is_said_to_be_sound(run: Run, worked: TestHub) -> None:
    exit_code, shown, _ = run("verify")

    assert exit_code == 0
    assert "every invariant holds" in shown
    assert "I03 payers, account, hospital and cash are the total to the fen" in shown
    told = json.loads(run("verify", "--json", "--since", "1h")[1])
    assert (told["ok"], len(told["invariants"])) == (True, len(INVARIANTS))


def test_a_broken_one_is_shown_with_its_first_rows(run: Run, worked: TestHub) -> None:
    with worked.database.begin() as connection:
        connection.exec_driver_sql("UPDATE settlement_leg SET version = 0")

    exit_code, shown, _ = run("verify", "--rows", "1")
    assert exit_code == 1
    assert f"1 of {len(INVARIANTS)} invariants do not hold" in shown
    assert shown.count("I09 leg/") == 1
    assert run("verify", "--only", "I03", "--only", "i10")[0] == 0
    told = json.loads(run("verify", "--only", "invariant_i09_states_agree", "--json")[1])["invariants"]
    assert [(one["code"], one["ok"], len(one["rows"])) for one in told] == [("I09", False, 4)]


def test_what_cannot_be_computed_is_no_clean_bill(run: Run, worked: TestHub) -> None:
    with worked.database.begin() as connection:
        connection.exec_driver_sql("UPDATE case_answer SET body = 'not json'")

    exit_code, shown, _ = run("verify", "--only", "I03")

    assert exit_code == 1
    assert "I03 what is stored cannot be read" in shown


@pytest.mark.parametrize("arguments", [("--only", "I14"), ("--since", "yesterday")])
def test_a_wrong_question_is_wrong_usage(run: Run, arguments: tuple[str, str]) -> None:
    assert run("verify", *arguments)[0] == 2


def test_incidents_are_listed_and_shown(run: Run, worked: TestHub) -> None:
    assert "there is nothing" in run("incident", "list")[1]
    worked.clock.advance(200)
    Watch(worked.database, worked.clock)()

    told = json.loads(run("incident", "list", "--json")[1])
    assert sorted(told["open"]) == ["case.overdue", "leg.in_doubt"]
    shown = run("incident", "list", "--kind", "leg.in_doubt")[1]
    assert "CICI" in shown
    assert "hub doubt show" in shown
    (doubt,) = (one for one in told["incidents"] if one["kind"] == "leg.in_doubt")
    opened = datetime.fromisoformat(doubt["opened_at"]).astimezone(CHINA_STANDARD_TIME)
    assert f"since {opened:%m-%d %H:%M:%S}" in shown, "by the same clock as cases and actions"
    number = str(told["incidents"][0]["id"])
    one = run("incident", "show", number)[1]
    assert "summary" in one
    assert "open_notice_at" in one
    assert json.loads(run("incident", "show", number, "--json")[1]) == told["incidents"][0]
    assert an_id_card() not in one + json.dumps(told)


def test_a_watch_that_does_not_look_is_said(run: Run, worked: TestHub) -> None:
    assert "the watch has not looked since ever" in run("incident", "list")[1]
    Watch(worked.database, worked.clock)()
    assert "the watch has not looked" not in run("incident", "list")[1]


def test_unknown_incidents_and_kinds_are_refused(run: Run, worked: TestHub) -> None:
    assert run("incident", "show", "9")[0] == 1
    assert run("incident", "list", "--kind", "case.lost")[0] == 2


@pytest.mark.parametrize(("status", "exit_code"), [("200 OK", 0), ("500 Oops", 1)])
def test_the_webhook_can_be_tried(run: Run, status: str, exit_code: int) -> None:
    heard: list[bytes] = []

    def receive(peer: Peer) -> None:
        heard.append(peer.read_request())
        peer.send(http(b"", "text/plain", status))

    with scripted_server(receive) as server:
        done = run("incident", "test-webhook", HUB_ALERT_WEBHOOK_URL=server.url, HUB_ALERT_WEBHOOK_SECRET="s" * 32)

    assert done[0] == exit_code
    assert b'"event":"test"' in heard[0]
    assert b"X-Hub-Signature: sha256=" in heard[0]


def test_without_a_webhook_there_is_none_to_try(run: Run) -> None:
    exit_code, _, said = run("incident", "test-webhook")

    assert exit_code == 2
    assert "HUB_ALERT_WEBHOOK_URL" in said
    assert run("incident", "test-webhook", HUB_ALERT_WEBHOOK_URL="ftp://x")[0] == 2
