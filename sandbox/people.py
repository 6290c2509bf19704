"""Synthetic people: nobody real. Identity numbers have right check digits and real shape.

Their district codes (440390 to 440399) were never given out, nor were mobile numbers that begin with 12, so that no
number here belongs to anyone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from itertools import accumulate
from random import Random

from sandbox.claims_desk import policy_number
from sandbox.parties import ANKANG_PRODUCT, HENGAN_PRODUCT, INSURERS_OF, POLICY_PREFIX, REGION, SHARED_PRODUCT
from schemas.identity import check_character

_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁"
_GIVEN_MALE = "伟强军勇杰涛明超刚平辉鹏华飞鑫波斌浩宇晨轩睿泽俊毅志文博"
_GIVEN_FEMALE = "芳娜敏静丽艳娟霞秀玲燕梅琳雪颖慧莹倩怡欣悦婷佳蕾洁萍"
_AGE_TOPS = (6, 18, 35, 50, 60, 70, 80, 95)
_AGE_WEIGHTS = tuple(accumulate((7, 8, 17, 18, 17, 17, 11, 5)))
"""Who falls ill: the ages of a day's patients, not of the city."""


@dataclass(frozen=True, slots=True)
class Person:
    """One insured person; `insurance_type` is an insutype."""

    number: int
    name: str
    id_no: str
    sex: str
    birth_date: date
    phone: str
    person_no: str
    card_no: str
    insurance_type: str


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """One commercial policy; dates ISO, both days insured."""

    id_type: str
    id_no: str
    product: str
    insurer: str
    policy_no: str
    valid_from: str
    valid_to: str


class Population:
    """People by number, 0 to size - 1: each is worked out anew from seed and number, nothing is stored."""

    def __init__(self, size: int, seed: int, day: date) -> None:
        self.size = size
        self._seed = seed
        self._day = day

    def person(self, number: int) -> Person:
        """The person with this number; the same for the same seed and day."""
        random = self._random("person", number)
        age = self._age(random)
        born = self._day - timedelta(days=int(age * 365.25) + random.randrange(365))
        male = random.random() < 0.48
        first_17 = f"{REGION[:4]}{90 + random.randrange(10)}{born:%Y%m%d}{random.randrange(500) * 2 + male:03d}"
        given = _GIVEN_MALE if male else _GIVEN_FEMALE
        name = random.choice(_SURNAMES) + "".join(random.choices(given, k=1 + (random.random() < 0.7)))
        return Person(
            number=number,
            name=name,
            id_no=first_17 + check_character(first_17),
            sex="1" if male else "2",
            birth_date=born,
            phone=f"12{random.randrange(10**9):09d}",
            person_no=f"{REGION}{number:014d}",
            card_no=f"{chr(65 + random.randrange(26))}{random.randrange(10**8):08d}",
            insurance_type=_insurance_type(random, age),
        )

    def policies(self, person: Person) -> list[CoverageRow]:
        """The person's commercial policies; coinsurance has a row under its leading insurer."""
        random = self._random("policy", person.number)
        found = []
        for product, chance in ((ANKANG_PRODUCT, 0.10), (HENGAN_PRODUCT, 0.08), (SHARED_PRODUCT, 0.16)):
            if random.random() < chance:
                found.append(self._policy(random, person, product))
        return found

    def coverage(self) -> Iterator[CoverageRow]:
        """All policies of all people."""
        for number in range(self.size):
            yield from self.policies(self.person(number))

    def _policy(self, random: Random, person: Person, product: str) -> CoverageRow:
        # One in twenty began so lately that the waiting period still runs.
        days_ago = random.randrange(0, 20) if random.random() < 0.05 else random.randrange(40, 330)
        begins = self._day - timedelta(days=days_ago)
        return CoverageRow(
            id_type="01",
            id_no=person.id_no,
            product=product,
            insurer=INSURERS_OF[product][0],
            policy_no=policy_number(POLICY_PREFIX[product], begins, person.number),
            valid_from=begins.isoformat(),
            valid_to=(begins + timedelta(days=364)).isoformat(),
        )

    def _age(self, random: Random) -> int:
        band = bisect_right(_AGE_WEIGHTS, random.randrange(_AGE_WEIGHTS[-1]))
        lowest = _AGE_TOPS[band - 1] if band else 0
        return random.randrange(lowest, _AGE_TOPS[band])

    def _random(self, purpose: str, number: int) -> Random:
        key = f"{self._seed}/{purpose}/{number}".encode()
        return Random(int.from_bytes(blake2b(key, digest_size=8).digest(), "big"))


def _insurance_type(random: Random, age: int) -> str:
    if age < 22:
        return "390"
    drawn = random.random()
    if drawn < 0.05:
        return "320"
    return "310" if drawn < 0.68 else "390"
