"""The rule book of the dialects is one that the hub accepts, with adapters that can be built from it."""

from __future__ import annotations

import yaml

from hub.rulebook_check import read_checked
from routing.plan import plan_case
from routing.rulebook import RuleBook
from sandbox import cast_dialects, parties
from sandbox.parties_dialects import GUANGXI_BASIC, PINGJIA, TAIHE, YONGTAI
from sandbox.rules_dialects import dialect_rule_book
from tests.support.dialect_payers import a_stay

EVERYBODY = (*parties.PARTIES, *cast_dialects.CODES)


def the_book(*without: str) -> RuleBook:
    endpoints = {code: "http://127.0.0.1:1/x" for code in EVERYBODY if code not in without}
    return read_checked(yaml.safe_dump(dialect_rule_book(endpoints), allow_unicode=True))


def test_the_hub_accepts_the_rule_book() -> None:
    book = the_book()

    assert {party.code for party in book.parties} == {*EVERYBODY}


def test_a_stay_in_guangxi_goes_to_three_payers() -> None:
    plan = plan_case(the_book(), a_stay(), [])

    assert [leg.payer for leg in plan.legs] == [GUANGXI_BASIC, YONGTAI, PINGJIA]


def test_a_party_that_does_not_play_is_left_out_with_its_rules() -> None:
    book = the_book(TAIHE, PINGJIA)

    assert [leg.payer for leg in plan_case(book, a_stay(), []).legs] == [GUANGXI_BASIC, YONGTAI]
