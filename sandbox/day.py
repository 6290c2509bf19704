"""A generated day of a city's hospitals and pharmacies: settlement requests in plausible proportions, from a seed.

The city has 269 hospitals and 1,095 pharmacies that settle 14,177 bills a day of about 1,095 yuan each; a smaller day
has fewer institutions in proportion. Nothing is kept: cases are worked out one after another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any

import orjson

from sandbox import catalogue
from sandbox.catalogue import Catalogue, Item
from sandbox.parties import REGION
from sandbox.people import CoverageRow, Person, Population
from schemas.money import yuan_of
from schemas.settlement import SettleRequest

CITY_CASES, CITY_HOSPITALS, CITY_PHARMACIES = 14_177, 269, 1_095
_KINDS = ("outpatient", "pharmacy", "inpatient")
_KIND_WEIGHTS = (48, 93, 100)
"""48 % outpatient, 45 % pharmacy, 7 % inpatient, accumulated."""
_HOURS = tuple(accumulate((1, 1, 1, 1, 1, 2, 4, 9, 14, 15, 13, 9, 6, 8, 12, 12, 10, 7, 5, 4, 3, 2, 1, 1)))
_DEPARTMENTS = (
    "全科",
    "心血管内科",
    "内分泌科",
    "消化内科",
    "骨科",
    "呼吸内科",
    "眼科",
    "皮肤科",
    "神经内科",
    "普外科",
)


@dataclass(frozen=True, slots=True)
class Place:
    """A hospital (H...) or pharmacy (P...)."""

    code: str
    name: str
    kind: str
    region: str = REGION


@dataclass(frozen=True, slots=True)
class DayCase:
    """One bill to settle: the request as JSON bytes, and what a driver wants to know without reading them."""

    number: int
    institution: str
    settlement_no: str
    visit_kind: str
    total_fen: int
    person: Person
    body: bytes

    def request(self) -> SettleRequest:
        """The request as a validated model."""
        return SettleRequest.model_validate_json(self.body)

    def cancel_body(self, number: int = 1) -> bytes:
        """The JSON of a `settlement.cancel` of this case."""
        return orjson.dumps(
            {
                "institution": self.institution,
                "settlement_no": self.settlement_no,
                "cancel_no": f"{self.settlement_no}-C{number}",
                "reason": "退费重结",
            }
        )


class HospitalDay:
    """The bills of one day: `cases` of them, the same for the same seed and day."""

    def __init__(self, cases: int, *, day: date, seed: int = 20, people_of: date | None = None) -> None:
        """`people_of` another day: its people, with the policies that they held then."""
        if cases < 1:
            raise ValueError("a day has at least one case")
        self.cases = cases
        self.day = day
        self.seed = seed
        self.population = Population(max(30, cases * 4 // 5), seed, people_of or day)
        self.hospitals = _places("H", "hospital", _scaled(CITY_HOSPITALS, cases))
        self.pharmacies = _places("P", "pharmacy", _scaled(CITY_PHARMACIES, cases))
        self._catalogue = catalogue.build(seed)
        # A few big hospitals see most patients; pharmacies differ less.
        self._hospital_weights = list(accumulate(1 / (rank + 2) ** 0.8 for rank in range(len(self.hospitals))))
        self._pharmacy_weights = list(accumulate(1 / (rank + 20) ** 0.4 for rank in range(len(self.pharmacies))))

    @property
    def institutions(self) -> tuple[Place, ...]:
        """All that may send."""
        return (*self.hospitals, *self.pharmacies)

    def coverage(self) -> Iterator[CoverageRow]:
        """The commercial policies of everybody who may appear."""
        return self.population.coverage()

    def __iter__(self) -> Iterator[DayCase]:
        """The cases in the order of their numbers, 0 to cases - 1."""
        random = Random(self.seed * 1_000_003 + self.day.toordinal())
        for number in range(self.cases):
            yield self._case(random, number)

    def _case(self, random: Random, number: int) -> DayCase:
        kind = _KINDS[bisect_right(_KIND_WEIGHTS, random.randrange(100))]
        place = self._place(random, kind)
        person = self.population.person(random.randrange(self.population.size))
        settled_at = datetime(self.day.year, self.day.month, self.day.day) + timedelta(
            hours=bisect_right(_HOURS, random.randrange(_HOURS[-1])),
            minutes=random.randrange(60),
            seconds=random.randrange(60),
        )
        nights = 2 + int(random.expovariate(1 / 6)) if kind == "inpatient" else 0
        bill = _Bill(random, self._catalogue, self.day.isoformat())
        _FILL[kind](bill, min(nights, 45))
        settlement_no = f"S{self.day:%Y%m%d}-{number:07d}"
        request = {
            "schema_version": "1",
            "institution": place.code,
            "settlement_no": settlement_no,
            "region": REGION,
            "patient": _patient(person),
            "insurance": {
                "type": person.insurance_type,
                "person_no": person.person_no,
                "region": REGION,
                "card_no": person.card_no,
            },
            "visit": _visit(random, kind, settled_at, min(nights, 45), number),
            "diagnoses": _diagnoses(random, kind),
            "fees": bill.lines,
            "total": yuan_of(bill.total_fen),
            "use_account": random.random() < 0.9,
        }
        return DayCase(number, place.code, settlement_no, kind, bill.total_fen, person, orjson.dumps(request))

    def _place(self, random: Random, kind: str) -> Place:
        places, weights = (
            (self.pharmacies, self._pharmacy_weights)
            if kind == "pharmacy"
            else (self.hospitals, self._hospital_weights)
        )
        return places[bisect_right(weights, random.random() * weights[-1])]


def _scaled(city: int, cases: int) -> int:
    return max(1, round(city * min(cases, CITY_CASES) / CITY_CASES))


def _places(letter: str, kind: str, count: int) -> tuple[Place, ...]:
    label = "示例医院" if kind == "hospital" else "示例药店"
    return tuple(Place(f"{letter}{REGION}{number:05d}", f"{label}{number}", kind) for number in range(1, count + 1))


def _patient(person: Person) -> dict[str, str]:
    return {
        "name": person.name,
        "id_type": "01",
        "id_no": person.id_no,
        "sex": person.sex,
        "birth_date": person.birth_date.isoformat(),
        "phone": person.phone,
    }


def _visit(random: Random, kind: str, settled_at: datetime, nights: int, number: int) -> dict[str, str]:
    medical_type = {"pharmacy": "41", "inpatient": "21"}.get(kind)
    if medical_type is None:
        medical_type = random.choices(("11", "13", "14"), (80, 6, 14))[0]
    started_at = settled_at - (timedelta(days=nights) if nights else timedelta(minutes=random.randrange(10, 150)))
    visit = {
        "visit_no": f"V{number:07d}",
        "kind": kind,
        "medical_type": medical_type,
        "started_at": f"{started_at.isoformat()}+08:00",
        "ended_at": f"{settled_at.isoformat()}+08:00",
    }
    if kind != "pharmacy":
        visit["department"] = random.choice(_DEPARTMENTS)
        visit["doctor_code"] = f"D{REGION}{random.randrange(10**6):06d}"
    return visit


def _diagnoses(random: Random, kind: str) -> list[dict[str, Any]]:
    known = catalogue.DIAGNOSES[kind]
    count = 1 if kind == "pharmacy" else random.choices((1, 2, 3), (60, 28, 12))[0]
    return [
        {"code": code, "name": name, "main": rank == 0} for rank, (code, name) in enumerate(random.sample(known, count))
    ]


class _Bill:
    """Fee lines as they are added up."""

    def __init__(self, random: Random, items: Catalogue, occurred_on: str) -> None:
        self.random = random
        self.items = items
        self.lines: list[dict[str, str]] = []
        self.total_fen = 0
        self._occurred_on = occurred_on

    def add(self, item: Item, quantity: int = 1) -> None:
        """One line; some drugs are sold by the single tablet, at a price of four decimals."""
        price, amount_fen = yuan_of(item.price_fen), item.price_fen * quantity
        if item.category == "09" and quantity > 1 and self.random.random() < 0.2:
            price_1e4 = item.price_fen * 100 // 28 + 1
            quantity *= 28
            price = f"{price_1e4 // 10_000}.{price_1e4 % 10_000:04d}"
            amount_fen = (price_1e4 * quantity + 50) // 100
        self.total_fen += amount_fen
        self.lines.append(
            {
                "line_no": str(len(self.lines) + 1),
                "item_code": item.code,
                "item_name": item.name,
                "category": item.category,
                "level": item.level,
                "price": price,
                "quantity": str(quantity),
                "amount": yuan_of(amount_fen),
                "occurred_on": self._occurred_on,
            }
        )

    def some(self, items: tuple[Item, ...], count: int, quantity_max: int) -> None:
        """`count` different items of a group, 1 to `quantity_max` of each."""
        for item in self.random.sample(items, min(count, len(items))):
            self.add(item, self.random.randint(1, quantity_max))


def _pharmacy(bill: _Bill, _: int) -> None:
    bill.some(bill.items.drugs, 1 + int(bill.random.expovariate(0.9)) % 8, 3)


def _outpatient(bill: _Bill, _: int) -> None:
    random = bill.random
    bill.add(bill.items.registration)
    bill.some(bill.items.services, random.choices((0, 1, 2, 3, 5), (30, 34, 20, 11, 5))[0], 1)
    bill.some(bill.items.drugs, random.choices((0, 1, 2, 3, 4, 6), (14, 26, 26, 18, 11, 5))[0], 3)
    if random.random() < 0.06:
        bill.some(bill.items.costly_drugs, 1, 1)


def _inpatient(bill: _Bill, nights: int) -> None:
    random = bill.random
    bill.add(bill.items.bed, nights)
    bill.some(bill.items.services, random.randint(5, 20), min(nights, 3))
    bill.some(bill.items.drugs, random.randint(4, 18), min(nights, 6))
    bill.some(bill.items.consumables, random.randint(1, 8), 4)
    if random.random() < 0.5:
        bill.some(bill.items.costly_drugs, random.randint(1, 3), 3)
    if random.random() < 0.5:
        bill.some(bill.items.operations, 1, 1)
        bill.some(bill.items.costly_consumables, random.randint(0, 4), 1)


_FILL = {"pharmacy": _pharmacy, "outpatient": _outpatient, "inpatient": _inpatient}
