"""`hub run` as operators know it: it starts, says so, restarts what dies, and stops when it is asked."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
import urllib3
from typer.testing import CliRunner

from hub.cli.app import app
from hub.demo.rulebook import FEW_PLACES, fixed_endpoints, rule_book_text
from tests.support.command_line import hub, running
from tests.support.eventually import eventually
from tests.support.rule_books import put_in_force

pytestmark = pytest.mark.timeout(600)
"""Interpreters are started and stopped, up to five at once."""

SECRET = "a secret of thirty-two characters"


def a_database_in_use(url: str, *, amqp: int = 0) -> None:
    """Activate the sandbox's rule book."""
    put_in_force(url, rule_book_text(fixed_endpoints(), amqp=amqp))


def settings_of(database_url: str, **more: str) -> dict[str, str]:
    return {
        "HUB_DATABASE_URL": database_url,
        "HUB_PERSON_KEY_SECRET": SECRET,
        "HUB_PARTY_TOKEN_SECRET": SECRET,
        "HUB_HTTP_PORT": "0",
        **more,
    }


def test_all_roles_in_one_process_start_and_stop(database_url: str, tmp_path: Path) -> None:
    a_database_in_use(database_url)

    with running(tmp_path, "run", settings=settings_of(database_url)) as started:
        ready = started.wait_for("hub_ready")
        assert urllib3.request("GET", f"{ready['http']}/readyz", retries=False).status == 200
        assert len(started.family()) == 1

        assert started.stop(signal.SIGINT) == 0
        assert started.events("hub_stopped")[0]["clean"] is True


def test_one_role_runs_alone(database_url: str, tmp_path: Path) -> None:
    a_database_in_use(database_url)

    with running(tmp_path, "run", "--role", "relay", settings=settings_of(database_url)) as started:
        assert started.wait_for("hub_ready")["roles"] == ["relay"]
        assert started.stop() == 0
        assert started.events("hub_stopped")[0]["clean"] is True


def test_migrate_brings_an_empty_database_up_to_date(empty_database_url: str, tmp_path: Path) -> None:
    """Without a rule book it says then what to do."""
    assert "hub db upgrade" in hub(tmp_path, "run", **settings_of(empty_database_url)).stderr

    done = hub(tmp_path, "run", "--migrate", **settings_of(empty_database_url))
    assert done.returncode == 1
    assert "hub rules activate" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_rabbitmq_each_role_is_a_child_that_stops_when_its_supervisor_is_killed(
    database_url: str, rabbitmq_url: str, tmp_path: Path
) -> None:
    a_database_in_use(database_url, amqp=len(FEW_PLACES))
    settings = settings_of(database_url, HUB_BROKER_URL=rabbitmq_url)

    with running(tmp_path, "run", settings=settings) as started:
        started.wait_for("hub_ready", count=4)
        children = {event["child"] for event in started.events("child_started")}
        assert children == {"gateway", "engine", "adapters", "relay"}
        checked = CliRunner().invoke(app, ["topology", "check"], env=settings)
        assert checked.exit_code == 0, checked.output
        members = started.family()

        started.process.kill()

        assert not psutil.wait_procs(members, timeout=120)[1]


def test_a_second_signal_does_not_wait(database_url: str, tmp_path: Path) -> None:
    a_database_in_use(database_url)

    with running(tmp_path, "run", settings=settings_of(database_url)) as started:
        started.wait_for("hub_ready")
        started.process.send_signal(signal.SIGTERM)
        started.wait_for("hub_stopping")

        assert started.stop() in (0, 128 + signal.SIGTERM)  # it may have been quicker than the second signal


def test_the_topology_is_applied_from_the_command_line(database_url: str, rabbitmq_url: str) -> None:
    a_database_in_use(database_url, amqp=1)
    settings = settings_of(database_url, HUB_BROKER_URL=rabbitmq_url)

    before = CliRunner().invoke(app, ["topology", "check", "--json"], env=settings)
    applied = CliRunner().invoke(app, ["topology", "apply"], env=settings)
    after = CliRunner().invoke(app, ["topology", "check"], env=settings)

    assert before.exit_code == 1
    assert "missing" in before.stdout
    assert applied.exit_code == 0
    assert after.exit_code == 0
    assert "as the rule book needs it" in after.stdout


def test_an_unreachable_broker_is_one_line(database_url: str) -> None:
    a_database_in_use(database_url, amqp=1)
    settings = settings_of(database_url, HUB_BROKER_URL="amqp://hub:secret@127.0.0.1:1/hub")

    for command in (["topology", "apply"], ["topology", "check"]):
        done = CliRunner().invoke(app, command, env=settings)

        assert done.exit_code == 1
        assert done.stderr.startswith("hub: HUB_BROKER_URL: ")
        assert "secret" not in done.stderr


def test_the_sandbox_runs_and_stops(tmp_path: Path) -> None:
    ports = tmp_path / "ports.json"
    arguments = ["sandbox", "--no-fixed-ports", "--ports-file", str(ports), "--samples", "samples"]

    with running(tmp_path, *arguments, settings={}) as started:
        eventually(ports.exists, within_s=120)
        assert (tmp_path / "samples" / "settle.json").exists()
        assert started.stop() == 0
