"""2201-2203, 2401-2405: registrations, diagnoses and discharges as the canonical life of a visit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from hub.gateway.national.calls import Call, Reply, Services, wrong
from hub.gateway.national.numbers import short_number, uuid_of
from hub.gateway.national.persons import insurance_of, person_of
from schemas.codes import MEDICAL_TYPES_BY_VISIT, MedicalType, VisitKind
from schemas.national.fields import Record
from schemas.transactions import Transaction
from schemas.visit import AdmissionRegister, DischargeRegister, StandingLine, VisitAnswer
from store import national, visits

YES = "1"
_GENERAL_OUTPATIENT = MedicalType.OUTPATIENT.value
_REASON = "医疗机构撤销"


@dataclass(frozen=True, slots=True)
class HeldVisit:
    """A visit as the hub holds it, with the lines that stand."""

    visit_id: str
    admission: AdmissionRegister
    discharge: DischargeRegister | None
    lines: tuple[StandingLine, ...]

    @property
    def number(self) -> str:
        """mdtrt_id."""
        return short_number(self.visit_id)


async def held_visit(call: Call, services: Services, facts: Mapping[str, Any]) -> HeldVisit:
    """The visit that `mdtrt_id` means, which must be this institution's and this person's."""
    visit_id = uuid_of(facts["mdtrt_id"])
    bill = None
    if visit_id is not None:
        bill = await services.read(lambda connection: _bill(connection, call.party, visit_id))
    if bill is None:
        raise wrong("mdtrt_id", "national.mdtrt_id", "send the number that the registration gave")
    if bill.admission.insurance.person_no != facts.get("psn_no", bill.admission.insurance.person_no):
        raise wrong("psn_no", "national.psn_no", "send the number of this visit's person")
    return bill


def _bill(connection: Connection, institution: str, visit_id: str) -> HeldVisit | None:
    known = national.visit_by_id(connection, institution, visit_id)
    if known is None:
        return None
    key = (institution, known.visit_no)
    record = visits.read(connection, [key]).get(key)
    if record is None:
        # Cancelled: a repeat of its cancellation still finds its answer at the desk.
        return HeldVisit(visit_id, AdmissionRegister.model_validate(known.admission), None, ())
    if record.visit_id != visit_id:
        return None
    lines = tuple(visits.standing_lines(connection, visit_id))
    return HeldVisit(visit_id, record.admission, record.discharge, lines)


async def bring_visit(
    call: Call, services: Services, transaction: Transaction, visit_no: str, facts: Mapping[str, Any]
) -> VisitAnswer:
    """A canonical message about a visit; the national message's own number is its request number."""
    message = {"institution": call.party, "request_no": call.msgid, "visit_no": visit_no, **facts}
    brought = await services.bring(call, transaction, message)
    return VisitAnswer.model_validate_json(brought.answer or b"")


async def register_outpatient(call: Call, services: Services) -> Reply:
    """2201. The medical type comes with 2203; until then it is a general visit."""
    facts = call.content["data"]
    admission = await _admission(call, services, facts, VisitKind.OUTPATIENT, _GENERAL_OUTPATIENT)
    admission |= {
        "department": facts["dept_name"],
        "doctor_code": facts["atddr_no"],
        "doctor_name": facts["dr_name"],
    }
    answer = await bring_visit(call, services, Transaction.ADMISSION_REGISTER, facts["ipt_otp_no"], admission)
    return Reply({"data": _registered(answer, facts)})


async def register_inpatient(call: Call, services: Services) -> Reply:
    """2401."""
    facts = call.content["mdtrtinfo"]
    admission = await _admission(call, services, facts, VisitKind.INPATIENT, facts["med_type"])
    admission |= _stay(facts, call.content.get("diseinfo", ()))
    answer = await bring_visit(call, services, Transaction.ADMISSION_REGISTER, facts["ipt_otp_no"], admission)
    return Reply({"result": {"mdtrt_id": short_number(answer.visit_id)}})


async def _admission(
    call: Call, services: Services, facts: Mapping[str, Any], kind: VisitKind, medical_type: str
) -> dict[str, Any]:
    person = await person_of(call, services, facts)
    return {
        "region": call.institution.region,
        "patient": person.patient(),
        "insurance": insurance_of(call, person, facts),
        "kind": kind.value,
        "medical_type": checked_medical_type(medical_type, kind),
        "admitted_at": facts["begntime"].isoformat(),
    }


def _stay(facts: Mapping[str, Any], diseases: Sequence[Record]) -> dict[str, Any]:
    main = [{"diag_code": facts["dscg_maindiag_code"], "diag_name": facts["dscg_maindiag_name"], "maindiag_flag": YES}]
    others = [one for one in diseases if one["diag_code"] != facts["dscg_maindiag_code"]]
    stay = {
        "diagnoses": diagnoses([*main, *({**one, "maindiag_flag": "0"} for one in others)]),
        "department": facts["adm_dept_name"],
        "doctor_code": facts["atddr_no"],
        "doctor_name": facts["chfpdr_name"],
        "bed": facts["adm_bed"],
    }
    return stay | ({"record_no": facts["medrcdno"]} if "medrcdno" in facts else {})


def checked_medical_type(code: str, kind: VisitKind) -> str:
    """med_type, which must belong to this kind of visit."""
    if code not in {one.value for one in MEDICAL_TYPES_BY_VISIT[kind]}:
        raise wrong("med_type", "national.med_type", "use a medical type of this kind of visit")
    return code


def diagnoses(diseases: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """diseinfo as canonical diagnoses: void ones left out; where none is marked as the main one, the first is."""
    valid = sorted(
        (one for one in diseases if one.get("vali_flag", YES) == YES), key=lambda one: one.get("diag_srt_no", 0)
    )
    found = [
        {
            "code": one["diag_code"],
            "name": one.get("diag_name", one["diag_code"]),
            "main": one.get("maindiag_flag") == YES,
        }
        for one in valid
    ]
    if found and not any(one["main"] for one in found):
        found[0]["main"] = True
    return found


async def outpatient_diagnoses(call: Call, services: Services) -> Reply:
    """2203: the registration again, with what the doctor found."""
    facts = call.content["mdtrtinfo"]
    bill = await held_visit(call, services, facts)
    found = diagnoses(call.content.get("diseinfo", ()))
    if not found and "dise_codg" in facts:
        found = diagnoses([{"diag_code": facts["dise_codg"], "diag_name": facts.get("dise_name", facts["dise_codg"])}])
    change = {
        "medical_type": checked_medical_type(facts["med_type"], bill.admission.kind),
        "accident": facts.get("ttp_resp") == YES,
    }
    await _change(call, services, bill, change | ({"diagnoses": found} if found else {}))
    return Reply()


async def change_inpatient(call: Call, services: Services) -> Reply:
    """2403: the registration as it should have been."""
    facts = call.content["adminfo"]
    bill = await held_visit(call, services, facts)
    change = _stay(facts, call.content.get("diseinfo", ())) | {
        "medical_type": checked_medical_type(facts["med_type"], bill.admission.kind),
        "admitted_at": facts["begntime"].isoformat(),
    }
    await _change(call, services, bill, change)
    return Reply()


async def _change(call: Call, services: Services, bill: HeldVisit, change: Mapping[str, Any]) -> None:
    before = bill.admission.model_dump(mode="json", exclude_none=True)
    kept = {name: value for name, value in before.items() if name not in ("institution", "request_no", "visit_no")}
    await bring_visit(call, services, Transaction.ADMISSION_CHANGE, bill.admission.visit_no, {**kept, **change})


async def discharge(call: Call, services: Services) -> Reply:
    """2402."""
    facts = call.content["dscginfo"]
    bill = await held_visit(call, services, facts)
    found = diagnoses(call.content.get("diseinfo", ()))
    if not found:
        found = [one.model_dump(mode="json") for one in bill.admission.diagnoses]
    if not found:
        raise wrong("diseinfo", "national.diagnosis", "send the diagnoses")
    message = {
        "discharged_at": facts["endtime"].isoformat(),
        "way": facts["dscg_way"],
        "diagnoses": found,
        "department": facts["dscg_dept_name"],
    }
    message |= {"bed": facts["dscg_bed"]} if "dscg_bed" in facts else {}
    message |= {"died_on": facts["die_date"].isoformat()} if "die_date" in facts else {}
    await bring_visit(call, services, Transaction.DISCHARGE_REGISTER, bill.admission.visit_no, message)
    return Reply()


async def cancel_registration(call: Call, services: Services) -> Reply:
    """2202 and 2404."""
    facts = call.content["data"]
    bill = await held_visit(call, services, facts)
    if facts.get("ipt_otp_no", bill.admission.visit_no) != bill.admission.visit_no:
        raise wrong("ipt_otp_no", "national.ipt_otp_no", "send the number of this visit")
    await _undo(call, services, Transaction.ADMISSION_CANCEL, bill)
    return Reply()


async def cancel_discharge(call: Call, services: Services) -> Reply:
    """2405."""
    bill = await held_visit(call, services, call.content["data"])
    await _undo(call, services, Transaction.DISCHARGE_CANCEL, bill)
    return Reply()


async def _undo(call: Call, services: Services, transaction: Transaction, bill: HeldVisit) -> None:
    await bring_visit(call, services, transaction, bill.admission.visit_no, {"reason": _REASON})


def _registered(answer: VisitAnswer, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "mdtrt_id": short_number(answer.visit_id),
        "psn_no": facts["psn_no"],
        "ipt_otp_no": facts["ipt_otp_no"],
    }
