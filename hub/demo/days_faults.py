"""What goes wrong on purpose, where, and what reconciliation must make of it.

Statements go wrong (rows missing, twice, a fen too much, a day late, a refund forgotten, a settlement that nobody asked
for), and two things happen for real: an answer is lost of a payer that cannot be asked, and a payer's own staff undoes
a settlement and tells nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson
import urllib3

from hub.demo.days_close import Found, Item
from hub.demo.days_life import LivedDay
from hub.demo.stage import DemoFailed
from sandbox import entries, parties
from sandbox.faults import Fault
from sandbox.faults import FaultKind as PartyFault
from sandbox.parties_dialects import GUANGXI_BASIC, GUANGXI_REGION, RECORDED_REGION, TAIHE, YONGTAI
from sandbox.statements import FaultKind, Injected, StatementFault
from schemas.payer import Operation
from schemas.statement import EXPLAINED, BreakClass

LOSES_ANSWERS = TAIHE
"""Its interface cannot be asked, repeated or reversed: what is lost there is lost until its books are seen."""
CONTRADICTS = parties.CRITICAL_ILLNESS
"""It answers once with more than was left for it. Its books can be read at any time, and it can be asked."""
UNDOES_BY_HAND = (TAIHE, parties.CRITICAL_ILLNESS, GUANGXI_BASIC, parties.BASIC)
"""Whoever has something to undo, the next one on each day."""
_CITY_HOSPITAL, _GUANGXI_HOSPITAL = f"H{parties.REGION}00001", f"H{GUANGXI_REGION}00001"
_RECORDED_PHARMACY = f"P{RECORDED_REGION}00001"
_SCRIPT: tuple[tuple[tuple[str, FaultKind], ...], ...] = (
    (
        (parties.BASIC, FaultKind.WRONG_FEN),
        (parties.BASIC, FaultKind.LATE_ROW),
        (GUANGXI_BASIC, FaultKind.ROW_TWICE),
        (_CITY_HOSPITAL, FaultKind.ROW_MISSING),
        (YONGTAI, FaultKind.ROW_MISSING),
    ),
    (
        (parties.BASIC, FaultKind.ROW_MISSING),
        (parties.BASIC, FaultKind.STRANGER),
        (GUANGXI_BASIC, FaultKind.LATE_ROW),
        (GUANGXI_BASIC, FaultKind.REFUND_MISSING),
        (_GUANGXI_HOSPITAL, FaultKind.WRONG_FEN),
    ),
    (
        (parties.BASIC, FaultKind.NETTED),
        (_GUANGXI_HOSPITAL, FaultKind.ROW_TWICE),
        (_RECORDED_PHARMACY, FaultKind.ROW_MISSING),
        (YONGTAI, FaultKind.WRONG_FEN),
    ),
)
"""By day; no late rows on the last, whose next day is not over."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A break that must be found: what was done, and what it must be called."""

    item: Item
    what: str
    found_as: BreakClass


def script(days: Sequence[date]) -> dict[str, list[StatementFault]]:
    """What goes wrong with whose statements; the last day's faults are those of the last of the script."""
    found: dict[str, list[StatementFault]] = {}
    for number, day in enumerate(days):
        faults = _SCRIPT[-1] if day == days[-1] else _SCRIPT[number % (len(_SCRIPT) - 1)]
        for party, kind in faults:
            found.setdefault(party, []).append(StatementFault(kind=kind, day=day))
    return found


def expected_of(injected: Iterable[Injected]) -> Iterator[Expected]:
    """What spoiled statements must be found as."""
    for one in injected:
        item = Item(one.party, one.day, one.institution, one.settlement_no)
        yield Expected(item, one.kind.value.replace("_", " "), one.found_as)


class Misdeeds:
    """What happens for real at the payers. `control` has their servers."""

    def __init__(self, control: Mapping[str, str]) -> None:
        self._control = control
        self._undone_by = list(UNDOES_BY_HAND)
        self.done: list[Expected] = []

    def lose_the_next_answer(self) -> None:
        """The payer books what it is asked next, and its answer is lost."""
        self._set(LOSES_ANSWERS, [Fault(kind=PartyFault.LOST_ANSWER, operation=Operation.SETTLE, count=1)])

    def was_lost(self, item: Item) -> bool:
        """Whether an answer about this settlement was lost, with something booked; it is noted then."""
        if lost := self.stands_at(item):
            self.done.append(Expected(item, "answer lost", BreakClass.MISSING_AT_HUB))
        return lost

    def missed(self, item: Item) -> None:
        """A hospital has not heard its answer."""
        self.done.append(Expected(item, "answer not heard", BreakClass.MISSING_AT_HOSPITAL))

    def contradict_itself(self) -> None:
        """The payer books what it is asked next, and answers with more than was left for it."""
        self._set(CONTRADICTS, [Fault(kind=PartyFault.WRONG_TOTAL, operation=Operation.SETTLE, count=1)])

    def stands_at(self, item: Item) -> bool:
        """Whether the party's books hold a share of this settlement."""
        return any(
            (entry["institution"], entry["settlement_no"]) == (item.institution, item.settlement_no)
            and entry["operation"] == entries.SETTLE
            and entry["outcome"] == entries.APPROVED
            for entry in self._entries(item.party)
        )

    def answer_again(self) -> None:
        """Answers are heard, and are as they should be."""
        for party in (LOSES_ANSWERS, CONTRADICTS):
            self._set(party, [])

    def undo_by_hand(self, lived: LivedDay) -> None:
        """A payer's staff undoes one settlement of the day that nobody else undoes."""
        untouched = {(one.case.institution, one.case.settlement_no) for one in lived.evening if one.undo is None} - {
            (one.case.institution, one.case.settlement_no) for one in lived.tomorrow
        }
        for party in list(self._undone_by):
            for entry in self._entries(party):
                key = (entry["institution"], entry["settlement_no"])
                own = entry["operation"] == entries.SETTLE and entry["effect_fen"] > 0
                if own and key in untouched and entry["decided_at"][:10] == lived.day.isoformat():
                    self._post(party, "undo", {"request_id": entry["request_id"]})
                    self.done.append(Expected(Item(party, lived.day, *key), "undone by hand", BreakClass.STATUS))
                    self._undone_by.remove(party)
                    self._undone_by.append(party)
                    return

    def _entries(self, party: str) -> list[dict[str, Any]]:
        answer = urllib3.request("GET", f"{self._control[party]}/sandbox/book?limit=1000")
        found: list[dict[str, Any]] = orjson.loads(answer.data)["entries"]
        return found

    def _set(self, party: str, faults: Sequence[Fault]) -> None:
        self._post(party, "faults", [one.model_dump(mode="json", exclude_none=True) for one in faults])

    def _post(self, party: str, what: str, body: object) -> None:
        answer = urllib3.request("POST", f"{self._control[party]}/sandbox/{what}", body=orjson.dumps(body))
        if answer.status != 200:
            raise DemoFailed(f"{party} does not let itself be spoiled: {answer.data!r}")


@dataclass(frozen=True, slots=True)
class Compared:
    """What was done against what was found. Each list must be empty but for `matched` and `by_themselves`."""

    matched: list[tuple[Expected, Found]]
    missed: list[Expected]
    wrongly: list[tuple[Expected, Found]]
    """Found, and called something else."""
    surplus: list[Found]
    """Found, and nobody had done anything."""
    by_themselves: list[Found]
    """Explained, and nobody had done anything: midnight, pairs of settlement and refund."""

    @property
    def exact(self) -> bool:
        return not (self.missed or self.wrongly or self.surplus)


def compare(expected: Iterable[Expected], found: Mapping[Item, Found], later: Iterable[Found] = ()) -> Compared:
    """Hold what must be found against what was; `later`: what came in its place, which nobody had done."""
    result = Compared([], [], [], [], [])
    wanted = {one.item: one for one in expected}
    for item, one in wanted.items():
        known = found.get(item)
        if known is None:
            result.missed.append(one)
        else:
            (result.matched if called(known) is one.found_as else result.wrongly).append((one, known))
    for known in (*(known for item, known in found.items() if item not in wanted), *later):
        (result.by_themselves if called(known) in EXPLAINED else result.surplus).append(known)
    return result


def called(found: Found) -> BreakClass:
    """The class of a break: what it was found as, unless it turned out to explain itself."""
    return found.ended_as if found.ended_as in EXPLAINED else found.first_as
