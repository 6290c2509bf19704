"""The hub's own SOAP service: its names, and what a fault carries. `schemas/wsdl_export.py` writes its description.

Elements have the names of the canonical JSON; a list is its element repeated. What differs is how a value is written:
amounts, prices and quantities are decimals, flags are `true` and `false`.
"""

from __future__ import annotations

from schemas.base import Value
from schemas.transactions import Transaction

SERVICE_NAMESPACE = "urn:settlement-hub:service:v1"
SERVICE = "SettlementHub"
RESPONSE = "Response"
FAULT = "HubFault"
MESSAGE_ID = "MessageId"
"""The header block with the sender's own id of the message."""

_T = Transaction
OPERATIONS: dict[Transaction, str] = {
    _T.ADMISSION_REGISTER: "RegisterAdmission",
    _T.ADMISSION_CHANGE: "ChangeAdmission",
    _T.ADMISSION_CANCEL: "CancelAdmission",
    _T.FEES_UPLOAD: "UploadFees",
    _T.FEES_CANCEL: "CancelFees",
    _T.DISCHARGE_REGISTER: "RegisterDischarge",
    _T.DISCHARGE_CANCEL: "CancelDischarge",
    _T.FEES_QUERY: "QueryFees",
    _T.TRIAL: "Trial",
    _T.SETTLE: "Settle",
    _T.CANCEL: "CancelSettlement",
    _T.REVERSE: "ReverseSettlement",
    _T.QUERY: "QueryCase",
    _T.ADJUDICATION_UPLOAD: "UploadAdjudication",
    _T.IDENTITY_CONFIRM: "ConfirmIdentity",
    _T.CASE_CHECK: "CheckCases",
    _T.FEES_SETTLE: "SettleFees",
    _T.FEES_SETTLE_CANCEL: "CancelSettleFees",
    _T.PAYMENT_CONFIRM: "ConfirmPayment",
    _T.STATEMENT_UPLOAD: "UploadStatement",
    _T.MAPPING_UPLOAD: "UploadMapping",
    _T.CATALOGUE_UPLOAD: "UploadCatalogue",
    _T.DISEASE_UPLOAD: "UploadDiseases",
    _T.INSTITUTION_UPLOAD: "UploadInstitutions",
    _T.STAFF_UPLOAD: "UploadStaff",
    _T.POPULATION_IMPORT: "ImportPopulation",
    _T.ENROLMENT_IMPORT: "ImportEnrolment",
    _T.BLACKLIST_IMPORT: "ImportBlacklist",
}
"""What each transaction that comes by SOAP is called there, in the order of the service description."""


class FaultViolation(Value):
    """One thing wrong with the message: where, such as `fees[2].amount` counted from 0, and what to do about it."""

    field: str
    code: str
    remedy: str
    remedy_zh: str


class HubFault(Value):
    """Why the hub refused the message. Programs decide by `code`; people read the rest."""

    code: str
    message_zh: str
    message_en: str
    case_id: str | None = None
    violations: tuple[FaultViolation, ...] = ()
