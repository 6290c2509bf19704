"""What a hosted product pays: worked examples, and what holds for every product, bill and history."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from routing.hosted import Bill, Use, Used, adjudicate, benefit_year
from routing.hosted_words import percent
from schemas.codes import MedicalType, Outcome, VisitKind
from schemas.hosted import HostedProduct
from schemas.settlement import Diagnosis
from tests.support.hosted_products import DAY, a_bill, a_line, a_product, basic_facts, on_paper, some_terms

NOTHING = Used()


def pays(product: HostedProduct, bill: Bill, used: Used = NOTHING) -> int:
    """What is paid, in fen, checked against the trace."""
    found = adjudicate(product, bill, used)
    assert found.outcome is Outcome.APPROVED, found.reason_code
    assert on_paper(found.trace) == found.amount_fen
    return found.amount_fen


def refused(product: HostedProduct, bill: Bill, used: Used = NOTHING) -> str:
    found = adjudicate(product, bill, used)
    assert (found.outcome is Outcome.APPROVED, found.use) == (False, Use())
    return found.reason_code


THREE_LEVELS = (a_line(1, "12000.00"), a_line(2, "6000.00", "02"), a_line(3, "2000.00", "03"))


def test_net_takes_the_basic_payment_and_what_is_not_reimbursable_off_the_total():
    """20,000 − 2,000 (level 03) − 10 % of 6,000 (level 02) − 9,500 (basic) = 7,900."""
    product = a_product(some_terms(scope={"partly_bp": 9000}))

    found = adjudicate(product, a_bill(*THREE_LEVELS, fund_paid="9500.00"), NOTHING)

    assert [(line.step, line.amount) for line in found.trace][:5] == [
        ("total", 2_000_000),
        ("self_paid_items", 200_000),
        ("partly_items", 60_000),
        ("basic_paid", 950_000),
        ("compliant_net", 790_000),
    ]
    assert found.amount_fen == 790_000


def test_gross_is_the_national_figure_before_anybody_pays_and_only_what_is_left_is_paid():
    product = a_product(some_terms(basis="gross", ratio_bp=8000))

    found = adjudicate(product, a_bill(*THREE_LEVELS, fund_paid="9500.00"), NOTHING)

    assert [(line.step, line.amount) for line in found.trace] == [
        ("compliant_gross", 1_800_000),
        ("band_per_visit", 1_800_000),
        ("shares", 1_800_000),
        ("ratio", 1_440_000),
        ("after_ratio", 1_440_000),
        ("left", 1_050_000),
        ("pays", 1_050_000),
    ]
    assert "毛额" in found.reason.zh
    assert "gross" in found.reason.en


def test_the_scope_may_also_be_what_the_basic_system_calls_its_own():
    """1,000 − 100 (self-paid) − 50 (over the limit) − half of 200 (first self-payment) − 400 (basic) = 350."""
    product = a_product(some_terms(scope={"by": "basic", "first_self_pay_bp": 5000}))
    basic = basic_facts(65_000, 40_000, own_pay=10_000, over_limit=5_000, first_self_pay=20_000)

    assert pays(product, a_bill(a_line(1, "1000.00"), fund_paid="400.00", basic=basic)) == 35_000


@pytest.mark.parametrize(
    ("terms", "fen"),
    [
        ({}, 110_000),
        ({"scope": {"self_paid_bp": 5000}}, 125_000),
        ({"scope": {"full_bp": 2500}}, 35_000),
        ({"scope": {"categories": ["08"]}}, 10_000),
        ({"scope": {"items": ["X3"]}}, 140_000),
        ({"exclusions": {"items": ["X4"]}}, 100_000),
        ({"scope": {"items": ["X4"]}, "exclusions": {"items": ["X4"]}}, 100_000),
    ],
)
def test_levels_categories_and_items_decide_what_counts(terms, fen):
    lines = (a_line(1, "1000.00"), a_line(3, "300.00", "03"), a_line(4, "100.00", "02", category="08"))

    assert pays(a_product(some_terms(**terms)), a_bill(*lines)) == fen


def test_what_others_pay_is_taken_off_when_the_terms_say_so_and_only_caps_otherwise():
    bill = a_bill(a_line(1, "1000.00"), fund_paid="400.00", earlier_fen=30_000, left_fen=30_000)

    assert pays(a_product(some_terms(ratio_bp=8000)), bill) == 30_000
    assert pays(a_product(some_terms(ratio_bp=8000, deduct_earlier=True)), bill) == 24_000


def test_a_deductible_of_the_visit_is_taken_each_time_and_one_of_the_year_once():
    bill = a_bill(a_line(1, "300.00"))
    by_visit = a_product(some_terms(deductible="200.00"))
    by_year = a_product(some_terms(deductible="500.00", deductible_per="year"))

    assert pays(by_visit, bill, Used(deductible_fen=20_000)) == 10_000
    assert refused(a_product(some_terms(deductible="300.00")), bill) == "product.within_deductible"
    first = adjudicate(by_year, bill, NOTHING)
    assert (first.outcome, first.use) == (Outcome.APPROVED, Use(deductible_fen=30_000))
    assert first.reason_code == "product.within_deductible"
    second = adjudicate(by_year, bill, Used(deductible_fen=30_000))
    assert second.use == Use(20_000, 10_000, 10_000)
    assert pays(by_year, bill, Used(deductible_fen=50_000)) == 30_000


def test_each_part_is_paid_by_the_ratio_of_its_band():
    bands = [{"above": "0", "ratio_bp": 5000}, {"above": "100.00", "ratio_bp": 6000}, {"above": "200", "ratio_bp": 0}]
    by_visit = a_product(some_terms(bands=bands))
    by_year = a_product(some_terms(bands=bands, bands_per="year"))

    assert pays(by_visit, a_bill(a_line(1, "150.00")), Used(counted_fen=9_000)) == 5_000 + 3_000
    assert pays(by_year, a_bill(a_line(1, "150.00")), Used(counted_fen=9_000)) == 500 + 6_000
    assert refused(by_year, a_bill(a_line(1, "150.00")), Used(counted_fen=30_000)) == "product.share_is_nothing"


def test_halves_of_a_fen_go_up_line_by_line():
    bands = [{"above": "0", "ratio_bp": 5000}, {"above": "0.01", "ratio_bp": 5000}]

    assert pays(a_product(some_terms(bands=bands)), a_bill(a_line(1, "0.02"))) == 2


@pytest.mark.parametrize(
    ("terms", "used", "fen"),
    [
        ({"cap_per_visit": "60.00"}, Used(paid_fen=90_000), 6_000),
        ({"cap_per_year": "100.00"}, Used(paid_fen=7_000), 3_000),
        ({"cap_for_life": "100.00"}, Used(paid_in_life_fen=9_999), 1),
    ],
)
def test_caps_hold_for_the_visit_the_year_and_the_life(terms, used, fen):
    assert pays(a_product(some_terms(**terms)), a_bill(), used) == fen


def test_a_cap_that_is_used_up_and_a_bill_with_nothing_left_say_so():
    used_up = Used(paid_fen=10_001)

    assert refused(a_product(some_terms(cap_per_year="100.00")), a_bill(), used_up) == "product.cap_used"
    assert refused(a_product(), a_bill(left_fen=0)) == "product.nothing_left"
    assert refused(a_product(), a_bill(a_line(1, "5.00", "03"))) == "product.nothing_compliant"


def test_nothing_is_paid_before_the_waiting_period_is_over_but_for_accidents():
    waiting = {"days": 30, "except_medical_types": ["22"]}
    product = a_product(some_terms(waiting=waiting))
    early = a_bill(policy_from=DAY - timedelta(days=29))

    assert refused(product, early) == "product.waiting_period"
    assert pays(product, replace(early, medical_type=MedicalType.INJURY_INPATIENT)) == 10_000
    assert pays(product, a_bill(policy_from=DAY - timedelta(days=30))) == 10_000
    assert refused(product, a_bill()) == "product.no_policy"


def test_excluded_visits_and_diagnoses_are_not_paid():
    cosmetic, second = Diagnosis(code="Z41.1", name="整形", main=True), Diagnosis(code="I10", name="高血压")
    bill = a_bill(diagnoses=(cosmetic, second))

    assert refused(a_product(some_terms(exclusions={"diagnoses": ["Z41"]})), bill) == "product.excluded_diagnosis"
    assert pays(a_product(some_terms(exclusions={"diagnoses": ["I10"]})), bill) == 10_000
    any_of = {"diagnoses": ["I1"], "of": "any"}
    assert refused(a_product(some_terms(exclusions=any_of)), bill) == "product.excluded_diagnosis"
    by_kind = a_product(some_terms(exclusions={"visit_kinds": ["inpatient"]}))
    assert refused(by_kind, bill) == "product.excluded_visit"
    assert pays(by_kind, replace(bill, visit_kind=VisitKind.OUTPATIENT)) == 10_000


def test_without_the_basic_systems_word_the_product_waits():
    found = adjudicate(a_product(), a_bill(basic=None), NOTHING)

    assert (found.outcome, found.reason_code) == (Outcome.DEFERRED, "product.basic_unknown")


def test_the_day_of_service_chooses_the_terms():
    product = a_product(
        some_terms(valid_until="2026-06-30", ratio_bp=5000), some_terms(valid_from="2026-07-01", ratio_bp=7000)
    )

    assert pays(product, a_bill(day=date(2026, 6, 30))) == 5_000
    assert pays(product, a_bill(day=date(2026, 7, 1))) == 7_000
    assert refused(product, a_bill(day=date(2025, 12, 31))) == "product.no_terms"
    assert product.covers(date(2026, 1, 1), None)
    assert not product.covers(date(2025, 12, 31), date(2026, 2, 1))


def test_a_gap_between_terms_is_no_cover():
    product = a_product(some_terms(valid_until="2026-06-29"), some_terms(valid_from="2026-07-01"))

    assert not product.covers(date(2026, 1, 1), date(2026, 7, 2))
    assert product.covers(date(2026, 1, 1), date(2026, 6, 29))


@pytest.mark.parametrize(
    ("day", "policy_from", "year"),
    [
        (date(2026, 3, 1), date(2024, 3, 2), 2025),
        (date(2026, 3, 2), date(2024, 3, 2), 2026),
        (date(2025, 2, 28), date(2024, 2, 29), 2024),
        (date(2025, 3, 1), date(2024, 2, 29), 2025),
    ],
)
def test_a_policys_year_begins_with_the_policy(day, policy_from, year):
    assert benefit_year(a_product(year="policy"), day, policy_from) == year
    assert benefit_year(a_product(), day, policy_from) == day.year


@pytest.mark.parametrize(
    ("terms", "blamed"),
    [
        ({"valid_until": "2025-12-31"}, "valid_until"),
        ({"bands": [{"above": "1.00", "ratio_bp": 5000}]}, "bands"),
        ({"bands": [{"above": "0", "ratio_bp": 1}, {"above": "0", "ratio_bp": 2}]}, "bands"),
        ({"basis": "gross", "scope": {"self_paid_bp": 1}}, "scope"),
        ({"basis": "gross", "deduct_earlier": True}, "deduct_earlier"),
        ({"basis": "gross", "exclusions": {"items": ["X"]}}, "exclusions"),
        ({"scope": {"by": "basic"}, "exclusions": {"items": ["X"]}}, "exclusions"),
        ({"scope": {"by": "basic", "partly_bp": 1}}, "partly_bp"),
        ({"scope": {"first_self_pay_bp": 1}}, "first_self_pay_bp"),
        ({"ratio_bp": 10_001}, "ratio_bp"),
    ],
)
def test_terms_that_contradict_themselves_are_refused(terms, blamed):
    with pytest.raises(ValidationError, match=blamed):
        a_product(some_terms(**terms))


def test_terms_that_overlap_are_refused():
    with pytest.raises(ValidationError, match="overlap"):
        a_product(some_terms(valid_until="2026-07-01"), some_terms(valid_from="2026-07-01"))
    with pytest.raises(ValidationError, match="overlap"):
        a_product(some_terms(), some_terms(valid_from="2027-01-01"))


@pytest.mark.parametrize(
    ("ratio_bp", "text"), [(8000, "80%"), (7550, "75.5%"), (1, "0.01%"), (0, "0%"), (10_000, "100%")]
)
def test_ratios_are_written_as_percentages(ratio_bp, text):
    assert percent(ratio_bp) == text


money = st.integers(0, 3_000_00)
ratios = st.integers(0, 10_000)


@st.composite
def products(draw: st.DrawFn) -> HostedProduct:
    """Any product with one set of terms."""
    gross = draw(st.booleans())
    edges = draw(st.lists(st.integers(1, 1_000_00), max_size=3, unique=True))
    optional = st.none() | money
    terms = some_terms(
        basis="gross" if gross else "net",
        deductible=draw(st.just(0) | money),
        deductible_per=draw(st.sampled_from(["visit", "year"])),
        bands=[{"above": edge, "ratio_bp": draw(ratios)} for edge in [0, *sorted(edges)]],
        bands_per=draw(st.sampled_from(["visit", "year"])),
        ratio_bp=draw(ratios | st.just(10_000)),
        cap_per_visit=draw(optional),
        cap_per_year=draw(optional),
        cap_for_life=draw(optional),
        deduct_earlier=not gross and draw(st.booleans()),
    )
    if not gross:
        terms["scope"] = {"partly_bp": draw(ratios), "self_paid_bp": draw(ratios), "full_bp": draw(ratios)}
    return a_product(terms)


@st.composite
def bills(draw: st.DrawFn) -> Bill:
    """Any bill, with payers before that leave something or nothing."""
    amounts = draw(st.lists(st.tuples(st.integers(1, 1_000_00), st.sampled_from(["01", "02", "03"])), min_size=1))
    lines = [a_line(number, f"{fen // 100}.{fen % 100:02d}", level) for number, (fen, level) in enumerate(amounts, 1)]
    total = sum(line.amount for line in lines)
    paid = draw(st.integers(0, total))
    earlier = draw(st.integers(0, total - paid))
    facts = basic_facts(draw(st.integers(0, total)), paid)
    return a_bill(*lines, basic=facts, earlier_fen=earlier, left_fen=total - paid - earlier)


histories = st.builds(Used, money, money, money, money)


@given(products(), bills(), histories)
def test_a_payment_stays_within_every_limit_and_follows_from_its_trace(product, bill, used):
    found = adjudicate(product, bill, used)

    (terms,) = product.terms
    assert 0 <= found.amount_fen <= bill.left_fen
    if terms.deductible_per == "year":
        assert used.deductible_fen + found.use.deductible_fen <= max(terms.deductible, used.deductible_fen)
    else:
        assert found.use.deductible_fen == 0
    assert found.amount_fen <= (terms.cap_per_visit if terms.cap_per_visit is not None else found.amount_fen)
    for cap, before in ((terms.cap_per_year, used.paid_fen), (terms.cap_for_life, used.paid_in_life_fen)):
        assert cap is None or found.amount_fen <= max(0, cap - before)
    if found.outcome is Outcome.APPROVED:
        assert on_paper(found.trace) == found.amount_fen
    assert adjudicate(product, bill, used) == found


@given(products(), bills(), histories, st.integers(1, 1_000_00))
def test_a_larger_bill_is_never_paid_less(product, bill, used, more_fen):
    """One more line that nobody before pays any of."""
    line = a_line(1000, f"{more_fen // 100}.{more_fen % 100:02d}")
    assert bill.basic is not None
    larger = replace(
        bill,
        fees=(*bill.fees, line),
        total_fen=bill.total_fen + more_fen,
        left_fen=bill.left_fen + more_fen,
        basic=bill.basic.model_copy(update={"in_scope": bill.basic.in_scope + more_fen}),
    )

    assert adjudicate(product, larger, used).amount_fen >= adjudicate(product, bill, used).amount_fen


@given(products(), st.lists(bills(), min_size=1, max_size=6))
def test_over_a_year_no_deductible_is_taken_twice_and_no_cap_exceeded(product, year):
    (terms,) = product.terms
    used = NOTHING
    for bill in year:
        use = adjudicate(product, bill, used).use
        used = Used(
            used.deductible_fen + use.deductible_fen,
            used.counted_fen + use.counted_fen,
            used.paid_fen + use.paid_fen,
            used.paid_in_life_fen + use.paid_fen,
        )

    assert used.deductible_fen <= terms.deductible
    assert terms.cap_per_year is None or used.paid_fen <= terms.cap_per_year
    assert terms.cap_for_life is None or used.paid_fen <= terms.cap_for_life
