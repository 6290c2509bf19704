"""A party that consumes its queue is certified over a real broker, by the command as people give it."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from hub.certify.queue_line import QueueLine
from hub.cli.app import app
from routing.rulebook import RuleBook
from sandbox.parties import ANKANG, BASIC, CRITICAL_ILLNESS, HENGAN
from sandbox.rules import rule_book
from sandbox.server import CastSettings, Sandbox

RULES = rule_book(dict.fromkeys((BASIC, CRITICAL_ILLNESS, ANKANG), "http://127.0.0.1:1"), [])


@pytest.fixture
def rules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(RULES, allow_unicode=True), encoding="utf-8")
    return file


def certify(*arguments):
    return CliRunner().invoke(app, ["certify", *map(str, arguments), "--seed", "7", "--report", "reports"])


def test_a_queue_insurer_is_certified(rabbitmq_url, rules, tmp_path):
    with QueueLine(rabbitmq_url, HENGAN, RuleBook.model_validate(RULES)):
        pass  # declares the queue, so that the insurer finds it at once
    with Sandbox(CastSettings(volatile=True, broker_url=rabbitmq_url)) as sandbox:
        control = sandbox.cast.control_urls()[HENGAN]
        done = certify(HENGAN, "--rules", rules, "--endpoint", rabbitmq_url, "--control", control)

        assert done.exit_code == 0, done.output
        assert sandbox.books[HENGAN].totals().settled > 10
        assert sandbox.books[HENGAN].totals().net_fen == 0
    report = json.loads((tmp_path / "reports" / f"{HENGAN}.json").read_text(encoding="utf-8"))
    verdicts = {one["id"]: one["verdict"] for one in report["checks"]}
    assert verdicts["lost.answer_resolved"] == verdicts["reversal.tombstone"] == verdicts["answer.in_time"] == "passed"
    assert verdicts["refuse.bad_amount"] == verdicts["inquiry.stands"] == "not_applicable"
    assert "@" not in report["facts"]["endpoint 地址"]


def test_a_party_that_reads_no_queue_is_not_certified(rabbitmq_url, rules):
    quick = yaml.safe_dump(RULES | {"parties": [one | {"timeout_s": 0.01} for one in RULES["parties"]]})
    rules.write_text(quick, encoding="utf-8")

    done = certify(HENGAN, "--rules", rules, "--endpoint", rabbitmq_url)

    assert done.exit_code == 1
    assert "NOT certified" in done.stdout
    assert "NOT TAKEN BACK" in done.stderr
