"""What a hosted product pays for one bill: pure arithmetic in whole fen, with a trace line by line.

`adjudicate` knows nothing of stores and clocks: what has been paid before comes in as `Used`, what this claim uses up
goes out as `Use`. Accumulators are the sums of the uses of all claims that stand, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from routing.hosted_words import Words, amount_words, refusal_words
from schemas.base import Bilingual
from schemas.codes import ItemLevel, MedicalType, Outcome, VisitKind
from schemas.hosted import WHOLE_BP, Basis, HostedProduct, Per, Sign, Terms, TraceLine
from schemas.money import share_fen
from schemas.payer import BasicFacts
from schemas.settlement import Diagnosis, FeeLine

_NO_WORDS = Words()


@dataclass(frozen=True, slots=True)
class Bill:
    """What is known of a visit. `earlier_fen`: what payers between the basic system and this product pay."""

    day: date
    visit_kind: VisitKind
    medical_type: MedicalType
    diagnoses: Sequence[Diagnosis]
    fees: Sequence[FeeLine]
    total_fen: int
    basic: BasicFacts | None
    earlier_fen: int
    left_fen: int
    policy_from: date | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """What standing claims have used up: of this year under this policy, and of the product by this person ever."""

    deductible_fen: int = 0
    counted_fen: int = 0
    paid_fen: int = 0
    paid_in_life_fen: int = 0


@dataclass(frozen=True, slots=True)
class Use:
    """What one claim uses up: of the deductible, of the bands (reimbursable beyond the deductible), of the caps."""

    deductible_fen: int = 0
    counted_fen: int = 0
    paid_fen: int = 0


NOTHING_USED = Use()


@dataclass(frozen=True, slots=True)
class Adjudication:
    """The product's word on a bill. Only an approval uses anything up; it may pay 0.00 and use up a deductible."""

    outcome: Outcome
    reason_code: str
    reason: Bilingual
    use: Use = NOTHING_USED
    trace: tuple[TraceLine, ...] = ()
    terms_from: date | None = None

    @property
    def amount_fen(self) -> int:
        return self.use.paid_fen


def benefit_year(product: HostedProduct, day: date, policy_from: date | None) -> int:
    """The year whose accumulators count: of the calendar, or the one in which the policy's year began."""
    if product.year == "calendar" or policy_from is None:
        return day.year
    return day.year - ((day.month, day.day) < (policy_from.month, policy_from.day))


def adjudicate(product: HostedProduct, bill: Bill, used: Used) -> Adjudication:
    """What the product pays of this bill when so much has been used up before."""
    terms = product.terms_on(bill.day)
    if terms is None:
        return refusal("product.no_terms")
    if code := _refused(product, terms, bill):
        found = refusal(code)
    elif bill.basic is None:
        found = refusal("product.basic_unknown", Outcome.DEFERRED)
    else:
        found = _Calculation(terms, bill, bill.basic, used).result()
    return replace(found, terms_from=terms.valid_from)


def refusal(code: str, outcome: Outcome = Outcome.DECLINED, trace: Sequence[TraceLine] = ()) -> Adjudication:
    """Nothing is paid, for this reason."""
    return Adjudication(outcome, code, refusal_words(code), trace=tuple(trace))


def _refused(product: HostedProduct, terms: Terms, bill: Bill) -> str:
    """Why nothing is paid whatever the amounts are; empty when the amounts decide."""
    waiting, excluded = terms.waiting, terms.exclusions
    if bill.policy_from is None and (waiting.days or product.year == "policy"):
        return "product.no_policy"
    waits = waiting.days and bill.medical_type not in waiting.except_medical_types
    if waits and bill.policy_from is not None and bill.day < bill.policy_from + timedelta(days=waiting.days):
        return "product.waiting_period"
    if bill.visit_kind in excluded.visit_kinds:
        return "product.excluded_visit"
    looked_at = [one.code for one in bill.diagnoses if one.main or excluded.of == "any"]
    if excluded.diagnoses and any(code.startswith(tuple(excluded.diagnoses)) for code in looked_at):
        return "product.excluded_diagnosis"
    return ""


@dataclass(slots=True)
class _Parts:
    """The lines of a bill by what a scope makes of them."""

    excluded_fen: int = 0
    other_categories_fen: int = 0
    self_paid_fen: int = 0
    partly_fen: int = 0
    full_fen: int = 0


class _Calculation:
    """One bill on its way from the total to what is paid; `figure` is what the last line of the trace came to."""

    def __init__(self, terms: Terms, bill: Bill, basic: BasicFacts, used: Used) -> None:
        self._terms, self._bill, self._basic, self._used = terms, bill, basic, used
        self._trace: list[TraceLine] = []
        self._figure = 0
        self._deductible_fen = 0

    def result(self) -> Adjudication:
        """Compliant amount, deductible, bands, ratio, caps, what is left: in this order."""
        if self._terms.basis is Basis.GROSS:
            self._add("compliant_gross", Sign.START, self._basic.in_scope)
        else:
            self._net()
        if not self._figure:
            return refusal("product.nothing_compliant", trace=self._trace)
        self._deduct()
        counted_fen = self._figure
        self._bands()
        self._caps()
        paid_fen = self._figure
        used_of_year_fen = self._deductible_fen if self._terms.deductible_per is Per.YEAR else 0
        if not paid_fen and not used_of_year_fen:
            return refusal(self._why_nothing(counted_fen), trace=self._trace)
        code = "" if paid_fen else self._why_nothing(counted_fen)
        use = Use(used_of_year_fen, counted_fen, paid_fen)
        return Adjudication(Outcome.APPROVED, code, amount_words(self._trace), use, tuple(self._trace))

    def _why_nothing(self, counted_fen: int) -> str:
        """Why a bill with something compliant in it is paid with nothing."""
        if not counted_fen:
            return "product.within_deductible"
        limits = [line.step for line in self._trace if line.sign is Sign.LIMIT and line.amount == 0]
        if limits:
            return "product.nothing_left" if limits == ["left"] else "product.cap_used"
        return "product.share_is_nothing"

    def _net(self) -> None:
        terms, basic = self._terms, self._basic
        self._add("total", Sign.START, self._bill.total_fen)
        if terms.scope.by == "basic":
            self._less("own_pay", basic.own_pay)
            self._less("over_limit", basic.over_limit)
            self._less_share("first_self_pay", basic.first_self_pay, WHOLE_BP - terms.scope.first_self_pay_bp)
        else:
            self._less_lines()
        self._less("basic_paid", basic.fund_paid)
        if terms.deduct_earlier:
            self._less("earlier_paid", self._bill.earlier_fen)
        self._add("compliant_net", Sign.RESULT, self._figure)

    def _less_lines(self) -> None:
        parts, scope = self._parts(), self._terms.scope
        self._less("excluded_items", parts.excluded_fen)
        self._less("other_categories", parts.other_categories_fen)
        self._less_share("self_paid_items", parts.self_paid_fen, WHOLE_BP - scope.self_paid_bp)
        self._less_share("partly_items", parts.partly_fen, WHOLE_BP - scope.partly_bp)
        self._less_share("full_items", parts.full_fen, WHOLE_BP - scope.full_bp)

    def _parts(self) -> _Parts:
        parts, scope = _Parts(), self._terms.scope
        excluded = self._terms.exclusions.items
        for line in self._bill.fees:
            if line.item_code in excluded:
                parts.excluded_fen += line.amount
            elif line.item_code in scope.items:
                continue
            elif scope.categories is not None and line.category not in scope.categories:
                parts.other_categories_fen += line.amount
            elif line.level is ItemLevel.SELF_PAID:
                parts.self_paid_fen += line.amount
            elif line.level is ItemLevel.PARTLY:
                parts.partly_fen += line.amount
            else:
                parts.full_fen += line.amount
        return parts

    def _deduct(self) -> None:
        terms = self._terms
        if not terms.deductible:
            return
        before_fen = self._used.deductible_fen if terms.deductible_per is Per.YEAR else 0
        self._deductible_fen = min(max(0, terms.deductible - before_fen), self._figure)
        step = f"deductible_per_{terms.deductible_per}"
        self._add(step, Sign.LESS, self._deductible_fen, Words(whole=terms.deductible, before=before_fen))
        self._add("above_deductible", Sign.RESULT, self._figure)

    def _bands(self) -> None:
        """Each band's share of the part that lies in it, then the share of the whole."""
        terms, figure = self._terms, self._figure
        start = self._used.counted_fen if terms.bands_per is Per.YEAR else 0
        edges: list[int | None] = [*(band.above for band in terms.bands[1:]), None]
        total = 0
        for band, until in zip(terms.bands, edges, strict=True):
            end = start + figure if until is None else min(start + figure, until)
            part = end - max(start, band.above)
            if part > 0:
                total += self._share(f"band_per_{terms.bands_per}", part, band.ratio_bp, Words(band.above, until or 0))
        self._add("shares", Sign.RESULT, total)
        if terms.ratio_bp != WHOLE_BP:
            total = self._share("ratio", total, terms.ratio_bp)
            self._add("after_ratio", Sign.RESULT, total)

    def _caps(self) -> None:
        terms, used = self._terms, self._used
        if terms.cap_per_visit is not None:
            self._limit("cap_per_visit", terms.cap_per_visit)
        for step, cap, before in (
            ("cap_per_year", terms.cap_per_year, used.paid_fen),
            ("cap_for_life", terms.cap_for_life, used.paid_in_life_fen),
        ):
            if cap is not None:
                self._limit(step, max(0, cap - before), Words(whole=cap, before=before))
        self._limit("left", self._bill.left_fen)
        self._add("pays", Sign.RESULT, self._figure)

    def _less(self, step: str, amount: int) -> None:
        if amount:
            self._add(step, Sign.LESS, amount)

    def _less_share(self, step: str, of: int, ratio_bp: int) -> None:
        if of and ratio_bp:
            self._add(step, Sign.LESS, share_fen(of, ratio_bp, WHOLE_BP), None, of, ratio_bp)

    def _share(self, step: str, of: int, ratio_bp: int, words: Words | None = None) -> int:
        amount = share_fen(of, ratio_bp, WHOLE_BP)
        self._add(step, Sign.SHARE, amount, words, of, ratio_bp)
        return amount

    def _limit(self, step: str, amount: int, words: Words | None = None) -> None:
        self._add(step, Sign.LIMIT, amount, words)

    def _add(
        self,
        step: str,
        sign: Sign,
        amount: int,
        words: Words | None = None,
        of: int | None = None,
        ratio_bp: int | None = None,
    ) -> None:
        self._figure = _figure_after(self._figure, sign, amount)
        zh, en = (words or _NO_WORDS).of(step, amount, of, ratio_bp)
        self._trace.append(TraceLine(step, sign, amount, zh, en, of, ratio_bp))


def _figure_after(figure: int, sign: Sign, amount: int) -> int:
    match sign:
        case Sign.START | Sign.RESULT:
            return amount
        case Sign.LESS:
            return max(0, figure - amount)
        case Sign.LIMIT:
            return min(figure, amount)
        case Sign.SHARE:
            return figure
