"""What the hub says to a system of the China Life type: tasks and notices as inner XML, one text per call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from adapters.insurer.chinalife.dialect import SUB_CODES, Dialect
from adapters.insurer.wording import CHINA, china_time, day
from adapters.string_service import Row, xml_block, xml_fields
from schemas.codes import FeeCategory, IdentityType, InsuranceType, ItemLevel, Layer
from schemas.errors import IllegalTransition, InvalidMessage, Violation
from schemas.master import EnrolmentImport, EnrolmentRow, PopulationImport, PopulationRow
from schemas.money import yuan_of
from schemas.payer import MessageNumbers, Notice, PayerTask
from schemas.settlement import Diagnosis, FeeLine, Insurance, Patient, SettlementRequest
from schemas.visit import AdmissionFacts, AdmissionRegister, FeesUpload, UploadedLine

_CHINESE = frozenset({FeeCategory.HERBAL_PIECES, FeeCategory.PATENT_CHINESE_DRUG})
_WESTERN = frozenset({FeeCategory.WESTERN_DRUG})
_DRUGS = _WESTERN | _CHINESE
_FACILITIES = frozenset({FeeCategory.BED, FeeCategory.MATERIALS})
_SYSTEM_TYPES = {
    InsuranceType.URBAN_RESIDENT: "1",
    InsuranceType.NRCMS: "2",
    InsuranceType.RESIDENT: "3",
    InsuranceType.RESIDENT_CRITICAL_ILLNESS: "3",
    InsuranceType.OTHER: "6",
    InsuranceType.LONG_TERM_CARE: "6",
}
"""outside_system_type; every other scheme is one of employees."""
_EMPLOYEE = "4"
_SELF_PAY = {ItemLevel.FULL: "0", ItemLevel.SELF_PAID: "1"}
HOSPITAL_IS_PAID = "1"


@dataclass(frozen=True, slots=True)
class Package:
    """What the head says of one message: `number` of `count` packages, `data` of `total` records."""

    bus_code: str
    group_id: str
    number: int = 1
    count: int = 1
    data: int = 1
    total: int = 1


@dataclass(frozen=True, slots=True)
class Bill:
    """A settlement as 100013 and 100018 tell it; `own_fen` only where it is adjudicated already."""

    request: SettlementRequest
    settlement_number: str
    fund_fen: int | None = None
    in_scope_fen: int | None = None
    deductible_fen: int | None = None
    first_self_pay_fen: int = 0
    others_fen: int = 0
    own_fen: int | None = None
    left_fen: int | None = None


def group_id(numbers: MessageNumbers | None) -> str:
    """yyyyMMddHHmmss and three digits, the same in every repeat; answers are matched by it."""
    if numbers is None:
        raise IllegalTransition("a request without its message numbers")
    return f"{numbers.at.astimezone(CHINA):%Y%m%d%H%M%S}{numbers.first % 1000:03d}"


def bill_of_task(task: PayerTask) -> Bill:
    """What the insurer is to adjudicate: its own part is left open."""
    basic = task.basic
    return Bill(
        request=task.request,
        settlement_number=task.request_id,
        fund_fen=basic.fund_fen if basic else None,
        in_scope_fen=basic.in_scope_fen if basic else None,
        deductible_fen=basic.deductible_fen if basic else None,
        first_self_pay_fen=basic.first_self_pay_fen if basic else 0,
        others_fen=sum(share.amount_fen for share in task.earlier if share.layer is not Layer.BASIC),
        left_fen=task.left_fen,
    )


def bill_of_record(notice: Notice, request: SettlementRequest) -> Bill:
    """What the basic system has adjudicated already, the insurer's part included."""
    shares = request.adjudicated
    basic = next((share for share in shares if share.layer is Layer.BASIC), None)
    figures = basic.figures if basic is not None else None
    own = [share for share in shares if share.payer == notice.payer and share.product in (None, notice.product or None)]
    rest = [share for share in shares if share.layer is not Layer.BASIC and share not in own]
    if not own:
        blamed = Violation("adjudicated", "adjudicated.payer", "name this payer's own part")
        raise InvalidMessage("nothing to record for this payer", blamed, party=notice.payer)
    return Bill(
        request=request,
        settlement_number=notice.request_id,
        fund_fen=basic.amount if basic else None,
        in_scope_fen=figures.in_scope if figures else None,
        deductible_fen=figures.deductible if figures else None,
        first_self_pay_fen=figures.first_self_pay if figures else 0,
        others_fen=sum(share.amount for share in rest),
        own_fen=sum(share.amount for share in own),
    )


@dataclass(frozen=True, slots=True)
class Sender:
    """What a head says of the sender."""

    institution: str = ""
    region: str = ""
    system_type: str = ""
    year: str = ""


def message(dialect: Dialect, package: Package, sender: Sender, body: str) -> str:
    """The inner XML of one call."""
    head = {
        "standard_version_code": dialect.version,
        "group_id": package.group_id,
        "bus_code": package.bus_code,
        "bus_sub_code": SUB_CODES[package.bus_code],
        "bus_type": HOSPITAL_IS_PAID,
        "total_count": str(package.total),
        "total_packge": str(package.count),
        "package_id": str(package.number),
        "data_count": str(package.data),
        "area_code": sender.region or dialect.region,
        "outside_system_code": dialect.system_code,
        "outside_system_type": sender.system_type,
        "ding_hosp_code": sender.institution,
        "option_person_code": dialect.operator,
        "insured_year": sender.year,
    }
    return xml_block("root", [xml_block("head", [xml_fields(head)]), xml_block("body", [body])])


def sender_of(institution: str, region: str, insurance: InsuranceType | None, moment: datetime | date | None) -> Sender:
    """The sender's side of a head."""
    local = moment.astimezone(CHINA) if isinstance(moment, datetime) else moment
    system_type = _SYSTEM_TYPES.get(insurance, _EMPLOYEE) if insurance is not None else ""
    return Sender(institution, region, system_type, str(local.year) if local else "")


def sender_of_bill(request: SettlementRequest) -> Sender:
    """The head of everything about one bill; accumulations are kept by the year of its end."""
    end = request.visit.ended_at or request.visit.started_at
    return sender_of(request.institution, request.region, request.insurance.type, end)


def keys(patient: Patient, insurance: Insurance, visit_no: str) -> dict[str, str | None]:
    """The fields by which the system knows person and visit."""
    return {
        "medical_record_no": insurance.person_no,
        "hospital_registration_sn": visit_no,
        "name": patient.name,
        "sex": patient.sex.value,
        "id_type": _id_type(patient.id_type),
        "id_number": patient.id_no,
    }


def keys_without_person(visit_no: str | None) -> dict[str, str | None]:
    """The same where the message that is passed on names no person."""
    return {
        "medical_record_no": None,
        "hospital_registration_sn": visit_no,
        "name": None,
        "sex": None,
        "id_type": None,
        "id_number": None,
    }


def visit_of(upload: FeesUpload, admission: AdmissionFacts | None) -> tuple[dict[str, str | None], Sender]:
    """Whose lines these are, as far as the payer was told of the admission."""
    if admission is None:
        return keys_without_person(upload.visit_no), sender_of(upload.institution, "", None, None)
    sender = sender_of(upload.institution, admission.region, admission.insurance.type, admission.admitted_at)
    return keys(admission.patient, admission.insurance, upload.visit_no), sender


def registration_of_bill(request: SettlementRequest) -> str:
    """100007 from a settlement: what a one-shot or stepwise claim says of the visit."""
    visit = request.visit
    fields = _registration(
        keys(request.patient, request.insurance, visit.visit_no),
        in_date=visit.started_at,
        diagnoses=request.diagnoses,
        phone=request.patient.phone,
        medical_type=visit.medical_type.value,
        department=visit.department,
        doctor=visit.doctor_code,
    )
    return xml_block("hospitalRegistrationInfo", [xml_fields(fields)])


def registration_of_admission(register: AdmissionRegister) -> str:
    """100007 from an admission."""
    fields = _registration(
        keys(register.patient, register.insurance, register.visit_no),
        in_date=register.admitted_at,
        diagnoses=register.diagnoses,
        phone=register.patient.phone,
        medical_type=register.medical_type.value,
        department=register.department,
        doctor=register.doctor_name or register.doctor_code,
        bed=register.bed,
        accident=register.accident,
    )
    return xml_block("hospitalRegistrationInfo", [xml_fields(fields)])


def _registration(
    common: dict[str, str | None],
    *,
    in_date: datetime,
    diagnoses: Sequence[Diagnosis],
    phone: str | None,
    medical_type: str,
    department: str | None,
    doctor: str | None,
    bed: str | None = None,
    accident: bool = False,
) -> dict[str, str | None]:
    main = next((diagnosis for diagnosis in diagnoses if diagnosis.main), None)
    others = [diagnosis.code for diagnosis in diagnoses if not diagnosis.main]
    return common | {
        "in_date": china_time(in_date, "in_date"),
        "baby_name": None,
        "phone": None,
        "mobilephone": phone,
        "accident_reason": "1" if accident else None,
        "in_hospital_style": None,
        "basic_medical_type": medical_type,
        "bed_number": bed,
        "section_office": department,
        "initial_diagnosis": main.name if main else None,
        "complication": None,
        "main_diagnosis_code": main.code if main else None,
        "other_diagnosis_code": ",".join(others) or None,
        "master_doctor": doctor,
        "memo": None,
    }


_LINE = Row(
    "hospitalFeeInfo",
    "his_fee_detail_code",
    "three_catalog_source",
    "yb_three_catalog_category",
    "yb_three_catalog_type",
    "yb_three_catalog_code",
    "yb_three_catalog_name",
    "self_expense_ratio",
    "yy_three_catalog_code",
    "yy_three_catalog_name",
    "zy_quantity",
    "quantity",
    "price",
    "total_amount",
    "whether_compliant",
    "order_executed_date",
)


def fee_line(line: FeeLine | UploadedLine, code: str) -> str:
    """One fee line; `code` is its number, which no other line of the hospital has."""
    own_name = line.local_name if isinstance(line, UploadedLine) else None
    return _LINE.write(
        code,
        "1",
        _catalogue(line.category),
        line.category.value,
        line.item_code,
        line.item_name,
        _SELF_PAY.get(line.level, ""),
        line.local_code or line.item_code,
        own_name or line.item_name,
        "",
        format(line.quantity, "f"),
        format(line.price, "f"),
        yuan_of(line.amount),
        "0" if line.level is ItemLevel.SELF_PAID else "1",
        day(line.occurred_on),
    )


def fee_details(common: dict[str, str | None], lines: Iterable[str]) -> str:
    """The body of one 100020 package."""
    return xml_block("hospitalFeeDetailInfo", [xml_fields(common), *lines])


def lines_of_bill(request: SettlementRequest) -> list[str]:
    """The fee lines of a bill, numbered by the hospital's own settlement number: a visit may have several bills."""
    return [fee_line(line, f"{request.settlement_no}-{line.line_no}") for line in request.fees]


def lines_of_upload(upload: FeesUpload) -> list[str]:
    """The fee lines of an upload, numbered within their visit."""
    return [fee_line(line, f"{upload.visit_no}-{line.line_no}") for line in upload.lines]


def compensation(bill: Bill) -> dict[str, str | None]:
    """The fields of 100013, after the common ones; what the hub does not know is left blank."""
    request = bill.request
    main = next(diagnosis for diagnosis in request.diagnoses if diagnosis.main)
    partly = _level(request, ItemLevel.PARTLY)
    own_part = min(bill.first_self_pay_fen, partly)
    return {
        "settlement_number": bill.settlement_number,
        "leave_state": None,
        "referral_ratio": None,
        "leave_hospital_style": None,
        "leave_date": china_time(request.visit.ended_at or request.visit.started_at, "leave_date"),
        "death_time": None,
        "leave_disease_code": main.code,
        "total_payment": yuan_of(request.total),
        "jialei_payment": yuan_of(_level(request, ItemLevel.FULL)),
        "yilei_baoxiao": yuan_of(partly - own_part),
        "yilei_payment": yuan_of(own_part),
        "binglei_yibao": yuan_of(0),
        "binglei_payment": yuan_of(_level(request, ItemLevel.SELF_PAID)),
        "zy_payment": yuan_of(_categories(request, _CHINESE)),
        "xy_payment": yuan_of(_categories(request, _WESTERN)),
        "yb_start_pay_line": _yuan(bill.deductible_fen),
        "fit_into_yb_amount": _yuan(bill.in_scope_fen),
        "yb_compensation": _yuan(bill.fund_fen),
        "yb_year_compensation": None,
        "third_party_compensation": yuan_of(bill.others_fen),
        "year_third_party_compensation": None,
        "db_compensation": _yuan(bill.own_fen),
        "db_year_compensation": None,
        # Spare fields: the hospital's own number, since the field for it carries ours, which answers repeat; and the
        # most that may be paid, which nothing else in the message says where the personal account paid too.
        "arg1": request.settlement_no,
        "arg2": _yuan(bill.left_fen),
    }


def one_shot(bill: Bill) -> str:
    """The body of 100018: registration, fees and compensation."""
    common = keys(bill.request.patient, bill.request.insurance, bill.request.visit.visit_no)
    parts = [
        registration_of_bill(bill.request),
        *lines_of_bill(bill.request),
        xml_block("compensationInfo", [xml_fields(common | compensation(bill))]),
    ]
    return xml_block("hospitalFeeSettlementInfo", parts)


def compensation_alone(bill: Bill) -> str:
    """The body of 100013."""
    common = keys(bill.request.patient, bill.request.insurance, bill.request.visit.visit_no)
    return xml_block("hospitalCompensationInfo", [xml_fields(common | compensation(bill))])


def cancel(common: dict[str, str | None], reference: str, settlement_number: str) -> str:
    """The body of 100014; `reference` is contract and case as `reference_of` joined them."""
    contract, _, case = reference.partition(":")
    fields = {"contract_number": contract, "case_number": case, "settlement_number": settlement_number}
    return xml_block("hospitalCompensationCancelInfo", [xml_fields(common | fields)])


def query(common: dict[str, str | None], settlement_number: str) -> str:
    """The body of 100015. The settlement asked about stands in a spare field: the case number is not known yet."""
    fields = {"case_number": None, "arg1": settlement_number}
    return xml_block("compensationSearchInfo", [xml_fields(common | fields)])


def persons(upload: PopulationImport | EnrolmentImport) -> list[str]:
    """The bodies' parts of 100005, one per person."""
    return [xml_block("insurantInfo", [xml_fields(_person(row))]) for row in upload.rows]


def _person(row: PopulationRow | EnrolmentRow) -> dict[str, str | None]:
    fields: dict[str, str | None] = {
        "medical_record_no": None,
        "name": row.name,
        "sex": None,
        "id_type": _id_type(row.id_type),
        "id_number": row.id_no,
        "birthday": None,
        "personal_attributes": None,
        "insured_property": None,
        "insured_property_changetime": day(row.valid_from),
        "area_code": row.region,
        "insured_year": str(row.valid_from.year),
        "arg1": None,
        "arg2": None,
    }
    if isinstance(row, EnrolmentRow):
        return fields | {"arg1": row.product, "arg2": row.policy_no}
    return fields | {
        "medical_record_no": row.person_no,
        "sex": row.sex.value,
        "birthday": day(row.birth_date),
        "personal_attributes": row.category,
        "insured_property": row.insurance_type.value,
    }


def chunks(lines: Sequence[str], size: int) -> list[Sequence[str]]:
    """Packages of at most `size` lines."""
    return [lines[start : start + size] for start in range(0, len(lines), size)]


def _id_type(kind: IdentityType) -> str:
    # "I" is how the system writes an identity card; for other papers the national code is all there is.
    return "I" if kind is IdentityType.ID_CARD else kind.value


def _catalogue(category: FeeCategory) -> str:
    if category in _DRUGS:
        return "1"
    return "3" if category in _FACILITIES else "2"


def _level(request: SettlementRequest, level: ItemLevel) -> int:
    return sum(line.amount for line in request.fees if line.level is level)


def _categories(request: SettlementRequest, wanted: frozenset[FeeCategory]) -> int:
    return sum(line.amount for line in request.fees if line.category in wanted)


def _yuan(fen: int | None) -> str | None:
    return None if fen is None else yuan_of(fen)
