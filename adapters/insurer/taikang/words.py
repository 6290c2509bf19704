"""The records of the calls: who, where, what for, how much, by the names of this dialect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from adapters.insurer.taikang.dialect import Dialect
from adapters.insurer.taikang.package import money, number
from adapters.insurer.wording import CHINA
from schemas.codes import FeeCategory, IdentityType, InsuranceType, Layer, Sex, VisitKind
from schemas.errors import InvalidMessage, Violation
from schemas.identity import birth_date_of
from schemas.money import yuan_of
from schemas.payer import BasicResult, PayerTask
from schemas.settlement import Diagnosis, FeeLine, Patient, SettlementRequest
from schemas.visit import AdmissionFacts, UploadedLine

Record = dict[str, Any]
_DRUGS = frozenset({FeeCategory.WESTERN_DRUG, FeeCategory.HERBAL_PIECES, FeeCategory.PATENT_CHINESE_DRUG})
_FACILITIES = frozenset({FeeCategory.BED, FeeCategory.GENERAL_CLINIC, FeeCategory.REGISTRATION})
_CATEGORY_NAMES = {
    FeeCategory.BED: "床位费",
    FeeCategory.CONSULTATION: "诊察费",
    FeeCategory.EXAMINATION: "检查费",
    FeeCategory.LABORATORY: "化验费",
    FeeCategory.TREATMENT: "治疗费",
    FeeCategory.OPERATION: "手术费",
    FeeCategory.NURSING: "护理费",
    FeeCategory.MATERIALS: "卫生材料费",
    FeeCategory.WESTERN_DRUG: "西药费",
    FeeCategory.HERBAL_PIECES: "中药饮片费",
    FeeCategory.PATENT_CHINESE_DRUG: "中成药费",
    FeeCategory.GENERAL_CLINIC: "一般诊疗费",
    FeeCategory.REGISTRATION: "挂号费",
    FeeCategory.OTHER: "其他费",
}
_CRITICAL_FUNDS = ("390200", "330100")
_NOBODY = InsuranceType.OTHER


def moment(value: datetime | None) -> str:
    """yyyyMMddHHmmss in China Standard Time; empty for None, InvalidMessage outside the calendar."""
    if value is None:
        return ""
    try:
        return f"{value.astimezone(CHINA):%Y%m%d%H%M%S}"
    except OverflowError:
        raise InvalidMessage("outside the calendar", Violation("moment", "moment", "send the real moment")) from None


def day(value: date | None) -> str:
    """yyyyMMdd."""
    return f"{value:%Y%m%d}" if value is not None else ""


def intermediary(scheme: InsuranceType | None) -> tuple[str, str]:
    """Whose basic insurance stands between: code and name."""
    if scheme is None:
        return "4", "自费"
    if scheme is InsuranceType.NRCMS:
        return "3", "新农合"
    if scheme is _NOBODY:
        return "6", "其他"
    return "1", "市医保"


def person(patient: Patient) -> Record:
    """Who it is. Of an identity card the birthday is in the number."""
    born = patient.birth_date
    if born is None and patient.id_type is IdentityType.ID_CARD:
        born = birth_date_of(patient.id_no)
    return {
        "credentialType": patient.id_type.value,
        "credentialNum": patient.id_no,
        "name": patient.name,
        "gender": patient.sex.value if patient.sex in (Sex.MALE, Sex.FEMALE) else "9",
        "birthday": day(born),
    }


def identity(dialect: Dialect, task: PayerTask) -> Record:
    """S200: does this person hold a policy with you?"""
    return {
        **person(task.request.patient),
        "commercialBillNum": task.policy_no or "",
        "treatType": kind_code(task.request.visit.kind),
        "queryDate": "",
        "professionalCode": dialect.insurer_code,
        "professionalName": dialect.insurer_name,
    }


def visit_file(dialect: Dialect, medical_no: str, request: SettlementRequest) -> Record:
    """S210 of a settlement."""
    visit = request.visit
    facts = _file_head(dialect, medical_no, visit.kind, visit.started_at, request.diagnoses)
    facts |= {"treatDeptName": visit.department, "inHosDoctorCode": visit.doctor_code}
    return {**facts, **person(request.patient), "linkmanMobile": request.patient.phone, **_by(dialect)}


def admission_file(dialect: Dialect, medical_no: str, admission: AdmissionFacts) -> Record:
    """S210 and S230 of a registration."""
    facts = _file_head(dialect, medical_no, admission.kind, admission.admitted_at, admission.diagnoses)
    facts |= {
        "treatDeptName": admission.department,
        "bunkId": admission.bed,
        "inHospitalNum": admission.record_no,
        "inHosDoctorCode": admission.doctor_code,
        "inHosDoctorName": admission.doctor_name,
    }
    return {**facts, **person(admission.patient), "linkmanMobile": admission.patient.phone, **_by(dialect)}


def fee_line(dialect: Dialect, medical_no: str, batch: str, line: FeeLine | UploadedLine, taken_on: str) -> Record:
    """One row of S250; a refund has a minus before quantity and amount."""
    drug, facility = line.category in _DRUGS, line.category in _FACILITIES
    kind = "1" if drug else "3" if facility else "4" if line.category is FeeCategory.MATERIALS else "2"
    local = line if isinstance(line, UploadedLine) else None
    return {
        "medicalNum": medical_no,
        "listCat": kind,
        "hospitalItemCatCode": line.category.value,
        "hospitalItemCatName": _CATEGORY_NAMES[line.category],
        "medicalItemCatCode": line.category.value,
        "platformItemCat": line.category.value,
        "feesGrade": line.level.value.lstrip("0"),
        "recipeNum": batch,
        "recipeSerialNum": line.line_no,
        "recipeDate": f"{day(line.occurred_on)}000000" if line.occurred_on else taken_on,
        "relationNum": local.refunds if local else None,
        "hospitalChargeCode": (local.local_code if local else None) or line.item_code,
        "hospitalChargeName": (local.local_name if local else None) or line.item_name,
        "medicareFeeitemCode": line.item_code,
        "medicareFeeitemName": line.item_name,
        "price": number(line.price),
        "quantity": number(Decimal(line.quantity)),
        "money": money(line.amount),
        **_by(dialect),
    }


def settlement(dialect: Dialect, medical_no: str, task: PayerTask, settled_at: str, *, final: bool) -> Record:
    """S291, and S290 without the numbers of a settlement."""
    request, visit = task.request, task.request.visit
    inpatient = visit.kind is VisitKind.INPATIENT
    stay_days = max(1, (visit.ended_at - visit.started_at).days) if inpatient and visit.ended_at else 0
    return {
        "medicalNum": medical_no,
        "billNum": request.settlement_no if final else "",
        "businessSerialNum": task.request_id if final else "",
        "medicalType": kind_code(visit.kind),
        "settleDate": settled_at,
        "dischDate": moment(visit.ended_at),
        "hospitalDay": stay_days,
        "dischClinicalDiagnosis": _main(request.diagnoses),
        "dischDiagnosisList": _diagnoses(request.diagnoses),
        "areaCode": request.region,
        "medicalInsurance": request.insurance.type.value,
        "isMedicalInsuranceSettlement": "1" if task.basic else "0",
        "isPaidByDiagnosis": "0",
        **{name: money(fen) for name, fen in amounts(task).items()},
        "medFeeList": _basic_list(task.basic),
        "invoiceFeeList": _invoice(request.fees),
        **_by(dialect),
    }


def amounts(task: PayerTask) -> dict[str, int]:
    """Whole fen by field. sumMoney = funds + account + earlier insurers + hospital's part + cash, to the fen."""
    basic = task.basic
    funds = dict(basic.funds) if basic else {}
    civil = funds.get("320100", 0)
    critical = sum(funds.get(kind, 0) for kind in _CRITICAL_FUNDS)
    subsidy = sum(fen for kind, fen in funds.items() if kind.startswith("6101"))
    other = sum(fen for kind, fen in funds.items() if not _is_named(kind))
    earlier_critical = _earlier(task, Layer.CRITICAL_ILLNESS)
    return {
        "sumMoney": task.request.total,
        "selfCareAmount": basic.first_self_pay_fen if basic else 0,
        "selfAmount": basic.own_pay_fen if basic else 0,
        "inInsureMoney": basic.in_scope_fen if basic else 0,
        "medicareFundCost": basic.fund_fen if basic else 0,
        "medicarePayLine": basic.deductible_fen if basic else 0,
        "hosBearMoney": basic.hospital_fen if basic else 0,
        "priorBurdenMoney": 0,
        "fundMoney": (basic.fund_fen if basic else 0) - civil - critical - subsidy - other,
        "civilServantFundMoney": civil,
        "seriousFundMoney": critical + earlier_critical,
        "accountFundMoney": basic.account_fen if basic else 0,
        "civilSubsidy": subsidy,
        "commercialInsurancePayment": _earlier(task, Layer.SUPPLEMENTARY) + _earlier(task, Layer.COMMERCIAL),
        "otherFundMoney": other,
        "cashMoney": task.left_fen,
    }


def kind_code(kind: VisitKind) -> str:
    """1 outpatient (and pharmacy), 2 inpatient."""
    return "2" if kind is VisitKind.INPATIENT else "1"


def _file_head(
    dialect: Dialect, medical_no: str, kind: VisitKind, begun_at: datetime, diagnoses: Sequence[Diagnosis]
) -> Record:
    return {
        "professionalCode": dialect.insurer_code,
        "professionalName": dialect.insurer_name,
        "medicalNum": medical_no,
        "medicalType": kind_code(kind),
        "treatDate": moment(begun_at),
        "inHosClinicalDiagnosis": _main(diagnoses),
        "inHosDiagnosisList": _diagnoses(diagnoses),
    }


def _by(dialect: Dialect) -> Record:
    return {"updateBy": dialect.operator_name}


def _diagnoses(diagnoses: Sequence[Diagnosis]) -> list[Record]:
    return [
        {"diagnosisCode": one.code, "diagnosisName": one.name, "diagSort": "0" if one.main else "1"}
        for one in diagnoses
    ]


def _main(diagnoses: Sequence[Diagnosis]) -> str:
    return next((one.name for one in diagnoses if one.main), "")


def _is_named(fund: str) -> bool:
    return fund.startswith(("3101", "3901", "6101")) or fund in ("320100", *_CRITICAL_FUNDS)


def _earlier(task: PayerTask, layer: Layer) -> int:
    return sum(share.amount_fen for share in task.earlier if share.layer is layer)


def _basic_list(basic: BasicResult | None) -> list[Record]:
    """The basic system's figures by their national names."""
    if basic is None:
        return []
    named: Mapping[str, int] = {
        "medfee_sumamt": basic.total_fen,
        "fulamt_ownpay_amt": basic.own_pay_fen,
        "overlmt_selfpay": basic.over_limit_fen,
        "preselfpay_amt": basic.first_self_pay_fen,
        "inscp_scp_amt": basic.in_scope_fen,
        "act_pay_dedc": basic.deductible_fen,
        "fund_pay_sumamt": basic.fund_fen,
        "acct_pay": basic.account_fen,
        "psn_cash_pay": basic.cash_fen,
        "hosp_part_amt": basic.hospital_fen,
    }
    return [{"feeName": name, "feeValue": yuan_of(fen)} for name, fen in (*named.items(), *basic.funds)]


def _invoice(fees: Iterable[FeeLine]) -> list[Record]:
    sums: dict[FeeCategory, int] = {}
    for line in fees:
        sums[line.category] = sums.get(line.category, 0) + line.amount
    return [{"feeName": _CATEGORY_NAMES[kind], "feeValue": yuan_of(fen)} for kind, fen in sorted(sums.items())]
