"""`hub certify` at the command line: what it refuses, what it writes, and what it does without the party."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
import yaml
from typer.testing import CliRunner

from adapters.registry import ADAPTERS
from hub.certify import report
from hub.certify.tampering import with_value, without_field
from hub.cli.app import app
from sandbox.parties import ANKANG, PARTIES
from sandbox.rules import rule_book
from schemas.payer import PreparedCall
from tests.support import certifying as partners
from tests.support.certifying import certified


@pytest.fixture
def rules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "rules.yaml"
    book = rule_book(dict.fromkeys(PARTIES, "http://127.0.0.1:1"), [])
    file.write_text(yaml.safe_dump(book, allow_unicode=True), encoding="utf-8")
    return file


def hub(*arguments):
    return CliRunner().invoke(app, ["certify", *map(str, arguments)])


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_every_adapter_is_certified_by_its_samples(adapter, rules, tmp_path):
    done = hub(adapter, "--offline", "--report", "reports", "--json")

    assert done.exit_code == 0, done.stdout
    assert json.loads(done.stdout)["ok"]
    assert (tmp_path / "reports" / f"{adapter}.html").exists()


def test_a_party_is_certified_by_the_samples_of_its_adapter(rules):
    done = hub(ANKANG, "--rules", rules, "--offline", "--seed", 5)

    assert done.exit_code == 0
    assert "seed 5" in done.stdout
    assert "ANKANG: certified" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["NOBODY"], "not among the parties"),
        ([ANKANG], "--yes-it-is-a-test-system"),
        (["HENGAN"], "amqp(s)://"),
        ([ANKANG, "--endpoint", "amqp://127.0.0.1"], "http(s)://"),
        ([ANKANG, "--endpoint", "http://127.0.0.1:2", "--product", "NONE"], "no rule of the rule book"),
    ],
)
def test_what_cannot_be_certified_is_wrong_usage(rules, arguments, said):
    done = hub(*arguments, "--rules", rules)

    assert done.exit_code == 2
    assert said in done.stderr


def test_a_test_person_that_breaks_the_schema_is_named_by_field(rules, tmp_path):
    (tmp_path / "person.yaml").write_text("patient: {name: 张伟, id_type: '01', id_no: '1'}", encoding="utf-8")

    done = hub(ANKANG, "--rules", rules, "--endpoint", "http://127.0.0.1:2", "--data", "person.yaml")

    assert done.exit_code == 2
    assert "patient.id_no" in done.stderr


class Page(HTMLParser):
    """What a page asks for from elsewhere, and whether its elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elsewhere += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_says_all_in_both_languages():
    made = certified(partners.NeverUndoes)

    text = report.as_html(made)

    page = Page()
    page.feed(text)
    assert (page.elsewhere, page.open) == ([], [])
    assert "url(" not in text
    for result in made.results:
        assert result.proves.zh in text
        assert result.id in text
    assert "未撤回 NOT TAKEN BACK" in text
    assert "不合格" in text


def test_the_report_can_be_read_by_machines():
    made = certified()

    found = json.loads(json.dumps(report.as_dict(made)))

    assert found["ok"]
    assert found["counts"] == {"passed": len(found["checks"]), "failed": 0, "not_applicable": 0}
    settled = next(one for one in found["checks"] if one["id"] == "settle.approves")
    (evidence,) = settled["evidence"]
    assert evidence["operation"] == "settle"
    assert "***" in evidence["sent"]


def test_the_same_seed_makes_the_same_people_and_amounts():
    first, again, other = (certified(seed=seed) for seed in (3, 3, 4))

    assert amounts(first) == amounts(again) != amounts(other)


def amounts(made):
    return [one.ended.split()[1] for result in made.results[:3] for one in result.evidence if "approved" in one.ended]


@pytest.mark.parametrize(
    ("body", "wrong", "without"),
    [
        ('{"a":1,"total":"12.38","b":2}', '{"a":1,"total":"-12.38","b":2}', '{"a":1,"b":2}'),
        ('{"b":2,"total":12.38}', '{"b":2,"total":-12.38}', '{"b":2}'),
        (
            "<x><m:t a='1'>12.38</m:t><u>112.38</u></x>",
            "<x><m:t a='1'>-12.38</m:t><u>112.38</u></x>",
            "<x><u>112.38</u></x>",
        ),
        ("<s>&lt;t&gt;12.38&lt;/t&gt;</s>", "<s>&lt;t&gt;-12.38&lt;/t&gt;</s>", "<s></s>"),
    ],
)
def test_a_field_is_spoiled_in_any_notation(body, wrong, without):
    call = PreparedCall(body.encode(), "text/plain")

    assert with_value(call, "12.38", "-12.38") == PreparedCall(wrong.encode(), "text/plain")
    assert without_field(call, "12.38") == PreparedCall(without.encode(), "text/plain")
    assert with_value(call, "2.38", "0") is None
