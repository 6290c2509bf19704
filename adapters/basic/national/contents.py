"""What each transaction says, from a canonical settlement or notice: contents by the field tables, with gaps.

A gap is what only the region knows until it has answered: its number of the visit, of the batch, of the settlement.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from hashlib import blake2b
from typing import Any

from adapters.basic.national.region import Region
from schemas.codes import IdentityType, VisitKind
from schemas.national.fields import CHINA
from schemas.national.transactions import Content
from schemas.settlement import Diagnosis, FeeLine, Insurance, Patient, SettlementRequest
from schemas.visit import AdmissionFacts, DischargeRegister, UploadedLine

MDTRT_ID, BATCH, SETL_ID = "{mdtrt_id}", "{chrg_bchno}", "{setl_id}"
GAPS = {"mdtrt_id": MDTRT_ID, "chrg_bchno": BATCH, "setl_id": SETL_ID}
ALL_LINES = "0000"
SOCIAL_CARD, IDENTITY_CARD = "03", "02"


def short(text: str, size: int = 30) -> str:
    """A number of ours in a field of `size`: as it is where it fits, else a digest that is the same each time."""
    return text if len(text) <= size else blake2b(text.encode(), digest_size=size // 2).hexdigest()


def who(patient: Patient, insurance: Insurance) -> dict[str, str]:
    """By what the person shows who they are."""
    if insurance.card_no:
        return {"mdtrt_cert_type": SOCIAL_CARD, "mdtrt_cert_no": insurance.card_no}
    return {"mdtrt_cert_type": IDENTITY_CARD, "mdtrt_cert_no": patient.id_no}


def person(patient: Patient, insurance: Insurance, at: datetime) -> Content:
    """1101."""
    data = {**who(patient, insurance), "begntime": at, "psn_cert_type": patient.id_type.value, "certno": patient.id_no}
    if insurance.card_no:
        data["card_sn"] = short(insurance.card_no, 32)
    if patient.id_type is not IdentityType.OTHER:
        data["psn_name"] = patient.name
    return {"data": data}


def facts_of(request: SettlementRequest) -> AdmissionFacts:
    """A settlement's visit as a registration."""
    visit = request.visit
    return AdmissionFacts.model_construct(
        institution=request.institution,
        request_no=request.settlement_no,
        visit_no=visit.visit_no,
        region=request.region,
        patient=request.patient,
        insurance=request.insurance,
        kind=visit.kind,
        medical_type=visit.medical_type,
        admitted_at=visit.started_at,
        diagnoses=request.diagnoses,
        department=visit.department,
        doctor_code=visit.doctor_code,
        doctor_name=None,
        bed=None,
        record_no=None,
        accident=False,
    )


class Contents:
    """Contents by the region's switches."""

    def __init__(self, region: Region) -> None:
        self._region = region

    def registration(self, facts: AdmissionFacts) -> Content:
        """2401 of a stay, 2201 of an outpatient visit."""
        common: dict[str, Any] = {
            "psn_no": facts.insurance.person_no,
            "insutype": facts.insurance.type.value,
            "begntime": facts.admitted_at,
            **who(facts.patient, facts.insurance),
            "ipt_otp_no": short(facts.visit_no),
            "atddr_no": self._doctor(facts),
        }
        if facts.kind is not VisitKind.INPATIENT:
            outpatient = {
                "dr_name": self._doctor_name(facts),
                "dept_code": self._department_code(facts),
                "dept_name": facts.department or self._department_code(facts),
                "caty": self._region.texts["caty"] or self._department_code(facts)[:10],
            }
            return {"data": {**common, **outpatient}}
        main = main_of(facts.diagnoses)
        stay = {
            "med_type": facts.medical_type.value,
            "chfpdr_name": self._doctor_name(facts),
            "adm_diag_dscr": main.name if main else None,
            "adm_dept_codg": self._department_code(facts),
            "adm_dept_name": facts.department or self._department_code(facts),
            "adm_bed": facts.bed or self._region.texts["bed"],
            "medrcdno": short(facts.record_no) if facts.record_no else None,
            "dscg_maindiag_code": main.code if main else None,
            "dscg_maindiag_name": main.name if main else None,
            "tel": facts.patient.phone,
            "ttp_resp": "1" if facts.accident else "0",
        }
        return {"mdtrtinfo": {**common, **stay}, "diseinfo": self.diseases(facts.diagnoses, facts)}

    def change(self, facts: AdmissionFacts) -> Content:
        """2403."""
        stay = self.registration(facts)
        info = dict(stay["mdtrtinfo"])
        return {"adminfo": {"mdtrt_id": MDTRT_ID, **info}, "diseinfo": stay["diseinfo"]}

    def encounter(self, facts: AdmissionFacts) -> Content:
        """2203."""
        main = main_of(facts.diagnoses)
        info = {
            "mdtrt_id": MDTRT_ID,
            "psn_no": facts.insurance.person_no,
            "med_type": facts.medical_type.value,
            "begntime": facts.admitted_at,
            "dise_codg": main.code if main else None,
            "dise_name": main.name if main else None,
            "ttp_resp": "1" if facts.accident else "0",
        }
        return {"mdtrtinfo": info, "diseinfo": self.diseases(facts.diagnoses, facts)}

    def diseases(self, diagnoses: Sequence[Diagnosis], facts: AdmissionFacts) -> list[dict[str, Any]]:
        """`diseinfo`."""
        return [
            {
                "diag_type": "1",
                "diag_srt_no": number,
                "diag_code": one.code,
                "diag_name": one.name,
                "diag_dept": facts.department or self._department_code(facts),
                "dise_dor_no": self._doctor(facts),
                "dise_dor_name": self._doctor_name(facts),
                "diag_time": facts.admitted_at,
                "vali_flag": "1",
                "maindiag_flag": "1" if one.main else "0",
            }
            for number, one in enumerate(diagnoses, 1)
        ]

    def fees(self, facts: AdmissionFacts, lines: Sequence[FeeLine | UploadedLine], batch: str) -> Content:
        """One chunk of 2204 or 2301."""
        return {"feedetail": [self._line(facts, line, batch) for line in lines]}

    def _line(self, facts: AdmissionFacts, line: FeeLine | UploadedLine, batch: str) -> dict[str, Any]:
        written = self._item(line, facts.admitted_at) | {
            "mdtrt_id": MDTRT_ID,
            "psn_no": facts.insurance.person_no,
            "chrg_bchno": batch,
            "bilg_dept_codg": self._department_code(facts),
            "bilg_dept_name": facts.department or self._department_code(facts),
            "bilg_dr_codg": self._doctor(facts),
            "bilg_dr_name": self._doctor_name(facts),
            "hosp_appr_flag": "0",
        }
        if isinstance(line, UploadedLine) and line.refunds is not None:
            written["init_feedetl_sn"] = short(line.refunds)
        return written

    def _item(self, line: FeeLine | UploadedLine, started_at: datetime) -> dict[str, Any]:
        day = line.occurred_on
        written: dict[str, Any] = {
            "feedetl_sn": short(line.line_no),
            "rx_circ_flag": "0",
            "fee_ocur_time": datetime.combine(day, time(), CHINA) if day else started_at,
            "med_list_codg": line.item_code,
            "medins_list_codg": line.local_code or line.item_code,
            "medins_list_name": line.item_name,
            "det_item_fee_sumamt": line.amount,
            "cnt": line.quantity,
            "pric": line.price,
        }
        if self._region.yes("fee_classes"):
            written |= {"med_chrgitm_type": line.category.value, "chrgitm_lv": line.level.value}
        return written

    def discharge(self, facts: AdmissionFacts, ended_at: datetime, told: DischargeRegister | None = None) -> Content:
        """2402."""
        info = {
            "mdtrt_id": MDTRT_ID,
            "psn_no": facts.insurance.person_no,
            "insutype": facts.insurance.type.value,
            "endtime": ended_at,
            "dscg_dept_code": self._department_code(facts),
            "dscg_dept_name": (told and told.department) or facts.department or self._department_code(facts),
            "dscg_bed": told.bed if told else None,
            "dscg_way": told.way.value if told else "1",
            "die_date": told.died_on if told else None,
        }
        return {"dscginfo": info, "diseinfo": self.diseases(told.diagnoses if told else facts.diagnoses, facts)}

    def settlement(self, request: SettlementRequest, batch: str) -> Content:
        """2206, 2207, 2303, 2304."""
        data = {
            "psn_no": request.insurance.person_no,
            **who(request.patient, request.insurance),
            "med_type": request.visit.medical_type.value,
            "medfee_sumamt": request.total,
            "psn_setlway": self._region.texts["psn_setlway"],
            "mdtrt_id": MDTRT_ID,
            "insutype": request.insurance.type.value,
            "acct_used_flag": "1" if request.use_account else "0",
            "order_no": short(request.settlement_no),
        }
        if request.visit.kind is VisitKind.OUTPATIENT:
            data["chrg_bchno"] = batch
        return {"data": data}

    def pharmacy(self, request: SettlementRequest) -> Content:
        """2101, 2102."""
        main = main_of(request.diagnoses)
        info = {
            "psn_no": request.insurance.person_no,
            **who(request.patient, request.insurance),
            "begntime": request.visit.started_at,
            "medfee_sumamt": request.total,
            "insutype": request.insurance.type.value,
            "dise_codg": main.code if main else None,
            "dise_name": main.name if main else None,
            "acct_used_flag": "1" if request.use_account else "0",
            "med_type": request.visit.medical_type.value,
            "ipt_otp_no": short(request.visit.visit_no),
            "order_no": short(request.settlement_no),
        }
        return {"druginfo": info, "drugdetail": [self._item(line, request.visit.started_at) for line in request.fees]}

    def _doctor(self, facts: AdmissionFacts) -> str:
        return short(facts.doctor_code) if facts.doctor_code else self._region.texts["doctor_code"]

    def _doctor_name(self, facts: AdmissionFacts) -> str:
        return (facts.doctor_name or self._doctor(facts))[:50]

    def _department_code(self, facts: AdmissionFacts) -> str:
        return self._region.texts["dept_code"] or (facts.department or "")[:30]


def main_of(diagnoses: Sequence[Diagnosis]) -> Diagnosis | None:
    """The main diagnosis, if one is marked."""
    return next((one for one in diagnoses if one.main), None)


def look_for_visit(facts: AdmissionFacts) -> Content:
    """5201: the person's visits of the day on which this one began."""
    day = datetime.combine(facts.admitted_at.astimezone(CHINA).date(), time(), CHINA)
    data = {
        "psn_no": facts.insurance.person_no,
        "begntime": day,
        "endtime": day + timedelta(days=1, seconds=-1),
        "med_type": facts.medical_type.value,
        "ipt_otp_no": short(facts.visit_no),
    }
    return {"data": data}
