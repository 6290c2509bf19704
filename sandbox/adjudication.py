"""How the sandbox's payers decide: pure functions, whole fen, halves up, the same answer for the same content.

Rules of this kind exist, the figures are invented. Years are not accumulated: every bill is judged alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import blake2b

from schemas.money import share_fen
from schemas.payer import BasicFacts, BasicResult
from schemas.settlement import FeeLine

FULL, PARTLY, SELF_PAID = "01", "02", "03"
BED, MATERIALS = "01", "08"
FUND_EMPLOYEE, FUND_CIVIL_SERVANT, FUND_LARGE_AMOUNT, FUND_RESIDENT = "310100", "320100", "330100", "390100"


@dataclass(frozen=True, slots=True)
class Tier:
    """A slice of money up to `up_to_fen` (None: without end) and the percentage paid of it."""

    up_to_fen: int | None
    percent: int


@dataclass(frozen=True, slots=True)
class VisitTerms:
    """What a scheme does with one kind of visit; amounts in fen per settlement."""

    deductible_fen: int
    tiers: tuple[Tier, ...]
    cap_fen: int
    large_amount_percent: int = 0
    """Share of what the cap left over that the large-amount fund pays."""


@dataclass(frozen=True, slots=True)
class BasicScheme:
    """Parameters of one basic scheme; `visits` by kind of visit (`outpatient`, `inpatient`, `pharmacy`)."""

    pool_fund: str
    visits: Mapping[str, VisitTerms]
    first_self_pay_percent: int = 10
    unit_ceiling_fen: Mapping[str, int] = field(default_factory=dict)
    """Highest price in scope per unit, by fee category; what lies above is over the limit."""
    supplement_percent: int = 0
    """Share of the remaining in-scope burden that the civil-servant fund pays."""
    has_account: bool = False


@dataclass(frozen=True, slots=True)
class BillLine:
    """What the adjudication reads of a fee line; quantity in ten-thousandths."""

    amount_fen: int
    level: str
    category: str
    quantity_1e4: int = 10_000


@dataclass(frozen=True, slots=True)
class LineResult:
    """The four parts of a line; they add up to its amount."""

    own_pay_fen: int
    over_limit_fen: int
    first_self_pay_fen: int
    in_scope_fen: int


_CEILINGS = {BED: 60_00, MATERIALS: 8_000_00}
EMPLOYEE = BasicScheme(
    pool_fund=FUND_EMPLOYEE,
    visits={
        "outpatient": VisitTerms(20_00, (Tier(2_000_00, 60), Tier(None, 70)), 8_000_00),
        "inpatient": VisitTerms(400_00, (Tier(10_000_00, 85), Tier(50_000_00, 90), Tier(None, 95)), 300_000_00, 80),
        "pharmacy": VisitTerms(0, (Tier(None, 50),), 500_00),
    },
    unit_ceiling_fen=_CEILINGS,
    has_account=True,
)
CIVIL_SERVANT = BasicScheme(
    pool_fund=FUND_EMPLOYEE,
    visits=EMPLOYEE.visits,
    unit_ceiling_fen=_CEILINGS,
    supplement_percent=50,
    has_account=True,
)
RESIDENT = BasicScheme(
    pool_fund=FUND_RESIDENT,
    visits={
        "outpatient": VisitTerms(50_00, (Tier(None, 50),), 1_500_00),
        "inpatient": VisitTerms(600_00, (Tier(20_000_00, 65), Tier(None, 75)), 150_000_00),
        "pharmacy": VisitTerms(0, (Tier(None, 30),), 200_00),
    },
    unit_ceiling_fen=_CEILINGS,
)
RESIDENT_TYPES = frozenset({"380", "390", "391", "392", "399"})


def scheme_of(insurance_type: str) -> BasicScheme:
    """The scheme behind an insutype."""
    if insurance_type in RESIDENT_TYPES:
        return RESIDENT
    return CIVIL_SERVANT if insurance_type == "320" else EMPLOYEE


def bill_line(line: FeeLine) -> BillLine:
    """A canonical fee line as the adjudication reads it."""
    return BillLine(line.amount, line.level.value, line.category.value, int(line.quantity * 10_000))


def split_line(scheme: BasicScheme, line: BillLine) -> LineResult:
    """Own pay, over limit, first self-pay and in scope of one line."""
    if line.level == SELF_PAID:
        return LineResult(line.amount_fen, 0, 0, 0)
    over = 0
    ceiling = scheme.unit_ceiling_fen.get(line.category)
    if ceiling is not None:
        over = max(0, line.amount_fen - share_fen(ceiling, line.quantity_1e4, 10_000))
    accepted = line.amount_fen - over
    first = share_fen(accepted, scheme.first_self_pay_percent, 100) if line.level == PARTLY else 0
    return LineResult(0, over, first, accepted - first)


def account_balance_fen(person_no: str) -> int:
    """Balance of a personal account: invented from the person number, 0 to 6,000 yuan, every fifth account empty."""
    seed = int.from_bytes(blake2b(person_no.encode(), digest_size=8).digest(), "big")
    return 0 if seed % 5 == 0 else (seed // 5) % 6_000_01


def adjudicate_basic(
    scheme: BasicScheme, visit_kind: str, lines: Sequence[BillLine], *, person_no: str, use_account: bool
) -> BasicResult:
    """The basic system's answer to a bill: identities A4 and A6 to A8 hold to the fen.

    What a hospital charges for beds above the ceiling it bears itself.
    """
    own = over = first = in_scope = total = hospital = 0
    for line in lines:
        part = split_line(scheme, line)
        total += line.amount_fen
        own += part.own_pay_fen
        over += part.over_limit_fen
        first += part.first_self_pay_fen
        in_scope += part.in_scope_fen
        if line.category == BED:
            hospital += part.over_limit_fen
    terms = scheme.visits[visit_kind]
    deductible = min(in_scope, terms.deductible_fen)
    funds = _funds(scheme, terms, in_scope - deductible, in_scope)
    fund = sum(amount for _, amount in funds)
    person = total - fund - hospital
    account = _account(scheme, person_no, person - own) if use_account else 0
    return BasicResult(
        total_fen=total,
        own_pay_fen=own,
        over_limit_fen=over,
        first_self_pay_fen=first,
        in_scope_fen=in_scope,
        deductible_fen=deductible,
        fund_fen=fund,
        account_fen=account,
        cash_fen=person - account,
        hospital_fen=hospital,
        funds=funds,
    )


def _funds(scheme: BasicScheme, terms: VisitTerms, payable_fen: int, in_scope_fen: int) -> tuple[tuple[str, int], ...]:
    due = tiered_fen(terms.tiers, payable_fen)
    pool = min(due, terms.cap_fen)
    large = share_fen(due - pool, terms.large_amount_percent, 100)
    supplement = share_fen(in_scope_fen - pool - large, scheme.supplement_percent, 100)
    paid = ((scheme.pool_fund, pool), (FUND_LARGE_AMOUNT, large), (FUND_CIVIL_SERVANT, supplement))
    return tuple((fund, amount) for fund, amount in paid if amount)


def _account(scheme: BasicScheme, person_no: str, payable_fen: int) -> int:
    if not scheme.has_account:
        return 0
    return min(account_balance_fen(person_no), max(0, payable_fen))


def tiered_fen(tiers: Iterable[Tier], amount_fen: int) -> int:
    """What is paid of an amount, slice by slice, each slice rounded to the fen."""
    paid, floor = 0, 0
    for tier in tiers:
        top = amount_fen if tier.up_to_fen is None else min(amount_fen, tier.up_to_fen)
        if top > floor:
            paid += share_fen(top - floor, tier.percent, 100)
            floor = top
    return paid


@dataclass(frozen=True, slots=True)
class Ruling:
    """An insurer's decision: `outcome` approved, declined or deferred; a reason when it is not a plain yes."""

    outcome: str
    amount_fen: int
    reason_code: str = ""
    reason_zh: str = ""
    reason_en: str = ""
    calculation: str = ""


@dataclass(frozen=True, slots=True)
class CriticalIllnessPlan:
    """Own deductible on the in-scope burden that the basic fund left, then tiers, then a cap."""

    deductible_fen: int = 3_000_00
    tiers: tuple[Tier, ...] = (Tier(20_000_00, 60), Tier(60_000_00, 70), Tier(None, 80))
    cap_fen: int = 200_000_00


def adjudicate_critical_illness(plan: CriticalIllnessPlan, basic: BasicFacts | None, left_fen: int) -> Ruling:
    """Pays part of the in-scope burden above its own deductible; never more than is left."""
    if basic is None:
        return Ruling("declined", 0, "no_basic_result", "缺少基本医保结算结果", "the basic adjudication is missing")
    burden = max(0, basic.in_scope - basic.fund_paid)
    above = burden - plan.deductible_fen
    if above <= 0:
        return Ruling("declined", 0, "below_deductible", "合规费用未达起付线", "the burden is below the deductible")
    amount = min(tiered_fen(plan.tiers, above), plan.cap_fen, left_fen)
    if amount == 0:
        return Ruling("declined", 0, "nothing_left", "无可赔付金额", "nothing is left to pay")
    return Ruling("approved", amount, calculation=f"burden={burden} deductible={plan.deductible_fen} pays={amount}")


@dataclass(frozen=True, slots=True)
class CommercialPlan:
    """One commercial product; amounts in fen per settlement.

    `only_in_catalogue` limits it to the in-scope burden, else self-paid items count too. `share_percent` is this
    insurer's part of a product that several insure together: deductible, cap and review limit shrink with it.
    """

    product: str
    deductible_fen: int
    percent: int
    cap_fen: int
    only_in_catalogue: bool = True
    waiting_days: int = 30
    excluded_diagnoses: tuple[str, ...] = ("Z41", "K07", "N97")
    review_above_fen: int = 20_000_00
    share_percent: int = 100


@dataclass(frozen=True, slots=True)
class CommercialClaim:
    """What a commercial insurer looks at; `earlier_fen` is what insurers before it bear."""

    left_fen: int
    in_scope_fen: int
    fund_fen: int
    earlier_fen: int
    main_diagnosis: str
    visit_on: date
    policy_from: date | None


def adjudicate_commercial(plan: CommercialPlan, claim: CommercialClaim) -> Ruling:
    """Approves, declines with a reason, or defers what a person has to look at; never more than is left."""
    if claim.policy_from is None:
        return Ruling("declined", 0, "no_policy", "未找到有效保单", "no policy under this number")
    if claim.visit_on < claim.policy_from + timedelta(days=plan.waiting_days):
        return Ruling("declined", 0, "waiting_period", "处于等待期内", "the visit lies in the waiting period")
    if claim.main_diagnosis.startswith(plan.excluded_diagnoses):
        return Ruling("declined", 0, "excluded_diagnosis", "诊断属于责任免除", "the diagnosis is excluded")
    amount = _commercial_fen(plan, claim)
    if amount == 0:
        return Ruling("declined", 0, "below_deductible", "未达免赔额", "the burden is below the deductible")
    if amount > _part(plan, plan.review_above_fen):
        return Ruling("deferred", 0, "manual_review", "金额较大，转人工审核", "the amount needs a review by hand")
    return Ruling("approved", amount, calculation=f"product={plan.product} pays={amount}")


def _commercial_fen(plan: CommercialPlan, claim: CommercialClaim) -> int:
    burden = claim.left_fen
    if plan.only_in_catalogue:
        in_catalogue = max(0, claim.in_scope_fen - claim.fund_fen - claim.earlier_fen)
        burden = min(burden, _part(plan, in_catalogue))
    above = max(0, burden - _part(plan, plan.deductible_fen))
    return min(share_fen(above, plan.percent, 100), _part(plan, plan.cap_fen), claim.left_fen)


def _part(plan: CommercialPlan, amount_fen: int) -> int:
    return share_fen(amount_fen, plan.share_percent, 100)
