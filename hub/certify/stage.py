"""Where a run plays: the party's adapter, what was said to it, and what it has settled and not yet taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from time import perf_counter
from typing import Any, Protocol, cast

from adapters.registry import Adapter
from hub.certify.bills import Bills
from hub.certify.checks import must
from hub.certify.control import SideDoor
from hub.certify.evidence import Evidence, Mask, answer_text, mask_of, personal_values, sent_text
from hub.disclosure import disclosed, disclosed_notice
from hub.ports import NoticeAdapter, StatementAdapter
from routing.rulebook import Party
from schemas.codes import Outcome
from schemas.errors import HubError, Unavailable
from schemas.money import yuan_of
from schemas.payer import Capabilities, Decision, Notice, Operation, PayerTask, PreparedCall, RawAnswer
from schemas.statement_pages import StatementPage, StatementQuestion

UNDOES = (Operation.CANCEL, Operation.REVERSE)


SHOWN_MAX = 4_000
"""Characters of a page of books: a test system may hold those of many runs."""


class Line(Protocol):
    """The way to the party: its adapter's `send`, or its queue and back."""

    def __call__(self, call: PreparedCall, request_id: str, timeout_s: float) -> RawAnswer: ...


class Standing(Enum):
    """What the party holds of a claim, as far as we know."""

    STANDS = "stands"
    DOUBTFUL = "doubtful"
    NOTHING = "nothing"


@dataclass(slots=True)
class Claim:
    """A claim that was sent, and the decision on it where there was one."""

    task: PayerTask
    standing: Standing
    decision: Decision = field(default_factory=lambda: Decision(Outcome.UNKNOWN))


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of saying something: a decision, or the error that the adapter raised."""

    decision: Decision | None
    error: HubError | None
    raw: RawAnswer

    @property
    def outcome(self) -> Outcome | None:
        return self.decision.outcome if self.decision else None

    @property
    def same(self) -> tuple[object, ...]:
        """What must not differ between an answer and its repeat."""
        found = self.decision
        return (found.outcome, found.amount_fen, found.payer_reference) if found else (str(self.error),)

    @property
    def words(self) -> str:
        """In a few words: an outcome with its amount, or the error's name and code."""
        if self.decision is None:
            return f"{type(self.error).__name__} {self.error.code}" if self.error else "nothing"
        found = self.decision
        facts = [found.outcome.value]
        if found.outcome in (Outcome.APPROVED, Outcome.CANCELLED):
            facts.append(yuan_of(found.amount_fen))
        if found.payer_reference:
            facts.append(f"({found.payer_reference})")
        return " ".join([*facts, *filter(None, (found.reason_code or found.raw_code, found.reason_zh))])


class Stage:
    """Speaks to one party as the hub would, and remembers. `ask` may be called by several threads."""

    def __init__(
        self,
        party: Party,
        adapter: Adapter,
        bills: Bills,
        line: Line,
        control: SideDoor | None,
        hidden: tuple[str, ...] = (),
    ) -> None:
        self.party = party
        self.adapter = adapter
        self.bills = bills
        self.control = control
        self.can: Capabilities = adapter.capabilities.without(party.lacks)
        self.claims: dict[str, Claim] = {}
        self.evidence: list[Evidence] = []
        self.said: list[str] = []
        self._line = line
        self._hidden = hidden

    def prepared(self, task: PayerTask) -> PreparedCall:
        """The bytes that the hub would send: with what the party may be told, and no more."""
        return self.adapter.prepare(disclosed(task, self.party.disclosure))

    def ask(self, task: PayerTask, call: PreparedCall | None = None, timeout_s: float = 0) -> Heard:
        """Say a task, or other bytes in its name, and read the answer. InvalidMessage: the dialect cannot say it."""
        task = disclosed(self.bills.numbered(task), self.party.disclosure)
        claim = self._begun(task)
        call = call or self.adapter.prepare(task)
        heard = self._heard(
            call, task, lambda raw: self.adapter.decode(task, raw), task.operation.value, task.request_id, timeout_s
        )
        self._learn(task, claim, heard)
        return heard

    def tell(self, notice: Notice) -> Heard:
        """Say a notice and read the answer."""
        notice = disclosed_notice(notice, self.party.disclosure)
        teller = cast(NoticeAdapter, self.adapter)
        call = teller.prepare_notice(notice)
        read: Callable[[RawAnswer], Decision] = lambda raw: teller.decode_notice(notice, raw)  # noqa: E731
        return self._heard(call, notice, read, notice.transaction, notice.request_id, 0)

    def page(self, question: StatementQuestion) -> StatementPage:
        """Ask for a page of the party's books of a day."""
        asked = cast(StatementAdapter, self.adapter)
        call, begun = asked.prepare_statement(question), perf_counter()
        raw, ended = RawAnswer(b""), "no page"
        try:
            raw = self._line(call, question.request_id, self.party.timeout_s)
            page = asked.decode_statement(question, raw)
            ended = f"page {page.page} of {page.pages}, {page.count} lines in all"
            return page
        except HubError as failed:
            ended = type(failed).__name__
            raise
        finally:
            mask, took_ms = mask_of(list(self._hidden)), (perf_counter() - begun) * 1000
            sent, answered = mask(sent_text(call)), mask(answer_text(raw))[:SHOWN_MAX]
            self.evidence.append(Evidence("statement", question.request_id, sent, answered, raw.status, ended, took_ms))
            self.said.append(f"statement: {ended}")

    def send_only(self, task: PayerTask, call: PreparedCall) -> None:
        """Say something and expect no answer to it; it stays a doubt."""
        self._begun(task)
        self._heard(call, task, lambda raw: self.adapter.decode(task, raw), task.operation.value, task.request_id, 0.3)

    def settled(self) -> Claim:
        """A new claim that the party has approved, as the begin of most checks."""
        task = self.bills.claim()
        heard = self.ask(task)
        must(
            heard.outcome is Outcome.APPROVED,
            f"结算应获批准, 实际为 {heard.words}",
            f"the settlement should have been approved: {heard.words}",
        )
        return self.claims[task.request_id]

    def standing(self) -> list[Claim]:
        """What the party holds and what is doubtful."""
        return [claim for claim in self.claims.values() if claim.standing is not Standing.NOTHING]

    def begin(self) -> None:
        """A new check: nothing has been said in it."""
        self.evidence, self.said = [], []

    def _begun(self, task: PayerTask) -> Claim | None:
        """The claim that a settle begins or an undo is about."""
        if task.operation is Operation.SETTLE and task.request_id not in self.claims:
            self.claims[task.request_id] = Claim(task, Standing.DOUBTFUL)
        known = task.request_id if task.operation is Operation.SETTLE else task.original_request_id
        return self.claims.get(known or "")

    def _heard(
        self,
        call: PreparedCall,
        about: PayerTask | Notice,
        read: Callable[[RawAnswer], Decision],
        operation: str,
        request_id: str,
        timeout_s: float,
    ) -> Heard:
        begun = perf_counter()
        raw, decision, error = RawAnswer(b""), None, None
        try:
            raw = self._line(call, request_id, timeout_s or self.party.timeout_s)
            decision = read(raw)
        except HubError as failed:
            error = failed
        heard = Heard(decision, error, raw)
        mask = self._mask(about)
        ended = mask(heard.words)
        took_ms = (perf_counter() - begun) * 1000
        sent, answered = mask(sent_text(call)), mask(answer_text(raw))
        self.evidence.append(Evidence(operation, request_id, sent, answered, raw.status, ended, took_ms))
        self.said.append(f"{operation}: {ended}")
        return heard

    def _mask(self, about: PayerTask | Notice) -> Mask:
        return mask_of([*personal_values(about), *self._hidden])

    def _learn(self, task: PayerTask, claim: Claim | None, heard: Heard) -> None:
        if claim is None:
            return
        if task.operation in UNDOES:
            if heard.outcome is Outcome.CANCELLED:
                claim.standing = Standing.NOTHING
        elif heard.decision is not None and heard.outcome is Outcome.APPROVED and self._tells_more(task, claim):
            claim.standing, claim.decision = Standing.STANDS, heard.decision
        elif claim.standing is Standing.DOUBTFUL and self._nothing_came_of(task, heard):
            claim.standing = Standing.NOTHING

    def _tells_more(self, task: PayerTask, claim: Claim) -> bool:
        """An inquiry tells nothing new about what was approved to our face."""
        return task.operation is not Operation.INQUIRE or claim.standing is Standing.DOUBTFUL

    def _nothing_came_of(self, task: PayerTask, heard: Heard) -> bool:
        if task.operation is Operation.INQUIRE:
            return heard.outcome in (Outcome.NOT_FOUND, Outcome.CANCELLED, Outcome.DECLINED)
        return heard.outcome is Outcome.DECLINED or isinstance(heard.error, Unavailable)


def cancel_of(claim: Claim, suffix: str = "-c", **changes: Any) -> PayerTask:
    """Take back what stands, by the party's number and amount."""
    asked = _about(claim.task, Operation.CANCEL, suffix)
    reference, amount = claim.decision.payer_reference, claim.decision.amount_fen
    return replace(asked, **{"original_reference": reference, "original_amount_fen": amount, **changes})


def reversal_of(task: PayerTask, suffix: str = "-c") -> PayerTask:
    """Take back whatever stands, by our request id alone."""
    return _about(task, Operation.REVERSE, suffix)


def inquiry_of(task: PayerTask, number: int = 1) -> PayerTask:
    """What became of it?"""
    return _about(task, Operation.INQUIRE, f"-q{number}")


def _about(task: PayerTask, operation: Operation, suffix: str) -> PayerTask:
    request_id = task.request_id + suffix
    return replace(task, operation=operation, request_id=request_id, original_request_id=task.request_id)
