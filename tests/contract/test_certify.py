"""Every make-believe party, through its real client, is certified: whoever speaks a dialect of the hub can be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.registry import ADAPTERS, HOSTED
from hub.certify.bills import CannotCertify
from hub.certify.checks import Verdict
from hub.certify.open import open_stage
from hub.certify.run import Report, certify
from routing.rulebook import Party, RuleBook
from sandbox import insurer_taikang
from sandbox.book import Book
from sandbox.cast_dialects import SECRETS
from sandbox.insurer_taikang import TaikangInsurer
from sandbox.parties import ANKANG, BASIC, CRITICAL_ILLNESS
from sandbox.parties_dialects import NATIONAL_BASIC, PINGJIA, TAIHE, YONGTAI
from sandbox.rules_dialects import dialect_rule_book
from sandbox.server import CastSettings, Sandbox
from schemas.transactions import Transaction
from tests.support.dialect_cells import unproven
from tests.support.one_party import listening

VISIT = ["admission.register", "admission.change", "fees.upload", "discharge.register"]
VISIT += ["discharge.cancel", "fees.cancel", "admission.cancel"]
PLAYED = {
    BASIC: "basic.soap",
    f"{BASIC}/12": "basic.soap12",
    NATIONAL_BASIC: "basic.national",
    CRITICAL_ILLNESS: "insurer.rest",
    YONGTAI: "insurer.chinalife",
    PINGJIA: "insurer.picc",
    TAIHE: "insurer.taikang",
}
BY_OTHER_WAYS = {"insurer.queue", "insurer.taikang.repeats", HOSTED}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CastSettings(dialects=True, volatile=True)) as started:
        yield started


@pytest.fixture(scope="module")
def book(sandbox: Sandbox) -> RuleBook:
    return RuleBook.model_validate(dialect_rule_book(sandbox.endpoints()))


def run(book: RuleBook, party: Party, endpoint: str, secrets: dict[str, str] | None = None) -> Report:
    with open_stage(book, party, endpoint=endpoint, test_system=True, seed=7, secrets=secrets) as (stage, address):
        return certify(stage, 7, address)


def failures(report: Report) -> dict[str, tuple[str, ...]]:
    return {
        one.id: (one.why.en if one.why else "", *one.got) for one in report.results if one.verdict is Verdict.FAILED
    }


def told_everything(party: Party) -> Party:
    """The party as if its contract said that it is told all that its dialect has words for."""
    can = ADAPTERS[party.adapter].capabilities.notices
    wanted = {*VISIT, Transaction.ADJUDICATION_UPLOAD.value, Transaction.CANCEL.value, Transaction.REVERSE.value}
    return party.model_copy(update={"notices": frozenset(can & wanted)})


def test_every_adapter_is_tried_here_or_elsewhere():
    assert {*PLAYED.values(), *BY_OTHER_WAYS} == set(ADAPTERS)


@pytest.mark.parametrize("name", PLAYED)
def test_a_make_believe_party_is_certified(sandbox, book, name):
    code = name.partition("/")[0]
    party = told_everything(book.party_by_code[code].model_copy(update={"adapter": PLAYED[name]}))

    report = run(book, party, sandbox.endpoints()[code], SECRETS.get(code))

    assert failures(report) == {}
    assert report.ok
    assert unproven(report) == [], "docs/transactions.md claims what was not said, or the other way round"
    assert sandbox.books[code].totals().net_fen == 0


def test_an_insurer_that_keeps_repeats_apart_is_certified_for_them(book):
    party = told_everything(book.party_by_code[TAIHE].model_copy(update={"adapter": "insurer.taikang.repeats"}))
    app = TaikangInsurer(TAIHE, Book(volatile=True), insurer_taikang.SANDBOX_KEYS, repeats=True)
    with listening(app) as url:
        report = run(book, party, url, SECRETS[TAIHE])

    passed = {one.id for one in report.results if one.verdict is Verdict.PASSED}
    assert (failures(report), unproven(report)) == ({}, [])
    assert {"repeat.same_answer", "lost.answer_resolved"} <= passed


def test_the_evidence_names_nobody(sandbox, book):
    party = book.party_by_code[YONGTAI]

    with open_stage(book, party, endpoint=sandbox.endpoints()[YONGTAI], seed=7, test_system=True) as (stage, address):
        report = certify(stage, 7, address)
        patients = [claim.task.request.patient for claim in stage.claims.values()]
        people = [claim.task.request.insurance for claim in stage.claims.values()]

    shown = "".join(one.sent + one.answer for result in report.results for one in result.evidence)
    assert len(shown) > 10_000
    assert not [one for one in patients if one.id_no in shown or one.name in shown]
    assert not [one for one in people if one.person_no in shown]


def test_the_rule_books_address_is_called_only_if_somebody_says_that_it_is_a_test_system(book):
    party = book.party_by_code[ANKANG]
    for endpoint in ("", party.endpoint, f"{party.endpoint}/"):
        with (
            pytest.raises(CannotCertify, match="--yes-it-is-a-test-system"),
            open_stage(book, party, endpoint=endpoint),
        ):
            pass


def test_a_party_that_nobody_lets_pay_cannot_be_certified(sandbox, book):
    stranger = book.party_by_code[ANKANG].model_copy(update={"code": "STRANGER"})

    with pytest.raises(CannotCertify, match="no rule"), open_stage(book, stranger, endpoint="http://127.0.0.1:1"):
        pass
