"""How a party is met is data of the rule book, and what cannot be is refused when it is read."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from hub.cli.app import app
from hub.rulebook_check import needs_restart
from routing.plan import plan_case
from routing.rulebook_file import InvalidRuleBook
from schemas.errors import InvalidMessage
from schemas.settlement import SettleRequest
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    CRITICAL,
    CRITICAL_RULE,
    HOSPITAL,
    REGION,
    a_party,
    a_rule_book,
    a_rule_book_text,
    a_settle_request,
    as_bytes,
)

THEIRS = BASIC_RULE | {"adjudicated_by": "basic"}
GIVEN = {"layer": "basic", "payer": BASIC, "amount": "150.00", "figures": {"in_scope": "300.00"}}


def basic(**link: Any) -> dict[str, Any]:
    return a_party(BASIC, "basic", region=REGION, **link)


def hospital(**link: Any) -> dict[str, Any]:
    return {"code": HOSPITAL, "name": "一院", "region": REGION, **link}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"parties": [basic(link="via_his")]}, "via_his"),
        ({"parties": [basic(link="via_his", notices=["fees.upload"])]}, "cannot be told anything"),
        ({"parties": [basic(link="via_his", amqp=True)]}, "sends nothing itself"),
        ({"parties": [basic(link="staging")]}, "staging: say how the table is polled"),
        ({"parties": [basic(staging={})]}, "staging: needs link: staging"),
        ({"parties": [a_party(CRITICAL, link="staging", staging={})]}, "is for basic systems"),
        ({"institutions": [hospital(link="staging")]}, "staging: say how the table is polled"),
        ({"institutions": [hospital(link="files", staging={})]}, "staging: needs link: staging"),
        ({"institutions": [hospital(link="via_his")]}, "link"),
        ({"institutions": [hospital(link="staging", staging={"poll_s": 0})]}, "poll_s"),
    ],
)
def test_a_link_that_does_not_fit_is_refused_with_its_line(changes, complaint):
    with pytest.raises(InvalidRuleBook, match=complaint) as refused:
        a_rule_book(**changes)

    assert refused.value.complaints[0].line > 1


def test_links_that_fit_are_known_by_code():
    book = a_rule_book(
        THEIRS,
        CRITICAL_RULE,
        parties=[basic(link="via_his"), a_party(CRITICAL, link="files")],
        institutions=[hospital(link="staging", staging={"poll_s": 2})],
    )

    assert [book.link_of(code) for code in (BASIC, CRITICAL, HOSPITAL, "NOBODY")] == [
        "via_his",
        "files",
        "staging",
        "",
    ]
    assert book.staging_by_code[HOSPITAL].poll_s == 2


def test_another_table_to_poll_needs_a_restart_and_another_link_kind_alone_does_not():
    plain, files = a_rule_book(institutions=[hospital()]), a_rule_book(institutions=[hospital(link="files")])
    polled = a_rule_book(institutions=[hospital(link="staging", staging={})])

    assert not needs_restart(plain, files)
    assert needs_restart(plain, polled)


def test_a_system_met_through_the_hospital_is_never_asked_and_its_result_comes_with_the_bill():
    book = a_rule_book(THEIRS, CRITICAL_RULE, parties=[basic(link="via_his")])

    plan = plan_case(book, _bill(adjudicated=[GIVEN]), [])

    assert [(leg.payer, leg.given is not None) for leg in plan.legs] == [(BASIC, True), (CRITICAL, False)]
    with pytest.raises(InvalidMessage) as refused:
        plan_case(book, _bill(), [])
    assert [one.code for one in refused.value.violations] == ["adjudicated.missing"]


def _bill(**changes: Any) -> SettleRequest:
    return SettleRequest.model_validate_json(as_bytes(a_settle_request(**changes)))


def test_the_command_line_says_whose_link_is_another(tmp_path):
    file = tmp_path / "rules.yaml"
    parties = [
        basic(link="via_his", adapter="basic.soap", endpoint="https://basic.example/soap"),
        a_party(CRITICAL, adapter="insurer.rest", endpoint="https://claims.example"),
    ]
    file.write_text(a_rule_book_text(THEIRS, CRITICAL_RULE, parties=parties), encoding="utf-8")

    done = CliRunner().invoke(app, ["rules", "check", str(file)])

    assert (done.exit_code, f"({BASIC} by via_his)" in done.stdout.replace("\n", " ")) == (0, True)
