"""The scripts: which calls a task or a notice becomes, with every byte but what earlier answers fill in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from adapters.conversation import Step, script
from adapters.insurer.taikang import words
from adapters.insurer.taikang.dialect import Dialect
from adapters.insurer.taikang.package import package_text, trade_no
from schemas.codes import InsuranceType
from schemas.errors import IllegalTransition, InvalidMessage, Violation
from schemas.money import yuan_of
from schemas.payer import MessageNumbers, Notice, Operation, PayerTask, PreparedCall
from schemas.visit import AdmissionCancel, AdmissionFacts, FeesCancel, FeesUpload, UploadedLine, VisitMessage

IDENTITY, FILE, CHANGE, UNFILE = "S200", "S210", "S230", "S240"
FEES, UNFEES, TAKE_BACK = "S250", "S260", "S260.undo"
TRIAL, SETTLE, CANCEL, CLAIM, ACCEPT = "S290", "S291", "S270", "S300", "S310"
ROWS_MAX = 100
NUMBERS = 32
"""Fee lines 2,000 at most: 20 chunks, and what stands around them."""
SERIAL_GAP = "@settleSerialNum"
ACCEPT_GAP = "@acceptFlag<="
PATH = "/biz/inbound/s"


@dataclass(slots=True)
class _Writer:
    """Writes the steps of one request in order; each gets a trade number of its own."""

    dialect: Dialect
    institution: str
    numbers: MessageNumbers | None
    scheme: InsuranceType | None
    steps: list[Step] = field(default_factory=list)

    @property
    def sender(self) -> str:
        return self.dialect.sender_code or self.institution

    def medical_no(self, visit_no: str) -> str:
        """The visit's number: the institution's own, under a common sender made unique by the institution."""
        return f"{self.institution}-{visit_no}" if self.dialect.sender_code else visit_no

    def say(self, name: str, *records: dict[str, Any], effect: bool = False) -> None:
        """One more call."""
        query = f"senderCode={quote(self.sender, safe='')}&providerCode={quote(self.institution, safe='')}"
        text = package_text(self._head(name[:4], len(records)), records)
        self.steps.append(Step(name, text, f"{PATH}?{query}", effect))

    def say_in_chunks(self, name: str, records: Sequence[dict[str, Any]], *, effect: bool) -> None:
        """As many calls as the limit of rows demands; with `effect` the last one has it."""
        for start in range(0, len(records), ROWS_MAX):
            last = start + ROWS_MAX >= len(records)
            self.say(name, *records[start : start + ROWS_MAX], effect=effect and last)

    def _head(self, name: str, count: int) -> dict[str, str]:
        dialect = self.dialect
        code, title = words.intermediary(self.scheme)
        return {
            "busseID": name,
            "sendTradeNum": trade_no(self.numbers, self.sender, len(self.steps)),
            "senderCode": self.sender,
            "senderName": dialect.sender_name or self.sender,
            "receiverCode": dialect.receiver_code,
            "receiverName": dialect.receiver_name,
            "providerCode": self.institution,
            "providerName": "",
            "intermediaryCode": code,
            "intermediaryName": title,
            "hosorgNum": dialect.operator_code,
            "hosorgName": dialect.operator_name,
            "systemType": "1",
            "busenissType": "2",
            "standardVersionCode": dialect.version,
            "recordCount": str(count),
        }


def script_of(dialect: Dialect, task: PayerTask) -> PreparedCall:
    """The conversation of a task; InvalidMessage for what this dialect cannot say."""
    request = task.request
    scheme = request.insurance.type if task.basic else None
    writer = _Writer(dialect, request.institution, task.numbers, scheme)
    if task.operation in (Operation.SETTLE, Operation.TRIAL):
        _settlement(writer, task)
    elif task.operation is Operation.CANCEL:
        writer.say(CANCEL, _cancel(writer, task), effect=True)
    else:
        blamed = Violation("operation", "operation.unknown", "this insurer can neither be asked nor reverse by our id")
        raise InvalidMessage("the dialect has no such message", blamed, party=task.payer)
    return script(writer.steps)


def notice_script(dialect: Dialect, notice: Notice) -> PreparedCall:
    """The conversation of a notice; IllegalTransition for one that was not declared."""
    message = notice.message
    if not isinstance(message, VisitMessage):
        raise IllegalTransition("not a notice of this dialect", transaction=notice.transaction)
    scheme = message.insurance.type if isinstance(message, AdmissionFacts) else InsuranceType.OTHER
    writer = _Writer(dialect, message.institution, notice.numbers, scheme)
    medical_no = writer.medical_no(message.visit_no)
    if isinstance(message, AdmissionFacts):
        name = CHANGE if notice.transaction == "admission.change" else FILE
        writer.say(name, words.admission_file(dialect, medical_no, message), effect=True)
    elif isinstance(message, AdmissionCancel):
        writer.say(UNFILE, {"medicalNum": medical_no, "updateBy": dialect.operator_name}, effect=True)
    elif isinstance(message, FeesUpload):
        _fees(writer, medical_no, message.batch_no, message.lines, notice.numbers)
    elif isinstance(message, FeesCancel):
        writer.say_in_chunks(UNFEES, _unfees(writer, medical_no, message), effect=True)
    else:
        raise IllegalTransition("not a notice of this dialect", transaction=notice.transaction)
    return script(writer.steps)


def _settlement(writer: _Writer, task: PayerTask) -> None:
    request, dialect = task.request, writer.dialect
    medical_no = writer.medical_no(request.visit.visit_no)
    final = task.operation is Operation.SETTLE
    settled_at = words.moment(task.numbers.at if task.numbers else None)
    if dialect.checks_identity:
        writer.say(IDENTITY, words.identity(dialect, task))
    writer.say(FILE, words.visit_file(dialect, medical_no, request))
    # Whatever lines stand from a trial, an upload or an attempt that broke off: the bill says which are to stand.
    writer.say(UNFEES, _all_lines(writer, medical_no))
    lines = [words.fee_line(dialect, medical_no, request.settlement_no, line, settled_at) for line in request.fees]
    writer.say_in_chunks(FEES, lines, effect=False)
    record = words.settlement(dialect, medical_no, task, settled_at, final=final)
    writer.say(SETTLE if final else TRIAL, record, effect=True)
    if final and task.product in dialect.confirm_products:
        writer.say(CLAIM, {"settleSerialNum": SERIAL_GAP})
        accepted = f"{ACCEPT_GAP}{yuan_of(task.left_fen)}"
        writer.say(ACCEPT, {"settleSerialNum": SERIAL_GAP, "acceptFlag": accepted})
    writer.say(TAKE_BACK, _all_lines(writer, medical_no))


def _fees(
    writer: _Writer, medical_no: str, batch: str, lines: Sequence[UploadedLine], numbers: MessageNumbers | None
) -> None:
    """A batch replaces whatever an earlier attempt left of it."""
    taken_on = words.moment(numbers.at if numbers else None)
    writer.say(UNFEES, _batch(writer, medical_no, batch))
    rows = [words.fee_line(writer.dialect, medical_no, batch, line, taken_on) for line in lines]
    writer.say_in_chunks(FEES, rows, effect=True)
    writer.say(TAKE_BACK, _batch(writer, medical_no, batch))


def _unfees(writer: _Writer, medical_no: str, message: FeesCancel) -> list[dict[str, Any]]:
    if message.batch_no is not None:
        return [_batch(writer, medical_no, message.batch_no)]
    if not message.line_nos:
        return [_all_lines(writer, medical_no)]
    return [{**_all_lines(writer, medical_no), "recipeSerialNum": line_no} for line_no in message.line_nos]


def _all_lines(writer: _Writer, medical_no: str) -> dict[str, Any]:
    at = writer.numbers.at if writer.numbers else None
    return {"medicalNum": medical_no, "updateDate": words.moment(at), "updateBy": writer.dialect.operator_name}


def _batch(writer: _Writer, medical_no: str, batch: str) -> dict[str, Any]:
    return {**_all_lines(writer, medical_no), "recipeNum": batch}


def _cancel(writer: _Writer, task: PayerTask) -> dict[str, Any]:
    return {
        "settleSerialNum": task.original_reference or "",
        "medicalNum": writer.medical_no(task.request.visit.visit_no),
        "billNum": task.request.settlement_no,
        "revokeDate": words.moment(task.numbers.at if task.numbers else None),
        "updateBy": writer.dialect.operator_name,
        "isRetainedFlg": "1",
    }
