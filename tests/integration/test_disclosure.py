"""A case with several payers: what really left for each of them, from the stored bytes, and who looked at it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.registry import make_adapter
from hub.cli.app import app
from hub.rulebook_check import read_checked
from routing.rulebook_file import InvalidRuleBook
from schemas.payer import PartySettings, PayerTask, PreparedCall, RawAnswer
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    COMMERCIAL,
    COMMERCIAL_RULE,
    CRITICAL,
    CRITICAL_RULE,
    HOSPITAL,
    QUEUE_INSURER,
    StubPayer,
    a_party,
    a_rule,
    a_rule_book_text,
    a_settle_request,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub

PHONE, CARD, DOCTOR, DEPARTMENT = "13900139000", "CANARY-CARD", "CANARY-DOCTOR", "金丝雀科"
OWN_POLICY, OTHER_POLICY = "POL-OF-COMMERCIAL", "POL-OF-ANOTHER"
ADAPTERS = {BASIC: "basic.soap", CRITICAL: "insurer.rest", COMMERCIAL: "insurer.rest", QUEUE_INSURER: "insurer.queue"}


class RealWords(StubPayer):
    """Asks in the words of a real adapter and answers like a stub."""

    def __init__(self, code: str, adapter: str) -> None:
        super().__init__()
        self._real = make_adapter(PartySettings(code, adapter, "http://127.0.0.1:1"))
        self._asked: dict[bytes, PreparedCall] = {}

    def prepare(self, task: PayerTask) -> PreparedCall:
        call = self._real.prepare(task)
        self._asked[call.body] = super().prepare(task)
        return call

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        return super().send(self._asked[call.body], timeout_s)


@pytest.fixture
def world(database_url, tmp_path, monkeypatch) -> Iterator[TestHub]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_DATABASE_URL", database_url)
    monkeypatch.setenv("HUB_PERSON_KEY_SECRET", PERSON_SECRET)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("HUB_OPERATOR", raising=False)
    payers = {code: RealWords(code, ADAPTERS[code]) for code in (BASIC, CRITICAL, COMMERCIAL)}
    told_more = a_party(CRITICAL, "insurer", discloses={"patient": ["name", "id_no", "phone"], "fees": "totals"})
    last = a_rule("last", "commercial", QUEUE_INSURER, order=900)
    rules = (BASIC_RULE, CRITICAL_RULE, COMMERCIAL_RULE, last)
    with a_hub(database_url, *rules, payers=payers, parties=[told_more]) as hub:
        hub.cover(policy_no=OWN_POLICY)
        yield hub


def asked(hub: TestHub) -> str:
    """A case about which everybody has been asked, the last one by a message in its queue."""
    message = a_settle_request(30_000)
    message["patient"]["phone"] = PHONE
    message["insurance"]["card_no"] = CARD
    message["visit"] |= {"doctor_code": DOCTOR, "department": DEPARTMENT}
    case_id = hub.send("settlement.settle", message).case_id
    eventually(lambda: hub.count(f"exchange WHERE direction = 'out' AND party = '{QUEUE_INSURER}'") == 1)
    return case_id


def command(*arguments: str, exit_code: int = 0) -> str:
    done = CliRunner().invoke(app, ["case", "sent", *arguments])
    assert done.exit_code == exit_code, done.output
    return done.stdout


def left_for(case_id: str, payer: str, show: Callable[..., str] = command) -> list[dict[str, Any]]:
    arguments = (case_id, "--payer", payer, "--values", "--reason", "an audit", "--by", "li", "--json")
    return json.loads(show(*arguments))["sent"]


def test_nothing_that_is_withheld_leaves_for_anybody(world):
    case_id = asked(world)

    sent = {code: json.dumps(left_for(case_id, code), ensure_ascii=False) for code in ADAPTERS}

    withheld = {
        BASIC: (PHONE, COMMERCIAL, CRITICAL, OWN_POLICY),
        CRITICAL: (CARD, DOCTOR, DEPARTMENT, BASIC, COMMERCIAL, OWN_POLICY, "item_name=XA10"),
        QUEUE_INSURER: (PHONE, CARD, DOCTOR, DEPARTMENT, BASIC, CRITICAL, COMMERCIAL, OWN_POLICY),
        COMMERCIAL: (PHONE, CARD, DOCTOR, DEPARTMENT, BASIC, CRITICAL, QUEUE_INSURER),
    }
    told = {BASIC: (CARD, DOCTOR, DEPARTMENT), CRITICAL: (PHONE,), QUEUE_INSURER: (), COMMERCIAL: (OWN_POLICY,)}
    for code, text in sent.items():
        assert len(text) > 500
        assert [secret for secret in withheld[code] if secret in text] == []
        assert [word for word in told[code] if word not in text] == []


def test_the_names_of_what_left_are_shown_without_anybodys_data(world):
    case_id = asked(world)

    shown = command(f"{HOSPITAL}/S-1")
    [told] = json.loads(command(case_id, "--payer", CRITICAL, "--json"))["sent"]

    assert "patient.id_no" in shown
    assert "110105" not in shown
    assert (told["fields"]["patient.phone"], told["fields"]["fees[].amount"]) == (1, 1)
    assert "values" not in told


def test_who_looks_at_values_says_why_and_is_on_record(world):
    case_id = asked(world)

    command(case_id, "--values", "--by", "li", exit_code=1)
    command(case_id, "--values", "--reason", "an audit", exit_code=2)
    assert world.count("operator_action WHERE kind = 'case.reveal'") == 0
    assert PHONE in command(case_id, "--values", "--reason", "an audit", "--by", "li")

    assert world.count(f"operator_action WHERE kind = 'case.reveal' AND subject = 'case/{case_id}'") == 1


def test_of_a_payer_who_was_told_nothing_that_is_said(world):
    assert "Nothing has left for NOBODY" in command(asked(world), "--payer", "NOBODY")


@pytest.mark.parametrize(
    ("adapter", "discloses", "missing"),
    [
        ("insurer.rest", {"patient": ["id_no"]}, "patient.name"),
        ("basic.soap", {"fees": "totals", "insurance": []}, "fees.all, insurance.person_no"),
    ],
)
def test_a_map_that_withholds_what_the_dialect_needs_is_refused_with_the_rule_book(adapter, discloses, missing):
    kind = "basic" if adapter.startswith("basic") else "insurer"
    party = a_party("ODD", kind, adapter=adapter, endpoint="http://127.0.0.1:1", discloses=discloses)
    content = a_rule_book_text(BASIC_RULE, parties=[party, a_party(BASIC, "basic", adapter="basic.soap",
                                                                  endpoint="http://127.0.0.1:1")])  # fmt: skip

    with pytest.raises(InvalidRuleBook, match=f"needs {missing} to be disclosed") as refused:
        read_checked(content)

    assert [one.field for one in refused.value.complaints] == ["parties[0].discloses"]
