"""The transactions by name: which messages each carries, who may send it, by which channel, and what it takes back.

Every channel dispatches through this table, and `docs/transactions.md` is written from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.answer import CombinedAnswer
from schemas.base import Value
from schemas.clearing import (
    CaseCheck,
    CaseCheckAnswer,
    FeesSettle,
    FeesSettleAnswer,
    FeesSettleCancel,
    FeesSettleCancelAnswer,
    PaymentAnswer,
    PaymentConfirm,
)
from schemas.master import (
    BlacklistImport,
    CatalogueUpload,
    DiseaseUpload,
    EnrolmentImport,
    IdentityAnswer,
    IdentityConfirm,
    InstitutionUpload,
    MappingUpload,
    PopulationImport,
    StaffUpload,
    UploadAnswer,
)
from schemas.payer import ClaimDecision
from schemas.settlement import (
    AdjudicationUpload,
    CancelRequest,
    CaseQuery,
    ReverseRequest,
    SettleRequest,
    TrialRequest,
)
from schemas.statement import Statement, StatementAnswer
from schemas.visit import (
    AdmissionCancel,
    AdmissionChange,
    AdmissionRegister,
    DischargeCancel,
    DischargeRegister,
    FeesAnswer,
    FeesCancel,
    FeesQuery,
    FeesUpload,
    VisitAnswer,
)


class Transaction(StrEnum):
    """Canonical transaction names."""

    TRIAL = "settlement.trial"
    SETTLE = "settlement.settle"
    CANCEL = "settlement.cancel"
    REVERSE = "settlement.reverse"
    QUERY = "case.query"
    CLAIM_ANSWER = "claim.answer"
    ADJUDICATION_UPLOAD = "adjudication.upload"
    ADMISSION_REGISTER = "admission.register"
    ADMISSION_CHANGE = "admission.change"
    ADMISSION_CANCEL = "admission.cancel"
    FEES_UPLOAD = "fees.upload"
    FEES_CANCEL = "fees.cancel"
    FEES_QUERY = "fees.query"
    DISCHARGE_REGISTER = "discharge.register"
    DISCHARGE_CANCEL = "discharge.cancel"
    CASE_CHECK = "case.check"
    FEES_SETTLE = "fees.settle"
    FEES_SETTLE_CANCEL = "fees.settle.cancel"
    PAYMENT_CONFIRM = "payment.confirm"
    STATEMENT_UPLOAD = "statement.upload"
    IDENTITY_CONFIRM = "identity.confirm"
    MAPPING_UPLOAD = "mapping.upload"
    CATALOGUE_UPLOAD = "catalogue.upload"
    DISEASE_UPLOAD = "disease.upload"
    INSTITUTION_UPLOAD = "institution.upload"
    STAFF_UPLOAD = "staff.upload"
    POPULATION_IMPORT = "population.import"
    ENROLMENT_IMPORT = "enrolment.import"
    BLACKLIST_IMPORT = "blacklist.import"


class Group(StrEnum):
    """Who takes a transaction."""

    SETTLEMENT = "settlement"
    VISIT = "visit"
    CLEARING = "clearing"
    STATEMENT = "statement"
    MASTER = "master"
    CLAIM = "claim"


class Sender(StrEnum):
    """Whose message it is."""

    INSTITUTION = "institution"
    BASIC = "basic"
    INSURER = "insurer"


class Channel(StrEnum):
    """By which way a message comes in."""

    AMQP = "amqp"
    HTTP = "http"
    SOAP = "soap"
    NATIONAL = "national"
    STAGING = "staging"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Spec:
    """One transaction. `infnos` are the national numbers that say the same; `source` is the term of the field."""

    group: Group
    message: type[Value]
    answer: type[Value] | None
    source: str
    senders: frozenset[Sender]
    channels: frozenset[Channel]
    undoes: Transaction | None = None
    infnos: tuple[str, ...] = ()
    passed_on: bool = False
    """Payers that want it are told (`Notice`)."""


_HOSPITAL = frozenset({Sender.INSTITUTION})
_EITHER = frozenset({Sender.INSTITUTION, Sender.BASIC})
_ALL_SENDERS = frozenset(Sender)
_INSURER = frozenset({Sender.INSURER, Sender.BASIC})
_DIRECT = frozenset({Channel.AMQP, Channel.HTTP})
_SERVED = _DIRECT | {Channel.SOAP, Channel.STAGING}
_NATIONAL = _SERVED | {Channel.NATIONAL}
_BULK = _DIRECT | {Channel.SOAP, Channel.FILE}
_LATER = frozenset({Channel.FILE})
"""Beside other channels: what needs no answer while the patient waits may come in files."""
T, G = Transaction, Group

SPECS: dict[Transaction, Spec] = {
    T.ADMISSION_REGISTER: Spec(
        G.VISIT, AdmissionRegister, VisitAnswer, "住院登记", _EITHER, _NATIONAL | _LATER, None, ("2401", "2201"), True
    ),
    T.ADMISSION_CHANGE: Spec(
        G.VISIT, AdmissionChange, VisitAnswer, "住院登记变更", _EITHER, _NATIONAL, None, ("2403", "2203"), True
    ),
    T.ADMISSION_CANCEL: Spec(
        G.VISIT,
        AdmissionCancel,
        VisitAnswer,
        "住院登记取消",
        _EITHER,
        _NATIONAL,
        T.ADMISSION_REGISTER,
        ("2404", "2202"),
        True,
    ),
    T.FEES_UPLOAD: Spec(
        G.VISIT, FeesUpload, VisitAnswer, "住院费用明细上传", _EITHER, _NATIONAL | _LATER, None, ("2301", "2204"), True
    ),
    T.FEES_CANCEL: Spec(
        G.VISIT,
        FeesCancel,
        VisitAnswer,
        "住院费用明细上传取消",
        _EITHER,
        _NATIONAL,
        T.FEES_UPLOAD,
        ("2302", "2205"),
        True,
    ),
    T.DISCHARGE_REGISTER: Spec(
        G.VISIT, DischargeRegister, VisitAnswer, "出院登记", _EITHER, _NATIONAL | _LATER, None, ("2402",), True
    ),
    T.DISCHARGE_CANCEL: Spec(
        G.VISIT,
        DischargeCancel,
        VisitAnswer,
        "出院登记取消",
        _EITHER,
        _NATIONAL,
        T.DISCHARGE_REGISTER,
        ("2405",),
        True,
    ),
    T.FEES_QUERY: Spec(G.VISIT, FeesQuery, FeesAnswer, "费用信息查询", _EITHER, _NATIONAL, None, ("5204",)),
    T.TRIAL: Spec(
        G.SETTLEMENT,
        TrialRequest,
        CombinedAnswer,
        "住院补偿试算",
        _EITHER,
        _NATIONAL,
        None,
        ("2101", "2206", "2303"),
    ),
    T.SETTLE: Spec(
        G.SETTLEMENT, SettleRequest, CombinedAnswer, "住院补偿", _EITHER, _NATIONAL, None, ("2102", "2207", "2304")
    ),
    T.CANCEL: Spec(
        G.SETTLEMENT,
        CancelRequest,
        CombinedAnswer,
        "住院补偿回退",
        _EITHER,
        _NATIONAL,
        T.SETTLE,
        ("2103", "2208", "2305"),
    ),
    T.REVERSE: Spec(G.SETTLEMENT, ReverseRequest, CombinedAnswer, "冲正", _EITHER, _NATIONAL, T.SETTLE, ("2601",)),
    T.QUERY: Spec(G.SETTLEMENT, CaseQuery, CombinedAnswer, "案件信息查询", _EITHER, _NATIONAL, None, ("5203",)),
    T.ADJUDICATION_UPLOAD: Spec(
        G.SETTLEMENT, AdjudicationUpload, CombinedAnswer, "理算结果上传", _EITHER, _SERVED | _LATER, None, (), True
    ),
    T.IDENTITY_CONFIRM: Spec(
        G.MASTER, IdentityConfirm, IdentityAnswer, "身份确认", _EITHER, _NATIONAL, None, ("1101", "2001")
    ),
    T.CASE_CHECK: Spec(G.CLEARING, CaseCheck, CaseCheckAnswer, "案件核对", _EITHER, _NATIONAL, None, ("3202",)),
    T.FEES_SETTLE: Spec(
        G.CLEARING, FeesSettle, FeesSettleAnswer, "费用结算", _EITHER, _NATIONAL, None, ("3201", "3203")
    ),
    T.FEES_SETTLE_CANCEL: Spec(
        G.CLEARING,
        FeesSettleCancel,
        FeesSettleCancelAnswer,
        "费用结算撤销",
        _EITHER,
        _NATIONAL,
        T.FEES_SETTLE,
        ("3204",),
    ),
    T.PAYMENT_CONFIRM: Spec(G.CLEARING, PaymentConfirm, PaymentAnswer, "机构付款确认", _EITHER, _SERVED),
    T.STATEMENT_UPLOAD: Spec(
        G.STATEMENT, Statement, StatementAnswer, "对账单上传", _ALL_SENDERS, _DIRECT | {Channel.SOAP}
    ),
    T.MAPPING_UPLOAD: Spec(
        G.MASTER, MappingUpload, UploadAnswer, "对码关系上传", _ALL_SENDERS, _BULK | {Channel.NATIONAL}, None, ("3301",)
    ),
    T.CATALOGUE_UPLOAD: Spec(G.MASTER, CatalogueUpload, UploadAnswer, "三大目录上传", _INSURER, _BULK),
    T.DISEASE_UPLOAD: Spec(G.MASTER, DiseaseUpload, UploadAnswer, "疾病字典上传", _INSURER, _BULK),
    T.INSTITUTION_UPLOAD: Spec(G.MASTER, InstitutionUpload, UploadAnswer, "医疗机构信息上传", _INSURER, _BULK),
    T.STAFF_UPLOAD: Spec(G.MASTER, StaffUpload, UploadAnswer, "医护人员信息上传", _EITHER, _BULK),
    T.POPULATION_IMPORT: Spec(G.MASTER, PopulationImport, UploadAnswer, "贫困人口信息导入", _INSURER, _BULK),
    T.ENROLMENT_IMPORT: Spec(G.MASTER, EnrolmentImport, UploadAnswer, "承保信息导入", _INSURER, _BULK),
    T.BLACKLIST_IMPORT: Spec(G.MASTER, BlacklistImport, UploadAnswer, "黑名单", _INSURER, _BULK),
    T.CLAIM_ANSWER: Spec(G.CLAIM, ClaimDecision, None, "理赔结果", frozenset({Sender.INSURER}), _DIRECT),
}
"""In the order of a visit's life."""

HOSPITAL_MESSAGES: dict[Transaction, type[Value]] = {
    name: spec.message for name, spec in SPECS.items() if spec.group is Group.SETTLEMENT
}
MESSAGES: dict[Transaction, type[Value]] = {name: spec.message for name, spec in SPECS.items()}
ASKS = frozenset({T.QUERY, T.FEES_QUERY, T.IDENTITY_CONFIRM})
"""Without effect: a repeat is just another question."""
TRANSACTION_OF_INFNO: dict[str, Transaction] = {infno: name for name, spec in SPECS.items() for infno in spec.infnos}

SUMMARIES: dict[Transaction, str] = {
    T.ADMISSION_REGISTER: "Register an admission or an outpatient visit",
    T.ADMISSION_CHANGE: "Correct a registration: the whole of it again",
    T.ADMISSION_CANCEL: "Take a registration back",
    T.FEES_UPLOAD: "Upload fee lines of a visit",
    T.FEES_CANCEL: "Take fee lines back: some, a batch, or all",
    T.FEES_QUERY: "Ask for the fee lines of a visit",
    T.DISCHARGE_REGISTER: "Register a discharge",
    T.DISCHARGE_CANCEL: "Take a discharge back",
    T.SETTLE: "Settle a bill: adjudicate and book",
    T.TRIAL: "Try a bill: adjudicate without effect",
    T.CANCEL: "Undo a settlement",
    T.REVERSE: "Undo a settlement whose outcome is not known, or block it before it comes",
    T.QUERY: "Ask for the stored answer of a settlement",
    T.ADJUDICATION_UPLOAD: "Record a settlement that the basic system has adjudicated and paid out already",
    T.IDENTITY_CONFIRM: "Ask who a person is to the insurers",
    T.CASE_CHECK: "Compare settlements one by one",
    T.FEES_SETTLE: "Compare the totals of a period, and claim what they come to",
    T.FEES_SETTLE_CANCEL: "Take the claims of a period back",
    T.PAYMENT_CONFIRM: "Confirm that a payer's money has come",
    T.STATEMENT_UPLOAD: "Send the statement of a day: every settlement and refund in one's own books",
    T.MAPPING_UPLOAD: "Upload code mappings",
    T.CATALOGUE_UPLOAD: "Upload items of the three catalogues",
    T.DISEASE_UPLOAD: "Upload the disease dictionary",
    T.INSTITUTION_UPLOAD: "Upload institutions",
    T.STAFF_UPLOAD: "Upload medical staff",
    T.POPULATION_IMPORT: "Import insured persons",
    T.ENROLMENT_IMPORT: "Import policies",
    T.BLACKLIST_IMPORT: "Import the blacklist",
    T.CLAIM_ANSWER: "An insurer's answer to a task from its queue or mailbox",
}


def answer_type(transaction: Transaction) -> str:
    """The type of the message that answers: one for all that answers alike, else named after what it answers."""
    answer = SPECS[transaction].answer
    shared = {CombinedAnswer: "settlement.answer", VisitAnswer: "visit.answer", UploadAnswer: "upload.answer"}
    return shared.get(answer, f"{transaction.value}.answer") if answer is not None else ""
