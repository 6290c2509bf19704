"""Who is asked in which order, for whom and when, and why everybody else is not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.plan import Coverage, plan_case, route_of, service_date
from schemas.codes import Layer
from schemas.errors import InvalidMessage
from schemas.settlement import SettleRequest
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    COINSURED_RULE,
    COMMERCIAL_PRODUCT,
    COMMERCIAL_RULE,
    CRITICAL_RULE,
    HOSPITAL,
    OTHER_HOSPITAL,
    a_rule,
    a_rule_book,
    a_settle_request,
    as_bytes,
)


def a_request(total_fen: int = 30_000, **changes: Any) -> SettleRequest:
    return SettleRequest.model_validate_json(as_bytes(a_settle_request(total_fen, **changes)))


def a_policy(policy_no: str = "P-1", since: str = "2020-01-01", until: str | None = None) -> Coverage:
    return Coverage(
        COMMERCIAL_PRODUCT, policy_no, date.fromisoformat(since), date.fromisoformat(until) if until else None
    )


def missed(rule: dict[str, Any], **changes: Any) -> str:
    plan = plan_case(a_rule_book(BASIC_RULE, rule), a_request(**changes), ())
    return next(seen.missed for seen in plan.considered if seen.rule == rule["id"])


def test_layers_come_in_their_order_then_by_order_then_by_name():
    rules = [
        a_rule("z", "commercial", "AA"),
        a_rule("c2", "commercial", "BB", order=5),
        a_rule("a", "commercial", "CC"),
        a_rule("s", "supplementary", "DD"),
        CRITICAL_RULE,
        BASIC_RULE,
    ]

    plan = plan_case(a_rule_book(*rules), a_request(), ())

    assert [leg.rule for leg in plan.legs] == ["basic", "critical", "s", "c2", "a", "z"]
    assert [leg.leg_no for leg in plan.legs] == [1, 2, 3, 4, 5, 6]


@given(st.permutations([BASIC_RULE, CRITICAL_RULE, COINSURED_RULE, COMMERCIAL_RULE]))
def test_the_order_in_the_file_does_not_matter(rules):
    plan = plan_case(a_rule_book(*rules), a_request(), [a_policy()])

    assert [leg.rule for leg in plan.legs] == ["basic", "critical", "coinsured", "coinsured", "commercial"]


def test_coinsurers_share_one_split_and_single_payers_have_none():
    legs = plan_case(a_rule_book(BASIC_RULE, COINSURED_RULE, CRITICAL_RULE), a_request(), ()).legs

    assert [(leg.split, leg.weight) for leg in legs] == [(0, 100), (0, 100), (3, 60), (3, 40)]


def test_each_policy_is_asked_and_coinsurers_of_two_policies_do_not_mix():
    rule = COINSURED_RULE | {"product": COMMERCIAL_PRODUCT, "needs_coverage": True}
    legs = plan_case(a_rule_book(BASIC_RULE, rule), a_request(), [a_policy("P-1"), a_policy("P-2")]).legs

    assert [(leg.policy_no, leg.split) for leg in legs[1:]] == [("P-1", 2), ("P-1", 2), ("P-2", 4), ("P-2", 4)]


@pytest.mark.parametrize(
    ("since", "until", "covered"),
    [
        ("2026-03-02", None, True),
        ("2026-03-03", None, False),
        ("2020-01-01", "2026-03-02", True),
        ("2020-01-01", "2026-03-01", False),
    ],
)
def test_a_policy_counts_on_both_of_its_days(since, until, covered):
    plan = plan_case(a_rule_book(BASIC_RULE, COMMERCIAL_RULE), a_request(), [a_policy(since=since, until=until)])

    assert [leg.rule for leg in plan.legs] == (["basic", "commercial"] if covered else ["basic"])
    assert plan.considered[1].missed == ("" if covered else "coverage")


def test_another_products_policy_is_none():
    policy = Coverage("other", "P-1", date(2020, 1, 1), None)

    assert plan_case(a_rule_book(BASIC_RULE, COMMERCIAL_RULE), a_request(), [policy]).considered[1].missed == "coverage"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"valid_from": "2026-03-02"}, ""),
        ({"valid_from": "2026-03-03"}, "valid_from"),
        ({"valid_until": "2026-03-02"}, ""),
        ({"valid_until": "2026-03-01"}, "valid_until"),
        ({"when": {"regions": ["110000"]}}, "regions"),
        ({"when": {"insurance_types": ["390"]}}, "insurance_types"),
        ({"when": {"visit_kinds": ["inpatient"]}}, "visit_kinds"),
        ({"when": {"medical_types": ["12", "13"]}}, "medical_types"),
        ({"when": {"institutions": [OTHER_HOSPITAL]}}, "institutions"),
        ({"when": {"institutions": [OTHER_HOSPITAL, HOSPITAL]}}, ""),
        ({"when": {"total_min": "300.00"}}, ""),
        ({"when": {"total_min": "300.01"}}, "total_min"),
        ({"when": {"total_max": "300.00"}}, ""),
        ({"when": {"total_max": "299.99"}}, "total_max"),
        ({"when": {"regions": ["440300"], "total_max": "1"}}, "total_max"),
    ],
)
def test_a_rule_names_the_first_condition_that_is_missed(changes, expected):
    assert missed(CRITICAL_RULE | changes) == expected


@pytest.mark.parametrize(
    ("started", "ended", "day"),
    [
        ("2026-03-01T15:59:59Z", None, date(2026, 3, 1)),
        ("2026-03-01T16:00:00Z", None, date(2026, 3, 2)),
        ("2026-03-01T16:00:00Z", "2026-03-05T16:00:00Z", date(2026, 3, 6)),
    ],
)
def test_the_day_is_the_discharge_or_visit_in_china(started, ended, day):
    visit = a_settle_request()["visit"] | {"started_at": started}
    request = a_request(visit=visit | {"ended_at": ended} if ended else visit)

    assert service_date(request) == day


def test_without_a_basic_payer_nothing_can_be_settled():
    with pytest.raises(InvalidMessage) as refusal:
        plan_case(a_rule_book(BASIC_RULE | {"when": {"regions": ["110000"]}}, CRITICAL_RULE), a_request(), ())

    assert refusal.value.code == "routing.no_basic_payer"
    assert refusal.value.violations[0].field == "insurance"


def test_only_one_basic_system_adjudicates_a_bill():
    second = a_rule("basic2", "basic", "BASIC-OTHER", order=200)

    plan = plan_case(a_rule_book(second, BASIC_RULE, CRITICAL_RULE), a_request(), ())

    assert [(leg.rule, leg.payer) for leg in plan.legs[:1]] == [("basic", BASIC)]
    assert [leg.layer for leg in plan.legs].count(Layer.BASIC) == 1
    assert [seen.missed for seen in plan.considered] == ["", "another_basic", ""]


def test_every_rule_is_explained_in_both_languages():
    rules = [
        BASIC_RULE,
        COINSURED_RULE,
        COMMERCIAL_RULE,
        a_rule("second", "basic", BASIC, order=500),
        *(
            a_rule(name, "commercial", "XX", when={name: value})
            for name, value in {
                "regions": ["110000"],
                "insurance_types": ["390"],
                "visit_kinds": ["inpatient"],
                "medical_types": ["12"],
                "institutions": [OTHER_HOSPITAL],
                "total_min": "999",
                "total_max": "1",
            }.items()
        ),
        a_rule("valid_from", "commercial", "XX", valid_from="2030-01-01"),
        a_rule("valid_until", "commercial", "XX", valid_until="2021-01-01"),
    ]
    book = a_rule_book(*rules)
    plan = plan_case(book, a_request(), ())

    route = route_of(book, plan.considered)

    assert len(route) == len(rules)
    assert all(step.reason.zh and step.reason.en for step in route)
    assert {step.rule for step in route if step.chosen} == {"basic", "coinsured"}
    assert next(step.payer for step in route if step.rule == "coinsured") == "PINGHE+YUEAN"
