"""`hub recon run|show|breaks` in this process, on a real database."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from hub.cli import recon_run_views
from hub.cli.app import app
from store.database import open_engine
from tests.support.builders import BASIC_RULE, COMMERCIAL, COMMERCIAL_RULE, HOSPITAL, a_rule_book_text
from tests.support.hub_in_process import PERSON_SECRET
from tests.support.recon_books import Share, Told, hospital_lines, payer_lines, settled, write_hub, write_statement
from tests.support.rule_books import put_in_force

DAY = "2026-03-02"


@pytest.fixture
def cli(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("HUB_DATABASE_URL", database_url)
    monkeypatch.setenv("HUB_PERSON_KEY_SECRET", PERSON_SECRET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    put_in_force(database_url, a_rule_book_text(BASIC_RULE, COMMERCIAL_RULE))
    shares = [Share(f"S-{number}", COMMERCIAL, (settled(5_000),), (settled(5_000),), (settled(5_000),))
              for number in range(3)]  # fmt: skip
    short = Share("S-9", COMMERCIAL, (settled(8_820),), (settled(8_802),), ())
    engine = open_engine(database_url)
    with engine.begin() as connection:
        write_hub(connection, [*shares, short])
        write_statement(connection, Told(COMMERCIAL, payer_lines([*shares, short])))
        write_statement(connection, Told(HOSPITAL, hospital_lines([*shares, short]), by_payer=True))
    engine.dispose()
    return CliRunner()


def test_a_day_is_run_shown_and_its_breaks_listed(cli: CliRunner) -> None:
    ran = cli.invoke(app, ["recon", "run", "--day", DAY, "--by", "li"])
    shown = cli.invoke(app, ["recon", "show", "--party", COMMERCIAL, "--day", DAY])
    assert "since then" not in shown.output
    as_json = cli.invoke(app, ["recon", "breaks", "--day", DAY, "--state", "open", "--json"])
    as_csv = cli.invoke(app, ["recon", "breaks", "--run", "1", "--csv"])
    listed = cli.invoke(app, ["recon", "breaks", "--day", DAY, "--class", "amount"])
    agreeing = cli.invoke(app, ["recon", "run", "--day", "2026-03-01", "--by", "li"])

    assert ran.exit_code == 1, "breaks are left"
    assert f"{COMMERCIAL}/daily" in ran.output
    assert f"{HOSPITAL}/daily" in ran.output
    assert "refunds counted" in shown.output
    found = orjson.loads(as_json.output)["breaks"]
    assert {(one["party"], one["break_class"]) for one in found} == {
        (COMMERCIAL, "amount"),
        (HOSPITAL, "missing_at_hospital"),
    }
    assert all(one["proposal"] for one in found)
    (row,) = csv.DictReader(io.StringIO(as_csv.output))
    assert (row["hub_settled"], row["payer_side_settled"], row["difference"]) == ("88.20", "88.02", "-0.18")
    assert "88.02" in listed.output
    assert (agreeing.exit_code, agreeing.output.strip()) == (0, "nobody has business on this day")


def test_what_a_case_booked_is_found_by_the_hospitals_number(cli: CliRunner) -> None:
    booked = cli.invoke(app, ["ledger", "case", f"{HOSPITAL}/S-9"])
    unknown = cli.invoke(app, ["ledger", "case", f"{HOSPITAL}/S-10"])

    assert "88.20" in booked.output
    assert (unknown.exit_code, "there is no case" in unknown.output) == (1, True)


@pytest.mark.parametrize(
    ("figures", "told"),
    [(None, ""), ((0, 0, 0, 0, 0), "-"), ((1, 0, 500, 0, 0), "5.00"), ((2, 1, 1_000, -500, 0), "10.00 in 2 -5.00")],
)
def test_a_side_never_reads_as_more_than_it_comes_to(figures: tuple[int, ...] | None, told: str) -> None:
    assert recon_run_views._side(figures) == told


def test_what_cannot_be_run_says_why(cli: CliRunner) -> None:
    nobody = cli.invoke(app, ["recon", "run", "--day", DAY, "--party", "NOBODY", "--by", "li"])
    later = cli.invoke(app, ["recon", "run", "--day", "2199-01-01", "--party", COMMERCIAL, "--by", "li"])
    never = cli.invoke(app, ["recon", "show", "--party", COMMERCIAL, "--day", DAY])
    wrong = cli.invoke(app, ["recon", "breaks", "--day", "yesterday"])
    misspelt = cli.invoke(app, ["recon", "breaks", "--day", DAY, "--class", "amuont"])
    no_state = cli.invoke(app, ["recon", "breaks", "--day", DAY, "--state", "opened"])

    assert [one.exit_code for one in (nobody, later, never, wrong, misspelt, no_state)] == [1, 1, 1, 2, 2, 2]
    assert "missing_at_hub" in misspelt.output
    assert "waiting" in no_state.output
    assert "not begun" in later.output
    assert "has not been run" in never.output
