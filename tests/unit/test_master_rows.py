"""Rows of master data one by one: what is wrong with each, for whom, and that nothing of a person goes on."""

from __future__ import annotations

from typing import Any

import pytest

from hub.master_rows import ROW_KINDS, Bringer, bringer_of, name_key, operator, subject_key
from schemas.errors import Forbidden
from schemas.transactions import SPECS, Group, Sender, Transaction
from store.master_kinds import KINDS
from tests.support.builders import BASIC, COMMERCIAL_RULE, CRITICAL, HOSPITAL, OTHER_HOSPITAL, a_rule_book, an_id_card
from tests.support.master_data import SECRET, a_mapping, a_person, an_enrolment, an_item

INSTITUTION = Bringer(HOSPITAL, Sender.INSTITUTION, "440300")
SYSTEM = Bringer(BASIC, Sender.BASIC, "440300")
INSURER = Bringer(CRITICAL, Sender.INSURER, None, frozenset({"critical"}))
STAFF = {"institution": OTHER_HOSPITAL, "code": "D1", "name": "医师", "valid_from": "2026-01-01"}
LISTED = {"kind": "person", "subject": an_id_card(), "action": "refuse", "reason": "r", "valid_from": "2026-01-01"}
CHECKS: list[tuple[str, dict[str, Any], Bringer, list[tuple[str, str]]]] = [
    ("catalogue", an_item(), SYSTEM, []),
    ("catalogue", an_item(valid_until="2025-12-31"), SYSTEM, [("valid_until", "validity.order")]),
    (
        "catalogue",
        an_item(price_max="0", self_pay="1.01"),
        SYSTEM,
        [("price_max", "price.bounds"), ("self_pay", "ratio.bounds")],
    ),
    ("catalogue", an_item(price_max="10000001"), SYSTEM, [("price_max", "price.bounds")]),
    ("mapping", a_mapping(), INSTITUTION, []),
    ("mapping", a_mapping(payer=CRITICAL), INSTITUTION, [("payer", "mapping.payer")]),
    ("mapping", a_mapping(payer=CRITICAL), INSURER, []),
    ("mapping", a_mapping(), INSURER, [("payer", "mapping.payer")]),
    ("population", a_person(), SYSTEM, []),
    ("population", a_person(id_no="110101199003071230"), SYSTEM, [("id_no", "patient.id_no")]),
    ("population", a_person(id_no="110101900307123"), SYSTEM, [("id_no", "patient.id_no")]),
    ("population", a_person(birth_date="1990-03-08"), SYSTEM, [("birth_date", "patient.birth_date")]),
    ("population", a_person(region="440100"), SYSTEM, [("region", "region.foreign")]),
    ("population", a_person(region="440100"), operator(), []),
    ("population", a_person(id_type="08", id_no="E1234567"), SYSTEM, []),
    ("enrolment", an_enrolment(), INSURER, []),
    ("enrolment", an_enrolment(product="basic"), INSURER, [("product", "product.foreign")]),
    ("enrolment", an_enrolment(product="basic"), operator(), []),
    ("staff", STAFF, INSTITUTION, [("institution", "institution.foreign")]),
    ("staff", STAFF, SYSTEM, []),
    ("blacklist", LISTED, SYSTEM, []),
    ("blacklist", LISTED | {"subject": "110101199003071230"}, SYSTEM, [("subject", "patient.id_no")]),
    ("blacklist", LISTED | {"kind": "institution"}, SYSTEM, [("subject", "string_pattern_mismatch")]),
]


@pytest.mark.parametrize(("kind", "raw", "bringer", "expected"), CHECKS)
def test_a_row_is_judged_by_itself_and_by_who_brings_it(kind, raw, bringer, expected):
    row_kind = ROW_KINDS[kind]

    problems = row_kind.problems(7, row_kind.model.model_validate(raw), bringer)

    assert [(problem.field, problem.code) for problem in problems] == expected
    assert {problem.row for problem in problems} <= {7}
    assert not any(raw.get("id_no", "-") in problem.remedy for problem in problems)


@pytest.mark.parametrize("kind", sorted(ROW_KINDS))
def test_what_is_stored_fits_the_columns(kind):
    raws = {raw_kind: raw for raw_kind, raw, _, expected in reversed(CHECKS) if not expected}
    raws["disease"] = {"code": "J00", "name": "急性鼻咽炎", "valid_from": "2026-01-01"}
    raws["institution"] = {"code": HOSPITAL, "name": "一院", "region": "440300", "valid_from": "2026-01-01"}
    row_kind = ROW_KINDS[kind]

    stored = row_kind.stored(row_kind.model.model_validate(raws[kind]), SECRET)

    assert len(stored) == len(row_kind.kind.columns)
    assert an_id_card() not in repr(stored)
    assert not row_kind.of_people or "欧阳" not in repr(stored)


def test_there_is_a_row_kind_for_every_upload():
    uploads = {name for name, spec in SPECS.items() if spec.group is Group.MASTER} - {Transaction.IDENTITY_CONFIRM}

    assert {row_kind.transaction for row_kind in ROW_KINDS.values()} == uploads
    assert set(ROW_KINDS) == set(KINDS)


def test_a_party_brings_what_the_rule_book_makes_it():
    book = a_rule_book(COMMERCIAL_RULE)
    insurer = bringer_of(book, "ANKANG", Transaction.ENROLMENT_IMPORT)

    assert (insurer.role, insurer.scope, insurer.products) == (Sender.INSURER, None, {"city-benefit"})
    assert bringer_of(book, HOSPITAL, Transaction.MAPPING_UPLOAD).scope == "440300"
    for party, transaction in ((HOSPITAL, Transaction.CATALOGUE_UPLOAD), ("NOBODY", Transaction.MAPPING_UPLOAD)):
        with pytest.raises(Forbidden):
            bringer_of(book, party, transaction)


@pytest.mark.parametrize("written", ["欧阳·测试", " 欧阳•测试", "欧阳．测试", "欧 阳・测 试"])
def test_a_name_is_the_same_however_it_is_spaced_and_dotted(written):
    assert name_key(SECRET, "p", written) == name_key(SECRET, "p", "欧阳·测试")


def test_the_same_name_of_two_people_has_two_hashes():
    assert name_key(SECRET, "p", "王五") != name_key(SECRET, "q", "王五")
    assert subject_key(SECRET, "person", "11010119900307123x") == subject_key(SECRET, "person", "11010119900307123X")
    assert subject_key(SECRET, "staff", "D1") == "D1"
