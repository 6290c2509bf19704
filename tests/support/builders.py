"""Requests, rule books, cases and payers that tests build on; only what matters is passed in.

The payers here are honest witnesses: each keeps its own book of what it paid, whatever became of its answers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from routing.rulebook import RuleBook
from routing.rulebook_file import read_rule_book
from routing.states import CaseState, LegState
from schemas.codes import Layer, Outcome
from schemas.errors import OutcomeUnknown, Unavailable
from schemas.identity import check_character
from schemas.money import share_fen, yuan_of
from schemas.payer import BasicResult, Capabilities, Decision, Operation, PayerTask, PreparedCall, RawAnswer
from store.records import CaseRecord, LegRecord

HOSPITAL = "H44030000001"
OTHER_HOSPITAL = "H44030000002"
REGION = "440300"
BASIC = "BASIC-440300"
CRITICAL = "CICI"
COMMERCIAL = "ANKANG"
COINSURERS = ("PINGHE", "YUEAN")
QUEUE_INSURER = "QIANHAI"
COMMERCIAL_PRODUCT = "city-benefit"
MOMENT = datetime(2026, 3, 2, 1, 15, tzinfo=UTC)


def an_id_card(first_17: str = "11010119900307123") -> str:
    """A citizen identity number with its check character."""
    return first_17 + check_character(first_17)


def a_settle_request(total_fen: int = 30_000, settlement_no: str = "S-1", **changes: Any) -> dict[str, Any]:
    """The JSON of a consistent outpatient settlement with one fee line; a trial has the same fields."""
    amount = yuan_of(total_fen)
    return {
        "institution": HOSPITAL,
        "settlement_no": settlement_no,
        "region": REGION,
        "patient": {"name": "欧阳·测试", "id_type": "01", "id_no": an_id_card()},
        "insurance": {"type": "310", "person_no": "P-1", "region": REGION},
        "visit": {
            "visit_no": "V-1",
            "kind": "outpatient",
            "medical_type": "11",
            "started_at": "2026-03-02T09:15:00+08:00",
        },
        "diagnoses": [{"code": "J00", "name": "急性鼻咽炎", "main": True}],
        "fees": [
            {
                "line_no": "1",
                "item_code": "XA01",
                "item_name": "阿莫西林胶囊",
                "category": "09",
                "price": amount,
                "quantity": "1",
                "amount": amount,
            }
        ],
        "total": amount,
    } | changes


def as_bytes(message: Mapping[str, Any]) -> bytes:
    """A message as a hospital sends it."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def a_party(code: str, kind: str = "insurer", **changes: Any) -> dict[str, Any]:
    """A party of a rule book."""
    return {"code": code, "kind": kind, "name": {"zh": code, "en": code}, "adapter": "stub"} | changes


def a_rule(id_: str, layer: str, *payers: str | tuple[str, int], **changes: Any) -> dict[str, Any]:
    """A rule of a rule book; a payer is a code, or a code with its weight."""
    parties = [{"party": one} if isinstance(one, str) else {"party": one[0], "weight": one[1]} for one in payers]
    return {
        "id": id_,
        "layer": layer,
        "product": id_,
        "payers": parties,
        "valid_from": "2020-01-01",
        "reason": {"zh": f"规则{id_}", "en": f"rule {id_}"},
    } | changes


BASIC_RULE = a_rule("basic", "basic", BASIC, when={"regions": [REGION]})
CRITICAL_RULE = a_rule("critical", "critical_illness", CRITICAL)
COMMERCIAL_RULE = a_rule("commercial", "commercial", COMMERCIAL, product=COMMERCIAL_PRODUCT, needs_coverage=True)
COINSURED_RULE = a_rule("coinsured", "supplementary", (COINSURERS[0], 60), (COINSURERS[1], 40))
QUEUE_RULE = a_rule("queue", "supplementary", QUEUE_INSURER)


def a_rule_book_text(*rules: Mapping[str, Any], parties: Sequence[Mapping[str, Any]] = (), **changes: Any) -> str:
    """The text of a rule book (JSON is YAML); without rules it has the basic and the critical-illness one."""
    chosen = rules or (BASIC_RULE, CRITICAL_RULE)
    named = {payer["party"]: None for rule in chosen for payer in rule["payers"]}
    adapters = {QUEUE_INSURER: "insurer.queue"}
    known = [
        a_party(code, "basic" if code.startswith("BASIC") else "insurer", adapter=adapters.get(code, "stub"))
        for code in named
    ]
    given = {party["code"] for party in parties}
    book = {
        "title": "test",
        "parties": [*parties, *(party for party in known if party["code"] not in given)],
        "institutions": [
            {"code": HOSPITAL, "name": "一院", "region": REGION, "amqp": True},
            {"code": OTHER_HOSPITAL, "name": "二院", "region": REGION},
        ],
        "rules": list(chosen),
    }
    return json.dumps(book | changes, ensure_ascii=False, indent=1)


def a_rule_book(*rules: Mapping[str, Any], **changes: Any) -> RuleBook:
    """A rule book; see `a_rule_book_text`."""
    return read_rule_book(a_rule_book_text(*rules, **changes))


def a_leg(leg_no: int, state: LegState = LegState.PLANNED, **changes: Any) -> LegRecord:
    """A leg; the first one is the basic system's."""
    values: dict[str, Any] = {
        "case_id": "",
        "leg_no": leg_no,
        "region": REGION,
        "payer": BASIC if leg_no == 1 else CRITICAL,
        "layer": Layer.BASIC if leg_no == 1 else Layer.CRITICAL_ILLNESS,
        "product": "p",
        "policy_no": None,
        "rule": "basic" if leg_no == 1 else "critical",
        "split": 0,
        "weight": 100,
        "independent": False,
        "state": state,
    }
    return LegRecord(**values | changes)


def a_case(*legs: LegRecord, state: CaseState = CaseState.OPEN, **changes: Any) -> CaseRecord:
    """A case of 300.00 yuan, received at MOMENT with 15 s to answer; without legs it has one planned basic leg."""
    values: dict[str, Any] = {
        "case_id": "01890000-0000-7000-8000-000000000001",
        "region": REGION,
        "institution": HOSPITAL,
        "settlement_no": "S-1",
        "purpose": Operation.SETTLE,
        "request_hash": "0" * 64,
        "total_fen": 30_000,
        "rulebook_version": 1,
        "considered": [["basic", ""]],
        "received_at": MOMENT,
        "answer_by": MOMENT + timedelta(seconds=15),
        "reply_to": f"out:{HOSPITAL}",
        "correlation_id": "M-1",
        "watch_at": MOMENT + timedelta(seconds=5),
        "state": state,
    } | changes
    values.setdefault("case_key", values["settlement_no"])
    case = CaseRecord(**values, legs=list(legs) or [a_leg(1)])
    for leg in case.legs:
        leg.case_id = case.case_id
    return case


def a_basic_decision(total_fen: int, fund_fen: int, account_fen: int = 0, hospital_fen: int = 0) -> Decision:
    """An approval of `wholly_in_scope`."""
    basic = wholly_in_scope(total_fen, fund_fen, account_fen, hospital_fen)
    return Decision(Outcome.APPROVED, fund_fen, "B-1", basic=basic)


def wholly_in_scope(total_fen: int, fund_fen: int, account_fen: int = 0, hospital_fen: int = 0) -> BasicResult:
    """The basic system pays `fund_fen` of a bill that is wholly in scope; what nobody bears is cash."""
    return BasicResult(
        total_fen=total_fen,
        own_pay_fen=0,
        over_limit_fen=0,
        first_self_pay_fen=0,
        in_scope_fen=total_fen,
        deductible_fen=0,
        fund_fen=fund_fen,
        account_fen=account_fen,
        cash_fen=total_fen - fund_fen - account_fen - hospital_fen,
        hospital_fen=hospital_fen,
        funds=(("310100", fund_fen),),
    )


@dataclass(slots=True)
class Entry:
    """One request in a payer's book: what it was about and what it came to."""

    operation: Operation
    amount_fen: int
    answer: bytes


Behaviour = Callable[["StubPayer", Mapping[str, Any]], bytes]


@dataclass
class StubPayer:
    """A payer in this process with a book of its own. It answers a repeated request id from its book, unless it is not
    idempotent: then a repeated settlement is one more settlement.

    `script` holds a behaviour for each coming call; when it is used up the payer pays `percent` of what is left.
    """

    percent: int = 50
    idempotent: bool = True
    inquiry: bool = False
    reversal: bool = False
    script: list[Behaviour] = field(default_factory=list)
    book: dict[str, Entry] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    account_fen: int = 0
    hospital_fen: int = 0
    under_way: list[Mapping[str, Any]] = field(default_factory=list)
    """Requests that it took in and has not booked: `land` does."""
    order: list[str] | None = None
    """Shared by payers whose effects are to be compared in time: the request ids in the order of their effect."""

    def __post_init__(self) -> None:
        self.capabilities = Capabilities(
            idempotent_submit=self.idempotent, inquiry=self.inquiry, reversal=self.reversal
        )
        self._lock = threading.Lock()

    @property
    def net_fen(self) -> int:
        """What it paid less what it took back."""
        signs = {Operation.SETTLE: 1, Operation.CANCEL: -1, Operation.REVERSE: -1, Operation.TRIAL: 0}
        return sum(signs[entry.operation] * entry.amount_fen for entry in self.book.values())

    @property
    def settled(self) -> list[str]:
        """Request ids of the settlements with effect."""
        return [id_ for id_, entry in self.book.items() if entry.operation is Operation.SETTLE and entry.amount_fen]

    def prepare(self, task: PayerTask) -> PreparedCall:
        body = {
            "operation": task.operation,
            "request_id": task.request_id,
            "basic": task.layer is Layer.BASIC,
            "total": task.request.total,
            "left": task.left_fen,
            "original": task.original_request_id,
            "original_amount": task.original_amount_fen,
        }
        return PreparedCall(json.dumps(body).encode(), "application/json")

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        task = json.loads(call.body)
        with self._lock:
            self.calls.append((task["operation"], task["request_id"]))
            behave = self.script.pop(0) if self.script else pays
        return RawAnswer(behave(self, task), 200, "application/json")

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        said = json.loads(answer.body)
        outcome = Outcome(said["outcome"])
        if outcome is Outcome.APPROVED and task.layer is Layer.BASIC:
            return a_basic_decision(task.request.total, said["amount"], self.account_fen, self.hospital_fen)
        return Decision(outcome, said["amount"], said.get("reference"), said.get("reason", ""))

    def close(self) -> None:
        """Nothing is open."""

    def enter(self, task: Mapping[str, Any], outcome: Outcome, amount_fen: int) -> bytes:
        """Book a request once; what the book says about it."""
        with self._lock:
            name = task["request_id"]
            known = self.book.get(name)
            if known is not None and not self.idempotent and task["operation"] == Operation.SETTLE:
                name, known = f"{name} once more ({len(self.book)})", None
            if known is None:
                answer = {"outcome": outcome, "amount": amount_fen, "reference": f"REF-{task['request_id'][-8:]}"}
                effective = outcome in (Outcome.APPROVED, Outcome.CANCELLED)
                known = Entry(Operation(task["operation"]), amount_fen if effective else 0, json.dumps(answer).encode())
                self.book[name] = known
                if self.order is not None:
                    self.order.append(name)
            return known.answer

    def land(self) -> list[bytes]:
        """Book what was under way inside it; what it says about each, though nobody hears it."""
        landed, self.under_way = self.under_way, []
        return [pays(self, task) for task in landed]


def pays(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    """Pays its percentage, or takes back what it paid; what it was told to undo before it came, it refuses."""
    if task["operation"] in (Operation.CANCEL, Operation.REVERSE):
        original = payer.book.get(task["original"])
        return payer.enter(task, Outcome.CANCELLED, original.amount_fen if original else 0)
    if task["operation"] == Operation.INQUIRE:
        known = payer.book.get(task["original"])
        return known.answer if known else finds_nothing(payer, task)
    if f"{task['request_id']}-c" in payer.book:
        return payer.enter(task, Outcome.DECLINED, 0)
    return payer.enter(task, Outcome.APPROVED, share_fen(task["left"], payer.percent, 100))


def declines(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    return payer.enter(task, Outcome.DECLINED, 0)


def defers(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    return payer.enter(task, Outcome.DEFERRED, 0)


def unreachable(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    raise Unavailable("nothing left")


def lost_after_effect(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    """Does what it is asked, and its answer is lost."""
    pays(payer, task)
    raise OutcomeUnknown("no answer")


def lost_before_effect(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    raise OutcomeUnknown("no answer")


def lost_after_refusal(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    """Declines, and its answer is lost."""
    declines(payer, task)
    raise OutcomeUnknown("no answer")


def lands_later(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    """Takes the request in, gives no answer, and books it only with `StubPayer.land`."""
    payer.under_way.append(task)
    raise OutcomeUnknown("no answer")


def finds_nothing(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    """Says that it never heard of the request, whatever its book says."""
    return json.dumps({"outcome": Outcome.NOT_FOUND, "amount": 0}).encode()


def babbles(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    return b"<html>busy</html>"


def pays_too_much(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    return payer.enter(task, Outcome.APPROVED, task["left"] + 1)


def when(released: threading.Event, then: Behaviour = pays) -> Behaviour:
    """Does nothing before `released` (30 s at most), then behaves as `then`."""

    def behave(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
        released.wait(30)
        return then(payer, task)

    return behave
