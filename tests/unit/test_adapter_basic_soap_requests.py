"""What the basic system is sent: the same content as zeep makes, and nothing its schema does not allow."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from zeep.helpers import serialize_object
from zeep.xsd.context import XmlParserContext

from adapters.basic.soap.codec import Codec
from adapters.basic.soap.contract import contract, wsdl
from schemas.codes import IdentityType, MedicalType, VisitKind
from schemas.errors import InvalidMessage, Malformed
from schemas.money import yuan_of
from schemas.payer import Operation
from schemas.settlement import Diagnosis, Insurance, Visit
from schemas.strict_json import check_text
from schemas.wsdl import BASIC_NAMESPACE
from tests.support.basic_soap import BINDINGS, NAMES
from tests.support.payer_tasks import a_fee, a_patient, a_request, a_task

AWKWARD = a_request(
    fees=(
        a_fee(1, price="0.333333", quantity="3.0005", item_name="a<b>&\"c'\r\n d ]]>", occurred_on=None),
        a_fee(2, price="1000000", quantity="1", item_name="𠮷野家 & Söhne"),
    ),
    patient=a_patient(
        name="阿·<买买提>&", id_type=IdentityType.FOREIGN_PASSPORT, id_no="P(1)23/45", birth_date=date(2000, 2, 29)
    ),
    insurance=Insurance(type="390", person_no="1", region="440305"),
    visit=Visit(
        visit_no="V:2",
        kind=VisitKind.INPATIENT,
        medical_type=MedicalType.INPATIENT,
        started_at=datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC),
        ended_at=datetime(2026, 3, 1, 16, 0, tzinfo=UTC),
    ),
    diagnoses=(Diagnosis(code="I10.x00", name="高血压", main=True), Diagnosis(code="E11.900+1", name="糖尿病")),
    use_account=False,
)
TASKS = {
    "settle": a_task(),
    "trial": a_task(Operation.TRIAL, request=a_request(60)),
    "awkward": a_task(request=AWKWARD),
    "cancel": a_task(Operation.CANCEL),
    "reversal": a_task(Operation.REVERSE, original_reference="SETL-0000", original_amount_fen=1),
    "inquiry": a_task(Operation.INQUIRE),
}


def content(raw: bytes) -> str:
    return ElementTree.canonicalize(raw.decode(), rewrite_prefixes=True)


@pytest.mark.parametrize("version", BINDINGS)
@pytest.mark.parametrize("name", TASKS)
def test_a_request_has_the_same_content_as_zeep_makes(name, version):
    task = TASKS[name]
    ours = Codec("B", version).encode(task)

    call = contract(version).calls[task.operation]
    operation = wsdl().bindings[BINDINGS[version]].get(NAMES[task.operation])
    values = operation.input.body.parse(
        etree.fromstring(ours.body)[0][0], wsdl().types, context=XmlParserContext(settings=wsdl().settings)
    )
    made = operation.create(**serialize_object(values, dict))

    assert content(ours.body) == content(etree.tostring(made.content))
    assert made.headers.get("SOAPAction", f'"{call.action}"') == f'"{call.action}"'


@pytest.mark.parametrize("name", TASKS)
def test_a_request_read_back_says_what_the_task_says(name):
    task = TASKS[name]
    payload = etree.fromstring(Codec("B").encode(task).body)[0][0]
    found = {child.tag.partition("}")[2]: child.text for child in payload}

    assert found["request_id"] == task.request_id
    assert found["psn_no"] == task.request.insurance.person_no
    assert found.get("omsgid") == task.original_request_id
    assert ("setl_id" in found) is (task.operation is Operation.CANCEL)
    if task.operation in (Operation.SETTLE, Operation.TRIAL):
        assert found["medfee_sumamt"] == yuan_of(task.request.total)
        # A carriage return travels as a reference: unescaped, the reader would turn it into a line feed.
        assert found["psn_name"] == task.request.patient.name
        names = [each.text for each in payload.iter(f"{{{BASIC_NAMESPACE}}}medins_list_name")]
        assert names == [line.item_name for line in task.request.fees]
        prices = [Decimal(each.text) for each in payload.iter(f"{{{BASIC_NAMESPACE}}}pric")]
        assert prices == [line.price for line in task.request.fees]


def test_moments_travel_in_china_standard_time():
    body = Codec("B").encode(TASKS["awkward"]).body

    assert b"<begntime>2026-03-01 07:59:59</begntime>" in body
    assert b"<endtime>2026-03-02 00:00:00</endtime>" in body


def test_headers_come_from_the_bytes_alone():
    codec_11, codec_12 = Codec("B", "1.1"), Codec("B", "1.2")
    call_11, call_12 = codec_11.encode(TASKS["cancel"]), codec_12.encode(TASKS["cancel"])

    assert codec_11.headers(call_11) == {"SOAPAction": f'"{BASIC_NAMESPACE}/Cancel"'}
    assert call_11.content_type == "text/xml; charset=utf-8"
    assert codec_12.headers(call_12) == {}
    assert call_12.content_type == f'application/soap+xml; charset=utf-8; action="{BASIC_NAMESPACE}/Cancel"'


def test_what_xml_cannot_carry_is_refused_by_name():
    request = a_request(fees=(a_fee(1, item_name="x\ufffe"),))

    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").encode(a_task(request=request))

    assert [violation.field for violation in refusal.value.violations] == ["medins_list_name"]


def test_what_the_schema_does_not_allow_never_leaves():
    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").encode(a_task(request_id="R<1>"))

    assert "request_id" in {violation.field for violation in refusal.value.violations}


@given(st.text(min_size=1, max_size=100))
def test_whatever_name_the_door_lets_in_reaches_the_basic_system_unchanged(name):
    with suppress(Malformed):
        check_text(json.dumps({"name": name}).encode())
        body = Codec("B").encode(a_task(request=a_request(patient=a_patient(name=name)))).body
        assert etree.fromstring(body)[0][0].findtext(f"{{{BASIC_NAMESPACE}}}psn_name") == name


@pytest.mark.parametrize(("year", "offset_h"), [(1, 14), (9999, -12)])
def test_a_moment_outside_the_calendar_is_refused_not_crashed_on(year, offset_h):
    edge = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, 0 if year == 1 else 23)
    started = edge.replace(tzinfo=timezone(timedelta(hours=offset_h)))
    visit = a_request().visit.model_copy(update={"started_at": started})

    with pytest.raises(InvalidMessage) as refusal:
        Codec("B").encode(a_task(request=a_request(visit=visit)))

    assert [violation.field for violation in refusal.value.violations] == ["begntime"]
