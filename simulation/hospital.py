"""Hospitals that settle, repeat, change their minds and lose patience, by queue and by HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson

from hub.broker.topology import in_exchange
from hub.broker.transport import OutboundMessage
from schemas.identity import check_character
from schemas.money import yuan_of
from simulation.chaos import Chaos, Fault
from simulation.loop import Loop

BY_QUEUE, BY_HTTP = "H44030000001", "H44030000002"
REGION = "440300"
TOTALS_FEN = (30_000, 12_345, 99_999, 1, 250_001, 7_777)
PUBLISH_AGAIN_S = 3.0
CALL_AGAIN_S = 4.0
CALLS_MAX = 12
_NUMBER = "@@NUMBER@@"


@cache
def _request(institution: str, total_fen: int, department: str) -> tuple[bytes, bytes]:
    """The JSON of a settlement, in front of its number and behind it."""
    amount = yuan_of(total_fen)
    first_17 = "11010119900307123"
    message = {
        "institution": institution,
        "settlement_no": _NUMBER,
        "region": REGION,
        "patient": {"name": "测试", "id_type": "01", "id_no": first_17 + check_character(first_17)},
        "insurance": {"type": "310", "person_no": "P-1", "region": REGION},
        "visit": {
            "visit_no": "V-1",
            "kind": "outpatient",
            "medical_type": "11",
            "started_at": "2026-02-27T09:15:00+08:00",
            "department": department,
        },
        "diagnoses": [{"code": "J00", "name": "J00", "main": True}],
        "fees": [
            {
                "line_no": "1",
                "item_code": "XA01",
                "item_name": "XA01",
                "category": "09",
                "price": amount,
                "quantity": "1",
                "amount": amount,
            }
        ],
        "total": amount,
    }
    before, _, after = orjson.dumps(message).partition(_NUMBER.encode())
    return before, after


@dataclass(slots=True)
class Said:
    """One message of a hospital, and what became of it."""

    transaction: str
    message_id: str
    body: bytes
    accepted: bool = False
    refused: str = ""
    case_id: str = ""
    answers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Visit:
    """One bill of one patient with everything said about it."""

    number: int
    institution: str
    settlement_no: str
    total_fen: int
    trial: bool
    said: list[Said] = field(default_factory=list)
    reused: Said | None = None
    """A message about another number under the id of one about this."""

    @property
    def by_queue(self) -> bool:
        return self.institution == BY_QUEUE

    @property
    def first(self) -> Said:
        return self.said[0]


class Hospital:
    """Every hospital of a run: what they plan to say, and what they heard."""

    def __init__(
        self,
        loop: Loop,
        chaos: Chaos,
        publish: Callable[[OutboundMessage, Callable[[], None]], None],
        call: Callable[[Visit, Said, Callable[[bool], None]], None],
    ) -> None:
        self.loop = loop
        self.chaos = chaos
        self.visits: list[Visit] = []
        self._publish = publish
        self._call = call
        self._by_message: dict[str, Said] = {}

    def plan(self, number: int) -> None:
        """Decide what is said about one bill, and when."""
        chaos = self.chaos
        name = ("visit", number)
        institution = chaos.choose((BY_QUEUE, BY_QUEUE, BY_HTTP), "institution", *name)
        trial = chaos.number("trial", *name) < 0.08
        visit = Visit(number, institution, f"S-{number}", chaos.choose(TOTALS_FEN, "total", *name), trial)
        self.visits.append(visit)
        settle = self._settle(visit, f"M-{number}")
        start = chaos.between(0.0, 12.0, "start", *name)
        undo = chaos.number("undo", *name)
        if trial or undo < 0.45:
            self._say_at(start, visit, settle)
        elif undo < 0.75:
            self._say_at(start, visit, settle)
            self._undo_at(start + chaos.choose((0.2, 3.0, 20.0, 90.0), "later", *name), visit, "cancel")
        else:
            self._say_at(start, visit, settle)
            self._undo_at(start + chaos.choose((-2.0, 0.05, 1.0, 18.0, 60.0), "later", *name), visit, "reverse")
        self._trouble(visit, settle, start)
        if chaos.number("query", *name) < 0.3:
            query = self._said(visit, "case.query", f"Q-{number}", {})
            self._say_at(start + chaos.between(0.5, 60.0, "query at", *name), visit, query)

    def _settle(self, visit: Visit, message_id: str, department: str = "A", settlement_no: str = "") -> Said:
        before, after = _request(visit.institution, visit.total_fen, department)
        body = before + (settlement_no or visit.settlement_no).encode() + after
        said = Said("settlement.trial" if visit.trial else "settlement.settle", message_id, body)
        self._keep(visit, said)
        return said

    def _keep(self, visit: Visit, said: Said) -> None:
        visit.said.append(said)
        self._by_message[said.message_id] = said

    def _said(self, visit: Visit, transaction: str, message_id: str, more: dict[str, str]) -> Said:
        content = {"institution": visit.institution, "settlement_no": visit.settlement_no} | more
        said = Said(transaction, message_id, orjson.dumps(content))
        self._keep(visit, said)
        return said

    def _undo_at(self, when: float, visit: Visit, kind: str) -> None:
        number = f"{'C' if kind == 'cancel' else 'R'}-{visit.number}"
        said = self._said(visit, f"settlement.{kind}", f"M{number}", {f"{kind}_no": number, "reason": "wrong"})
        self._say_at(when, visit, said)
        if self.chaos.happens(Fault.REPEATED, "undo", visit.number):
            self._say_at(when + self.chaos.between(0.0, 100.0, "undo again", visit.number), visit, said)

    def _trouble(self, visit: Visit, settle: Said, start: float) -> None:
        chaos, number = self.chaos, visit.number
        if chaos.happens(Fault.REPEATED, number):
            self._say_at(start + chaos.between(0.0, 40.0, "again", number), visit, settle)
        if chaos.happens(Fault.REPEATED, "new message", number) and not visit.trial:
            again = self._settle(visit, f"M2-{number}")
            self._say_at(start + chaos.between(0.0, 40.0, "again too", number), visit, again)
        if chaos.happens(Fault.OTHER_CONTENT, number) and not visit.trial:
            other = self._settle(visit, f"M3-{number}", department="B")
            self._say_at(start + chaos.between(0.0, 40.0, "other", number), visit, other)
        if chaos.happens(Fault.ID_REUSED, number):
            reused = self._settle(visit, f"M-{number}", settlement_no=f"T-{number}")
            visit.said.remove(reused)
            visit.reused = reused
            self._by_message[settle.message_id] = settle
            self._say_at(start + chaos.between(0.5, 40.0, "reused", number), visit, reused)

    # Saying it.

    def _say_at(self, when: float, visit: Visit, said: Said) -> None:
        self.loop.at(max(when, 0.0), self._say, visit, said)

    def _say(self, visit: Visit, said: Said) -> None:
        if self.loop.trace is not None:
            self.loop.note("hospital", f"says {said.transaction} {said.message_id} about {visit.settlement_no}")
        if visit.by_queue:
            self._post(visit, said)
        else:
            self._ring(visit, said, 1)

    def _post(self, visit: Visit, said: Said) -> None:
        message = OutboundMessage(
            message_id=said.message_id,
            exchange=in_exchange(visit.institution),
            routing_key=said.transaction,
            body=said.body,
            type=said.transaction,
        )
        confirmed = [False]

        def confirm() -> None:
            confirmed[0] = True
            said.accepted = True

        def again() -> None:
            if not confirmed[0]:
                self._post(visit, said)

        self._publish(message, confirm)
        self.loop.after(PUBLISH_AGAIN_S, again)

    def _ring(self, visit: Visit, said: Said, calls: int) -> None:
        def heard(usable: bool) -> None:
            if not usable and calls < CALLS_MAX:
                delay_s = CALL_AGAIN_S * self.chaos.between(0.5, 2.0, "call again", said.message_id)
                self.loop.after(delay_s, self._ring, visit, said, calls + 1)

        self._call(visit, said, heard)

    # Hearing.

    def answered(self, message: OutboundMessage) -> None:
        """A message in the hospital's queue."""
        said = self._by_message.get(message.correlation_id)
        content = orjson.loads(message.body)
        if said is None:
            return
        if message.type == "error.answer":
            said.refused = said.refused or content["error"]
        else:
            said.answers.append(content)
            said.case_id = content["case_id"]
