"""How doubts and payers stand, for operators: the same for the command line and the gateway, without personal data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from hub.payer_control import ALIVE
from hub.people.ways import ways
from routing.rulebook import Party
from routing.rulebook_file import read_rule_book
from store import cases, doubts, exchanges, payers, rulebooks
from store.doubts import OpenDoubt
from store.exchanges import Exchange
from store.payers import EVERYBODY, Health, Switch
from store.records import CaseRecord, LegRecord

_COUNTED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class PayerView:
    """One payer: what the processes that call it say, its switch, and how much is open with it."""

    code: str
    processes: tuple[Health, ...]
    switch: Switch | None
    everybody: Switch | None
    in_doubt: int
    need_people: int

    @property
    def stopped(self) -> Switch | None:
        """The switch that keeps calls from it."""
        return next((one for one in (self.everybody, self.switch) if one is not None and one.stopped), None)

    @property
    def breaker(self) -> str:
        """The worst that any process sees."""
        states = {one.breaker for one in self.processes}
        return next((state for state in ("open", "half_open", "closed") if state in states), "no process calls it")


def read_payers(connection: Connection, codes: Sequence[str]) -> list[PayerView]:
    """These payers."""
    health = payers.health(connection, datetime.now(UTC) - ALIVE)
    switches = {one.party: one for one in payers.switches(connection)}
    open_doubts = doubts.listed(connection, limit=_COUNTED_MAX)
    in_doubt = Counter(one.payer for one in open_doubts)
    people = Counter(one.payer for one in open_doubts if not one.resolves_itself)
    return [
        PayerView(
            code,
            tuple(one for one in health if one.party == code),
            switches.get(code),
            switches.get(EVERYBODY),
            in_doubt[code],
            people[code],
        )
        for code in codes
    ]


def payer_as_dict(view: PayerView) -> dict[str, Any]:
    """For JSON."""
    stopped = view.stopped
    return {
        "payer": view.code,
        "breaker": view.breaker,
        "stopped": asdict(stopped) if stopped else None,
        "in_doubt": view.in_doubt,
        "need_people": view.need_people,
        "processes": [asdict(one) for one in view.processes],
    }


@dataclass(frozen=True, slots=True)
class DoubtView:
    """One leg with everything that was said about it."""

    case: CaseRecord
    leg: LegRecord
    said: Sequence[Exchange]
    party: Party | None
    """As the rule book in force knows the payer; None when it does not any more."""

    @property
    def last_word(self) -> Exchange | None:
        """The payer's newest answer that has a content."""
        heard = (one for one in reversed(self.said) if one.direction == "in" and one.body)
        return next((one for one in heard if not decided_by_people(one)), None)


def read_doubt(connection: Connection, case_id: str, leg_no: int) -> DoubtView:
    """A leg that exists."""
    case = cases.read(connection, [case_id])[case_id]
    said = [one for one in exchanges.of_case(connection, case_id) if one.leg_no == leg_no]
    leg = case.leg(leg_no)
    active = rulebooks.active(connection, datetime.now(UTC))
    book = read_rule_book(active.content) if active else None
    return DoubtView(case, leg, said, book.party_by_code.get(leg.payer) if book else None)


def open_doubt_as_dict(one: OpenDoubt) -> dict[str, Any]:
    """For JSON."""
    return {**asdict(one), "resolves_itself": one.resolves_itself}


def doubt_as_dict(view: DoubtView) -> dict[str, Any]:
    """For JSON; bodies stay in the database."""
    leg = {
        name: getattr(view.leg, name)
        for name in (
            "leg_no",
            "payer",
            "layer",
            "state",
            "reason_code",
            "left_fen",
            "amount_fen",
            "payer_reference",
            "attempts",
            "inquiries",
            "undo_attempts",
            "doubt_since",
            "next_at",
            "not_found_since",
            "request_id",
            "cancel_id",
        )
    }
    said = [{**asdict(one), "body": len(one.body)} for one in view.said]
    for one in said:
        one["bytes"] = one.pop("body")
    return {
        "case_id": view.case.case_id,
        "case_state": view.case.state,
        "leg": leg,
        "said": said,
        "choices": [way.name for way in ways(view.case, view.leg, view.party, datetime.now(UTC))],
    }


def decided_by_people(one: Exchange) -> bool:
    """Whether people decided here, not the payer."""
    return one.operation == doubts.PEOPLE
