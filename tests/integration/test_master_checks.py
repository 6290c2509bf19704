"""A bill is held against master data where the institution's profile asks for it, and everything missing is named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from hub.master_checks import MasterChecks, insurer_codes
from routing.plan import service_date
from routing.rulebook import Institution
from schemas.base import read_message
from schemas.errors import Forbidden, HubError, InvalidMessage
from schemas.settlement import SettleRequest
from schemas.transactions import Transaction
from tests.support.builders import BASIC, CRITICAL, HOSPITAL, a_rule_book_text, a_settle_request, an_id_card, as_bytes
from tests.support.master_data import BASIC_PARTY, SECRET, Office, a_mapping, an_item, an_office
from tests.support.rule_books import put_in_force

T = Transaction
ALL = ("mapping", "catalogue", "disease", "staff", "blacklist")


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    with an_office(database_url) as opened:
        yield opened


def a_bill(*lines: tuple[str, str], doctor: str | None = None, day: str = "2026-03-02") -> SettleRequest:
    """A bill of 10.00 yuan per (local code, item code)."""
    request = a_settle_request()
    (line,) = request["fees"]
    fees = [
        line | {"line_no": str(number), "local_code": local, "item_code": item, "price": "10", "amount": "10.00"}
        for number, (local, item) in enumerate(lines or [("L-1", "XA01")])
    ]
    visit = request["visit"] | {"doctor_code": doctor, "started_at": f"{day}T09:15:00+08:00"}
    changed = request | {"fees": fees, "total": f"{len(fees) * 10}.00", "visit": visit}
    return read_message(SettleRequest, as_bytes(changed))


def checked(office: Office, *bills: SettleRequest, checks=ALL, region: str = "440300") -> list[HubError | None]:
    institution = Institution(code=HOSPITAL, name="一院", region=region, checks=frozenset(checks))
    with office.database.connect() as connection:
        drafts = [(bill, institution) for bill in bills]
        return MasterChecks(SECRET).check(connection, drafts, service_date)


def named(error: HubError | None) -> list[tuple[str, str]]:
    assert isinstance(error, InvalidMessage), error
    return [(violation.field, violation.code) for violation in error.violations]


def fill(office: Office) -> None:
    """A catalogue of two items, a mapping of one, a disease and a doctor."""
    office.taken(T.CATALOGUE_UPLOAD, an_item("XA01"), an_item("XA02", valid_until="2026-06-30"))
    office.taken(T.MAPPING_UPLOAD, a_mapping("L-1", "XA01"), party=HOSPITAL)
    office.taken(T.DISEASE_UPLOAD, {"code": "J00", "name": "急性鼻咽炎", "valid_from": "2026-01-01"})
    office.taken(
        T.STAFF_UPLOAD,
        {"institution": HOSPITAL, "code": "D1", "name": "医师", "valid_from": "2026-01-01"},
        party=HOSPITAL,
    )


def test_what_is_known_passes_and_nothing_is_read_without_checks(office):
    assert checked(office, a_bill(), checks=()) == [None]

    fill(office)

    assert checked(office, a_bill(doctor="D1")) == [None]


def test_everything_that_is_missing_is_named_at_once(office):
    fill(office)
    bill = a_bill(("L-1", "XA01"), ("L-2", "XA02"), ("L-1", "XA02"), ("L-9", "XA99"), doctor="D9")

    assert named(checked(office, bill)[0]) == [
        ("visit.doctor_code", "staff.unknown"),
        ("fees[1].local_code", "mapping.missing"),
        ("fees[2].item_code", "mapping.differs"),
        ("fees[3].local_code", "mapping.missing"),
        ("fees[3].item_code", "catalogue.missing"),
    ]


def test_the_day_of_the_bill_decides(office):
    fill(office)
    before, after = a_bill(("L-1", "XA01"), day="2025-12-31"), a_bill(("L-1", "XA02"), day="2026-07-01")

    errors = checked(office, before, after, a_bill(), checks=("catalogue", "disease"))

    assert [error and named(error) for error in errors] == [
        [("diagnoses[0].code", "disease.missing"), ("fees[0].item_code", "catalogue.missing")],
        [("fees[0].item_code", "catalogue.missing")],
        None,
    ]


def test_another_regions_catalogue_and_an_insurers_own_do_not_count(office):
    fill(office)
    office.taken(T.CATALOGUE_UPLOAD, an_item("XA03"), party=CRITICAL)

    assert checked(office, a_bill(), checks=("catalogue",), region="440305") == [None]  # a district of the city
    assert named(checked(office, a_bill(), checks=("catalogue",), region="440100")[0])
    assert named(checked(office, a_bill(("L-1", "XA03")), checks=("catalogue",))[0])


def test_a_missing_doctor_is_named(office):
    assert named(checked(office, a_bill(), checks=("staff",))[0]) == [("visit.doctor_code", "staff.missing")]


@pytest.mark.parametrize(
    ("kind", "subject"), [("person", an_id_card()), ("institution", HOSPITAL), ("staff", "D1")]
)  # fmt: skip
def test_who_is_on_the_blacklist_is_refused(office, kind, subject):
    listed = {"kind": kind, "subject": subject, "reason": "r", "valid_from": "2026-01-01"}
    office.taken(T.BLACKLIST_IMPORT, listed | {"action": "flag"})
    assert checked(office, a_bill(doctor="D1"), checks=("blacklist",)) == [None]

    office.taken(T.BLACKLIST_IMPORT, listed | {"action": "refuse"}, request_no="U-2")

    refused, before = checked(office, a_bill(doctor="D1"), a_bill(doctor="D1", day="2025-06-01"), checks=("blacklist",))
    assert isinstance(refused, Forbidden)
    assert refused.code == "blacklist.refused"
    assert before is None


def test_the_payers_own_codes_are_found(office):
    office.taken(T.MAPPING_UPLOAD, a_mapping("XA01", "CI-1", payer=CRITICAL), party=CRITICAL)

    with office.database.connect() as connection:
        bill = a_bill(("L-1", "XA01"), ("L-2", "XA02"))
        assert insurer_codes(connection, CRITICAL, bill, date(2026, 3, 2)) == {"XA01": "CI-1"}


def test_a_settlement_is_refused_with_everything_unmapped_and_a_repeat_is_not(office, database_url):
    checked_book = a_rule_book_text(
        parties=[BASIC_PARTY],
        institutions=[
            {"code": HOSPITAL, "name": "一院", "region": "440300", "amqp": True, "checks": ["mapping", "blacklist"]}
        ],
    )
    office.taken(T.MAPPING_UPLOAD, a_mapping("L-1", "XA01"), party=HOSPITAL)
    put_in_force(database_url, checked_book)
    office.hub.hub.books.refresh()
    line = a_settle_request()["fees"][0] | {"price": "10", "amount": "10.00"}
    fees = [line | {"line_no": code, "local_code": code} for code in ("L-1", "L-2", "L-3")]

    refused = office.hub.settle("S-1", fees=fees, total="30.00")
    mapped = [a_mapping("L-2", "XA01"), a_mapping("L-3", "XA01")]
    office.taken(T.MAPPING_UPLOAD, *mapped, party=HOSPITAL, request_no="U-2")
    taken = office.hub.settle("S-1", fees=fees, total="30.00")
    listed = {"kind": "person", "subject": an_id_card(), "action": "refuse", "reason": "r", "valid_from": "2026-01-01"}
    office.taken(T.BLACKLIST_IMPORT, listed)
    repeated = office.hub.settle("S-1", fees=fees, total="30.00")
    another = office.hub.settle("S-2", fees=fees, total="30.00")

    assert named(refused.error) == [
        ("fees[1].local_code", "mapping.missing"),
        ("fees[2].local_code", "mapping.missing"),
    ]
    assert taken.error is None
    assert (repeated.case_id, repeated.repeated) == (taken.case_id, True)
    assert isinstance(another.error, Forbidden)
    assert office.hub.count("settlement_case") == 1


def test_an_upload_comes_in_by_the_desk_like_any_message(office):
    message = {"sender": BASIC, "request_no": "U-1", "rows": [an_item()]}

    taken = office.hub.send(T.CATALOGUE_UPLOAD, message, party=BASIC)

    assert taken.error is None
    assert taken.answer is not None
