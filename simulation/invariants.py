"""What must hold whatever happens: watched while a run goes on, and proved against the payers' books at its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from routing.states import (
    CASE_TRANSITIONS,
    LEG_TRANSITIONS,
    CaseState,
    LegEvent,
    LegState,
)
from schemas.money import fen_of
from schemas.payer import Operation
from simulation import ledger
from simulation.memory import Database, Tables
from simulation.payers import Entry, Payer
from simulation.stores import CASE_STATE, CASE_VERSION, LEG_COLUMNS, LEG_STATE, LEG_VERSION, case_of
from store.answers import StoredAnswer
from store.records import CaseRecord, LegRecord


@dataclass(frozen=True, slots=True)
class Failure:
    """A broken promise: its kind (what shrinking keeps), and what happened."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def _reachable(table: Any) -> dict[Any, frozenset[Any]]:
    """From each state, every state that some events lead to, itself included."""
    found = {}
    for start in table:
        seen, todo = {start}, [start]
        while todo:
            for target in table[todo.pop()].values():
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        found[start] = frozenset(seen)
    return found


_LEG_REACHABLE = _reachable(
    # Only people take back what has ended, and nobody is at the desk here.
    {
        state: {event: target for event, target in moves.items() if event is not LegEvent.TAKE_BACK}
        for state, moves in LEG_TRANSITIONS.items()
    }
)
_CASE_REACHABLE = _reachable(CASE_TRANSITIONS)
_AMOUNT = LEG_COLUMNS.index("amount_fen")
PEOPLE = (LegState.HELD, LegState.CANCEL_HELD)
STANDING = (LegState.APPROVED, LegState.CANCELLING, LegState.CANCEL_HELD)
NOTHING_STANDS = (
    LegState.PLANNED,
    LegState.DECLINED,
    LegState.DEFERRED,
    LegState.NOT_NEEDED,
    LegState.CANCELLED,
    LegState.REVERSED,
)
TERMINAL = (CaseState.SETTLED, CaseState.DECLINED, CaseState.CANCELLED)
ENDED = (*NOTHING_STANDS[1:], LegState.APPROVED)
"""What a leg of an ended case may be; of a cancelled one nothing stands either."""


class Watcher:
    """Told of every commit, of everything sent to a payer and of every change of a book."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.failures: list[Failure] = []
        self.payers: dict[str, Payer] = {}
        self.answers = 0
        self.arrived_at: dict[str, float] = {}
        self.late_approval_reverses = False
        self.resolved_s = 0.0
        """The longest time from a case's arrival to an end of it."""
        database.observers.append(self.committed)

    def fail(self, kind: str, text: str) -> None:
        self.failures.append(Failure(kind, text))
        self.database.loop.note("VIOLATED", f"{kind}: {text}")

    # While it runs.

    def committed(self, tables: Tables, writes: Tables) -> None:
        for case_id, row in writes.get("cases", {}).items():
            self._case_moved(case_id, tables["cases"].get(case_id), row)
        for case_id, legs in writes.get("legs", {}).items():
            before = tables["legs"].get(case_id)
            if before is not None:
                for old, new in zip(before, legs, strict=True):
                    self._leg_moved(case_id, old, new)
        for case_id, answers in writes.get("answers", {}).items():
            self._answered(case_id, tables["answers"].get(case_id) or (), answers)

        for complaint in ledger.only_added(tables, writes):
            self.fail("I4 changed", complaint)

    def _case_moved(self, case_id: str, old: Any, new: Any) -> None:
        now = self.database.loop.now
        if old is None:
            self.arrived_at[case_id] = now
            return
        if new[CASE_STATE] in TERMINAL and old[CASE_STATE] is not new[CASE_STATE]:
            self.resolved_s = max(self.resolved_s, now - self.arrived_at[case_id])
        if new[CASE_VERSION] <= old[CASE_VERSION]:
            self.fail("I9 version", f"case {case_id[-6:]} went from {old[CASE_VERSION]} to {new[CASE_VERSION]}")
        if new[CASE_STATE] not in _CASE_REACHABLE[old[CASE_STATE]]:
            self.fail("I9 transition", f"case {case_id[-6:]} went from {old[CASE_STATE]} to {new[CASE_STATE]}")
        self._trace(case_id, "case", old[CASE_STATE], new[CASE_STATE])

    def _leg_moved(self, case_id: str, old: Any, new: Any) -> None:
        if new is old:
            return
        before, after = old[LEG_STATE], new[LEG_STATE]
        name = f"leg {case_id[-6:]}/{old[1]}"
        if new[LEG_VERSION] < old[LEG_VERSION] or (new[LEG_VERSION] == old[LEG_VERSION] and new != old):
            self.fail("I9 version", f"{name} went from {old[LEG_VERSION]} to {new[LEG_VERSION]}")
        if after not in _LEG_REACHABLE[before]:
            self.fail("I9 transition", f"{name} went from {before} to {after}")
        if before is LegState.APPROVED and after is LegState.APPROVED and old[_AMOUNT] != new[_AMOUNT]:
            self.fail("I9 amount", f"{name} was {old[_AMOUNT]} and is {new[_AMOUNT]} fen")
        self._trace(case_id, f"leg {old[1]}", before, after)

    def _trace(self, case_id: str, what: str, before: Any, after: Any) -> None:
        loop = self.database.loop
        if loop.trace is not None and before is not after:
            who = loop.current.name if loop.current is not None else "-"
            loop.note(who, f"{what} of {case_id[-6:]}: {before} -> {after}")

    def _answered(self, case_id: str, old: tuple[StoredAnswer, ...], new: tuple[StoredAnswer, ...]) -> None:
        if new[: len(old)] != old:
            self.fail("I10 answer changed", f"an answer of case {case_id[-6:]} was written anew")
        before = orjson.loads(old[-1].body) if old else None
        for answer in new[len(old) :]:
            if old and answer.revision <= old[-1].revision:
                self.fail(
                    "I10 revision", f"case {case_id[-6:]} has revision {answer.revision} after {old[-1].revision}"
                )
            said = self.adds_up(answer.body)
            if before is not None and self.late_approval_reverses:
                self._late_approval(before, said)
            before = said

    def _late_approval(self, before: dict[str, Any], said: dict[str, Any]) -> None:
        """The policy `reverse`: what the patient has paid in cash no payer takes over afterwards."""
        if said["status"] not in ("settled", "partly_settled"):
            return
        for old, new in zip(before["shares"], said["shares"], strict=True):
            if new["state"] == "approved" and old["state"] != "approved":
                self.fail("late approval", f"case {said['case_id'][-6:]}: {new['payer']} pays after all")

    def adds_up(self, body: bytes) -> dict[str, Any]:
        """An answer that somebody gets: its parts are the whole bill, none is negative."""
        self.answers += 1
        said: dict[str, Any] = orjson.loads(body)
        shares = sum(fen_of(share["amount"]) for share in said["shares"])
        parts = shares + fen_of(said["account"]) + fen_of(said["hospital_borne"]) + fen_of(said["cash"])
        if parts != fen_of(said["total"]):
            self.fail("I3 sum", f"an answer of case {said['case_id'][-6:]} does not add up")
        return said

    def sent(self, payer: Payer, asked: dict[str, Any]) -> None:
        """A request is about to leave: it must be committed, under an id of its leg, while its leg is being asked."""
        tables = self.database.tables
        case_id, number, id_ = asked["case_id"], asked["leg_no"], asked["request_id"]
        base = f"{case_id.replace('-', '')}-{number}"
        if not any(key[0] == id_ for key in tables["requests"] if isinstance(key, tuple)):
            self.fail("I8 not committed", f"{payer.code} is sent {id_[-8:]} before its row")
        kinds = {"settle": base, "trial": base, "cancel": f"{base}-c", "reverse": f"{base}-c"}
        wanted = kinds.get(asked["operation"])
        right = id_.startswith(f"{base}-q") if wanted is None else id_ == wanted
        if not right:
            self.fail("I7 new id", f"{payer.code} is sent {asked['operation']} under {id_[-8:]}")

    def same_content(self, payer: Payer, entry: Entry, asked: dict[str, Any]) -> None:
        """Under one id always the same is said."""
        if entry.said != asked:
            differing = [name for name in asked if asked[name] != entry.said.get(name)]
            self.fail("I7 id reused", f"{payer.code} gets {asked['request_id'][-8:]} again with another {differing}")

    def booked(self, payer: Payer, id_: str, entry: Entry) -> None:
        if entry.net > 1:
            self.fail("I2 doubled", f"{payer.code} has booked {id_[-8:]} {entry.net} times")

    def taken_back(self, payer: Payer, id_: str, entry: Entry) -> None:
        """Later payers give back before earlier ones."""
        if entry.net < 0:
            self.fail("I2 reversed twice", f"{payer.code} has taken {id_[-8:]} back too often")
        case_hex, _, number = id_.rpartition("-")
        for other in self.payers.values():
            for other_id, later in other.book.items():
                if later.net > 0 and other_id.startswith(case_hex) and "-c" not in other_id:
                    later_no = int(other_id.rpartition("-")[2])
                    if later_no > int(number) and self._hub_knows(case_hex, later_no):
                        self.fail("order of undo", f"{id_[-8:]} is taken back while {other_id[-8:]} stands")

    def _hub_knows(self, case_hex: str, number: int) -> bool:
        """Whether the hub has that later share for approved: only then could it have asked it back first."""
        for case_id, legs in self.database.tables["legs"].items():
            if case_id.replace("-", "") == case_hex:
                return legs[number - 1][LEG_STATE] in (LegState.APPROVED, LegState.CANCELLING)
        return False

    # At the end.

    def cases(self) -> Iterable[CaseRecord]:
        tables = self.database.tables
        for case_id, row in tables["cases"].items():
            yield case_of(row, tables["legs"].get(case_id) or ())

    def compare_books(self) -> None:
        """I2, I4 and I6: what the hub says and has booked, and what stands in the payers' own books."""
        for case in self.cases():
            for complaint in ledger.wrong(case, self.database.tables[ledger.LEDGER].get(case.case_id) or ()):
                self.fail("I4 ledger", complaint)
            for leg in case.legs:
                stands = case.state is CaseState.CANCELLED and leg.state is LegState.APPROVED
                if case.state in TERMINAL and (stands or leg.state not in ENDED):
                    self.fail("I9 ended open", f"case {case.case_id[-6:]} is {case.state} with a leg {leg.state}")
                entry = self.payers[leg.payer].book.get(leg.request_id)
                net = entry.net if entry is not None else 0
                name = f"leg {case.case_id[-6:]}/{leg.leg_no} ({leg.payer})"
                if net not in (0, 1):
                    self.fail("I2 doubled", f"{name} stands {net} times at the payer")
                if case.purpose is Operation.TRIAL:
                    continue
                self._compare(leg, entry, net, name)
        self._unknown_effects()

    def _compare(self, leg: LegRecord, entry: Entry | None, net: int, name: str) -> None:
        if on_peoples_list(leg):
            return
        if leg.state in NOTHING_STANDS and net != 0:
            self.fail("I6 lost", f"{name} is {leg.state} and stands at the payer")
        if leg.state is LegState.APPROVED:
            if net != 1 or entry is None:
                self.fail("I6 invented", f"{name} is approved and does not stand at the payer")
            elif entry.amount_fen != leg.amount_fen:
                self.fail("I6 wrong fen", f"{name} is {leg.amount_fen} fen here and {entry.amount_fen} there")

    def _unknown_effects(self) -> None:
        known = {leg.request_id for case in self.cases() for leg in case.legs}
        for payer in self.payers.values():
            for id_, entry in payer.book.items():
                if entry.net and id_ not in known:
                    self.fail("I6 unknown", f"{payer.code} has {id_[-8:]}, which the hub does not know")


def on_peoples_list(leg: LegRecord) -> bool:
    """Nothing more happens by itself: a person with evidence has the next word."""
    if leg.state in PEOPLE:
        return True
    return leg.state in (LegState.IN_DOUBT, LegState.CANCELLING, LegState.REVERSING) and leg.next_at is None


def at_rest(case: CaseRecord) -> bool:
    """Ended, or with people, and the hospital has been told."""
    if case.revision == 0:
        return False
    return case.state in TERMINAL or any(on_peoples_list(leg) for leg in case.legs)
