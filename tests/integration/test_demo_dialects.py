"""A mixed day over all dialects, in one process: every party's book agrees with the hub's, to the fen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest
from pydantic import SecretStr
from rich.console import Console
from typer.testing import CliRunner

from adapters.registry import ADAPTERS
from hub.bootstrap import bootstrap
from hub.cli.app import app
from hub.demo import mixed
from hub.demo.mixed import MixedReport
from hub.demo.mixed_day import MixedDay, mixed_rule_book
from hub.demo.mixed_report import mixed_as_dict, show_mixed
from hub.demo.stage import PARTY_SECRETS, Stage, free_port
from hub.settings import Settings
from sandbox.server import CastSettings, Sandbox
from store.database import open_engine
from tests.support import servers

CASES = 36
DAY = date(2026, 3, 2)


@pytest.fixture(scope="module")
def report(postgres_server, database_template, tmp_path_factory) -> Iterator[MixedReport]:
    stage = Stage(tmp_path_factory.mktemp("mixed"), hub_port=free_port(), dialects=True)
    mixed.write_secrets(stage)
    day = MixedDay(CASES, day=DAY, seed=20)
    with (
        servers.fresh_database(postgres_server, database_template) as url,
        Sandbox(CastSettings(hub_url=stage.hub_url, dialects=True)) as sandbox,
    ):
        engine = open_engine(url, application="test", by_key=False)
        mixed.prepare(stage, engine, mixed_rule_book(sandbox.endpoints()), day.coverage())
        settings = Settings(
            database_url=SecretStr(url),
            person_key_secret=SecretStr(stage.environment()["HUB_PERSON_KEY_SECRET"]),
            party_secrets=str(stage.folder / PARTY_SECRETS),
            trust_party_header=True,
            http_port=stage.hub_port,
        )
        hub = bootstrap(settings)
        hub.start()
        try:
            control = sandbox.cast.control_urls()
            mixed.misbehave(control)
            yield mixed.live(stage, engine, day, control, lambda *_: None)
        finally:
            hub.stop()
            engine.dispose()


def test_all_books_agree_and_the_database_is_sound(report: MixedReport) -> None:
    proof = report.proof

    assert (proof.differences, proof.wrong_sums, proof.troubles, proof.dead_letters) == ([], [], [], 0)
    assert (proof.settlements, proof.settled_down, report.broken) == (CASES, True, {})
    assert report.good


def test_every_dialect_has_paid_something(report: MixedReport) -> None:
    others = {"basic.soap12", "insurer.taikang.repeats"}
    paid = {one.dialect for one in report.parties if one.fen > 0}

    assert paid == ADAPTERS.keys() - others
    assert {way for _, way in report.ways} == {"HTTP", "SOAP"}
    assert len({region for region, _ in report.ways}) == 4


def test_lost_answers_were_asked_for_and_payers_were_told(report: MixedReport) -> None:
    assert sum(one.doubts for one in report.parties) > 0
    assert sum(one.doubts_open for one in report.parties) == 0
    # Withdrawn: it was undone before anybody had said it.
    told = set().union(*(one.told.keys() for one in report.parties))
    assert told <= {"taken", "withdrawn"}
    assert sum(one.told["taken"] for one in report.parties) > 0


def test_the_report_says_so(report: MixedReport, capsys: pytest.CaptureFixture[str]) -> None:
    show_mixed(report, Console(width=200))

    assert capsys.readouterr().out.rstrip().endswith("books agree")
    told = mixed_as_dict(report)
    assert (told["good"], told["cases"]) == (True, CASES)


def test_the_option_goes_with_few_others() -> None:
    done = CliRunner().invoke(app, ["demo", "--all-dialects", "--rate", "3"])

    assert done.exit_code == 2
    assert "--all-dialects goes with" in done.stderr
