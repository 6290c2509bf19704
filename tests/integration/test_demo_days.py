"""A day with faults, from its bills to its seal and its money, in one process: exactly what was done is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console
from typer.testing import CliRunner

from hub.bootstrap import Hub, bootstrap
from hub.cli.app import app
from hub.clock import DatabaseClock
from hub.demo import days, days_clock, mixed
from hub.demo.days import DaysOptions, DaysReport
from hub.demo.days_report import days_as_dict, show_days
from hub.demo.screen import Screen
from hub.demo.stage import PARTY_SECRETS, Stage, free_port
from hub.settings import Settings
from sandbox import clock as sandbox_clock
from sandbox.server import CastSettings, Sandbox
from store.database import open_engine
from tests.support import servers

CASES = 30


class HubHere:
    """The hub on threads of this process."""

    notices_within = timedelta(0)

    def __init__(self, stage: Stage, url: str) -> None:
        self._settings = Settings(
            database_url=SecretStr(url),
            person_key_secret=SecretStr(stage.environment()["HUB_PERSON_KEY_SECRET"]),
            party_secrets=str(stage.folder / PARTY_SECRETS),
            trust_party_header=True,
            http_port=stage.hub_port,
            recon_every_s=0,
        )
        self._hub: Hub | None = None

    def start(self) -> None:
        self._hub = bootstrap(self._settings)
        self._hub.start()

    def notice(self, change: Callable[[], None]) -> None:
        change()
        assert self._hub is not None
        assert isinstance(self._hub.clock, DatabaseClock)
        self._hub.clock.look()

    def stop(self) -> None:
        if self._hub is not None:
            self._hub.stop()


@pytest.fixture(scope="module")
def report(postgres_server, database_template, tmp_path_factory) -> Iterator[DaysReport]:
    stage = Stage(tmp_path_factory.mktemp("days"), hub_port=free_port(), dialects=True)
    mixed.write_secrets(stage)
    with (
        servers.fresh_database(postgres_server, database_template) as url,
        Sandbox(CastSettings(hub_url=stage.hub_url, dialects=True)) as sandbox,
    ):
        days_clock.set_up(url)
        engine = open_engine(url, application="test", by_key=False)
        told = {"endpoints": sandbox.endpoints(), "control": sandbox.cast.control_urls()}
        try:
            options = DaysOptions(days=1, cases=CASES, faults=True)
            yield days.live(stage, HubHere(stage, url), engine, told, options, Screen())
        finally:
            engine.dispose()
            sandbox_clock.set_ahead(0)


def test_exactly_what_was_done_is_found_and_called_by_its_name(report: DaysReport) -> None:
    compared = report.compared

    assert (compared.missed, compared.wrongly, compared.surplus) == ([], [], [])
    done = {one.what for one, _ in compared.matched}
    assert {"answer lost", "undone by hand", "row twice", "row missing", "wrong fen"} <= done


def test_an_answer_that_was_not_heard_is_sent_again_and_a_contradiction_is_over_before_the_morning(
    report: DaysReport,
) -> None:
    """Which bills there are depends on the day: neither must be among them."""
    again = [known.how for one, known in report.compared.matched if one.what == "answer not heard"]

    assert set(again) <= {"remedy: resend_answer"}
    assert report.alone == len(again)
    assert all(one.ended for one in report.early)


def test_the_day_is_sealed_paid_and_sound(report: DaysReport) -> None:
    (day,) = report.days

    assert day.seal is not None
    assert (day.seal.sealed_by, day.seal.approved_by) == ("li", "wang")
    assert (report.open, report.troubles, report.broken) == ([], [], [])
    assert report.month.paid
    assert min(len(report.month.deductions), report.month.payments) > 0
    assert report.good


def test_every_way_of_giving_a_statement_was_used(report: DaysReport) -> None:
    ways = {way.value for one in report.days for way in one.ways.values()}

    assert ways >= {"asked for", "message, HTTP", "message, SOAP", "file, HTTP", "file, CSV", "file, national zip"}


def test_the_report_says_so(report: DaysReport) -> None:
    console = Console(width=200, record=True, file=None)
    show_days(report, console)

    assert "every day is closed to the fen, and the month is paid" in console.export_text()
    assert days_as_dict(report)["good"] is True


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["demo", "--days", "3", "--all-dialects"])

    assert answer.exit_code == 2
    assert "--days goes with" in answer.output
