"""The cases of a day over all dialects: whose bill, in which region, by which way it comes, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle
from random import Random
from typing import Any

import orjson
import yaml

from hub.demo.rulebook import FEW_PLACES, VALID_FROM
from sandbox import parties, parties_dialects
from sandbox.claims_desk import policy_number
from sandbox.day import DayCase, HospitalDay
from sandbox.his import HospitalRequest
from sandbox.parties_dialects import (
    GUANGXI_REGION,
    NATIONAL_REGION,
    PINGJIA,
    RECORDED_BASIC,
    RECORDED_REGION,
    TAIHE,
    TAIHE_PRODUCT,
    YONGTAI,
)
from sandbox.people import CoverageRow, Person
from sandbox.rules_dialects import dialect_rule_book
from schemas.money import yuan_of
from schemas.transactions import Transaction

OWN, OWN_PRODUCT = "OWN", "CITY-PLUS"
"""The insurer whose book is the hub's."""
HTTP, SOAP = "HTTP", "SOAP"
_STAY_REGIONS = (GUANGXI_REGION, NATIONAL_REGION, RECORDED_REGION, parties.REGION, GUANGXI_REGION)
_OTHER_REGIONS = (parties.REGION, NATIONAL_REGION, GUANGXI_REGION, parties.REGION, RECORDED_REGION)
_STAYS_PERCENT = 40
TAIHE_EVERY = 2
"""One person in so many holds TAIHE's policy."""
_DRAWN_TIMES = 8
"""So many bills are drawn for one that is taken: few are of stays, and stays are what most dialects are about."""


@dataclass(frozen=True, slots=True)
class MixedCase:
    """One bill with its life: `before` its settlement, `settle`, and what undoes it, if anything does."""

    case: DayCase
    region: str
    way: str
    settle: HospitalRequest
    before: tuple[HospitalRequest, ...] = ()
    repeated: bool = False
    undo: HospitalRequest | None = None


class MixedDay:
    """`cases` bills over all regions; the same for the same seed and day."""

    def __init__(self, cases: int, *, day: date, seed: int, people_of: date | None = None) -> None:
        self.cases, self.day, self.seed = cases, day, seed
        self._drawn = HospitalDay(cases * _DRAWN_TIMES, day=day, seed=seed, people_of=people_of)

    def __iter__(self) -> Iterator[MixedCase]:
        random = Random(self.seed)
        for case, region in self._placed():
            yield _lived(case, region, random)

    def coverage(self) -> Iterator[CoverageRow]:
        """Everybody's policies, and TAIHE's of every second person."""
        yield from self._drawn.coverage()
        begins = self.day - timedelta(days=200)
        for number in range(0, self._drawn.population.size, TAIHE_EVERY):
            yield _taihe_policy(self._drawn.population.person(number), begins)

    def insured_with_taihe(self, one: MixedCase) -> bool:
        """Whether the bill's person holds TAIHE's policy."""
        return one.case.person.number % TAIHE_EVERY == 0

    def _placed(self) -> list[tuple[DayCase, str]]:
        stays_wanted = max(len(_STAY_REGIONS), self.cases * _STAYS_PERCENT // 100)
        stays: list[DayCase] = []
        others: list[DayCase] = []
        for case in self._drawn:
            (stays if case.visit_kind == "inpatient" else others).append(case)
        stays = stays[:stays_wanted]
        others = others[: self.cases - len(stays)]
        chosen = [*zip(stays, cycle(_STAY_REGIONS), strict=False), *zip(others, cycle(_OTHER_REGIONS), strict=False)]
        return [(_moved(case, region), region) for case, region in chosen]


def mixed_rule_book(endpoints: Mapping[str, str]) -> str:
    """YAML ready to be activated: every party of the cast with dialects, and a product of the hub's own."""
    book = dialect_rule_book(endpoints, FEW_PLACES, VALID_FROM)
    for institution in book["institutions"]:
        institution["visits"] = "optional"
    for party in book["parties"]:
        if party["code"] == parties.CRITICAL_ILLNESS:
            party["notices"] = ["admission.register", "fees.upload", "discharge.register"]
    for rule in book["rules"]:
        if not rule["when"]:
            # An uploaded adjudication holds every layer, or it is refused: nobody is asked in that region.
            rule["when"] = {"regions": [parties.REGION, GUANGXI_REGION, NATIONAL_REGION]}
    name = {"zh": "城市补充医疗", "en": "City plus"}
    terms = {"valid_from": VALID_FROM.isoformat(), "basis": "net", "deductible": "500.00", "ratio_bp": 6000}
    book["parties"].append({"code": OWN, "kind": "insurer", "name": name, "adapter": "insurer.hosted"})
    book["products"] = [{"code": OWN_PRODUCT, "name": name, "terms": [terms]}]
    book["rules"].append(
        {
            "id": "city-plus",
            "layer": "supplementary",
            "product": OWN_PRODUCT,
            "payers": [{"party": OWN}],
            "valid_from": VALID_FROM.isoformat(),
            "when": {"regions": [NATIONAL_REGION], "visit_kinds": ["inpatient"]},
            "reason": {"zh": "城市补充医疗覆盖住院费用", "en": "city-plus cover for everybody's stays"},
        }
    )
    return yaml.safe_dump(book, allow_unicode=True, sort_keys=False, width=120)


def _moved(case: DayCase, region: str) -> DayCase:
    """The bill as if it had been written in this region."""
    letter = "P" if case.visit_kind == "pharmacy" else "H"
    institution = f"{letter}{region}00001"
    request = orjson.loads(case.body)
    request |= {"institution": institution, "region": region}
    request["insurance"]["region"] = region
    request["visit"]["visit_no"] = f"V{case.settlement_no[1:]}"
    body = orjson.dumps(request)
    return DayCase(case.number, institution, case.settlement_no, case.visit_kind, case.total_fen, case.person, body)


def _lived(case: DayCase, region: str, random: Random) -> MixedCase:
    recorded = region == RECORDED_REGION
    body = _adjudicated(case) if recorded else case.body
    transaction = Transaction.ADJUDICATION_UPLOAD if recorded else Transaction.SETTLE
    settle = HospitalRequest(case.institution, transaction.value, f"{case.institution}-{case.settlement_no}", body)
    before: tuple[HospitalRequest, ...] = ()
    if case.visit_kind == "inpatient" and region in (parties.REGION, GUANGXI_REGION):
        before = tuple(_visit(case))
    elif region in (parties.REGION, NATIONAL_REGION) and random.random() < 0.1:
        before = (_said(case, Transaction.TRIAL, "T", orjson.loads(case.body)),)
    return MixedCase(
        case=case,
        region=region,
        way=SOAP if region in (GUANGXI_REGION, RECORDED_REGION) else HTTP,
        settle=settle,
        before=before,
        repeated=random.random() < 0.06,
        undo=_undo(case, random),
    )


def _undo(case: DayCase, random: Random) -> HospitalRequest | None:
    drawn = random.random()
    if drawn < 0.08:
        return HospitalRequest(
            case.institution, Transaction.CANCEL, f"{case.institution}-{case.settlement_no}-C1", case.cancel_body()
        )
    if drawn < 0.12:
        of = {"institution": case.institution, "settlement_no": case.settlement_no, "reason": "冲正"}
        return _said(case, Transaction.REVERSE, "R1", of | {"reverse_no": f"{case.settlement_no}-R1"})
    return None


def _visit(case: DayCase) -> Iterator[HospitalRequest]:
    """The stay step by step before its bill."""
    request = orjson.loads(case.body)
    visit = request["visit"]
    of = {"institution": case.institution, "visit_no": visit["visit_no"]}
    facts = {name: request[name] for name in ("region", "patient", "insurance", "diagnoses")}
    facts |= {name: visit[name] for name in ("kind", "medical_type", "department", "doctor_code")}
    admission = of | facts | {"request_no": f"{case.settlement_no}-A", "admitted_at": visit["started_at"]}
    yield _said(case, Transaction.ADMISSION_REGISTER, "A", admission)
    fees = {"request_no": f"{case.settlement_no}-F", "batch_no": "1", "lines": request["fees"]}
    yield _said(case, Transaction.FEES_UPLOAD, "F", of | fees)
    leaves = {"request_no": f"{case.settlement_no}-D", "discharged_at": visit["ended_at"]}
    yield _said(case, Transaction.DISCHARGE_REGISTER, "D", of | leaves | {"diagnoses": request["diagnoses"]})


def _said(case: DayCase, transaction: Transaction, suffix: str, message: Mapping[str, Any]) -> HospitalRequest:
    key = f"{case.institution}-{case.settlement_no}-{suffix}"
    return HospitalRequest(case.institution, transaction.value, key, orjson.dumps(message))


def recorded_shares(case: DayCase) -> Sequence[tuple[str, str, int]]:
    """(layer, payer, fen) as the basic system of RECORDED_REGION adjudicates: this message is its book."""
    shares = [("basic", RECORDED_BASIC, case.total_fen // 2)]
    if case.visit_kind == "inpatient":
        shares += [
            ("critical_illness", YONGTAI, case.total_fen // 10),
            ("supplementary", PINGJIA, case.total_fen // 20),
        ]
    return shares


def _adjudicated(case: DayCase) -> bytes:
    request = orjson.loads(case.body)
    figures = {"in_scope": request["total"]}
    shares: list[dict[str, Any]] = []
    for layer, payer, fen in recorded_shares(case):
        shares.append({"layer": layer, "payer": payer, "amount": yuan_of(fen)})
        if layer == "basic":
            shares[-1] |= {"figures": figures, "reference": f"BJ{case.settlement_no}"}
    return orjson.dumps(request | {"adjudicated": shares})


def _taihe_policy(person: Person, begins: date) -> CoverageRow:
    prefix = parties_dialects.POLICY_PREFIX[TAIHE_PRODUCT]
    return CoverageRow(
        id_type="01",
        id_no=person.id_no,
        product=TAIHE_PRODUCT,
        insurer=TAIHE,
        policy_no=policy_number(prefix, begins, person.number),
        valid_from=begins.isoformat(),
        valid_to=(begins + timedelta(days=364)).isoformat(),
    )
