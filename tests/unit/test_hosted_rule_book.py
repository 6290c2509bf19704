"""Hosted products in rule books: what is refused before it can be put in force, and the example of the guide."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.rulebook_check import Change, changes, read_checked
from routing.hosted import Used, adjudicate
from routing.rulebook_file import InvalidRuleBook, read_rule_book
from schemas.money import fen_of
from tests.support.builders import BASIC_RULE, a_party, a_rule, a_rule_book_text
from tests.support.hosted_products import DAY, a_bill, a_line, basic_facts, on_paper, some_terms

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "rules.md"
OWN = a_party("OWN", adapter="insurer.hosted")
PRODUCT = {"code": "PLUS", "name": {"zh": "补充", "en": "Plus"}, "terms": [some_terms(valid_from="2020-01-01")]}


def a_text(rule: dict[str, Any] | None = None, **product: Any) -> str:
    """A rule book with a hosted product and a rule for it."""
    own = a_rule("own", "commercial", "OWN", product="PLUS") | (rule or {})
    return a_rule_book_text(BASIC_RULE, own, parties=[OWN, *BASIC_PARTY], products=[PRODUCT | product])


BASIC_PARTY = [a_party("BASIC-440300", "basic", adapter="basic.soap", endpoint="http://127.0.0.1:9/soap")]


def complaint_of(text: str) -> str:
    with pytest.raises(InvalidRuleBook) as caught:
        read_checked(text)
    (complaint,) = caught.value.complaints
    assert '"own"' in text.splitlines()[complaint.line - 1] or "product" in complaint.field
    return complaint.remedy


def test_a_rule_with_terms_for_all_its_days_is_good():
    assert read_checked(a_text()).product_by_code["PLUS"].terms[0].basis == "net"
    read_checked(
        a_text({"valid_until": "2026-12-31"}, terms=[some_terms(valid_from="2020-01-01", valid_until="2026-12-31")])
    )


@pytest.mark.parametrize(
    ("rule", "product", "said"),
    [
        ({"product": "OTHER"}, {}, "not among the products"),
        ({"valid_from": "2019-12-31"}, {}, "no terms for some"),
        ({}, {"terms": [some_terms(valid_from="2020-01-01", valid_until="2030-12-31")]}, "no terms for some"),
        ({}, {"year": "policy"}, "needs_coverage"),
        ({}, {"terms": [some_terms(valid_from="2020-01-01", waiting={"days": 30})]}, "needs_coverage"),
        ({"payers": [{"party": "OWN"}, {"party": "BASIC-440300"}]}, {}, "alone"),
        ({"layer": "basic", "valid_from": "2020-01-01"}, {}, "alone"),
        ({"adjudicated_by": "basic"}, {}, "adjudicates itself"),
    ],
)
def test_a_rule_that_its_product_cannot_serve_is_refused(rule, product, said):
    assert said in complaint_of(a_text(rule, **product))


def test_a_product_given_twice_or_with_overlapping_terms_is_refused():
    twice = a_rule_book_text(BASIC_RULE, parties=BASIC_PARTY, products=[PRODUCT, PRODUCT])

    assert "PLUS occurs twice" in complaint_of(twice)
    assert "overlap" in complaint_of(a_text(terms=[some_terms(), some_terms(valid_from="2026-07-01")]))


def test_a_changed_product_is_a_change():
    old, new = read_rule_book(a_text()), read_rule_book(a_text(name={"zh": "新", "en": "new"}))

    assert changes(old, new) == [Change("changed", "product", "PLUS", ("name",))]


def example() -> tuple[str, Any]:
    """The guide's section, and the product in it."""
    text = GUIDE.read_text(encoding="utf-8")
    section = text.partition("## Products that the hub adjudicates itself")[2].partition("\n## ")[0]
    (products,) = re.findall(r"```\n(products:.*?)```", section, re.DOTALL)
    book = yaml.safe_load(a_rule_book_text(BASIC_RULE)) | yaml.safe_load(products)
    return section, read_rule_book(yaml.safe_dump(book, allow_unicode=True)).products[0]


def test_the_guides_example_is_calculated_as_it_says():
    section, product = example()
    lines = (a_line(1, "12000.00"), a_line(2, "6000.00", "02"), a_line(3, "2000.00", "03"))
    facts = basic_facts(fen_of("17400.00"), fen_of("9500.00"), own_pay=fen_of("2000.00"))
    bill = a_bill(*lines, fund_paid="9500.00", basic=facts, policy_from=DAY.replace(year=2025))

    net = adjudicate(product, bill, Used())
    terms = product.terms[0].model_dump() | {"basis": "gross"}
    gross = adjudicate(product.model_validate(product.model_dump() | {"terms": [_without_scope(terms)]}), bill, Used())

    for found in (net, gross):
        assert on_paper(found.trace) == found.amount_fen
        for line in found.trace:
            assert line.en in section, line.en
    assert [line.zh for line in net.trace if line.zh not in section] == []


def _without_scope(terms: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in terms.items() if name != "scope"}
