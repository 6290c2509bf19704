"""Imports by file on a real database: whole or not at all, once, seen while they go on, clean after a kill."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from hub.cli.app import app
from hub.imports.folder import DropFolder
from hub.imports.job import Importer, Order, Outcome
from hub.imports.layout import InvalidFile
from hub.master_rows import ROW_KINDS, Bringer, operator
from routing.rulebook_file import read_rule_book
from schemas.errors import Conflict
from schemas.transactions import Sender
from store import coverage, import_runs, master_data
from store.coverage import person_key
from store.database import open_engine
from tests.support.builders import BASIC, CRITICAL, REGION, a_rule_book_text, an_id_card
from tests.support.eventually import eventually
from tests.support.master_data import BASIC_PARTY, SECRET
from tests.support.rule_books import put_in_force

HEAD = "list_type,item_code,item_name,level,valid_from,price_max"
SYSTEM = Bringer(BASIC, Sender.BASIC, REGION)
STANDS_STILL = """
import pathlib, signal, sys
from hub.imports.job import Importer, Order
from hub.master_rows import ROW_KINDS, operator
from store.database import open_engine

url, secret, path, pipe = sys.argv[1:]

def tell(phase, rows, part, wrong):
    if rows >= 10_000:
        with open(pipe, "wb") as told:
            told.write(b"r")
            told.flush()
            signal.pause()

order = Order(pathlib.Path(path), ROW_KINDS["catalogue"], operator())
Importer(open_engine(url, by_key=False), secret.encode(), tell).run(order)
"""
"""An import that says when it has noted 10,000 rows, and then goes no further."""


@dataclass
class Desk:
    """Where a test's files are imported."""

    engine: Engine
    folder: Path

    def file(self, *rows: str, name: str = "catalogue.csv", head: str = HEAD) -> Path:
        path = self.folder / name
        path.write_text("\n".join((head, *rows)) + "\n", encoding="utf-8")
        return path

    def run(self, path: Path, kind: str = "catalogue", bringer: Bringer = SYSTEM, **options) -> Outcome:
        return Importer(self.engine, SECRET).run(Order(path, ROW_KINDS[kind], bringer, **options))

    def count(self, table: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    def states(self) -> list[str]:
        """Of all imports, the oldest first."""
        with self.engine.begin() as connection:
            import_runs.bury(connection)
            return [run.state for run in reversed(import_runs.listed(connection))]


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    engine = open_engine(database_url, by_key=False)
    yield Desk(engine, tmp_path)
    engine.dispose()


def item(number: int, **changes: str) -> str:
    values = {"list_type": "101", "code": f"X{number}", "name": f"n{number}", "level": "01", "from": "2026-01-01",
              "price": "1.5"} | changes  # fmt: skip
    return ",".join(values.values())


def test_a_file_is_in_force_once(desk):
    path = desk.file(*map(item, range(5)))

    first, again = desk.run(path), desk.run(path)
    other = desk.run(desk.file(*map(item, range(7)), name="more.csv"))

    assert (first.rows, first.applied.new) == (5, 5)
    assert (again.earlier.id, again.applied) == (first.import_id, None)
    assert (other.applied.new, other.applied.unchanged) == (2, 5)
    assert desk.count("catalogue_item") == 7
    assert desk.states() == ["done", "done"]


def test_a_file_is_refused_as_a_whole_with_every_wrong_row(desk):
    path = desk.file(item(1), item(2, level="9"), item(3), item(1), item(4, price="0"))

    refused = desk.run(path)

    assert [(one.row, one.code) for one in refused.problems] == [
        (3, "enum"), (5, "row.duplicate"), (6, "price.bounds"),
    ]  # fmt: skip
    assert desk.count("catalogue_item") == 0
    assert desk.states() == ["refused"]
    assert desk.run(desk.file(item(1))).applied.new == 1


def test_problems_are_counted_beyond_those_that_are_listed(desk, monkeypatch):
    monkeypatch.setattr("hub.imports.job.PROBLEMS_MAX", 3)

    refused = desk.run(desk.file(*(item(number, level="9") for number in range(10))))

    assert (refused.problem_count, len(refused.problems)) == (10, 3)


def test_a_dry_run_changes_nothing_and_leaves_no_trace(desk):
    done = desk.run(desk.file(item(1)), dry_run=True)

    assert done.applied.new == 1
    assert desk.count("catalogue_item") == 0
    assert desk.states() == []


def test_a_file_that_is_not_all_there_is_refused(desk):
    for path, rows in ((desk.file(item(1)), 2), (desk.file(item(1), "合计,3,,,,", name="b.csv"), None)):
        with pytest.raises(InvalidFile, match="declared"):
            desk.run(path, rows=rows)

    assert desk.states() == ["refused", "refused"]
    assert desk.count("catalogue_item") == 0


def test_versions_never_overlap_whatever_the_order_they_come_in(desk):
    days = ["2026-05-01", "2026-01-01", "2026-03-01", "2026-09-01", "2026-03-01"]
    for number, day in enumerate(days):
        desk.run(desk.file(item(1, **{"from": day, "name": f"v{number}"}), name=f"{number}.csv"))

    with desk.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT item_name, CAST(valid_from AS text), CAST(valid_until AS text) FROM catalogue_item "
            "WHERE replaced_by IS NULL ORDER BY valid_from"
        ).all()
    assert [tuple(row) for row in rows] == [
        ("v1", "2026-01-01", "2026-02-28"),
        ("v4", "2026-03-01", "2026-04-30"),
        ("v0", "2026-05-01", "2026-08-31"),
        ("v3", "2026-09-01", None),
    ]


def test_a_file_of_policies_is_what_planning_finds(desk):
    head = "id_type,id_no,name,region,product,policy_no,valid_from,valid_until,sum_insured"
    path = desk.file(f"01,{an_id_card()},甲,{REGION},critical,P1,2026-01-01,2026-12-31,100000", head=head)

    desk.run(path, "enrolment", operator())

    key = person_key(SECRET, "01", an_id_card())
    with desk.engine.connect() as connection:
        assert [one.policy_no for one in coverage.find(connection, [key])[key]] == ["P1"]


def test_two_imports_for_one_owner_do_not_go_on_at_the_same_time(desk):
    kind = ROW_KINDS["catalogue"].kind
    with desk.engine.begin() as connection:
        master_data.hold(connection, kind, BASIC, wait=True)
        with pytest.raises(Conflict):
            desk.run(desk.file(item(1)))
        assert desk.run(desk.file(item(1)), bringer=operator()).applied.new == 1

    assert desk.states() == ["failed", "done"]


def test_an_import_that_is_killed_says_where_it_was_and_the_next_starts_clean(desk, database_url):
    path = desk.file(*(item(number) for number in range(12_000)))
    pipe = desk.folder / "slow"
    os.mkfifo(pipe)
    child = subprocess.Popen([sys.executable, "-c", STANDS_STILL, database_url, SECRET.decode(), str(path), str(pipe)])
    try:
        with pipe.open("rb") as told:
            assert told.read(1) == b"r"
        with desk.engine.connect() as connection:
            (run,) = import_runs.listed(connection)
            assert (run.state, run.phase, run.rows_read >= 10_000) == ("running", "reading", True)
        assert desk.states() == ["running"]
        child.send_signal(signal.SIGKILL)
        child.wait(60)
        eventually(lambda: desk.states() == ["died"], within_s=60)
        assert desk.count("catalogue_item") == 0
        assert desk.run(path, bringer=operator()).applied.new == 12_000
        assert desk.states() == ["died", "done"]
    finally:
        child.kill()
        child.wait(60)


def test_the_drop_folder_knows_a_sender_by_its_folder(desk):
    book = read_rule_book(a_rule_book_text(parties=[BASIC_PARTY]))
    mine = desk.folder / BASIC
    mine.mkdir()
    theirs = desk.folder / CRITICAL
    theirs.mkdir()
    (mine / "catalogue-1.csv").write_text(f"{HEAD}\n{item(1)}\n")
    (mine / "catalogue-2.csv").write_text(f"{HEAD}\n{item(2, level='9', name='=evil')}\n")
    (mine / "letters.csv").write_text("x")
    (mine / "catalogue-3.csv.part").write_text("x")
    (theirs / "staff-1.csv").write_text("x")
    (theirs / "catalogue-4.csv").symlink_to(mine / "letters.csv")

    handled = list(DropFolder(desk.folder, Importer(desk.engine, SECRET), lambda: book, still_for_s=0).look())

    assert [(one.name, one.why.split(":")[0]) for one in handled] == [
        ("catalogue-1.csv", ""),
        ("catalogue-2.csv", "1 problems"),
        ("letters.csv", "its name must begin with the kind and a hyphen"),
        ("staff-1.csv", "this party may not bring this kind of master data (party=CICI)"),
    ]
    assert [path.name for path in (mine / "done").iterdir()] == [
        f"catalogue-1.import-{handled[0].outcome.import_id}.csv"
    ]
    (report,) = (mine / "failed").glob("*.errors.csv")
    rows = list(csv.DictReader(report.read_text(encoding="utf-8-sig").splitlines()))
    assert (rows[0]["row"], rows[0]["field"], rows[0]["item_name"]) == ("2", "level", "'=evil")
    assert sorted(path.name for path in mine.iterdir()) == ["catalogue-3.csv.part", "done", "failed"]


def test_the_command_line_imports_refuses_and_lists(desk, database_url, monkeypatch):
    put_in_force(database_url, a_rule_book_text(parties=[BASIC_PARTY]))
    monkeypatch.chdir(desk.folder)
    path, wrong = desk.file(item(1), item(2)), desk.file(item(3, level="9"), name="wrong.csv")
    asked = ("--kind", "catalogue", "--sender", BASIC)

    def run(*arguments: str) -> tuple[int, str]:
        environment = {"HUB_DATABASE_URL": database_url, "HUB_PERSON_KEY_SECRET": SECRET.decode(), "COLUMNS": "160"}
        done = CliRunner().invoke(app, ["import", *arguments], env=environment)
        return done.exit_code, done.stdout

    assert run(str(path), *asked, "--dry-run")[1].startswith("dry run, nothing changed: 2 rows, 2 new")
    code, said = run(str(path), *asked, "--by", "li")
    assert (code, "2 rows, 2 new" in said) == (0, True)
    code, said = run("--kind", "catalogue", "--sender", BASIC, str(path))
    assert (code, "already imported on" in said, "by li" in said) == (0, True, True)
    code, said = run(str(wrong), *asked, "--errors", "errors.xlsx", "--json")
    assert (code, orjson.loads(said)["problems"][0]["code"]) == (1, "enum")
    assert (desk.folder / "errors.xlsx").stat().st_size > 0
    assert [one["state"] for one in orjson.loads(run("list", "--json")[1])["imports"]] == ["refused", "done"]
    assert "refused, nothing changed: 1 problems in 1 rows" in run("status")[1]
    assert run("status", "99")[0] == 1
    (desk.folder / BASIC).mkdir()
    desk.file(item(7), name=f"{BASIC}/catalogue-7.csv")
    assert "in force as import" in run("watch", str(desk.folder), "--once", "--rest", "0")[1]
    assert [run(*wrongly)[0] for wrongly in (
        (str(path), "--kind", "colour"), (str(path), "--kind", "mapping"), (str(path), *asked, "--errors", "e.txt"),
        (str(path), *asked, "--by", "LI"), ("nowhere.csv", *asked),
    )] == [2] * 5  # fmt: skip
