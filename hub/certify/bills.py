"""Made-up claims for one party: the product, layer, region and kind of visit that the rule book has for it.

The seed decides people and amounts, so that a run can be repeated. Request ids, visits and settlement numbers are new
in each run: a party that keeps what it promises would answer old ones as before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from uuid_utils import uuid7

from routing.rulebook import Party, Rule, RuleBook
from sandbox.people import Person, Population
from schemas.base import Identifier, InstitutionCode, Value
from schemas.codes import FeeCategory, IdentityType, InsuranceType, Layer, MedicalType, Sex, VisitKind
from schemas.money import rounded_fen
from schemas.payer import BasicResult, MessageNumbers, Operation, PayerTask
from schemas.settlement import Diagnosis, FeeLine, Insurance, Patient, SettlementRequest, SettleRequest, Visit

USUAL_REGION = "440300"
_KINDS = {
    VisitKind.INPATIENT: MedicalType.INPATIENT,
    VisitKind.OUTPATIENT: MedicalType.OUTPATIENT,
    VisitKind.PHARMACY: MedicalType.PHARMACY,
}
_ITEMS = (
    ("XA10BAA123A001010100000", "盐酸二甲双胍片", FeeCategory.WESTERN_DRUG),
    ("001102000010000-110200001", "普通门诊诊查费", FeeCategory.CONSULTATION),
    ("002503010010000-250301001", "血糖测定", FeeCategory.LABORATORY),
    ("003107010010000-310701001", "常规心电图检查", FeeCategory.EXAMINATION),
)


class CannotCertify(Exception):
    """The party cannot be certified as it is named: the text says what to do."""


class TestData(Value):
    """A person whom the party's test system knows, where it does not take made-up ones."""

    __test__ = False

    patient: Patient | None = None
    insurance: Insurance | None = None
    policy_no: Identifier | None = None
    institution: InstitutionCode | None = None
    diagnoses: tuple[Diagnosis, ...] | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What the party pays for, by the rule book."""

    party: Party
    layer: Layer
    product: str
    region: str
    institution: str
    kind: VisitKind
    insurance_type: InsuranceType
    has_policy: bool
    basic_payer: str


def terms_of(book: RuleBook, party: Party, product: str = "") -> Terms:
    """The terms of one product; CannotCertify when no rule says that the party pays for one."""
    rules = [rule for rule in book.rules if any(payer.party == party.code for payer in rule.payers)]
    if product:
        rules = [rule for rule in rules if rule.product == product]
    if not rules:
        raise CannotCertify(f"{party.code}: no rule of the rule book lets it pay{' for ' + product if product else ''}")
    rule = min(rules, key=lambda one: (len(one.payers), one.order))
    region = _region(book, party, rule)
    basic = next((one.code for one in book.parties if one.kind == "basic" and one.region == region), "BASIC-TEST")
    return Terms(
        party=party,
        layer=rule.layer,
        product=rule.product,
        region=region,
        institution=_institution(book, rule, region),
        kind=next(kind for kind in _KINDS if not rule.when.visit_kinds or kind in rule.when.visit_kinds),
        insurance_type=min(rule.when.insurance_types or {InsuranceType.RESIDENT}),
        has_policy=rule.needs_coverage,
        basic_payer=basic,
    )


def _region(book: RuleBook, party: Party, rule: Rule) -> str:
    if party.region:
        return party.region
    if rule.when.regions:
        return min(rule.when.regions)
    return book.institutions[0].region if book.institutions else USUAL_REGION


def _institution(book: RuleBook, rule: Rule, region: str) -> str:
    known = [one.code for one in book.institutions if one.region == region]
    allowed = [code for code in known if not rule.when.institutions or code in rule.when.institutions]
    return allowed[0] if allowed else f"H{region}00001"


class Bills:
    """Makes the claims of one run. Not thread-safe."""

    def __init__(self, terms: Terms, seed: int, numbers: int = 0, data: TestData | None = None) -> None:
        self.terms = terms
        self._random = Random(seed)
        self._data = data or TestData()
        self._numbers = numbers
        self._now = datetime.now(UTC).replace(microsecond=0)
        self._people = Population(10_000, seed, self._now.date())
        self._drawn: dict[str, MessageNumbers] = {}
        self._run = uuid7().hex[:12]
        self._count = 0

    def claim(self, operation: Operation = Operation.SETTLE) -> PayerTask:
        """A new claim of a new visit."""
        self._count += 1
        request = self._request()
        basic = None if self.terms.layer is Layer.BASIC else half_paid(request)
        leg_no = 1 if basic is None else 2
        task = PayerTask(
            **_new_case(leg_no),
            operation=operation,
            leg_no=leg_no,
            payer=self.terms.party.code,
            layer=self.terms.layer,
            product=self.terms.product,
            policy_no=self._policy_no(),
            request=request,
            left_fen=request.total if basic is None else basic.cash_fen,
            basic=basic,
            answer_by=datetime.now(UTC) + timedelta(seconds=self.terms.party.timeout_s),
        )
        return self.numbered(task)

    def as_settle(self, trial: PayerTask) -> PayerTask:
        """The settlement of a bill that was tried: a case of its own."""
        return self.numbered(replace(trial, operation=Operation.SETTLE, **_new_case(trial.leg_no)))

    def anew(self, task: PayerTask) -> PayerTask:
        """The same bill under new numbers, as a hospital sends it after a cancel."""
        self._count += 1
        request = task.request
        visit = request.visit.model_copy(update={"visit_no": self._visit_no()})
        changed = request.model_copy(update={"settlement_no": self._settlement_no(), "visit": visit})
        return self.numbered(replace(task, request=changed, **_new_case(task.leg_no)))

    def dearer(self, task: PayerTask) -> PayerTask:
        """The same claim under the same numbers, with a last line that costs a yuan more."""
        last = task.request.fees[-1]
        price = last.price + 1
        line = last.model_copy(update={"price": price, "amount": rounded_fen(price * last.quantity)})
        fees = (*task.request.fees[:-1], line)
        request = task.request.model_copy(update={"fees": fees, "total": sum(one.amount for one in fees)})
        basic = half_paid(request) if task.basic else None
        return replace(task, request=request, basic=basic, left_fen=basic.cash_fen if basic else request.total)

    def numbered(self, task: PayerTask) -> PayerTask:
        """The task with its message numbers, the same for the same request id, and those of its original."""
        if not self._numbers:
            return task
        original = self._drawn.get(task.original_request_id or "")
        return replace(task, numbers=self.block(task.request_id), original_numbers=original)

    def block(self, request_id: str) -> MessageNumbers | None:
        """The message numbers of a request."""
        if not self._numbers:
            return None
        if request_id not in self._drawn:
            # Far from where a hub begins to count, so that a shared test system sees no number twice.
            first = 5_000_000 + int(self._run[-4:], 16) * 64 + len(self._drawn) * self._numbers
            self._drawn[request_id] = MessageNumbers(self._now, first)
        return self._drawn[request_id]

    def _settlement_no(self) -> str:
        return f"CERT-{self._run}-{self._count}"

    def _visit_no(self) -> str:
        return f"V{self._run}{self._count:03d}"

    def _policy_no(self) -> str | None:
        made_up = f"CERT-20250101-{self._count:08d}" if self.terms.has_policy else None
        return self._data.policy_no or made_up

    def _request(self) -> SettleRequest:
        person = self._people.person(self._random.randrange(10_000))
        ended = self._now - timedelta(days=1)
        started = ended - timedelta(days=7)
        fees = self._fees(started.date())
        stay = self.terms.kind is VisitKind.INPATIENT
        return SettleRequest(
            institution=self._data.institution or self.terms.institution,
            settlement_no=self._settlement_no(),
            region=self.terms.region,
            patient=self._data.patient or _patient(person),
            insurance=self._data.insurance or self._insurance(person),
            visit=Visit(
                visit_no=self._visit_no(),
                kind=self.terms.kind,
                medical_type=_KINDS[self.terms.kind],
                started_at=started,
                ended_at=ended if stay else None,
                department="内科",
                doctor_code=f"D{self.terms.region}000001",
            ),
            diagnoses=self._data.diagnoses or (Diagnosis(code="E11.900", name="2型糖尿病", main=True),),
            fees=fees,
            total=sum(line.amount for line in fees),
        )

    def _insurance(self, person: Person) -> Insurance:
        return Insurance(
            type=self.terms.insurance_type,
            person_no=self.terms.region + person.person_no[6:],
            region=self.terms.region,
            card_no=person.card_no,
        )

    def _fees(self, day: date) -> tuple[FeeLine, ...]:
        """Lines of about 6,000 yuan whose sum ends in 38 fen: a text that no other figure of the claim has."""
        prices = [self._random.randrange(280_000, 320_000) for _ in _ITEMS]
        prices[0] += (19 - sum(prices)) % 50
        return tuple(_line(number, day, Decimal(fen) / 100) for number, fen in enumerate(prices, 1))


def _new_case(leg_no: int) -> dict[str, Any]:
    case_id = uuid7()
    return {"case_id": str(case_id), "request_id": f"{case_id.hex}-{leg_no}"}


def _line(number: int, day: date, price: Decimal) -> FeeLine:
    code, name, category = _ITEMS[number - 1]
    quantity = Decimal(2)
    return FeeLine(
        line_no=f"L{number}",
        item_code=code,
        item_name=name,
        category=category,
        price=price,
        quantity=quantity,
        amount=rounded_fen(price * quantity),
        occurred_on=day,
    )


def _patient(person: Person) -> Patient:
    return Patient(
        name=person.name,
        id_type=IdentityType.ID_CARD,
        id_no=person.id_no,
        sex=Sex(person.sex),
        birth_date=person.birth_date,
        phone=person.phone,
    )


def half_paid(request: SettlementRequest) -> BasicResult:
    """A basic system that finds nine tenths in scope and pays half of the bill; the rest is cash."""
    total, small = request.total, request.total // 20
    values: dict[str, Any] = {
        "own_pay_fen": small,
        "over_limit_fen": 0,
        "first_self_pay_fen": small,
        "in_scope_fen": total - 2 * small,
        "deductible_fen": 600_00,
        "fund_fen": total // 2,
        "account_fen": 0,
        "cash_fen": total - total // 2,
        "hospital_fen": 0,
        "funds": (("310100", total // 2),),
    }
    return BasicResult(total_fen=total, **values)
