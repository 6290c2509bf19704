"""The payers' decisions: identities to the fen, never more than is left, the same for the same content."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.adjudication import (
    CIVIL_SERVANT,
    EMPLOYEE,
    FUND_LARGE_AMOUNT,
    RESIDENT,
    BasicScheme,
    BillLine,
    CommercialClaim,
    CommercialPlan,
    CriticalIllnessPlan,
    Ruling,
    Tier,
    account_balance_fen,
    adjudicate_basic,
    adjudicate_commercial,
    adjudicate_critical_illness,
    scheme_of,
    split_line,
    tiered_fen,
)
from schemas.payer import BasicResult
from tests.support.sandbox_builders import basic_facts

SCHEMES = st.sampled_from([EMPLOYEE, CIVIL_SERVANT, RESIDENT])
LINES = st.builds(
    BillLine,
    amount_fen=st.integers(0, 50_000_000),
    level=st.sampled_from(["01", "02", "03"]),
    category=st.sampled_from(["01", "04", "08", "09"]),
    quantity_1e4=st.integers(1, 1_000_000),
)
VISITS = st.sampled_from(["outpatient", "inpatient", "pharmacy"])
PERSONS = st.from_regex(r"4403[0-9]{10}", fullmatch=True)


@given(scheme=SCHEMES, line=LINES)
def test_the_parts_of_a_line_add_up(scheme: BasicScheme, line: BillLine) -> None:
    part = split_line(scheme, line)

    parts = (part.own_pay_fen, part.over_limit_fen, part.first_self_pay_fen, part.in_scope_fen)
    assert sum(parts) == line.amount_fen
    assert min(parts) >= 0


@given(scheme=SCHEMES, visit=VISITS, lines=st.lists(LINES, min_size=1, max_size=30), person=PERSONS, use=st.booleans())
def test_a_basic_answer_keeps_the_identities(
    scheme: BasicScheme, visit: str, lines: list[BillLine], person: str, use: bool
) -> None:
    answer = adjudicate_basic(scheme, visit, lines, person_no=person, use_account=use)

    assert answer.total_fen == sum(line.amount_fen for line in lines)
    scopes = answer.own_pay_fen + answer.over_limit_fen + answer.first_self_pay_fen + answer.in_scope_fen
    assert scopes == answer.total_fen
    assert sum(amount for _, amount in answer.funds) == answer.fund_fen
    person_part = answer.account_fen + answer.cash_fen
    assert answer.fund_fen + person_part + answer.hospital_fen == answer.total_fen
    assert answer.fund_fen <= answer.in_scope_fen - (0 if scheme.supplement_percent else answer.deductible_fen)
    assert min(answer.account_fen, answer.cash_fen, answer.hospital_fen, answer.fund_fen) >= 0
    assert answer.account_fen == 0 or use
    assert answer == adjudicate_basic(scheme, visit, lines, person_no=person, use_account=use)


def basic(scheme: BasicScheme, visit: str, *lines: BillLine, use_account: bool = False) -> BasicResult:
    return adjudicate_basic(scheme, visit, lines, person_no="44030000000000000001", use_account=use_account)


def test_an_outpatient_bill_of_an_employee_in_figures() -> None:
    answer = basic(EMPLOYEE, "outpatient", BillLine(100_00, "01", "09"), BillLine(33_33, "02", "09"))

    assert (answer.first_self_pay_fen, answer.in_scope_fen, answer.deductible_fen) == (3_33, 130_00, 20_00)
    assert (answer.fund_fen, answer.cash_fen) == (66_00, 67_33)


def test_an_inpatient_bill_above_the_cap_reaches_the_large_amount_fund() -> None:
    answer = basic(EMPLOYEE, "inpatient", BillLine(400_000_00, "01", "06"))

    assert answer.funds[0] == ("310100", 300_000_00)
    assert answer.funds[1][0] == FUND_LARGE_AMOUNT


def test_a_bed_above_the_ceiling_is_the_hospitals_burden() -> None:
    answer = basic(RESIDENT, "inpatient", BillLine(10 * 80_00, "01", "01", quantity_1e4=100_000))

    assert (answer.over_limit_fen, answer.hospital_fen) == (200_00, 200_00)


def test_residents_have_no_account() -> None:
    assert basic(RESIDENT, "outpatient", BillLine(500_00, "01", "09"), use_account=True).account_fen == 0


def test_an_account_pays_nothing_that_the_person_pays_alone() -> None:
    answer = basic(EMPLOYEE, "pharmacy", BillLine(500_00, "03", "09"), use_account=True)

    assert (answer.account_fen, answer.cash_fen) == (0, 500_00)


@pytest.mark.parametrize(("code", "scheme"), [("310", EMPLOYEE), ("320", CIVIL_SERVANT), ("390", RESIDENT)])
def test_the_insurance_type_names_the_scheme(code: str, scheme: BasicScheme) -> None:
    assert scheme_of(code) is scheme


@given(person=PERSONS)
def test_a_balance_is_plausible_and_always_the_same(person: str) -> None:
    assert 0 <= account_balance_fen(person) <= 600_000
    assert account_balance_fen(person) == account_balance_fen(person)


def test_tiers_pay_slice_by_slice_halves_up() -> None:
    tiers = (Tier(100, 50), Tier(200, 60), Tier(None, 75))

    assert tiered_fen(tiers, 0) == 0
    assert tiered_fen(tiers, 101) == 50 + 1
    assert tiered_fen(tiers, 202) == 50 + 60 + 2


@given(scope=st.integers(0, 10**9), paid=st.integers(0, 10**9), left=st.integers(0, 10**9))
def test_critical_illness_never_pays_more_than_is_left(scope: int, paid: int, left: int) -> None:
    ruling = adjudicate_critical_illness(CriticalIllnessPlan(), basic_facts(scope, min(paid, scope)), left)

    assert 0 <= ruling.amount_fen <= left
    assert (ruling.outcome == "approved") == (ruling.amount_fen > 0)
    assert ruling.outcome == "approved" or ruling.reason_code


def test_critical_illness_in_figures() -> None:
    plan = CriticalIllnessPlan(deductible_fen=3_000_00)

    def pays(burden_fen: int) -> Ruling:
        return adjudicate_critical_illness(plan, basic_facts(burden_fen, 0), burden_fen)

    assert pays(3_000_00).reason_code == "below_deductible"
    assert pays(13_000_00).amount_fen == 6_000_00
    assert pays(33_000_00).amount_fen == 12_000_00 + 7_000_00
    assert pays(600_000_00).amount_fen == plan.cap_fen


PLAN = CommercialPlan("P", deductible_fen=100_00, percent=80, cap_fen=5_000_00, review_above_fen=4_500_00)
VISIT_ON = date(2026, 11, 20)


def claim(
    left_fen: int = 1_100_00,
    in_scope_fen: int = 1_100_00,
    earlier_fen: int = 0,
    diagnosis: str = "I10.x00",
    policy_days: int = 200,
) -> CommercialClaim:
    return CommercialClaim(
        left_fen=left_fen,
        in_scope_fen=in_scope_fen,
        fund_fen=0,
        earlier_fen=earlier_fen,
        main_diagnosis=diagnosis,
        visit_on=VISIT_ON,
        policy_from=VISIT_ON - timedelta(days=policy_days),
    )


def test_a_commercial_claim_in_figures() -> None:
    assert adjudicate_commercial(PLAN, claim()).amount_fen == 800_00
    assert adjudicate_commercial(PLAN, claim(earlier_fen=500_00)).amount_fen == 400_00


def test_self_paid_items_count_only_where_the_product_says_so() -> None:
    wide = CommercialPlan("P", deductible_fen=100_00, percent=80, cap_fen=5_000_00, only_in_catalogue=False)

    assert adjudicate_commercial(PLAN, claim(left_fen=2_100_00)).amount_fen == 800_00
    assert adjudicate_commercial(wide, claim(left_fen=2_100_00)).amount_fen == 1_600_00


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (claim(policy_days=10), "waiting_period"),
        (claim(diagnosis="Z41.100"), "excluded_diagnosis"),
        (claim(left_fen=99_00), "below_deductible"),
    ],
)
def test_a_refusal_has_a_reason_in_two_languages(asked: CommercialClaim, reason: str) -> None:
    ruling = adjudicate_commercial(PLAN, asked)

    assert (ruling.outcome, ruling.amount_fen, ruling.reason_code) == ("declined", 0, reason)
    assert ruling.reason_zh
    assert ruling.reason_en


def test_a_large_amount_waits_for_a_person() -> None:
    ruling = adjudicate_commercial(PLAN, claim(left_fen=9_000_00, in_scope_fen=9_000_00))

    assert (ruling.outcome, ruling.reason_code) == ("deferred", "manual_review")


def test_the_parts_of_a_shared_product_pay_about_what_one_insurer_would() -> None:
    def plan(share: int) -> CommercialPlan:
        return CommercialPlan("P", 100_00, 80, 5_000_00, only_in_catalogue=False, share_percent=share)

    whole = adjudicate_commercial(plan(100), claim(left_fen=1_000_00)).amount_fen
    parts = [adjudicate_commercial(plan(share), claim(left_fen=10_00 * share)).amount_fen for share in (60, 40)]

    assert sum(parts) == whole == 720_00


@given(
    left=st.integers(0, 10**8),
    scope=st.integers(0, 10**8),
    earlier=st.integers(0, 10**8),
    wide=st.booleans(),
    share=st.sampled_from([40, 60, 100]),
)
def test_a_commercial_insurer_never_pays_more_than_is_left(
    left: int, scope: int, earlier: int, wide: bool, share: int
) -> None:
    plan = CommercialPlan("P", 50_00, 90, 8_000_00, only_in_catalogue=not wide, share_percent=share)

    ruling = adjudicate_commercial(plan, claim(left_fen=left, in_scope_fen=scope, earlier_fen=earlier))

    assert 0 <= ruling.amount_fen <= left
    assert (ruling.outcome == "approved") == (ruling.amount_fen > 0)
