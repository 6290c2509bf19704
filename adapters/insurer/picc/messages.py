"""What the hub says to a system of the PICC type: tasks and notices as inner XML, one text per call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from adapters.insurer.picc.dialect import ROOTS, Dialect
from adapters.insurer.wording import CHINA, china_time, compliant_fee_fen, day, non_compliant_fee_fen
from adapters.string_service import Row, xml_block, xml_fields
from schemas.codes import InsuranceType, Layer
from schemas.errors import IllegalTransition, InvalidMessage, Violation
from schemas.master import EnrolmentRow, InstitutionRow, PopulationRow
from schemas.money import yuan_of
from schemas.payer import BasicResult, MessageNumbers, Notice, PayerTask
from schemas.settlement import FeeLine, SettlementRequest
from schemas.visit import FeesUpload, UploadedLine

NUMBERS = 64
"""Message numbers of one request: one for the message that counts and one for each package of fee lines."""
_SERIALS = 10_000
_KINDS = {
    InsuranceType.NRCMS: "39",
    InsuranceType.URBAN_RESIDENT: "3D",
    InsuranceType.RESIDENT: "3E",
    InsuranceType.RESIDENT_CRITICAL_ILLNESS: "3E",
    InsuranceType.EMPLOYEE: "32",
    InsuranceType.CIVIL_SERVANT: "32",
    InsuranceType.LARGE_AMOUNT: "32",
    InsuranceType.RETIRED_CADRE: "32",
    InsuranceType.DISABLED_SOLDIER: "32",
    InsuranceType.OLD_RED_ARMY: "32",
    InsuranceType.ENTERPRISE_SUPPLEMENTARY: "32",
}


@dataclass(frozen=True, slots=True)
class Numbering:
    """The numbers of one message: `serial` 0 is the one that counts, 1 and on are packages of fee lines."""

    numbers: MessageNumbers | None
    serial: int = 0

    @property
    def message_id(self) -> str:
        """yyyyMMddHHmmss and four digits."""
        return f"{self._at:%Y%m%d%H%M%S}{self._digits}"

    @property
    def moment(self) -> str:
        return f"{self._at:%Y-%m-%dT%H:%M:%S}"

    def guid(self, region: str, institution: str) -> str:
        """TransRefGUID: region, moment, the last eight characters of the institution's code, serial."""
        return f"{region}-{self._at:%Y%m%d%H%M%S}-{institution[-8:]}-{self._digits}"

    @property
    def _at(self) -> datetime:
        if self.numbers is None:
            raise IllegalTransition("a request without its message numbers")
        return self.numbers.at.astimezone(CHINA)

    @property
    def _digits(self) -> str:
        first = self.numbers.first if self.numbers is not None else 0
        return f"{(first + self.serial) % _SERIALS:04d}"


@dataclass(frozen=True, slots=True)
class Sender:
    """The region and institution that a message speaks for."""

    region: str
    institution: str


@dataclass(frozen=True, slots=True)
class Result:
    """A settlement as H210 tells it; `own_fen` only where it is adjudicated already."""

    request: SettlementRequest
    receipt: str
    policy_no: str | None
    basic: BasicResult
    others_fen: int = 0
    own_fen: int | None = None
    left_fen: int | None = None


def receipt_of(request_id: str) -> str:
    """ReceiptNum: 20 characters of the request id's digest, so that a settlement made anew has another."""
    return blake2b(request_id.encode(), digest_size=10).hexdigest().upper()


def receipt_of_visit(institution: str, visit_no: str) -> str:
    """ReceiptNum of fee lines that come before any settlement of their visit."""
    return receipt_of(f"{institution}/{visit_no}")


def result_of_task(task: PayerTask) -> Result:
    """What the insurer is to adjudicate; InvalidMessage without a basic adjudication."""
    if task.basic is None:
        blamed = Violation("basic", "basic.missing", "settle with basic insurance first")
        raise InvalidMessage("this interface needs the basic adjudication", blamed, party=task.payer)
    others = sum(share.amount_fen for share in task.earlier if share.layer is not Layer.BASIC)
    receipt = receipt_of(task.request_id)
    return Result(task.request, receipt, task.policy_no, task.basic, others, left_fen=task.left_fen)


def result_of_record(notice: Notice, request: SettlementRequest) -> Result:
    """What the basic system has adjudicated already, the insurer's part included."""
    basic = next((share for share in request.adjudicated if share.figures is not None), None)
    own = [
        share
        for share in request.adjudicated
        if share.payer == notice.payer and share.product in (None, notice.product or None)
    ]
    if basic is None or basic.figures is None or not own:
        blamed = Violation("adjudicated", "adjudicated.payer", "give the basic layer and this payer's own part")
        raise InvalidMessage("nothing to record for this payer", blamed, party=notice.payer)
    figures = basic.figures
    known = BasicResult(
        total_fen=request.total,
        own_pay_fen=figures.own_pay,
        over_limit_fen=figures.over_limit,
        first_self_pay_fen=figures.first_self_pay,
        in_scope_fen=figures.in_scope,
        deductible_fen=figures.deductible,
        fund_fen=basic.amount,
        account_fen=figures.account,
        cash_fen=0,
        hospital_fen=figures.hospital,
    )
    rest = sum(share.amount for share in request.adjudicated if share.figures is None and share not in own)
    own_fen = sum(share.amount for share in own)
    return Result(request, receipt_of(notice.request_id), notice.policy_no, known, rest, own_fen)


def message(
    dialect: Dialect, code: str, sender: Sender, numbering: Numbering, body: str, *, records: int = 1, about: str = ""
) -> str:
    """The inner XML of one call; `about` is the MessageId of the message that this one undoes."""
    receiver = dialect.receiver_code or sender.region
    head = {
        "StandardVersionCode": dialect.version,
        "MaxRecord": str(records),
        "TransRefGUID": numbering.guid(sender.region, sender.institution),
        "TransactionCode": code,
        "DefaultCurrencyCode": "01",
        "MessageId": numbering.message_id,
        "CorrelationId": about or numbering.message_id,
        "MessageDateTime": numbering.moment,
        "SenderCode": sender.region,
        "SenderName": dialect.sender_name,
        "SenderAddress": None,
        "ReceiverCode": receiver,
        "ReceiverName": dialect.receiver_name,
        "ReceiverAddress": None,
        "IntermediaryCode": None,
        "IntermediaryName": None,
        "IntermediaryAddress": None,
    }
    return xml_block(ROOTS[code], [xml_block("head", [xml_fields(head)]), xml_block("body", [body])])


def result_body(dialect: Dialect, result: Result, numbering: Numbering) -> str:
    """The body of H210: the person, and the settlement with whatever of it is known."""
    request = result.request
    region = request.region
    guid = numbering.guid(region, request.institution)
    settlement = xml_fields(_settlement(dialect, result) | {"TransRefGUID": guid, "SenderCode": region})
    person = xml_fields(_person(dialect, result))
    return xml_block("StaffInformation", [person]) + xml_block("MedResultList", [xml_block("MedResult", [settlement])])


def _settlement(dialect: Dialect, result: Result) -> dict[str, str | None]:
    request, visit, basic = result.request, result.request.visit, result.basic
    main = next(diagnosis for diagnosis in request.diagnoses if diagnosis.main)
    return {
        "HospitalCode": request.institution,
        "ClinicSerialNum": visit.visit_no,
        "ReceiptNum": result.receipt,
        "MedicalCategory": visit.medical_type.value,
        "InpatientDate": china_time(visit.started_at, "InpatientDate"),
        "InpatientDiagnosisDiseaseCode": main.code,
        "InpatientDiagnosisDiseaseName": main.name,
        "Discharge_date": china_time(visit.ended_at or visit.started_at, "Discharge_date"),
        "DischargeCheifDiagnosis": main.code,
        "DischargeCheifDiagnosisName": main.name,
        "DepartmentName": visit.department,
        "DoctorCode": visit.doctor_code,
        "ClinicNum": visit.visit_no,
        "MedicalPaymentTotalAmount": yuan_of(request.total),
        "PlanFundBySI": yuan_of(basic.fund_fen),
        "BigDiseaseCompenFee": _yuan(result.own_fen),
        "BasicMedTotalFeeAdd": None,
        "StandardTotalFeeAdd": None,
        "PlanFundBySIAdd": None,
        "BigDiseaseCompenFeeAdd": None,
        "FeeField1": yuan_of(compliant_fee_fen(basic)),
        "FeeField2": yuan_of(non_compliant_fee_fen(basic)),
        "FeeField3": dialect.reupload,
        # Reserved fields: what other payers bear, the hospital's own number, the most that may be paid.
        "FeeField4": yuan_of(result.others_fen),
        "DistrictCode": request.region,
        "ReserveField2": request.settlement_no,
        "ReserveField3": _yuan(result.left_fen),
    }


def _person(dialect: Dialect, result: Result) -> dict[str, str | None]:
    patient, insurance = result.request.patient, result.request.insurance
    return {
        "ID": patient.id_no,
        "Name": patient.name,
        "Gender": patient.sex.value,
        "Birthday": day(patient.birth_date),
        "NrcID": insurance.person_no,
        "PersonalID": insurance.person_no,
        "DistrictCode": insurance.region,
        "InsuranceType": dialect.insurance_kind or kind_of(insurance.type),
        "InsurancePolicy": result.policy_no,
        "Telephone": patient.phone,
    }


def kind_of(scheme: InsuranceType) -> str:
    """InsuranceType of this interface; InvalidMessage for a scheme that it has no code for."""
    if scheme not in _KINDS:
        blamed = Violation("insurance.type", "insurance.kind", "set the party's option insurance_kind")
        raise InvalidMessage("this interface has no such insurance kind", blamed)
    return _KINDS[scheme]


@dataclass(frozen=True, slots=True)
class Line:
    """One fee line as H213 carries it, with the signed amount that it adds."""

    xml: str
    fen: int


def rows_of_bill(request: SettlementRequest, receipt: str) -> list[Line]:
    """The lines of a settlement under its own receipt."""
    sender = Sender(request.region, request.institution)
    return [_row(line, sender, request.visit.visit_no, receipt) for line in request.fees]


def rows_of_upload(upload: FeesUpload, region: str) -> list[Line]:
    """The lines of an upload under the receipt of their visit; a refund is a transaction of type -1."""
    receipt = receipt_of_visit(upload.institution, upload.visit_no)
    return [_row(line, Sender(region, upload.institution), upload.visit_no, receipt) for line in upload.lines]


_FEE_LIST = Row(
    "FeeList",
    "HospitalCode",
    "ClinicSerialNum",
    "ReceiptNum",
    "SenderCode",
    "TransactionType",
    "HisCode",
    "HisName",
    "NrcCode",
    "NrcName",
    "PiccCode",
    "PiccName",
    "Charge_date",
    "ListSerialNum",
    "Charge_Catalog_Type",
    "FeeClassification",
    "UnitPrice",
    "Quantity",
    "Amount",
)


def _row(line: FeeLine | UploadedLine, sender: Sender, visit_no: str, receipt: str) -> Line:
    own_name = line.local_name if isinstance(line, UploadedLine) else None
    xml = _FEE_LIST.write(
        sender.institution,
        visit_no,
        receipt,
        sender.region,
        "-1" if line.amount < 0 else "1",
        line.local_code or line.item_code,
        own_name or line.item_name,
        line.item_code,
        line.item_name,
        "",
        "",
        day(line.occurred_on),
        f"{receipt}-{line.line_no}",
        line.level.value,
        line.category.value,
        format(line.price, "f"),
        format(abs(line.quantity), "f"),
        yuan_of(abs(line.amount)),
    )
    return Line(xml, line.amount)


def cancel_body(sender: Sender, visit_no: str, receipt: str) -> str:
    """The body of H214: the three numbers that name one settlement."""
    fields = {
        "HospitalCode": sender.institution,
        "ClinicSerialNum": visit_no,
        "ClinicNum": visit_no,
        "ReceiptNum": receipt,
        "SenderCode": sender.region,
    }
    return xml_fields(fields)


def institution_block(row: InstitutionRow) -> str:
    """One institution of H301."""
    fields = {
        "HospitalCode": row.code,
        "HospitalName": row.name,
        "HospitalGrade": row.level,
        "ValidFlag": "1",
        "ApprovalDate": day(row.valid_from),
        "EndDate": day(row.valid_until),
        "DistrictCode": row.region,
    }
    return xml_block("HospitalInformation", [xml_fields(fields)])


def person_block(dialect: Dialect, row: PopulationRow | EnrolmentRow) -> str:
    """One person of H304."""
    fields: dict[str, str | None] = {
        "PersonCode": None,
        "PersonIDCard": row.id_no,
        "Name": row.name,
        "Sex": None,
        "BirthDate": None,
        "NrcID": None,
        "SubsidyType": None,
        "DistrictCode": row.region,
        "InsuranceType": dialect.insurance_kind,
        "InsurancePolicy": None,
        "InsurPo_BeginDate": day(row.valid_from),
        "InsurPo_EndDate": day(row.valid_until),
    }
    if isinstance(row, EnrolmentRow):
        fields["InsurancePolicy"] = row.policy_no
    else:
        fields |= {"PersonCode": row.person_no, "NrcID": row.person_no, "Sex": row.sex.value}
        fields |= {"BirthDate": day(row.birth_date), "SubsidyType": row.category}
        fields["InsuranceType"] = dialect.insurance_kind or kind_of(row.insurance_type)
    return xml_block("StaffInformation", [xml_fields(fields)])


def packages(rows: Sequence[Line], size: int) -> list[Sequence[Line]]:
    """Packages of at most `size` rows; InvalidMessage when they take more messages than a request has numbers."""
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    if len(parts) >= NUMBERS:
        blamed = Violation("fees", "fees.too_many", "raise the party's option fee_lines_max")
        raise InvalidMessage("more packages than message numbers", blamed)
    return parts


def joined(rows: Iterable[Line]) -> str:
    return "".join(row.xml for row in rows)


def _yuan(fen: int | None) -> str | None:
    return None if fen is None else yuan_of(fen)
