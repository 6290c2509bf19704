"""A party whose door is shut, or whose token is renewed, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from hub.bootstrap import Hub, bootstrap
from hub.cli.app import app
from hub.settings import Settings
from tests.support.builders import HOSPITAL, OTHER_HOSPITAL, StubPayer, a_rule_book_text
from tests.support.eventually import eventually
from tests.support.http_client import Client
from tests.support.hub_in_process import PERSON_SECRET, TOKEN_SECRET
from tests.support.rule_books import put_in_force

WHY = ("--reason", "a token was seen in a ticket", "--by", "li")


@pytest.fixture
def running(database_url, tmp_path, monkeypatch) -> Iterator[Hub]:
    monkeypatch.chdir(tmp_path)
    put_in_force(database_url, a_rule_book_text())
    environment = {
        "HUB_DATABASE_URL": database_url,
        "HUB_PERSON_KEY_SECRET": PERSON_SECRET,
        "HUB_PARTY_TOKEN_SECRET": TOKEN_SECRET,
        "HUB_HTTP_PORT": "0",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        **{name.removeprefix("HUB_").lower(): value for name, value in environment.items()}  # type: ignore[arg-type]
    )
    hub = bootstrap(settings, make=lambda _: StubPayer())
    hub.start()
    yield hub
    hub.stop()


def party(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["party", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_disabled_party_is_refused_and_another_is_not(running):
    hospital, other = Client(running.gateway.port), Client(running.gateway.port, OTHER_HOSPITAL)
    assert hospital.settle("S-1").status == 200

    party("disable", HOSPITAL, *WHY)

    refused = eventually(lambda: (reply := hospital.settle("S-1")).status == 403 and reply)
    assert refused.json["code"] == "party.shut_out"
    assert hospital.get("/api/v1/mailbox").status == 403
    assert other.get("/api/v1/cases/01a2001f-14c8-7056-bf4b-409e7ef560e0").status == 404
    party("enable", HOSPITAL, *WHY)
    eventually(lambda: hospital.settle("S-1").status == 200)


def test_a_renewed_token_voids_the_one_before(running):
    hospital = Client(running.gateway.port)
    assert party("token", HOSPITAL).strip() == hospital.authorization.removeprefix("Bearer ")

    party("rotate", HOSPITAL, *WHY)

    renewed = f"Bearer {party('token', HOSPITAL).strip()}"
    eventually(lambda: hospital.settle("S-1").status == 401)
    assert hospital.settle("S-1", Authorization=renewed).status == 200
