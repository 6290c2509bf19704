"""The sandbox's rule book is one that the hub accepts, and it plans the sandbox's day."""

from __future__ import annotations

from datetime import date

import orjson

from routing.plan import Coverage, plan_case
from routing.rulebook import RuleBook
from sandbox import parties
from sandbox.day import HospitalDay
from sandbox.rules import rule_book
from tests.support.sandbox_builders import DAY


def the_book(day: HospitalDay) -> RuleBook:
    endpoints = dict.fromkeys(parties.PARTIES, "http://127.0.0.1:1/x")
    return RuleBook.model_validate_json(orjson.dumps(rule_book(endpoints, day.institutions, amqp=True)))


def test_the_hub_accepts_the_rule_book() -> None:
    book = the_book(HospitalDay(100, day=DAY))

    assert {party.code for party in book.parties} == set(parties.PARTIES)
    assert all(institution.amqp for institution in book.institutions)


def test_every_case_of_the_day_finds_its_payers() -> None:
    day = HospitalDay(300, day=DAY)
    book = the_book(day)
    policies = [
        Coverage(row.product, row.policy_no, date.fromisoformat(row.valid_from), date.fromisoformat(row.valid_to))
        for row in day.coverage()
    ]
    shared = next(policy for policy in policies if policy.product == parties.SHARED_PRODUCT)

    plans = {case.visit_kind: plan_case(book, case.request(), [shared]) for case in day}

    assert [leg.payer for leg in plans["pharmacy"].legs] == [parties.BASIC, parties.ANKANG, parties.HENGAN]
    assert [leg.payer for leg in plans["inpatient"].legs][:2] == [parties.BASIC, parties.CRITICAL_ILLNESS]
    assert [leg.weight for leg in plans["pharmacy"].legs][1:] == [60, 40]
