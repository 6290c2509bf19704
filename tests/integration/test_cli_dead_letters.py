"""`hub dlq` and `hub action` on a database with letters, as operators meet them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub.cli.app import app
from tests.support.builders import a_settle_request, as_bytes
from tests.support.dead_letters import a_letter, a_query, buried, state_of
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub


@pytest.fixture
def world(database_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_DATABASE_URL", database_url)
    monkeypatch.setenv("HUB_PERSON_KEY_SECRET", PERSON_SECRET)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("HUB_OPERATOR", raising=False)
    with a_hub(database_url, running=False) as made:
        yield made


def hub(*arguments: str | int, exit_code: int = 0) -> str:
    """What the command says, on either stream."""
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == exit_code, done.output
    return done.output


def as_json(*arguments: str | int) -> Any:
    return json.loads(hub(*arguments, "--json"))


def test_letters_are_listed_and_grouped(world: TestHub):
    first, _ = buried(world, a_letter(), a_query())

    assert "settlement.settle" in hub("dlq", "list")
    assert [one["what"] for one in as_json("dlq", "list")["letters"]] == ["settlement.settle", "case.query"]
    assert as_json("dlq", "list", "--type", "case.query")["total"] == 1
    assert f"hub dlq show {first}" in hub("dlq", "groups")
    assert as_json("dlq", "groups", "--by", "queue")["groups"][0]["letters"] == 2
    assert "1 more" in hub("dlq", "list", "--limit", 1)


def test_where_there_is_nothing_that_is_said(world: TestHub):
    assert "No such dead letters." in hub("dlq", "list")
    assert "No open dead letters." in hub("dlq", "groups")
    assert "Nothing waits for a second person." in hub("action", "list")


def test_a_letter_explains_itself_and_hides_the_person(world: TestHub):
    [id_] = buried(world, a_letter())

    shown = hub("dlq", "show", id_)

    assert "A program error happened" in shown
    assert "处理该报文时程序出错" in shown
    assert "there is no such case yet: it is made and payers are asked." in shown
    assert "欧阳" not in shown
    assert "欧阳" not in json.dumps(as_json("dlq", "show", id_), ensure_ascii=False)


def test_who_sees_personal_data_says_why_and_is_recorded(world: TestHub):
    [id_] = buried(world, a_letter())
    assert "--reason" in hub("dlq", "show", id_, "--reveal", exit_code=2)
    assert "--by" in hub("dlq", "show", id_, "--reveal", "--reason", "r", exit_code=2)

    shown = hub("dlq", "show", id_, "--reveal", "--reason", "the patient asks", "--by", "li")

    assert "欧阳" in shown
    assert "dlq.reveal  executed  li: the patient asks" in shown


def test_a_letter_with_money_takes_two(world: TestHub):
    [id_] = buried(world, a_letter())

    said = hub("dlq", "replay", id_, "--reason", "mended", "--by", "li")
    [action] = as_json("action", "list")["actions"]

    assert f"hub action approve {action['id']}" in said
    assert "settlement.settle" in hub("action", "show", action["id"])
    assert "another operator" in hub("action", "approve", action["id"], "--by", "li", exit_code=1)
    assert "executed: replayed 1" in hub("action", "approve", action["id"], "--by", "wang")
    assert state_of(world, id_) == "replayed"
    assert "executed already by wang" in hub("action", "approve", action["id"], "--by", "zhao", exit_code=1)
    assert "replayed 1" in hub("action", "list", "--state", "all", "--json")


def test_a_dry_run_changes_nothing(world: TestHub):
    ids = buried(world, a_letter(), a_query(), a_letter(exchange="", message_id="M-3"))

    said = hub("dlq", "replay", "--all", "--dry-run")

    assert "3 letters: 1 blocked, 1 nothing, 1 work" in said
    assert {state_of(world, id_) for id_ in ids} == {"open"}
    assert world.count("operator_action") == world.count("outbox") == 0


def test_many_are_replayed_and_what_cannot_is_named(world: TestHub):
    wrong = a_letter(as_bytes(a_settle_request(total="1.00")), message_id="M-2")
    money, query, refused, unproven = buried(
        world, a_letter(), a_query(), wrong, a_letter(exchange="", message_id="M-3")
    )

    said = hub("dlq", "replay", "--all", "--reason", "mended", "--by", "li")

    assert "replayed 1" in said
    assert "waits for a second person (1 letter)" in said
    assert f"left {refused}: it would be refused again" in said
    assert f"left {unproven}: who sent it cannot be proven" in said
    assert (state_of(world, query), state_of(world, money)) == ("replayed", "open")


def test_an_edit_is_written_changed_and_shown(world: TestHub, tmp_path: Path):
    [id_] = buried(world, a_letter(as_bytes(a_settle_request(total="1.00"))))
    file = tmp_path / "letter.json"

    hub("dlq", "edit", id_, "--out", file, "--reason", "wrong total", "--by", "li")
    assert file.stat().st_mode & 0o077 == 0
    assert "exists" in hub("dlq", "edit", id_, "--out", file, "--reason", "again", "--by", "li", exit_code=2)
    file.write_text(file.read_text(encoding="utf-8").replace('"1.00"', '"300.00"'), encoding="utf-8")
    said = hub("dlq", "edit", id_, "--file", file, "--reason", "agreed", "--by", "li")

    assert '+  "total": "300.00"' in said
    hub("dlq", "replay", id_, "--reason", "agreed", "--by", "li")
    shown = hub("action", "show", 3)
    assert f"Letter {id_} was edited" in shown
    assert '-  "total": "1.00"' in shown
    hub("dlq", "edit", id_, "--undo", "--reason", "back", "--by", "li")
    assert "edited after this was asked for" in hub("action", "approve", 3, "--by", "wang", exit_code=1)


def test_an_owner_is_seen(world: TestHub):
    first, second = buried(world, a_letter(), a_query())

    assert "2 now with li" in hub("dlq", "take", first, second, "--by", "li")
    assert "1 now with wang" in hub("dlq", "take", first, "--to", "wang", "--by", "li")
    assert "1 now with nobody" in hub("dlq", "take", second, "--to", "-", "--by", "li")
    assert [one["id"] for one in as_json("dlq", "list", "--owner", "wang")["letters"]] == [first]
    assert [one["id"] for one in as_json("dlq", "list", "--owner", "-")["letters"]] == [second]


def test_discarding_and_withdrawing(world: TestHub):
    money, query = buried(world, a_letter(), a_query())

    assert "discarded 1" in hub("dlq", "discard", query, "--reason", "asked twice", "--by", "li")
    hub("dlq", "discard", money, "--reason", "asked twice", "--by", "li")
    assert "rejected: withdrawn: no, wait" in hub("action", "reject", 2, "--reason", "no, wait", "--by", "li")
    assert (state_of(world, money), state_of(world, query)) == ("open", "discarded")
    hub("dlq", "discard", query, "--reason", "again", "--by", "li", exit_code=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dlq", "replay", "--reason", "r", "--by", "li"], "take --all"),
        (["dlq", "replay", "1", "--all", "--reason", "r", "--by", "li"], "not both"),
        (["dlq", "list", "--state", "dead"], "--state: one of"),
        (["dlq", "list", "--older-than", "yesterday"], "30m, 6h or 2d"),
        (["dlq", "take", "1", "--by", "Li"], "small letters"),
        (["dlq", "take", "1"], "HUB_OPERATOR"),
        (["dlq", "edit", "1", "--by", "li", "--reason", "r"], "one of --file, --undo, --out"),
        (["action", "approve", "1"], "HUB_OPERATOR"),
        (["action", "list", "--state", "new"], "--state: one of"),
    ],
)
def test_wrong_usage_names_the_remedy(world: TestHub, arguments, said):
    assert said in hub(*arguments, exit_code=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dlq", "show", "4711"], "no such dead letter"),
        (["dlq", "take", "4711", "--by", "li"], "no such dead letter"),
        (["dlq", "replay", "--all", "--reason", "r", "--by", "li"], "no open letters"),
        (["action", "show", "4711"], "no such action"),
    ],
)
def test_what_is_not_there_is_said(world: TestHub, arguments, said):
    assert said in hub(*arguments, exit_code=1)


def test_the_operator_may_stand_in_the_environment(world: TestHub, monkeypatch):
    [id_] = buried(world, a_query())
    monkeypatch.setenv("HUB_OPERATOR", "li")

    assert "1 now with li" in hub("dlq", "take", id_)
