"""Payers with books of their own, which survive everything: the independent witnesses of a run.

A payer does what its traits promise and no more. What it says may be lost, late, doubled or rubbish; what it booked
stands in its book, and only the book is believed at the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from hub.broker.topology import in_exchange
from hub.broker.transport import OutboundMessage
from schemas.codes import Layer, Outcome
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Unavailable
from schemas.money import fen_of, share_fen, yuan_of
from schemas.payer import BasicResult, Capabilities, Decision, Operation, PayerTask, PreparedCall, RawAnswer
from simulation.chaos import Chaos, Fault
from simulation.loop import Loop, Parking

WINDOW_S = 12.0
"""Within this time after it was sent a request has taken effect, or never will: the payers' side of the bargain."""
LATE_WITHIN = 0.9
_RUBBISH = (b"<html>busy</html>", b'{"outcome": "appr', b"\xff\xfe\x00", b"[]", b"")
JSON = "application/json"


@dataclass(slots=True)
class Entry:
    """One request in the book."""

    operation: str
    outcome: Outcome
    amount_fen: int
    answer: dict[str, Any]
    said: dict[str, Any]
    """What was asked, to see that no id is used for anything else."""
    applied: int = 0
    taken_back: int = 0
    lies: bool = False
    """The first inquiry is told that there is no such request."""
    open: bool = False
    """Deferred, and neither decided nor withdrawn since."""

    @property
    def net(self) -> int:
        return self.applied - self.taken_back


@dataclass
class Payer:
    """One payer's system."""

    code: str
    can: Capabilities
    percent: int
    timeout_s: float
    loop: Loop
    chaos: Chaos
    watcher: Any
    """The invariants, told of everything that reaches or changes a book."""
    publish: Any = None
    book: dict[str, Entry] = field(default_factory=dict)
    barred: set[str] = field(default_factory=set)
    """Requests reversed before they came."""
    inquired: Counter[str] = field(default_factory=Counter)
    down_until: float = -1.0
    reference: int = 0

    @property
    def is_down(self) -> bool:
        return self.loop.now < self.down_until and not self.chaos.healed

    # What it does with a request that has reached it.

    def process(self, asked: dict[str, Any], sent_at: float) -> dict[str, Any]:
        """Book what is asked, once; what it says about it."""
        operation = asked["operation"]
        if operation == "inquire":
            return self._inquired(asked)
        if operation in ("cancel", "reverse"):
            return self._undone(asked)
        entry = self.book.get(asked["request_id"])
        if entry is None:
            return self._new(asked, sent_at)
        self.watcher.same_content(self, entry, asked)
        if not self.can.idempotent_submit and entry.outcome is Outcome.APPROVED and operation == "settle":
            entry.applied += 1
            self.watcher.booked(self, asked["request_id"], entry)
        return entry.answer

    def _new(self, asked: dict[str, Any], sent_at: float) -> dict[str, Any]:
        id_ = asked["request_id"]
        name = (self.code, asked["name"])
        if id_ in self.barred or self.chaos.happens(Fault.DECLINES, *name):
            outcome, amount = Outcome.DECLINED, 0
        elif self.chaos.happens(Fault.DEFERS, *name) or (
            self.can.by_queue and self.chaos.happens(Fault.DEFERS, "by queue", *name)
        ):
            outcome, amount = Outcome.DEFERRED, 0
        else:
            outcome, amount = Outcome.APPROVED, share_fen(asked["left"], self.percent, 100)
        answer = self._answer(asked, outcome, amount)
        entry = Entry(asked["operation"], outcome, amount, answer, asked)
        if self.chaos.happens(Fault.INQUIRY_LIES, *name):
            entry.lies = True
        self.book[id_] = entry
        if outcome is Outcome.APPROVED and asked["operation"] == "settle":
            entry.applied = 1
            self.watcher.booked(self, id_, entry)
        elif outcome is Outcome.DEFERRED and asked["operation"] == "settle":
            entry.open = True
            if self.can.by_queue and self.chaos.happens(Fault.DECIDES_LATER, *name):
                delay_s = self.chaos.between(5.0, 400.0, "decides", *name)
                self.loop.after(delay_s, self._decides, asked, entry)
        return answer

    def _decides(self, asked: dict[str, Any], entry: Entry) -> None:
        """The word that a deferral put off."""
        if not entry.open:
            return
        entry.open = False
        entry.outcome = Outcome.APPROVED
        entry.amount_fen = share_fen(asked["left"], self.percent, 100)
        entry.answer = self._answer(asked, entry.outcome, entry.amount_fen)
        entry.applied += 1
        self.watcher.booked(self, asked["request_id"], entry)
        self._say(entry.answer)

    def _undone(self, asked: dict[str, Any]) -> dict[str, Any]:
        id_, original = asked["request_id"], asked["original"]
        known = self.book.get(id_)
        if known is not None:
            self.watcher.same_content(self, known, asked)
            return known.answer
        entry = self.book.get(original)
        refused = asked["operation"] == "cancel" and (entry is None or entry.outcome is Outcome.DECLINED)
        if refused or self.chaos.happens(Fault.REFUSES_UNDO, self.code, asked["name"]):
            outcome, amount = Outcome.DECLINED, 0
        else:
            outcome, amount = Outcome.CANCELLED, entry.amount_fen if entry is not None else 0
            self.barred.add(original)
            if entry is not None:
                self._take_back(original, entry)
        answer = self._answer(asked, outcome, amount)
        self.book[id_] = Entry(asked["operation"], outcome, 0, answer, asked)
        return answer

    def _take_back(self, id_: str, entry: Entry) -> None:
        entry.open = False
        if entry.net > 0:
            entry.taken_back += 1
            self.watcher.taken_back(self, id_, entry)
        if entry.outcome in (Outcome.APPROVED, Outcome.DEFERRED):
            entry.outcome = Outcome.CANCELLED
            # Whoever asks for it again hears that it is undone, never that it stands.
            entry.answer = self._answer(entry.said, Outcome.DECLINED, 0)

    def _inquired(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.inquired[asked["original"]] += 1
        entry = self.book.get(asked["original"])
        if entry is not None and entry.lies and self.inquired[asked["original"]] == 1:
            entry = None
        if entry is None:
            return self._answer(asked, Outcome.NOT_FOUND, 0)
        return entry.answer | {"outcome": entry.outcome.value, "request_id": asked["request_id"]}

    def _answer(self, asked: dict[str, Any], outcome: Outcome, amount_fen: int) -> dict[str, Any]:
        self.reference += 1
        return {
            "request_id": asked["request_id"],
            "outcome": outcome.value,
            "amount": yuan_of(amount_fen),
            "payer_reference": f"{self.code}-{self.reference}",
            "decided_at": self.loop.wall().isoformat(),
        }

    # By call.

    def call(self, body: bytes, timeout_s: float) -> RawAnswer:
        """From within a task: the answer, or the errors that an adapter's client raises."""
        asked: dict[str, Any] = orjson.loads(body)
        loop, chaos = self.loop, self.chaos
        name = (self.code, asked["operation"], asked["name"])
        self.watcher.sent(self, asked)
        if loop.trace is not None:
            loop.note(self.code, f"is sent {asked['operation']} {asked['name']}")
        if self.is_down or chaos.happens(Fault.NOT_REACHED, *name):
            loop.sleep(0.01)
            raise Unavailable("not reached")
        parking = Parking(loop)
        delay_s = chaos.between(0.005, 0.08, "travel", *name)
        if chaos.happens(Fault.REQUEST_LOST, *name):
            loop.note(self.code, "the request is lost on its way")
        else:
            if chaos.happens(Fault.REQUEST_LATE, *name):
                delay_s = chaos.between(timeout_s, LATE_WITHIN * WINDOW_S, "late", *name)
                loop.note(self.code, f"the request is under way for {delay_s:.1f} s")
            loop.after(delay_s, self._arrived, asked, parking, loop.now)
            if self.can.idempotent_submit and chaos.happens(Fault.REQUEST_TWICE, *name):
                loop.after(delay_s + chaos.between(0.0, 20.0, "twice", *name), self._arrived, asked, None, loop.now)
        if not parking.wait(timeout_s):
            raise OutcomeUnknown("no answer in time")
        return RawAnswer(parking.value, 200, JSON)

    def _arrived(self, asked: dict[str, Any], parking: Parking | None, sent_at: float) -> None:
        if self.is_down:
            return
        loop, chaos = self.loop, self.chaos
        name = (self.code, asked["operation"], asked["name"])
        answer = self.process(asked, sent_at)
        if loop.trace is not None:
            said = f"{asked['operation']} {asked['name']}: {answer['outcome']} {answer['amount']}"
            loop.note(self.code, said)
        if parking is None:
            return
        if chaos.happens(Fault.ANSWER_LOST, *name):
            loop.note(self.code, "its answer is lost")
            return
        delay_s = chaos.between(0.005, 0.1, "answer", *name)
        if chaos.happens(Fault.ANSWER_LATE, *name):
            delay_s += chaos.between(0.5, 8.0, "answer late", *name)
        loop.after(delay_s, parking.wake, self._bytes(answer, name))

    def _bytes(self, answer: dict[str, Any], name: tuple[object, ...]) -> bytes:
        if self.chaos.happens(Fault.GARBAGE, *name):
            self.loop.note(self.code, "answers rubbish")
            return self.chaos.choose(_RUBBISH, "rubbish", *name)
        if self.chaos.happens(Fault.UNKNOWN_WORD, *name):
            answer = answer | {"outcome": "perhaps"}
        if answer["outcome"] == "approved" and self.chaos.happens(Fault.WRONG_SUM, *name):
            answer = answer | {"amount": "99999999.99"}
        return orjson.dumps(answer)

    # By queue.

    def take(self, message: OutboundMessage) -> None:
        """A task from its queue."""
        asked: dict[str, Any] = orjson.loads(message.body)
        name = (self.code, asked["operation"], asked["name"])
        self.watcher.sent(self, asked)
        delay_s = self.chaos.between(0.01, 0.3, "works", *name)
        if self.is_down:
            delay_s += self.down_until - self.loop.now
        if self.chaos.happens(Fault.REQUEST_LATE, *name):
            delay_s += self.chaos.between(1.0, 120.0, "late", *name)
        self.loop.after(delay_s, self._worked, asked)

    def _worked(self, asked: dict[str, Any]) -> None:
        name = (self.code, asked["operation"], asked["name"])
        answer = self.process(asked, self.loop.now)
        if self.loop.trace is not None:
            said = f"{asked['operation']} {asked['name']}: {answer['outcome']} {answer['amount']}"
            self.loop.note(self.code, said)
        self._say(answer)
        if self.chaos.happens(Fault.ANSWER_TWICE, *name):
            self.loop.after(self.chaos.between(0.0, 60.0, "again", *name), self._say, answer)

    def _say(self, answer: dict[str, Any]) -> None:
        self.publish(self.code, orjson.dumps(answer))


class SimAdapter:
    """The adapter of a simulated payer: JSON with what the book needs, nothing more."""

    def __init__(self, payer: Payer) -> None:
        self._payer = payer
        self.capabilities = payer.can

    def prepare(self, task: PayerTask) -> PreparedCall:
        return PreparedCall(
            orjson.dumps(
                {
                    "operation": task.operation.value,
                    "request_id": task.request_id,
                    "name": f"{task.request.settlement_no}/{task.request_id[33:]}",
                    "case_id": task.case_id,
                    "leg_no": task.leg_no,
                    "total": task.request.total,
                    "left": task.request.total if task.layer is Layer.BASIC else task.left_fen,
                    "original": task.original_request_id,
                    "reference": task.original_reference,
                    "amount": task.original_amount_fen,
                }
            ),
            JSON,
        )

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        return self._payer.call(call.body, timeout_s)

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        try:
            said = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            raise Malformed("no JSON") from None
        if not isinstance(said, dict) or said.get("request_id") != task.request_id:
            raise OutcomeUnknown("not an answer to this request")
        try:
            outcome = Outcome(said["outcome"])
        except ValueError:
            return Decision(Outcome.UNKNOWN, raw_code=str(said["outcome"]))
        amount = fen_of(said["amount"])
        basic = _adjudicated(task, amount) if outcome is Outcome.APPROVED and task.layer is Layer.BASIC else None
        if outcome is Outcome.CANCELLED and task.operation is Operation.CANCEL and amount != task.original_amount_fen:
            raise InvalidMessage("not what was settled", code="cancel.mirror")
        return Decision(outcome, amount, said["payer_reference"], basic=basic)

    def close(self) -> None:
        """Nothing is open."""


def _adjudicated(task: PayerTask, fund_fen: int) -> BasicResult:
    total = task.request.total
    account = (total - fund_fen) // 5
    hospital = (total - fund_fen) // 50
    return BasicResult(
        total_fen=total,
        own_pay_fen=0,
        over_limit_fen=0,
        first_self_pay_fen=0,
        in_scope_fen=total,
        deductible_fen=0,
        fund_fen=fund_fen,
        account_fen=account,
        cash_fen=total - fund_fen - account - hospital,
        hospital_fen=hospital,
        funds=(("310100", fund_fen),),
    )


def answer_message(party: str, body: bytes, number: int) -> OutboundMessage:
    """A claim's answer as the payer publishes it."""
    return OutboundMessage(
        message_id=f"{party}-{number}",
        exchange=in_exchange(party),
        routing_key="claim.answer",
        body=body,
        type="claim.answer",
    )
