"""Messages in bulk by files: each line is a message of its own, and a file that comes twice is a repeat."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from hub.cli.app import app
from hub.doors import KnownDoors
from hub.message_files import FileDone, MessageFolder
from schemas.errors import Forbidden, Unavailable
from store import parties
from tests.support.builders import BASIC, BASIC_RULE, CRITICAL, CRITICAL_RULE, HOSPITAL, REGION, a_party
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub
from tests.support.soundness import broken
from tests.support.visit_builders import a_book_with_visits, a_fees_upload, a_line, a_stay_to_settle, an_admission

OWN = {"adjudicated_by": "basic", "called": "post_upload"}
GIVEN = [
    {"layer": "basic", "payer": BASIC, "amount": "60.00", "reference": "SETL-1", "figures": {"in_scope": "90.00"}},
    {"layer": "critical_illness", "payer": CRITICAL, "amount": "20.00", "reference": "CI-1"},
]
UPLOAD = "adjudication.upload-2026-11-22"


@pytest.fixture
def world(database_url: str) -> Iterator[TestHub]:
    """Mode B: the basic system adjudicates all and brings the results in files afterwards."""
    basic = a_party(BASIC, "basic", region=REGION, link="files")
    book = a_book_with_visits("optional")
    with a_hub(database_url, BASIC_RULE | OWN, CRITICAL_RULE | OWN, running=False, parties=[basic], **book) as hub:
        yield hub
        assert broken(hub.database) == {}


def a_folder(world: TestHub, path: Path, party: str = BASIC, take: Any = None) -> MessageFolder:
    (path / "inbox").mkdir(exist_ok=True)
    hub = world.hub
    chosen = take or hub.desk.take
    return MessageFolder(path, party, hub.engine, chosen, world.clock, hub.books, hub.doors, still_for_s=0)


def a_result(number: int, **changes: Any) -> dict[str, Any]:
    return a_stay_to_settle(10_000, f"S-{number}", f"V-{number}", adjudicated=GIVEN, **changes)


def drop(path: Path, name: str, lines: Sequence[Any]) -> Path:
    text = "\n".join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in lines)
    target = path / "inbox" / name
    target.write_text(text + "\n", encoding="utf-8")
    return target


def answers(path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "outbox" / name).read_text(encoding="utf-8").splitlines()]


def test_each_line_is_a_message_of_its_own(world, tmp_path):
    folder = a_folder(world, tmp_path)
    drop(tmp_path, f"{UPLOAD}.jsonl", [
        "\ufeff" + json.dumps(a_result(1)), "", "not json", a_result(2, total="99.00"), "x" * 1_100_000, a_result(3),
        a_result(1),
    ])  # fmt: skip

    assert list(folder.look()) == [FileDone(f"{UPLOAD}.jsonl", answered=3, refused=3)]

    said = answers(tmp_path, f"{UPLOAD}.answer.jsonl")
    assert [(one["line"], one["state"], one.get("error_code", "")) for one in said] == [
        (1, "answered", ""),
        (3, "refused", "message.malformed"),
        (4, "refused", "message.invalid"),
        (5, "refused", "message.too_large"),
        (6, "answered", ""),
        (7, "answered", ""),
    ]
    assert (said[0]["answer"]["status"], said[0]["answer"]["cash"]) == ("settled", "20.00")
    assert said[2]["error_text_zh"].startswith("报文内容不符合要求。total：")
    assert said[-1]["answer"] == said[0]["answer"]
    assert world.count("settlement_case") == 2
    assert world.payers[BASIC].calls == world.payers[CRITICAL].calls == []
    assert (tmp_path / "done" / f"{UPLOAD}.jsonl").exists()


def test_a_file_that_comes_twice_gets_the_same_answers(world, tmp_path):
    folder = a_folder(world, tmp_path)
    drop(tmp_path, f"{UPLOAD}.jsonl", [a_result(1), a_result(2)])
    list(folder.look())
    first = [one["answer"] for one in answers(tmp_path, f"{UPLOAD}.answer.jsonl")]

    drop(tmp_path, "adjudication.upload_again.jsonl", [a_result(1), a_result(2)])
    list(folder.look())

    said = answers(tmp_path, "adjudication.upload_again.answer.jsonl")
    assert ([one["answer"] for one in said], [one["repeated"] for one in said]) == (first, [True, True])
    assert world.count("settlement_case") == 2


def test_a_visit_comes_in_files_too(world, tmp_path):
    folder = a_folder(world, tmp_path)
    drop(tmp_path, "admission.register-1.json", ["\n".join(json.dumps(an_admission(), indent=1).splitlines())])
    drop(tmp_path, "fees.upload-1.jsonl", [a_fees_upload([a_line("1", 100)]), a_fees_upload([a_line("1", 5)], "F-2")])

    done = list(folder.look())

    assert [(one.answered, one.refused) for one in done] == [(1, 0), (1, 1)]
    assert answers(tmp_path, "fees.upload-1.answer.jsonl")[1]["answer"]["violations"][0]["field"] == "lines[1]"


def test_what_is_no_file_of_messages_is_left_or_put_aside(world, tmp_path):
    folder = a_folder(world, tmp_path)
    drop(tmp_path, f"{UPLOAD}.jsonl.part", [a_result(1)])
    drop(tmp_path, "settlement.settle-1.jsonl", [a_result(1)])
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_text(json.dumps(a_result(1)))
    (tmp_path / "inbox" / "fees.upload-link.jsonl").symlink_to(elsewhere)
    os.link(elsewhere, tmp_path / "inbox" / "fees.upload-hard.jsonl")

    done = list(folder.look())

    assert [one.name for one in done] == ["settlement.settle-1.jsonl"]
    assert "adjudication.upload" in done[0].why
    assert (tmp_path / "failed" / "settlement.settle-1.jsonl").exists()
    assert len(list((tmp_path / "inbox").iterdir())) == 3
    assert world.count("settlement_case") == 0


def test_what_cannot_be_stored_now_stays_and_leaves_no_answers(world, tmp_path):
    def take(batch):
        raise OperationalError("select", {}, Exception("gone"))

    path = drop_one(world, tmp_path)
    with pytest.raises(Unavailable):
        list(a_folder(world, tmp_path, take=take).look())
    assert path.exists()
    assert list((tmp_path / "outbox").iterdir()) == []

    assert [one.answered for one in a_folder(world, tmp_path).look()] == [1]


def drop_one(world: TestHub, tmp_path: Path) -> Path:
    a_folder(world, tmp_path)
    return drop(tmp_path, f"{UPLOAD}.jsonl", [a_result(1)])


def test_who_is_shut_out_in_the_middle_of_a_file_is_heard_no_further(world, tmp_path):
    a_folder(world, tmp_path)
    path = drop(tmp_path, f"{UPLOAD}.jsonl", [a_result(n) for n in range(1, 102)])

    def take(batch):
        taken = world.hub.desk.take(batch)
        with world.database.begin() as connection:
            parties.turn(connection, BASIC, enabled=False, by="li", now=world.clock.now())
        return taken

    with pytest.raises(Forbidden) as refused:
        list(a_folder(world, tmp_path, take=take).look())

    assert refused.value.code == "party.shut_out"
    assert isinstance(world.hub.doors, KnownDoors)
    assert path.exists()
    assert world.count("settlement_case") == 100
    with world.database.begin() as connection:
        parties.turn(connection, BASIC, enabled=True, by="li", now=world.clock.now())
    assert [one.answered for one in a_folder(world, tmp_path).look()] == [101]


def test_only_whose_link_is_files_may_bring_them(world, tmp_path):
    with pytest.raises(Forbidden, match="link: files"):
        list(a_folder(world, tmp_path, party=HOSPITAL).look())


def test_the_command_line_takes_a_folder_once(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drop_one(world, tmp_path)
    environment = {
        "HUB_DATABASE_URL": world.database.url.render_as_string(hide_password=False).replace("+psycopg2", ""),
        "HUB_PERSON_KEY_SECRET": PERSON_SECRET,
    }
    command = ["exchange", str(tmp_path), "--rest", "0", "--once", "--party"]

    done = CliRunner().invoke(app, [*command, BASIC], env=environment)
    other = CliRunner().invoke(app, [*command, HOSPITAL], env=environment)

    assert (done.exit_code, done.stdout) == (0, f"{UPLOAD}.jsonl: 1 answered, 0 taken, 0 refused\n")
    assert (other.exit_code, "link: files" in other.stderr) == (1, True)
