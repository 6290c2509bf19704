"""Uploads by message: in force as a whole or not at all, once, version by version; and who a person is."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from schemas.errors import Conflict, Forbidden, InvalidMessage
from schemas.transactions import Transaction
from store import coverage
from store.coverage import person_key
from tests.support.builders import BASIC, CRITICAL, HOSPITAL, OTHER_HOSPITAL, an_id_card
from tests.support.master_data import (
    SECRET,
    Office,
    a_mapping,
    a_person,
    an_enrolment,
    an_item,
    an_office,
)

T = Transaction


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    with an_office(database_url) as opened:
        yield opened


def wrong(office: Office, transaction: Transaction, *rows, **changes) -> list[tuple[str, str]]:
    """(field, code) of each problem of a refused upload."""
    error = office.upload(transaction, *rows, **changes).error
    assert isinstance(error, InvalidMessage), error
    return [(violation.field, violation.code) for violation in error.violations]


def test_an_upload_is_in_force_and_its_repeat_gets_the_same_answer(office):
    first = office.upload(T.CATALOGUE_UPLOAD, an_item("A"), an_item("B", price_max="12.345678", self_pay="0.1"))
    again = office.upload(T.CATALOGUE_UPLOAD, an_item("A"), an_item("B", price_max="12.345678", self_pay="0.1"))

    answer = orjson.loads(first.answer)
    assert (answer["taken"], answer["rows"], answer["new"], answer["changed"]) == (True, 2, 2, 0)
    assert again.answer == first.answer
    assert again.repeated
    assert office.versions("catalogue_item", "item_code") == [("A", "2026-01-01", None), ("B", "2026-01-01", None)]


def test_other_content_under_the_same_number_is_a_conflict(office):
    office.taken(T.CATALOGUE_UPLOAD, an_item("A"))

    assert isinstance(office.upload(T.CATALOGUE_UPLOAD, an_item("B")).error, Conflict)


def test_a_new_version_ends_the_one_before_it_and_a_correction_keeps_what_it_replaced(office):
    office.taken(T.CATALOGUE_UPLOAD, an_item("A"), an_item("B"))

    second = office.taken(
        T.CATALOGUE_UPLOAD,
        an_item("A", valid_from="2026-03-01", price_max="5"),
        an_item("B", item_name="更正"),
        request_no="U-2",
    )
    whole = office.taken(
        T.CATALOGUE_UPLOAD,
        an_item("A"),
        an_item("A", valid_from="2026-03-01", price_max="5"),
        an_item("B", item_name="更正"),
        request_no="U-3",
    )

    assert (second["new"], second["changed"], second["unchanged"]) == (0, 2, 0)
    assert (whole["new"], whole["changed"], whole["unchanged"]) == (0, 0, 3)
    assert office.versions("catalogue_item", "item_code", "item_name") == [
        ("A", "阿莫西林胶囊", "2026-01-01", "2026-02-28"),
        ("A", "阿莫西林胶囊", "2026-03-01", None),
        ("B", "更正", "2026-01-01", None),
    ]
    assert len(office.versions("catalogue_item", current=False)) == 4


def test_a_version_that_comes_late_ends_before_the_one_that_is_known(office):
    office.taken(T.DISEASE_UPLOAD, {"code": "J00", "name": "新", "valid_from": "2026-06-01"})
    office.taken(T.DISEASE_UPLOAD, {"code": "J00", "name": "旧", "valid_from": "2026-01-01"}, request_no="U-2")

    assert office.versions("disease", "name") == [("新", "2026-06-01", None), ("旧", "2026-01-01", "2026-05-31")]


def test_nothing_is_taken_when_one_row_is_wrong_and_every_wrong_row_is_named(office):
    found = wrong(
        office,
        T.CATALOGUE_UPLOAD,
        an_item("A"),
        an_item("B", level="9"),
        an_item("C", price_max="0", valid_until="2025-01-01"),
        an_item("D", self_pay="1.5"),
    )

    assert found == [
        ("rows[1].level", "enum"),
        ("rows[2].price_max", "price.bounds"),
        ("rows[2].valid_until", "validity.order"),
        ("rows[3].self_pay", "ratio.bounds"),
    ]
    assert office.versions("catalogue_item", "item_code") == []
    assert office.taken(T.CATALOGUE_UPLOAD, an_item("A"))["new"] == 1  # the number is still free


def test_rows_that_contradict_each_other_are_refused(office):
    found = wrong(
        office,
        T.CATALOGUE_UPLOAD,
        an_item("A"),
        an_item("A"),
        an_item("B", valid_until="2026-06-30"),
        an_item("B", valid_from="2026-06-30"),
        an_item("C"),
        an_item("C", valid_from="2026-06-30"),
    )

    assert found == [("rows[1].item_code", "row.duplicate"), ("rows[3].valid_from", "validity.overlap")]
    assert office.hub.count("import_run") == 0


def test_a_mapping_names_items_that_the_regions_catalogue_has(office):
    assert office.taken(T.MAPPING_UPLOAD, a_mapping("L-0", "ANY"), party=HOSPITAL)["new"] == 1  # no catalogue yet
    office.taken(T.CATALOGUE_UPLOAD, an_item("XA01"), an_item("XA02", valid_until="2026-01-31"))

    found = wrong(
        office,
        T.MAPPING_UPLOAD,
        a_mapping("L-1", "XA01"),
        a_mapping("L-2", "XA99"),
        a_mapping("L-3", "XA02", valid_from="2026-02-01"),
        party=HOSPITAL,
        request_no="U-2",
    )

    assert found == [("rows[1].item_code", "item.unknown"), ("rows[2].item_code", "item.unknown")]


def test_a_kind_that_the_party_may_not_bring_and_a_foreign_name_are_forbidden(office):
    other = {"sender": BASIC, "request_no": "U-1", "rows": [an_item()]}

    assert isinstance(office.upload(T.CATALOGUE_UPLOAD, an_item(), party=HOSPITAL).error, Forbidden)
    assert isinstance(office.upload(T.CATALOGUE_UPLOAD, an_item(), party="NOBODY").error, Forbidden)
    assert isinstance(office.desk.take(office.hub.inbound(T.CATALOGUE_UPLOAD, other, party=CRITICAL)).error, Forbidden)


def test_parties_do_not_touch_each_others_rows(office):
    office.taken(T.CATALOGUE_UPLOAD, an_item("A"))
    office.taken(T.CATALOGUE_UPLOAD, an_item("A", item_name="别名", valid_from="2026-02-01"), party=CRITICAL)

    assert office.versions("catalogue_item", "owner", "scope") == [
        (BASIC, "440300", "2026-01-01", None),
        (CRITICAL, None, "2026-02-01", None),
    ]


def test_enrolments_are_what_planning_finds_period_by_period(office):
    office.taken(T.ENROLMENT_IMPORT, an_enrolment(), party=CRITICAL)
    office.taken(
        T.ENROLMENT_IMPORT,
        an_enrolment(valid_until="2026-06-30"),
        an_enrolment(valid_from="2026-09-01", valid_until="2027-08-31"),
        party=CRITICAL,
        request_no="U-2",
    )

    key = person_key(SECRET, "01", an_id_card())
    with office.database.connect() as connection:
        found = coverage.find(connection, [key])[key]
    assert sorted((str(one.valid_from), str(one.valid_until)) for one in found) == [
        ("2026-01-01", "2026-06-30"),
        ("2026-09-01", "2027-08-31"),
    ]


def test_no_identity_number_and_no_name_lies_open(office):
    office.taken(T.POPULATION_IMPORT, a_person())
    office.taken(T.ENROLMENT_IMPORT, an_enrolment(), party=CRITICAL)
    listed = {"kind": "person", "subject": an_id_card(), "action": "flag", "reason": "核实", "valid_from": "2026-01-01"}
    office.taken(T.BLACKLIST_IMPORT, listed)

    with office.database.connect() as connection:
        for table in ("insured_person", "enrolment", "blacklist_entry", "party_request", "import_run", "coverage"):
            rows = connection.exec_driver_sql(f"SELECT * FROM {table}").all()
            stored = repr([[bytes(one) if isinstance(one, memoryview) else one for one in row] for row in rows])
            assert rows
            assert an_id_card() not in stored
            assert "欧阳" not in stored
            assert "欧阳".encode() not in repr(stored).encode()


def confirmed(office: Office, party: str = HOSPITAL, **changes) -> dict:
    asked = {"institution": HOSPITAL, "id_type": "01", "id_no": an_id_card(), "name": "欧阳·测试", "on": "2026-03-02"}
    taken = office.desk.take(office.hub.inbound(T.IDENTITY_CONFIRM, asked | changes, party=party))
    assert taken.error is None, taken.error
    return orjson.loads(taken.answer)


def test_a_person_is_confirmed_by_number_and_name(office):
    office.taken(T.POPULATION_IMPORT, a_person(category="A1"))
    office.taken(T.ENROLMENT_IMPORT, an_enrolment(), party=CRITICAL)

    answer = confirmed(office, name=" 欧阳•测试 ")

    assert answer["found"]
    assert (answer["sex"], answer["birth_date"]) == ("1" if int(an_id_card()[16]) % 2 else "2", "1990-03-07")
    assert [(one["person_no"], one["category"]) for one in answer["insurances"]] == [("P-1", "A1")]
    assert [one["policy_no"] for one in answer["coverages"]] == ["POL-1"]
    assert not answer["refused"]
    assert confirmed(office, party=BASIC)["found"]


def test_another_name_gets_the_answer_of_an_unknown_number(office):
    nobody = confirmed(office)
    office.taken(T.POPULATION_IMPORT, a_person())

    other = confirmed(office, name="王五")

    assert not other["found"]
    assert {**other, "name": "", "answered_at": ""} == {**nobody, "name": "", "answered_at": ""}


def test_what_is_not_in_force_on_the_day_is_not_told(office):
    office.taken(T.POPULATION_IMPORT, a_person(valid_until="2026-01-31"))

    answer = confirmed(office)

    assert answer["found"]
    assert answer["insurances"] == []
    assert len(answer["warnings"]) == 1


def test_who_is_on_the_blacklist_is_told_to_be_refused(office):
    office.taken(T.POPULATION_IMPORT, a_person())
    listed = {"kind": "person", "subject": an_id_card(), "action": "refuse", "reason": "r", "valid_from": "2026-01-01"}
    office.taken(T.BLACKLIST_IMPORT, listed)

    assert confirmed(office)["refused"]
    assert not confirmed(office, on="2025-12-31")["refused"]


def test_only_the_institution_and_its_regions_system_may_ask(office):
    asked = {"institution": HOSPITAL, "id_type": "01", "id_no": an_id_card(), "name": "甲"}

    for party in (OTHER_HOSPITAL, CRITICAL):
        taken = office.desk.take(office.hub.inbound(T.IDENTITY_CONFIRM, asked, party=party))
        assert isinstance(taken.error, Forbidden)
