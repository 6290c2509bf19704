"""An insurer whose critical-illness system is of the China Life type. See README.md for what it can and cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from adapters.conversation import SCRIPT, Said, Step, calls_of, converse, script, steps_of
from adapters.http_pool import HttpPool
from adapters.insurer.chinalife import answers, messages
from adapters.insurer.chinalife.answers import Asked
from adapters.insurer.chinalife.dialect import (
    CANCEL,
    COMPENSATION,
    FEES,
    ONE_SHOT,
    PERSONS,
    QUERY,
    REGISTRATION,
    dialect_of,
)
from adapters.insurer.chinalife.messages import Bill, Package, Sender
from adapters.string_service import CONTENT_TYPE, HEADERS, StringService
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Violation
from schemas.master import EnrolmentImport, PopulationImport
from schemas.payer import (
    Capabilities,
    Decision,
    Notice,
    Operation,
    PartySettings,
    PayerTask,
    PreparedCall,
    RawAnswer,
)
from schemas.settlement import CancelRequest, ReverseRequest, SettlementRequest
from schemas.visit import AdmissionRegister, FeesUpload

Rows = list[dict[str, str]]
UNDO_OF_RECORD = ("settlement.cancel", "settlement.reverse")
NEEDS = frozenset(
    {"patient.name", "patient.id_no", "insurance.person_no", "diagnoses.main", "fees.all", "basic", "earlier.amounts"}
)
NOTICES = frozenset(
    {
        "admission.register",
        "fees.upload",
        "adjudication.upload",
        *UNDO_OF_RECORD,
        "population.import",
        "enrolment.import",
    }
)


class ChinaLifeType:
    """Safe to share between threads."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        inquiry=True, trial=False, notices=NOTICES, numbers=1, shared_numbers=True, needs=NEEDS
    )

    def __init__(self, settings: PartySettings) -> None:
        self._dialect = dialect_of(settings)
        self._service = StringService(self._dialect.namespace, qualified=self._dialect.named)
        self._http = HttpPool(settings)

    def prepare(self, task: PayerTask) -> PreparedCall:
        """One SOAP message, or the script of a stepwise claim; InvalidMessage for what the system has no word for."""
        group = messages.group_id(task.numbers)
        request = task.request
        sender = messages.sender_of_bill(request)
        common = messages.keys(request.patient, request.insurance, request.visit.visit_no)
        if task.operation is Operation.SETTLE:
            return self._claim(messages.bill_of_task(task), group)
        if task.operation is Operation.INQUIRE:
            body = messages.query(common, task.original_request_id or "")
            return self._one(Package(QUERY, group), sender, body)
        if task.operation is Operation.CANCEL:
            body = messages.cancel(common, task.original_reference or "", task.original_request_id or "")
            return self._one(Package(CANCEL, group), sender, body)
        raise _no_word_for(task.operation.value)

    def prepare_notice(self, notice: Notice) -> PreparedCall:
        """The same for what is told outside a settlement."""
        group, message = messages.group_id(notice.numbers), notice.message
        if isinstance(message, AdmissionRegister):
            return self._registered(message, group)
        if isinstance(message, FeesUpload):
            common, sender = messages.visit_of(message, notice.admission)
            return self._packages(FEES, group, sender, common, messages.lines_of_upload(message))
        if isinstance(message, SettlementRequest):
            return self._claim(messages.bill_of_record(notice, message), group)
        if isinstance(message, CancelRequest | ReverseRequest):
            common = messages.keys_without_person(None)
            body = messages.cancel(common, notice.original_reference or "", notice.original_request_id or "")
            sender = messages.sender_of(message.institution, "", None, None)
            return self._one(Package(CANCEL, group), sender, body)
        if isinstance(message, PopulationImport | EnrolmentImport):
            sender = messages.sender_of("", message.rows[0].region, None, message.rows[0].valid_from)
            return self._packages(PERSONS, group, sender, None, messages.persons(message))
        raise _no_word_for(notice.transaction)

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        """Unavailable when nothing was settled, OutcomeUnknown when no whole answer came back."""
        if call.content_type == SCRIPT:
            return converse(steps_of(call), self._speak, self._goes_on, timeout_s)
        return self._http.send(call, {"Content-Type": call.content_type} | HEADERS, timeout_s)

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """See `answers`: UNKNOWN for what is no word about this request."""
        group = messages.group_id(task.numbers)
        if task.operation is Operation.SETTLE:
            rows = self._claim_rows(answer, group)
            return rows if isinstance(rows, Decision) else answers.settled(task, rows, task.request_id)
        inquiry = task.operation is Operation.INQUIRE
        rows = self._rows(answer, Asked(QUERY if inquiry else CANCEL, group))
        if isinstance(rows, Decision):
            return rows
        if inquiry:
            return answers.found(task, rows, self._dialect)
        return answers.cancelled(rows, task.original_amount_fen, self._dialect.party)

    def decode_notice(self, notice: Notice, answer: RawAnswer) -> Decision:
        """APPROVED when it was taken, DECLINED when it was refused, UNKNOWN for no word."""
        group, message = messages.group_id(notice.numbers), notice.message
        if isinstance(message, SettlementRequest):
            bill = messages.bill_of_record(notice, message)
            rows = self._claim_rows(answer, group)
            if isinstance(rows, Decision):
                return rows
            return answers.recorded(rows, bill.own_fen or 0, bill.settlement_number, notice.payer)
        if isinstance(message, FeesUpload | PopulationImport | EnrolmentImport):
            return self._preliminary(_last(answer), group)
        undo = isinstance(message, CancelRequest | ReverseRequest)
        rows = self._rows(answer, Asked(CANCEL if undo else REGISTRATION, group))
        return rows if isinstance(rows, Decision) else answers.plain(rows, self._dialect)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    # writing

    def _claim(self, bill: Bill, group: str) -> PreparedCall:
        sender = messages.sender_of_bill(bill.request)
        if self._dialect.flow == "one_shot":
            return self._one(Package(ONE_SHOT, group), sender, messages.one_shot(bill))
        alone = messages.compensation_alone(bill)
        if self._dialect.flow == "after_notices":
            return self._one(Package(COMPENSATION, group), sender, alone)
        common = messages.keys(bill.request.patient, bill.request.insurance, bill.request.visit.visit_no)
        return script(
            [
                self._step(Package(REGISTRATION, group), sender, messages.registration_of_bill(bill.request)),
                *self._fee_steps(FEES, group, sender, common, messages.lines_of_bill(bill.request)),
                replace(self._step(Package(COMPENSATION, group), sender, alone), effect=True),
            ]
        )

    def _registered(self, message: AdmissionRegister, group: str) -> PreparedCall:
        sender = messages.sender_of(message.institution, message.region, message.insurance.type, message.admitted_at)
        return self._one(Package(REGISTRATION, group), sender, messages.registration_of_admission(message))

    def _packages(
        self, bus_code: str, group: str, sender: Sender, common: dict[str, str | None] | None, rows: Sequence[str]
    ) -> PreparedCall:
        """Rows in as many calls as they need; the last one counts as the effect, since all are harmless to repeat."""
        steps = self._fee_steps(bus_code, group, sender, common, rows)
        return script([*steps[:-1], replace(steps[-1], effect=True)])

    def _fee_steps(
        self, bus_code: str, group: str, sender: Sender, common: dict[str, str | None] | None, rows: Sequence[str]
    ) -> list[Step]:
        parts = messages.chunks(rows, self._dialect.fee_lines_max)
        return [
            self._step(
                Package(bus_code, group, number, len(parts), len(part), len(rows)),
                sender,
                "".join(part) if common is None else messages.fee_details(common, part),
            )
            for number, part in enumerate(parts, 1)
        ]

    def _step(self, package: Package, sender: Sender, body: str) -> Step:
        wrapped = self._one(package, sender, body).body.decode()
        return Step(f"{package.bus_code}/{package.number}", wrapped)

    def _one(self, package: Package, sender: Sender, body: str) -> PreparedCall:
        operation, argument = self._dialect.operation(package.bus_code)
        inner = messages.message(self._dialect, package, sender, body)
        return PreparedCall(self._service.wrap(operation, argument, inner), CONTENT_TYPE)

    # a conversation

    def _speak(self, step: Step, _: Sequence[Said], left_s: float) -> Said:
        sent = step.body.encode()
        answer = self._http.send(PreparedCall(sent, CONTENT_TYPE), {"Content-Type": CONTENT_TYPE} | HEADERS, left_s)
        said = Said(step.name, sent, answer.status, answer.content_type, answer.body)
        if not step.effect:
            self._check_answered(said)
        return said

    def _check_answered(self, said: Said) -> None:
        """Before the effect what is no clear word is no word: the claim as a whole has not been made."""
        try:
            known = self._preliminary(said, _group_in(said.sent)).outcome is not Outcome.UNKNOWN
        except InvalidMessage:
            known = False
        if not known:
            raise OutcomeUnknown("no clear answer to a preliminary step", party=self._dialect.party)

    def _goes_on(self, said: Said) -> bool:
        if said.name.startswith(COMPENSATION):
            return False
        try:
            return self._preliminary(said, _group_in(said.sent)).outcome is Outcome.APPROVED
        except (InvalidMessage, OutcomeUnknown):
            return False

    # reading

    def _claim_rows(self, answer: RawAnswer, group: str) -> Rows | Decision:
        """The results of the step with the effect; a refusal before it: nothing was settled, and the claim is over."""
        if self._dialect.flow != "stepwise":
            bus_code = COMPENSATION if self._dialect.flow == "after_notices" else ONE_SHOT
            return self._rows(answer, Asked(bus_code, group))
        last = _last(answer)
        if last.name.startswith(COMPENSATION):
            return self._rows(_raw(last), Asked(COMPENSATION, group))
        refused = self._preliminary(last, group)
        return refused if refused.outcome is Outcome.DECLINED else Decision(Outcome.UNKNOWN, raw_code=refused.raw_code)

    def _preliminary(self, said: Said, group: str) -> Decision:
        bus_code, _, package = said.name.partition("/")
        if bus_code not in (REGISTRATION, FEES, PERSONS):
            raise Malformed("a call of another kind", code="answer.transcript", party=self._dialect.party)
        rows = self._rows(_raw(said), Asked(bus_code, group, package))
        return rows if isinstance(rows, Decision) else answers.plain(rows, self._dialect)

    def _rows(self, answer: RawAnswer, asked: Asked) -> Rows | Decision:
        """The results in an answer, or the decision that it is no word at all."""
        heard = self._service.open(self._dialect.operation(asked.bus_code)[0], answer, party=self._dialect.party)
        if heard.text is None:
            return Decision(Outcome.UNKNOWN, raw_code=heard.code)
        return answers.rows_of(heard.text, asked, self._dialect.party)


def _last(answer: RawAnswer) -> Said:
    said = calls_of(answer)
    if not said:
        raise Malformed("a conversation without a word", code="answer.transcript")
    return said[-1]


def _raw(said: Said) -> RawAnswer:
    return RawAnswer(said.answer, said.status, said.content_type)


def _group_in(sent: bytes) -> str:
    """The group of a message of ours, from its bytes: a prepared call may come back from the database."""
    _, _, rest = sent.partition(b"group_id&gt;")
    return rest.partition(b"&lt;")[0].decode("ascii", "replace")


def _no_word_for(what: str) -> InvalidMessage:
    blamed = Violation("operation", "operation.unsupported", "this system has no such transaction")
    return InvalidMessage("the insurer's interface cannot express this", blamed, operation=what)
