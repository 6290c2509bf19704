"""What leaves for a payer: what its map names and no more, whatever its dialect."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas.settlement
import schemas.visit
from adapters.conversation import SCRIPT, steps_of
from adapters.registry import ADAPTERS, make_adapter
from hub.disclosure import GUARDED, GUARDED_OF_PATIENT, WITHHELD, disclosed, disclosed_notice
from hub.sent import fields_of
from schemas.base import Value
from schemas.codes import ItemLevel, Layer, Sex
from schemas.disclosure import EVERYTHING, FIELDS, OF_AN_INSURER, USUAL, Disclosure
from schemas.payer import EarlierShare, MessageNumbers, Notice, PartySettings
from schemas.settlement import AdjudicatedShare, Diagnosis, Patient
from tests.support.builders import BASIC, CRITICAL
from tests.support.payer_tasks import a_fee, a_patient, a_request, an_insurer_task

INSURER = "ANKANG"
FEES = (
    a_fee(1),
    a_fee(2, level=ItemLevel.SELF_PAID),
    a_fee(3, price="3.33", quantity="3"),
)
NOTHING = Disclosure(
    patient=frozenset(),
    insurance=frozenset(),
    visit=frozenset(),
    diagnoses="none",
    fees="none",
    basic=False,
    earlier="none",
)

NEARLY_NOTHING = Disclosure(
    patient=["name", "id_no", "sex", "birth_date"], insurance=["person_no"], visit=[], earlier="none"
).over(EVERYTHING)
"""What the interface of a basic system can do with, if need be."""


def a_task(**changes):
    request = a_request(
        fees=FEES,
        patient=a_patient(phone="13800138000"),
        diagnoses=(
            Diagnosis(code="E11.900", name="2型糖尿病", main=True),
            Diagnosis(code="F32.900", name="抑郁发作"),
        ),
    )
    earlier = (EarlierShare(BASIC, Layer.BASIC, 3000), EarlierShare(CRITICAL, Layer.CRITICAL_ILLNESS, 500))
    return an_insurer_task(**{"payer": INSURER, "request": request, "earlier": earlier} | changes)


def a_map(**changes):
    return Disclosure(**changes).over(OF_AN_INSURER)


def test_an_insurer_is_usually_told_nobodys_phone_card_doctor_or_earlier_payer():
    shown = disclosed(a_task(), OF_AN_INSURER)

    request = shown.request
    assert (request.patient.phone, request.insurance.card_no) == (None, None)
    assert (request.visit.department, request.visit.doctor_code) == (None, None)
    assert {share.payer for share in shown.earlier} == {WITHHELD}
    assert [share.amount_fen for share in shown.earlier] == [3000, 500]
    assert (request.patient.name, request.patient.id_no) == (a_task().request.patient.name, a_patient().id_no)


def test_a_basic_system_is_told_what_its_interface_has_a_place_for():
    task = a_task()

    assert disclosed(task, EVERYTHING) == task


def test_what_decides_is_told_to_everybody():
    task, shown = a_task(), disclosed(a_task(), NOTHING)

    for name in ("operation", "request_id", "case_id", "payer", "product", "policy_no", "left_fen", "answer_by"):
        assert getattr(shown, name) == getattr(task, name)
    assert (shown.request.total, shown.request.settlement_no) == (task.request.total, task.request.settlement_no)
    assert shown.request.visit.visit_no == task.request.visit.visit_no


def test_nothing_means_nothing():
    shown = disclosed(a_task(), NOTHING)

    patient = shown.request.patient
    assert (patient.name, patient.id_no, patient.sex, patient.phone) == ("", "", Sex.UNKNOWN, None)
    assert (shown.request.fees, shown.request.diagnoses, shown.basic, shown.earlier) == ((), (), None, ())


def test_only_the_main_diagnosis():
    shown = disclosed(a_task(), a_map(diagnoses="main"))

    assert [one.code for one in shown.request.diagnoses] == ["E11.900"]


def test_only_lines_that_are_not_wholly_self_paid():
    shown = disclosed(a_task(), a_map(fees="in_scope"))

    assert [line.line_no for line in shown.request.fees] == ["L1", "L3"]


def test_totals_by_category_add_up_and_name_no_item():
    shown = disclosed(a_task(), a_map(fees="totals"))

    [line] = shown.request.fees
    assert line.amount == a_task().request.total == round(line.price * 100)
    assert FEES[0].item_name not in str(line)


def test_of_what_the_basic_system_adjudicated_an_insurer_sees_its_own_part():
    shares = (
        AdjudicatedShare(
            layer=Layer.CRITICAL_ILLNESS, payer=CRITICAL, amount=1000, reference="R-1", calculation="a x b"
        ),
        AdjudicatedShare(layer=Layer.COMMERCIAL, payer=INSURER, amount=500, reference="R-2", calculation="c x d"),
    )
    task = a_task()
    shown = disclosed(a_task(request=task.request.model_copy(update={"adjudicated": shares})), OF_AN_INSURER)

    others, own = shown.request.adjudicated
    assert own == shares[1]
    assert (others.payer, others.amount, others.reference, others.calculation) == (WITHHELD, 1000, None, "")


def test_a_notice_is_shown_in_the_same_way():
    message = schemas.visit.AdmissionRegister(
        institution="H44030000001",
        request_no="A-1",
        visit_no="V-1",
        region="440300",
        patient=a_patient(phone="13800138000"),
        insurance=a_request().insurance,
        kind="inpatient",
        medical_type="21",
        admitted_at="2026-03-02T08:00:00+08:00",
        doctor_name="王医生",
        bed="12-3",
    )

    shown = disclosed_notice(Notice("admission.register", "r-1", INSURER, message), OF_AN_INSURER).message

    assert isinstance(shown, schemas.visit.AdmissionRegister)
    assert (shown.patient.phone, shown.doctor_name, shown.bed) == (None, None, None)
    assert (shown.visit_no, shown.patient.name) == ("V-1", message.patient.name)


@given(
    st.builds(
        Disclosure,
        patient=st.frozensets(st.sampled_from(sorted(EVERYTHING.patient or ()))),
        insurance=st.frozensets(st.sampled_from(sorted(EVERYTHING.insurance or ()))),
        visit=st.frozensets(st.sampled_from(sorted(EVERYTHING.visit or ()))),
        diagnoses=st.sampled_from(["all", "main", "none"]),
        fees=st.sampled_from(["all", "in_scope", "totals", "none"]),
        basic=st.booleans(),
        earlier=st.sampled_from(["names", "amounts", "none"]),
    )
)
def test_showing_twice_shows_the_same(told):
    once = disclosed(a_task(), told)

    assert told.fields <= FIELDS
    assert disclosed(once, told) == once
    assert ("13800138000" in repr(once)) == ("patient.phone" in told.fields)
    assert ("抑郁发作" in repr(once)) == (told.diagnoses == "all")


def test_a_map_that_says_little_is_as_usual_otherwise():
    assert a_map(visit=["department"]) == OF_AN_INSURER.model_copy(update={"visit": frozenset({"department"})})
    assert {kind: Disclosure().over(usual) for kind, usual in USUAL.items()} == USUAL


@pytest.mark.parametrize("wrong", [{"patient": ["shoe_size"]}, {"fees": "some"}, {"doctor": True}])
def test_a_map_with_unknown_names_is_none(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Disclosure(**wrong)


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_what_adapters_need_has_a_name_and_is_usually_told(name):
    needs = ADAPTERS[name].capabilities.needs
    kind = "basic" if name.startswith("basic.") else "insurer"

    assert needs <= FIELDS
    assert needs <= USUAL[kind].fields, "parties of this dialect need a map of their own in every rule book"


OPTIONS = {"basic.national": {"fee_classes": "yes", "dept_code": "A03", "doctor_code": "D360100000001"}}
CANARIES = ("13800138000", "CANARY-CARD", "CANARY-DOCTOR", "金丝雀科", BASIC, CRITICAL)


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_every_dialect_says_a_bill_without_what_is_usually_withheld(name):
    task = a_task(numbers=MessageNumbers(datetime(2026, 3, 2, 9, 15, tzinfo=UTC), 1))
    request = task.request.model_copy(
        update={
            "insurance": task.request.insurance.model_copy(update={"card_no": "CANARY-CARD"}),
            "visit": task.request.visit.model_copy(update={"doctor_code": "CANARY-DOCTOR", "department": "金丝雀科"}),
        }
    )
    told = NEARLY_NOTHING if name.startswith("basic.") else OF_AN_INSURER
    adapter = make_adapter(PartySettings(INSURER, name, "http://127.0.0.1:1", options=OPTIONS.get(name, {})))

    call = adapter.prepare(disclosed(replace(task, request=request), told))

    said = [*fields_of(call.body), *(field for step in steps(call) for field in fields_of(step))]
    assert len(said) > 20
    assert [(field.path, word) for field in said for word in CANARIES if word in field.value] == []
    adapter.close()


def steps(call):
    """The messages of a conversation."""
    return [step.body.encode() for step in steps_of(call)] if call.content_type == SCRIPT else []


# A new field goes out to everybody unless somebody thinks of it here: it is guarded, or it is no business of minimum
# disclosure since without it there is nothing to decide.
TOLD_TO_EVERYBODY = {
    # settlement
    "schema_version", "institution", "settlement_no", "region", "patient", "insurance", "visit", "diagnoses", "fees",
    "total", "use_account", "answer_by", "adjudicated", "decided_at", "type", "visit_no", "kind", "medical_type",
    "started_at", "ended_at", "id_type", "code", "name", "main", "line_no", "item_code", "item_name", "category",
    "level", "price", "quantity", "amount", "occurred_on",
    # undo and visits
    "cancel_no", "reverse_no", "reason", "request_no", "admitted_at", "accident", "batch_no", "lines", "line_nos",
    "local_code", "local_name", "refunds", "discharged_at", "way", "died_on",
}  # fmt: skip
MESSAGES = (
    schemas.settlement.SettleRequest,
    schemas.settlement.AdjudicationUpload,
    schemas.settlement.CancelRequest,
    schemas.settlement.ReverseRequest,
    schemas.settlement.Insurance,
    schemas.settlement.Visit,
    schemas.settlement.Diagnosis,
    schemas.settlement.FeeLine,
    schemas.visit.AdmissionRegister,
    schemas.visit.AdmissionChange,
    schemas.visit.AdmissionCancel,
    schemas.visit.UploadedLine,
    schemas.visit.FeesUpload,
    schemas.visit.FeesCancel,
    schemas.visit.DischargeRegister,
    schemas.visit.DischargeCancel,
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: one.__name__)
def test_every_field_of_a_message_is_guarded_or_told_to_everybody(message: type[Value]):
    assert set(message.model_fields) <= GUARDED.keys() | TOLD_TO_EVERYBODY
    assert set(Patient.model_fields) == (GUARDED_OF_PATIENT.keys() & set(Patient.model_fields)) | {"id_type"}
