"""From a request, the rule book and the person's coverage to the ordered legs, with the reason for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from routing.days import day_of
from routing.rulebook import Conditions, Rule, RuleBook
from schemas.answer import RouteStep
from schemas.base import Bilingual
from schemas.codes import InsuranceType, Layer, MedicalType, VisitKind
from schemas.errors import InvalidMessage, Violation
from schemas.settlement import AdjudicatedShare, AdjudicationUpload, SettlementRequest
from schemas.visit import AdmissionFacts


@dataclass(frozen=True, slots=True)
class Coverage:
    """One policy of the person, valid on both of its days."""

    product: str
    policy_no: str
    valid_from: date
    valid_until: date | None


@dataclass(frozen=True, slots=True)
class PlannedLeg:
    """One payer's place in the order. Legs with the same `split` > 0 are coinsurers."""

    leg_no: int
    payer: str
    layer: Layer
    product: str
    policy_no: str | None
    rule: str
    split: int
    weight: int
    independent: bool
    given: AdjudicatedShare | None = None
    """What the basic system adjudicated itself: this payer is not asked."""


@dataclass(frozen=True, slots=True)
class Considered:
    """A rule that was looked at: chosen (`missed` is empty) or not, and which condition it missed."""

    rule: str
    missed: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is asked in which order, and every rule that was considered."""

    legs: tuple[PlannedLeg, ...]
    considered: tuple[Considered, ...]


def service_date(request: SettlementRequest) -> date:
    """The day that decides which rules and policies apply: discharge or visit, China Standard Time."""
    return day_of(request.visit.ended_at or request.visit.started_at)


@dataclass(frozen=True, slots=True)
class Told:
    """A payer that is told about a visit, with the policy that makes it one."""

    payer: str
    product: str
    policy_no: str | None


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the conditions of a rule compare with; `total` is None before there is a bill."""

    institution: str
    region: str
    insurance_type: InsuranceType
    kind: VisitKind
    medical_type: MedicalType
    total: int | None


def payers_told(
    book: RuleBook, admission: AdmissionFacts, coverages: Sequence[Coverage], transaction: str
) -> tuple[Told, ...]:
    """Who is told about this transaction of a visit: the payers of every rule that holds on the day of admission, as
    far as they want to hear of it; each once, amounts and discharge left out of account."""
    day = day_of(admission.admitted_at)
    facts = _Facts(
        admission.institution,
        admission.insurance.region,
        admission.insurance.type,
        admission.kind,
        admission.medical_type,
        None,
    )
    told: dict[str, Told] = {}
    for rule in book.rules_in_order:
        if _missed(rule, facts, day):
            continue
        policies: list[str | None] = [None]
        if rule.needs_coverage:
            policies = [c.policy_no for c in coverages if c.product == rule.product and _valid(c, day)]
        for policy_no in policies[:1]:
            for payer in rule.payers:
                if transaction in book.party_by_code[payer.party].notices:
                    told.setdefault(payer.party, Told(payer.party, rule.product, policy_no))
    return tuple(told.values())


def plan_case(book: RuleBook, request: SettlementRequest, coverages: Sequence[Coverage]) -> Plan:
    """The plan for a case; InvalidMessage when no basic payer is found, since nothing can be settled then."""
    day = service_date(request)
    facts = _Facts(
        request.institution,
        request.insurance.region,
        request.insurance.type,
        request.visit.kind,
        request.visit.medical_type,
        request.total,
    )
    legs: list[PlannedLeg] = []
    considered: list[Considered] = []
    for rule in book.rules_in_order:
        missed = _missed(rule, facts, day)
        if not missed and rule.layer is Layer.BASIC and legs:
            missed = "another_basic"
        policies: list[str | None] = [None]
        if not missed and rule.needs_coverage:
            policies = [c.policy_no for c in coverages if c.product == rule.product and _valid(c, day)]
            missed = "" if policies else "coverage"
        if not missed:
            for policy_no in policies:
                _add_legs(legs, rule, policy_no)
        considered.append(Considered(rule.id, missed))
    if not legs or legs[0].layer is not Layer.BASIC:
        raise InvalidMessage(
            "no basic insurance system is responsible",
            Violation(
                "insurance", "routing.no_basic_payer", "check insurance.region, insurance.type and the visit date"
            ),
            code="routing.no_basic_payer",
        )
    return Plan(_with_given(book, request, legs), tuple(considered))


def _with_given(book: RuleBook, request: SettlementRequest, legs: list[PlannedLeg]) -> tuple[PlannedLeg, ...]:
    """The legs with what the message says of those that the basic system adjudicates; the rules say which these are.

    InvalidMessage when rules and message do not agree: nobody adjudicates a part twice, and none is left to nobody.
    """
    uploaded = isinstance(request, AdjudicationUpload)
    theirs = [book.rule_by_id[leg.rule].adjudicated_by == "basic" for leg in legs]
    if not (any(theirs) or uploaded or request.adjudicated):
        return tuple(legs)
    unused = list(request.adjudicated)
    known: list[PlannedLeg] = []
    for leg, their_own in zip(legs, theirs, strict=True):
        rule = book.rule_by_id[leg.rule]
        if their_own and rule.called == "post_upload" and not uploaded:
            raise _mode("adjudicated", "mode.post_upload", f"{leg.product}: upload the result by adjudication.upload")
        if not their_own:
            if uploaded and leg.layer is Layer.BASIC:
                raise _mode("adjudicated", "mode.sync", f"{leg.product}: its payer adjudicates; use settlement.settle")
            known.append(leg)
            continue
        given = next((one for one in unused if _is_of(one, leg)), None)
        if given is None:
            raise _mode("adjudicated", "adjudicated.missing", f"add the result for {leg.payer} ({leg.layer})")
        unused.remove(given)
        known.append(replace(leg, given=given))
    if unused:
        remedy = f"{unused[0].payer} ({unused[0].layer}): not a part that the basic system adjudicates here; remove it"
        raise _mode("adjudicated", "adjudicated.unplanned", remedy)
    asked = [leg.given is None for leg in known]
    if asked != sorted(asked):
        raise _mode("adjudicated", "adjudicated.order", "what is adjudicated already must come before what is not")
    return tuple(known)


def _is_of(given: AdjudicatedShare, leg: PlannedLeg) -> bool:
    return given.layer is leg.layer and given.payer == leg.payer and given.product in (None, leg.product)


def _mode(field: str, code: str, remedy: str) -> InvalidMessage:
    return InvalidMessage("rules and message do not agree on who adjudicates", Violation(field, code, remedy))


def _add_legs(legs: list[PlannedLeg], rule: Rule, policy_no: str | None) -> None:
    split = len(legs) + 1 if len(rule.payers) > 1 else 0
    for payer in rule.payers:
        legs.append(
            PlannedLeg(
                leg_no=len(legs) + 1,
                payer=payer.party,
                layer=rule.layer,
                product=rule.product,
                policy_no=policy_no,
                rule=rule.id,
                split=split,
                weight=payer.weight,
                independent=rule.independent,
            )
        )


def _valid(coverage: Coverage, day: date) -> bool:
    return coverage.valid_from <= day and (coverage.valid_until is None or day <= coverage.valid_until)


def _missed(rule: Rule, facts: _Facts, day: date) -> str:
    """The first condition that the case misses; empty when it satisfies all."""
    if day < rule.valid_from:
        return "valid_from"
    if rule.valid_until is not None and day > rule.valid_until:
        return "valid_until"
    when: Conditions = rule.when
    if when.regions is not None and facts.region not in when.regions:
        return "regions"
    if when.insurance_types is not None and facts.insurance_type not in when.insurance_types:
        return "insurance_types"
    if when.visit_kinds is not None and facts.kind not in when.visit_kinds:
        return "visit_kinds"
    if when.medical_types is not None and facts.medical_type not in when.medical_types:
        return "medical_types"
    if when.institutions is not None and facts.institution not in when.institutions:
        return "institutions"
    if facts.total is None:
        return ""
    if when.total_min is not None and facts.total < when.total_min:
        return "total_min"
    if when.total_max is not None and facts.total > when.total_max:
        return "total_max"
    return ""


_MISSED_TEXTS: dict[str, Bilingual] = {
    "valid_from": Bilingual(zh="就诊日早于规则生效日", en="the visit lies before the rule takes effect"),
    "valid_until": Bilingual(zh="就诊日晚于规则截止日", en="the visit lies after the rule's last day"),
    "regions": Bilingual(zh="参保地不适用", en="another region of enrolment"),
    "insurance_types": Bilingual(zh="险种不适用", en="another insurance type"),
    "visit_kinds": Bilingual(zh="就诊类别不适用", en="another kind of visit"),
    "medical_types": Bilingual(zh="医疗类别不适用", en="another medical type"),
    "institutions": Bilingual(zh="机构不在范围内", en="the institution is not in the rule's list"),
    "total_min": Bilingual(zh="总费用低于下限", en="the bill is below the rule's minimum"),
    "total_max": Bilingual(zh="总费用高于上限", en="the bill is above the rule's maximum"),
    "another_basic": Bilingual(zh="已有基本医保规则适用", en="a basic rule before it already applies"),
    "coverage": Bilingual(zh="无有效保单", en="no policy in force for this product"),
}


def route_of(book: RuleBook, considered: Sequence[Considered]) -> tuple[RouteStep, ...]:
    """The explanation for people: each rule considered, chosen or not, and why."""
    steps = []
    for seen in considered:
        rule = book.rule_by_id.get(seen.rule)
        if rule is None:
            continue
        steps.append(
            RouteStep(
                payer="+".join(payer.party for payer in rule.payers),
                layer=rule.layer,
                rule=rule.id,
                chosen=not seen.missed,
                reason=rule.reason if not seen.missed else _MISSED_TEXTS[seen.missed],
            )
        )
    return tuple(steps)
