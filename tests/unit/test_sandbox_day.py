"""The generated day: valid requests, the city's proportions, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from sandbox.day import HospitalDay
from sandbox.parties import INSURERS_OF
from schemas.base import read_message
from schemas.identity import id_card_problem
from schemas.settlement import CancelRequest, SettleRequest
from tests.support.sandbox_builders import DAY, cases


def test_every_request_is_valid() -> None:
    for case in cases(400):
        request = read_message(SettleRequest, case.body)
        assert (request.institution, request.settlement_no) == (case.institution, case.settlement_no)
        assert (request.total, request.visit.kind.value) == (case.total_fen, case.visit_kind)
        assert id_card_problem(request.patient.id_no) is None
        assert 1 <= len(request.fees) <= 60


def test_a_day_has_the_citys_proportions() -> None:
    day = cases(4000)

    shares = Counter(case.visit_kind for case in day)
    assert shares["pharmacy"] / 4000 == pytest.approx(0.45, abs=0.03)
    assert shares["outpatient"] / 4000 == pytest.approx(0.48, abs=0.03)
    assert shares["inpatient"] / 4000 == pytest.approx(0.07, abs=0.02)
    assert sum(case.total_fen for case in day) / 4000 == pytest.approx(1095_00, rel=0.12)


def test_a_whole_day_has_the_whole_citys_institutions() -> None:
    day = HospitalDay(14_177, day=DAY)

    assert (len(day.hospitals), len(day.pharmacies)) == (269, 1095)
    assert len(HospitalDay(1, day=DAY).institutions) == 2


def test_a_day_can_be_repeated_by_its_seed() -> None:
    assert [case.body for case in cases(50)] == [case.body for case in cases(50)]
    assert [case.body for case in cases(50, seed=21)] != [case.body for case in cases(50)]


def test_settlement_numbers_occur_once() -> None:
    assert len({(case.institution, case.settlement_no) for case in cases(500)}) == 500


def test_numbers_belong_to_nobody() -> None:
    for case in cases(100):
        assert 440390 <= int(case.person.id_no[:6]) <= 440399
        assert case.person.phone.startswith("12")


def test_coverage_names_known_products_and_people() -> None:
    day = HospitalDay(500, day=DAY)
    people = {day.population.person(number).id_no for number in range(day.population.size)}

    rows = list(day.coverage())

    assert 0.15 < len(rows) / day.population.size < 0.55
    assert {row.product for row in rows} == set(INSURERS_OF) - {"CRITICAL-ILLNESS"}
    for row in rows:
        assert row.id_no in people
        assert row.insurer == INSURERS_OF[row.product][0]
        assert date.fromisoformat(row.valid_from) <= DAY <= date.fromisoformat(row.valid_to)


def test_a_case_can_be_cancelled() -> None:
    case = cases(1)[0]

    cancel = read_message(CancelRequest, case.cancel_body())

    assert (cancel.institution, cancel.settlement_no) == (case.institution, case.settlement_no)
