"""An insurer of the PICC type. See README.md for what its interface can and cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from adapters.conversation import SCRIPT, Said, Step, calls_of, converse, script, steps_of
from adapters.http_pool import HttpPool
from adapters.insurer.picc import answers, messages
from adapters.insurer.picc.answers import Package, package_named
from adapters.insurer.picc.dialect import (
    ARGUMENT,
    CANCEL,
    FEES,
    INSTITUTIONS,
    OPERATION,
    PERSONS,
    RESULT,
    dialect_of,
)
from adapters.insurer.picc.messages import NUMBERS, Line, Numbering, Result, Sender
from adapters.string_service import CONTENT_TYPE, HEADERS, StringService
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Violation
from schemas.master import EnrolmentImport, InstitutionUpload, PopulationImport
from schemas.payer import (
    Capabilities,
    Decision,
    MessageNumbers,
    Notice,
    Operation,
    PartySettings,
    PayerTask,
    PreparedCall,
    RawAnswer,
)
from schemas.settlement import CancelRequest, ReverseRequest, SettlementRequest
from schemas.visit import FeesUpload

NEEDS = frozenset(
    {"patient.name", "patient.id_no", "insurance.person_no", "diagnoses.main", "fees.all", "basic", "earlier.amounts"}
)
NOTICES = frozenset(
    {
        "fees.upload",
        "adjudication.upload",
        "settlement.cancel",
        "settlement.reverse",
        "institution.upload",
        "population.import",
        "enrolment.import",
    }
)
_FAILED = (InvalidMessage, OutcomeUnknown)


class PiccType:
    """Safe to share between threads."""

    capabilities: ClassVar[Capabilities] = Capabilities(trial=False, notices=NOTICES, numbers=NUMBERS, needs=NEEDS)

    def __init__(self, settings: PartySettings) -> None:
        self._dialect = dialect_of(settings)
        self._service = StringService(self._dialect.namespace, "rpc")
        self._http = HttpPool(settings)

    def prepare(self, task: PayerTask) -> PreparedCall:
        """The script of a settlement or one message; InvalidMessage for what the system has no word for."""
        if task.operation is Operation.SETTLE:
            return self._settlement(messages.result_of_task(task), task.numbers)
        if task.operation is Operation.CANCEL:
            request = task.request
            receipt = messages.receipt_of(task.original_request_id or "")
            sender = Sender(request.region, request.institution)
            about = Numbering(task.original_numbers).message_id if task.original_numbers else ""
            body = messages.cancel_body(sender, request.visit.visit_no, receipt)
            return self._one(CANCEL, sender, Numbering(task.numbers), body, about=about)
        raise _no_word_for(task.operation.value)

    def prepare_notice(self, notice: Notice) -> PreparedCall:
        """The same for what is told outside a settlement."""
        message, dialect = notice.message, self._dialect
        if isinstance(message, SettlementRequest):
            return self._settlement(messages.result_of_record(notice, message), notice.numbers)
        if isinstance(message, CancelRequest | ReverseRequest):
            return self._undo_of_record(notice, message)
        if isinstance(message, FeesUpload):
            receipt = messages.receipt_of_visit(message.institution, message.visit_no)
            sender = Sender(notice.admission.region if notice.admission else dialect.region, message.institution)
            steps = self._fee_steps(sender, notice.numbers, messages.rows_of_upload(message, sender.region), receipt)
            return script([*steps[:-1], replace(steps[-1], effect=True)])
        if isinstance(message, InstitutionUpload):
            blocks = [messages.institution_block(row) for row in message.rows]
            sender = Sender(message.rows[0].region, message.rows[0].code)
            return self._one(INSTITUTIONS, sender, Numbering(notice.numbers), "".join(blocks), records=len(blocks))
        if isinstance(message, PopulationImport | EnrolmentImport):
            blocks = [messages.person_block(dialect, row) for row in message.rows]
            sender = Sender(message.rows[0].region, "")
            return self._one(PERSONS, sender, Numbering(notice.numbers), "".join(blocks), records=len(blocks))
        raise _no_word_for(notice.transaction)

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        """Unavailable when nothing was settled, OutcomeUnknown when no whole answer came back."""
        if call.content_type == SCRIPT:
            return converse(steps_of(call), self._speak, self._goes_on, timeout_s)
        return self._http.send(call, {"Content-Type": call.content_type} | HEADERS, timeout_s)

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """See `answers`: UNKNOWN for what is no word about this request."""
        sender = Sender(task.request.region, task.request.institution)
        guid = Numbering(task.numbers).guid(sender.region, sender.institution)
        if task.operation is Operation.CANCEL:
            fields = self._fields(answer, CANCEL, guid)
            if isinstance(fields, Decision):
                return fields
            return answers.cancelled(fields, task.original_amount_fen, self._dialect.party)
        fields = self._result_fields(answer, guid)
        if isinstance(fields, Decision):
            return fields
        return answers.settled(task, fields, messages.receipt_of(task.request_id))

    def decode_notice(self, notice: Notice, answer: RawAnswer) -> Decision:
        """APPROVED when it was taken, DECLINED when it was refused, UNKNOWN for no word."""
        message, numbering = notice.message, Numbering(notice.numbers)
        if isinstance(message, SettlementRequest):
            fields = self._result_fields(answer, numbering.guid(message.region, message.institution))
            if isinstance(fields, Decision):
                return fields
            result = messages.result_of_record(notice, message)
            reference = f"{message.region}:{result.receipt}:{message.visit.visit_no}"
            return answers.recorded(fields, result.own_fen or 0, reference, notice.payer)
        if isinstance(message, FeesUpload):
            return self._stored(_last(answer))
        code, region, institution = CANCEL, _reference(notice)[0], getattr(message, "institution", "")
        if isinstance(message, InstitutionUpload):
            code, region, institution = INSTITUTIONS, message.rows[0].region, message.rows[0].code
        elif isinstance(message, PopulationImport | EnrolmentImport):
            code, region, institution = PERSONS, message.rows[0].region, ""
        fields = self._fields(answer, code, numbering.guid(region, institution))
        return fields if isinstance(fields, Decision) else answers.plain(fields)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    # writing

    def _settlement(self, result: Result, numbers: MessageNumbers | None) -> PreparedCall:
        """Fee lines first: the result comes last, so that nothing is settled whose lines do not add up."""
        request, main = result.request, Numbering(numbers)
        sender = Sender(request.region, request.institution)
        steps: list[Step] = []
        if self._dialect.fees == "with_result":
            rows = messages.rows_of_bill(request, result.receipt)
            steps = self._fee_steps(sender, numbers, rows, result.receipt)
        body = messages.result_body(self._dialect, result, main)
        return script([*steps, self._step(RESULT, RESULT, sender, main, body, effect=True)])

    def _fee_steps(
        self, sender: Sender, numbers: MessageNumbers | None, rows: Sequence[Line], receipt: str
    ) -> list[Step]:
        return [
            self._step(
                Package(number, len(part), sum(row.fen for row in part), receipt).name,
                FEES,
                sender,
                Numbering(numbers, number),
                messages.joined(part),
                records=len(part),
            )
            for number, part in enumerate(messages.packages(rows, self._dialect.fee_lines_max), 1)
        ]

    def _undo_of_record(self, notice: Notice, message: CancelRequest | ReverseRequest) -> PreparedCall:
        region, receipt, visit_no = _reference(notice)
        sender = Sender(region, message.institution)
        body = messages.cancel_body(sender, visit_no, receipt)
        return self._one(CANCEL, sender, Numbering(notice.numbers), body)

    def _step(
        self,
        name: str,
        code: str,
        sender: Sender,
        numbering: Numbering,
        body: str,
        *,
        records: int = 1,
        effect: bool = False,
    ) -> Step:
        call = self._one(code, sender, numbering, body, records=records)
        return Step(name, call.body.decode(), effect=effect)

    def _one(
        self, code: str, sender: Sender, numbering: Numbering, body: str, *, records: int = 1, about: str = ""
    ) -> PreparedCall:
        inner = messages.message(self._dialect, code, sender, numbering, body, records=records, about=about)
        return PreparedCall(self._service.wrap(OPERATION, ARGUMENT, inner), CONTENT_TYPE)

    # a conversation

    def _speak(self, step: Step, _: Sequence[Said], left_s: float) -> Said:
        sent = step.body.encode()
        answer = self._http.send(PreparedCall(sent, CONTENT_TYPE), {"Content-Type": CONTENT_TYPE} | HEADERS, left_s)
        said = Said(step.name, sent, answer.status, answer.content_type, answer.body)
        if not step.effect and self._is_no_word(said):
            raise OutcomeUnknown("no clear answer to fee lines", party=self._dialect.party)
        return said

    def _is_no_word(self, said: Said) -> bool:
        """Fee lines that do not add up are a word: the conversation ends with it, and the case is held."""
        try:
            return self._stored(said).outcome is Outcome.UNKNOWN
        except (Malformed, OutcomeUnknown):
            return True
        except InvalidMessage:
            return False

    def _goes_on(self, said: Said) -> bool:
        if said.name == RESULT:
            return False
        try:
            return self._stored(said).outcome is Outcome.APPROVED
        except _FAILED:
            return False

    # reading

    def _result_fields(self, answer: RawAnswer, guid: str) -> dict[str, str] | Decision:
        """The answer to the result; fee lines that were refused before it end the settlement: nothing was settled."""
        last = _last(answer)
        if last.name == RESULT:
            return self._fields(_raw(last), RESULT, guid)
        refused = self._stored(last)
        return refused if refused.outcome is Outcome.DECLINED else Decision(Outcome.UNKNOWN, raw_code=refused.raw_code)

    def _stored(self, said: Said) -> Decision:
        package = package_named(said.name, self._dialect.party)
        fields = self._fields(_raw(said), FEES, _guid_in(said.sent))
        return fields if isinstance(fields, Decision) else answers.stored(fields, package, self._dialect.party)

    def _fields(self, answer: RawAnswer, code: str, guid: str) -> dict[str, str] | Decision:
        """The fields of an answer, or the decision that it is no word at all."""
        heard = self._service.open(OPERATION, answer, party=self._dialect.party)
        if heard.text is None:
            return Decision(Outcome.UNKNOWN, raw_code=heard.code)
        return answers.body_of(heard.text, code, guid, self._dialect.party)


def _last(answer: RawAnswer) -> Said:
    said = calls_of(answer)
    if not said:
        raise Malformed("a conversation without a word", code="answer.transcript")
    return said[-1]


def _raw(said: Said) -> RawAnswer:
    return RawAnswer(said.answer, said.status, said.content_type)


def _guid_in(sent: bytes) -> str:
    """The number of a message of ours, from its bytes: a prepared call may come back from the database."""
    _, _, rest = sent.partition(b"TransRefGUID&gt;")
    return rest.partition(b"&lt;")[0].decode("ascii", "replace")


def _reference(notice: Notice) -> tuple[str, str, str]:
    """Region, receipt and visit of a recorded settlement, as its notice's decision gave them."""
    region, _, rest = (notice.original_reference or "").partition(":")
    receipt, _, visit_no = rest.partition(":")
    return region, receipt, visit_no


def _no_word_for(what: str) -> InvalidMessage:
    blamed = Violation("operation", "operation.unsupported", "this system has no such transaction")
    return InvalidMessage("the insurer's interface cannot express this", blamed, operation=what)
