"""Commands that look into the database and change it, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub.cli.app import app
from hub.demo.rulebook import fixed_endpoints, rule_book_text
from hub.demo.samples import write_samples
from tests.support.builders import BASIC_RULE, CRITICAL, CRITICAL_RULE, HOSPITAL, StubPayer, an_id_card, declines
from tests.support.hub_in_process import PERSON_SECRET, a_hub

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


def told(result: tuple[int, str, str]) -> dict[str, Any]:
    exit_code, shown, said = result
    assert exit_code == 0, said
    answer: dict[str, Any] = json.loads(shown)
    return answer


def a_file(folder: Path, content: str, name: str = "rules.yaml") -> str:
    (folder / name).write_text(content, encoding="utf-8")
    return str(folder / name)


BOOK = rule_book_text(fixed_endpoints())


def test_a_rule_book_is_activated_once_and_can_be_had_back(run: Run, tmp_path: Path) -> None:
    file = a_file(tmp_path, BOOK)

    first = told(run("rules", "activate", file, "--json"))
    again = told(run("rules", "activate", file, "--json"))

    assert (first["version"], first["already_in_force"]) == (1, False)
    assert (again["version"], again["already_in_force"]) == (1, True)
    assert run("rules", "show")[1] == BOOK
    assert told(run("rules", "show", "--json"))["institutions"] == 3


def test_a_rule_book_for_later_is_not_in_force_yet(run: Run, tmp_path: Path) -> None:
    told(run("rules", "activate", a_file(tmp_path, BOOK), "--json"))
    later = a_file(tmp_path, BOOK.replace("Sandbox city", "Tomorrow"), "later.yaml")

    told(run("rules", "activate", later, "--at", "2100-01-01T00:00+08:00", "--json"))

    assert told(run("rules", "show", "--json"))["version"] == 1
    assert run("rules", "activate", later, "--at", "2100-01-01")[0] == 2
    assert run("rules", "show", "--version", "9")[0] == 1


def test_a_broken_rule_book_is_not_stored(run: Run, tmp_path: Path) -> None:
    exit_code, _, said = run("rules", "activate", a_file(tmp_path, BOOK.replace("layer: basic", "layer: cellar")))

    assert exit_code == 1
    assert "line " in said
    assert run("rules", "show")[0] == 1


def test_activating_new_addresses_says_that_a_restart_is_needed(run: Run, tmp_path: Path) -> None:
    told(run("rules", "activate", a_file(tmp_path, BOOK), "--json"))
    moved = a_file(tmp_path, BOOK.replace(":18802", ":28802"), "moved.yaml")

    assert told(run("rules", "diff", moved, "--json"))["changes"] == [
        {"kind": "changed", "what": "party", "name": "CICI", "fields": ["endpoint"]}
    ]
    assert told(run("rules", "activate", moved, "--json"))["restart_needed"] is True


def test_policies_are_imported_once(run: Run, tmp_path: Path) -> None:
    write_samples(tmp_path, amqp=False)

    first = told(run("coverage", "import", str(tmp_path / "coverage.csv"), "--json"))
    again = told(run("coverage", "import", str(tmp_path / "coverage.csv"), "--json"))

    assert first["added"] == first["read"] > 0
    assert again == {"read": first["read"], "added": 0}


def test_a_wrong_policy_file_changes_nothing(run: Run, tmp_path: Path) -> None:
    lines = ["id_type,id_no,product,policy_no,region,valid_from,valid_until"]
    lines += [f"01,{an_id_card()},CARE,P-1,440300,2026-01-01,", "01,12,CARE,P-2,440300,2026-01-01,"]
    file = a_file(tmp_path, "\n".join(lines), "coverage.csv")

    exit_code, _, said = run("coverage", "import", file)

    assert exit_code == 2
    assert "line 3: id_no" in said
    good = a_file(tmp_path, "\n".join(lines[:2]), "good.csv")
    assert told(run("coverage", "import", good, "--json"))["added"] == 1


def test_a_case_is_shown_listed_and_told(run: Run, database_url: str) -> None:
    payers = {CRITICAL: StubPayer(script=[declines])}
    with a_hub(database_url, BASIC_RULE, CRITICAL_RULE, payers=payers) as hub:
        case_id = hub.settle("S-1").case_id
        hub.answered(case_id)
        hub.settle("S-2", total_fen=777)

    shown = told(run("case", "show", f"{HOSPITAL}/S-1", "--json"))
    assert (shown["case_id"], shown["status"]) == (case_id, "settled")
    assert [leg["state"] for leg in shown["legs"]] == ["approved", "declined"]
    assert [step["rule"] for step in shown["route"]] == ["basic", "critical"]
    assert told(run("case", "show", case_id, "--json")) | {"answered_at": ""} == shown | {"answered_at": ""}
    table = run("case", "show", case_id)[1]
    assert "Why these payers" in table
    assert shown["cash"] in table
    assert an_id_card() not in table + json.dumps(shown)

    events = told(run("case", "timeline", case_id, "--json"))["events"]
    assert events[0]["kind"] == "received"
    assert events[-1]["kind"] == "answer_given"
    assert "hospital answered" in run("case", "timeline", case_id)[1]

    numbers = [one["settlement_no"] for one in told(run("case", "list", "--json"))["cases"]]
    assert numbers == ["S-2", "S-1"]
    assert len(told(run("case", "list", "--limit", "1", "--json"))["cases"]) == 1
    assert told(run("case", "list", "--institution", "H44030000002", "--json"))["cases"] == []
    assert told(run("case", "list", "--state", "cancelled", "--since", "1h", "--json"))["cases"] == []
    assert f"{HOSPITAL}/S-1" in run("case", "list", "--since", "2d")[1]
    assert run("case", "show", f"{HOSPITAL}/S-3")[0] == 1


def test_a_dry_run_names_the_cases_that_would_go_another_way(run: Run, database_url: str, tmp_path: Path) -> None:
    with a_hub(database_url, BASIC_RULE, CRITICAL_RULE) as hub:
        for number in ("S-1", "S-2"):
            hub.answered(hub.settle(number).case_id)

    only_basic = BOOK  # for people without policies who are no inpatients

    found = told(run("rules", "diff", a_file(tmp_path, only_basic), "--cases", "10", "--json"))

    assert found["cases_planned"] == 2
    assert {one["settlement_no"] for one in found["plans"]} == {"S-1", "S-2"}
    assert found["plans"][0]["before"] == "BASIC-440300 (basic) > CICI (critical)"
    assert found["plans"][0]["after"] == "BASIC-440300 (basic)"


def test_health_names_what_is_missing(run: Run, tmp_path: Path) -> None:
    exit_code, shown, _ = run("health", "--json", HUB_HTTP_PORT="1")
    assert exit_code == 1
    assert {one["what"]: one["ok"] for one in json.loads(shown)["checks"]} == {
        "database": True,
        "schema": True,
        "rule book": False,
        "broker": True,
        "gateway": True,
    }

    told(run("rules", "activate", a_file(tmp_path, BOOK), "--json"))
    assert told(run("health", "--json", HUB_HTTP_PORT="1"))["ok"] is True


def test_an_unreachable_database_is_one_line(run: Run) -> None:
    exit_code, _, said = run("case", "list", HUB_DATABASE_URL="postgresql://hub:secret@127.0.0.1:1/hub")

    assert exit_code == 1
    assert said.startswith("hub: HUB_DATABASE_URL: ")
    assert len(said.strip().splitlines()) == 1
    assert "secret" not in said


def test_an_empty_database_says_what_to_run(run: Run, empty_database_url: str) -> None:
    exit_code, _, said = run("case", "list", HUB_DATABASE_URL=empty_database_url)

    assert exit_code == 1
    assert "hub db upgrade" in said
    assert told(run("db", "upgrade", "--json", HUB_DATABASE_URL=empty_database_url))["revision"] != "none"
    assert told(run("case", "list", "--json", HUB_DATABASE_URL=empty_database_url))["cases"] == []


def test_sending_where_no_hub_listens_is_one_line(run: Run, tmp_path: Path) -> None:
    write_samples(tmp_path, amqp=False)

    exit_code, _, said = run("send", str(tmp_path / "settle.json"), "--url", "http://127.0.0.1:1")

    assert exit_code == 1
    assert "hub run" in said
