"""`hub recon propose|apply|export-breaks|import-breaks|sign-off|seal|seals` and `hub verify` on a real PostgreSQL."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from hub.cli.app import app
from routing.days import day_of
from schemas.statement import BreakClass
from tests.support.builders import BASIC, CRITICAL
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub
from tests.support.recon_breaks import a_break, a_run, a_statement, once

Run = Callable[..., tuple[int, str]]
DAY_S = 86_400
SIGNED = ("--reason", "their list of today", "--by", "li")


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line on a database of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_DATABASE_URL", database_url)
    monkeypatch.setenv("HUB_PERSON_KEY_SECRET", PERSON_SECRET)

    def run_it(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
        return done.exit_code, done.stdout + done.stderr

    return run_it


def waiting(asked: tuple[int, str]) -> str:
    """The number of an action that was asked for and waits for a second person."""
    found = re.search(r"^action (\d+) waits for a second person", asked[1], re.MULTILINE)
    assert asked[0] == 0
    assert found is not None, asked
    return found[1]


@pytest.fixture
def yesterday(database_url: str) -> Iterator[TestHub]:
    """A settlement of yesterday about which CRITICAL's book has a fen less: run 1, break 1."""
    with a_hub(database_url, running=False) as hub:
        hub.clock.advance(-DAY_S)
        case_id = str(hub.settle().case_id)
        hub.pump()
        day = day_of(hub.clock.now())
        with hub.database.begin() as connection:
            run_id = a_run(connection, CRITICAL, day, [a_statement(connection, CRITICAL, day, 7_499)])
            sides = {"hub": once(7_500), "payer_side": once(7_499), "difference": -1}
            a_break(connection, run_id, BreakClass.AMOUNT, hub.case(case_id), 2, **sides)
        yield hub


def test_a_break_goes_by_command_from_its_proposal_to_the_seal_of_its_day(yesterday, run):
    day = str(day_of(yesterday.clock.now()))
    assert run("recon", "propose", "1") == (0, "run 1: 1 post_difference\n")

    exit_code, shown = run("recon", "apply", "--run", "1", "--dry-run", *SIGNED)
    assert (exit_code, "1 of 1 would be done" in shown) == (0, True)
    asked = waiting(run("recon", "apply", "--run", "1", *SIGNED))
    assert "run 1: 1 post_difference" in run("action", "show", asked)[1]
    assert "1 of 1 break seen to" in run("action", "approve", asked, "--by", "wang")[1]
    assert run("recon", "apply", "--run", "1", *SIGNED) == (1, "hub: there are no such breaks\n")

    assert run("recon", "seal", day, *SIGNED)[0] == 1
    signing = ("recon", "sign-off", "--party", CRITICAL, "--day", day)
    asked = waiting(run(*signing, *SIGNED))
    assert "signed off, digest" in run("action", "approve", asked, "--by", "wang")[1]
    assert "is signed_off" in run(*signing, *SIGNED)[1]
    shown = run("recon", "seal", day, "--except", f"{BASIC}/daily=by hand", *SIGNED)
    assert shown[1].startswith(f"compared with {CRITICAL}/daily: run 1\nleft out {BASIC}/daily: by hand\nnot compared")
    asked = waiting(shown)
    assert "entries sealed, chain" in run("action", "approve", asked, "--by", "wang")[1]
    (seal,) = json.loads(run("recon", "seals", "--json")[1])["seals"]
    assert (seal["sealed_by"], seal["approved_by"]) == ("li", "wang")
    assert f"left out {BASIC}/daily: by hand" in run("recon", "seals", "--day", day)[1]
    kept = ("verify", "--only", "seals", "--expect")
    assert run(*kept, f"{day}={seal['chain']}") == (0, "every seal and signature holds (1 sealed day)\n")
    other = run(*kept, f"{day}={'ab' * 32}")
    assert other == (1, f"seal day/{day}: its chain is {seal['chain']}, and another is kept elsewhere\n")

    with yesterday.database.begin() as connection:
        connection.execute(text("UPDATE recon_break SET resolution = 'paid'"))

    assert run("verify", "--only", "seals") == (1, "seal run/1: breaks 1 to 9999: 1 row, and not the same\n")
    told = json.loads(run("verify", "--only", "seals", "--json", "--sealed-days", "1")[1])
    assert (told["ok"], told["seals"]["days"], len(told["seals"]["faults"])) == (False, 1, 1)


def test_breaks_go_out_into_a_sheet_and_nothing_half_decided_comes_back(yesterday, run):
    assert run("recon", "export-breaks", "1", "breaks.xlsx")[0] == 0

    exit_code, shown = run("recon", "import-breaks", "breaks.xlsx", *SIGNED)

    assert (exit_code, shown) == (1, "no row has a decision in column N\nhub: nothing of breaks.xlsx was taken\n")


def test_a_dry_run_of_what_cannot_be_done_ends_as_a_failure(yesterday, run):
    exit_code, shown = run("recon", "apply", "--run", "1", "--remedy", "reverse", "--dry-run", *SIGNED)

    assert (exit_code, "0 of 1 would be done, 1 not, 0 need people" in shown) == (1, True)
    assert run("recon", "apply", "--run", "1", "--remedy", "reverse", "--dry-run", "--json", *SIGNED)[0] == 1


REFUSED = [
    (("recon", "propose", "7"), 1),
    (("recon", "apply", "--run", "1", "--remedy", "pay", *SIGNED), 2),
    (("recon", "apply", "--run", "1", "4711", *SIGNED), 1),
    (("recon", "export-breaks", "1", "breaks.csv"), 2),
    (("recon", "sign-off", "--party", CRITICAL, "--day", "2020-01-01", *SIGNED), 1),
    (("recon", "seal", "2020-01-01", "--except", "ANKANG", *SIGNED), 2),
    (("verify", "--expect", "2020-01-01=abc"), 2),
]


def test_what_cannot_be_meant_is_refused(yesterday, run):
    found = [run(*arguments) for arguments, _ in REFUSED]

    assert [exit_code for exit_code, _ in found] == [exit_code for _, exit_code in REFUSED]
    assert [said for _, said in found if "Traceback" in said] == []
