"""The morning after a day: statements, runs, remedies with two people, signatures, and the seal.

People decide by what a break says, not by what was done to cause it. What is proposed is applied; whoever's statement
differs otherwise is asked for it anew; what differs then still is looked at again when the next day's statements have
come, and left with a reason when they do not explain it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import Engine

from adapters.registry import HOSTED
from hub.demo.days_statements import Statements, Way
from hub.demo.stage import DemoFailed
from hub.people.actions import Actions
from hub.people.recon import APPLY, SEAL, SIGN_OFF
from hub.recon.remedies import book_in_force
from hub.recon.remedies_apply import as_proposed, detail_of
from hub.recon.runs import RunResult, Runs
from hub.recon.staleness import stale
from sandbox.statements import FaultKind, StatementFault
from schemas.statement import EXPLAINED, BreakClass, Remedy
from store import breaks, matching_runs, seals, signing
from store.actions import Action, ActionState
from store.breaks import Break
from store.seals import Seal

LI, WANG = "li", "wang"
"""Who asks, and who agrees."""
_SENDS_AGAIN = (Remedy.RESEND_ANSWER,)
ANEW = "statement sent anew"
TOMORROW = "explained by the next day's statement"
LEFT = "left with a reason"


@dataclass(frozen=True, slots=True)
class Item:
    """What a break is about: one settlement in one party's books of one day."""

    party: str
    day: date
    institution: str
    settlement_no: str


@dataclass(slots=True)
class Found:
    """A break from its first run to its end. `how` it ended; empty while it is open."""

    item: Item
    payer: str
    first_as: BreakClass
    ended_as: BreakClass
    case_id: str | None
    leg_no: int | None
    difference_fen: int
    how: str = ""
    said: str = ""

    @property
    def explains_itself(self) -> bool:
        """Nobody had to do anything about it."""
        return self.ended_as in EXPLAINED


@dataclass(slots=True)
class ClosedDay:
    """What became of a day's books."""

    day: date
    runs: int = 0
    ways: dict[str, Way] = field(default_factory=dict)
    seal: Seal | None = None


@dataclass(slots=True)
class Closing:
    """The people who close days. `settle_down` waits until nothing is under way at the hub."""

    engine: Engine
    runs: Runs
    statements: Statements
    actions: Actions
    settle_down: Callable[[], None]
    script: Mapping[str, Sequence[StatementFault]]
    """What is wrong with whose statements."""
    hosted: frozenset[str] = frozenset()
    days: dict[date, ClosedDay] = field(default_factory=dict)
    found: dict[Item, Found] = field(default_factory=dict)
    """The first break of each settlement in a party's books."""
    later: dict[Item, Found] = field(default_factory=dict)
    """What came after it, when it was something else."""
    actions_made: int = 0
    made_alone: int = 0
    """Of them those that move no money, which one may do."""

    def morning(self, day: date, *, last: bool) -> None:
        """Close a day as far as it goes, and whatever was left of earlier ones. DemoFailed when people are refused."""
        closed = self.days[day] = ClosedDay(day)
        for party in self._due(day):
            closed.ways[party] = self.statements.collect(party, day)
        results = self._run_day(day)
        closed.runs = len(results)
        waiting = [one for one in self.days if self.days[one].seal is None and one != day]
        for earlier in waiting:
            self._run_day(earlier)
            self._remedy(earlier)
        self._remedy(day, patient=True)
        if asked := self._asked_anew(day):
            self._run_day(day, asked)
        if last and (unclear := self._unclear(day)):
            # What was decided this morning, or happened around midnight, is in the books of today.
            for party in sorted(unclear):
                self.statements.collect(party, day + timedelta(days=1))
            self._run_day(day, unclear)
            self._remedy(day)
        for one in (*waiting, day):
            self._run_stale(one)
            self._sign_off(one, patient=one == day and not last)
        self._seal_what_is_ready()

    def _due(self, day: date) -> list[str]:
        return [scheme.party for scheme in self.runs.due(day) if scheme.party not in self.hosted]

    def _unclear(self, day: date) -> set[str]:
        return {run.party for run in self._standing(day) if self._breaks(run.run_id, ("open",))}

    def _run_day(self, day: date, only: Collection[str] | None = None) -> list[RunResult]:
        """Run what is not signed off, or of it `only` these, and note what was found."""
        with self.engine.connect() as connection:
            signed = {run.party for run in matching_runs.on_day(connection, day) if run.state == "signed_off"}
        due = [party for party in self._due(day) if party not in signed and (only is None or party in only)]
        results = [self.runs.run(party, "daily", day, LI) for party in due]
        for result in results:
            self._note(result)
        return results

    def _run_stale(self, day: date) -> None:
        """Run again what would come out otherwise by now: somebody stated other books of that day or the next."""
        asked = set()
        with self.engine.connect() as connection:
            book = book_in_force(connection)
            for made in self._standing(day):
                run = signing.read(connection, made.run_id)
                if run is not None and any(stale(connection, run, book)):
                    asked.add(run.party)
        if asked:
            self._run_day(day, asked)

    def _note(self, result: RunResult) -> None:
        present: set[Item] = set()
        for one in self._breaks(result.run_id):
            item = _item(one)
            present.add(item)
            if item in self.found:
                self._go_on(item, one)
            else:
                self.found[item] = _first_seen(item, one)
        for known in self.everything:
            of = (known.item.party, known.item.day)
            if of == (result.party, result.day) and known.item not in present and not known.how:
                known.how = ANEW

    def _go_on(self, item: Item, one: Break) -> None:
        """A break that was there in an earlier run: it explains itself by now, or another has come in its place."""
        known = self._latest(item)
        explained = one.break_class in EXPLAINED
        if explained and known.first_as not in EXPLAINED and not known.how:
            known.ended_as, known.how = one.break_class, TOMORROW
        elif not explained and one.break_class is not known.first_as:
            known.how = known.how or ANEW
            self.later[item] = _first_seen(item, one)

    def _latest(self, item: Item) -> Found:
        return self.later.get(item) or self.found[item]

    @property
    def everything(self) -> list[Found]:
        """All that was found, in the order in which it was."""
        return [*self.found.values(), *self.later.values()]

    def _breaks(self, run_id: int, states: Sequence[str] = ("open", "waiting", "resolved", "explained")) -> list[Break]:
        with self.engine.connect() as connection:
            return list(breaks.of_run(connection, run_id, states=states))

    def _standing(self, day: date) -> list[matching_runs.Run]:
        with self.engine.connect() as connection:
            return [run for run in matching_runs.on_day(connection, day) if run.state == "done"]

    def _remedy(self, day: date, *, patient: bool = False) -> None:
        """Apply what is proposed, run by run, and run again whose books that touches. `patient`: what would undo
        something waits until the next day's statements have come, which may explain it."""
        touched: set[str] = set()
        too_early = [Remedy.REVERSE] if patient else []
        for run in self._standing(day):
            still_open = self._breaks(run.run_id, ("open",))
            decided, _ = as_proposed([one for one in still_open if self._can_be_done(one)])
            decided = [one for one in decided if one.remedy not in too_early]
            if not decided:
                continue
            action = self._act(APPLY, f"run/{run.run_id}", detail_of(run.run_id, decided), "as proposed")
            if action.state is not ActionState.EXECUTED:
                continue
            by_id = {one.break_id: one for one in still_open}
            for one in decided:
                touched |= {run.party, by_id[one.break_id].payer, by_id[one.break_id].institution}
                known = self._latest(_item(by_id[one.break_id]))
                known.how, known.said = f"remedy: {one.remedy}", by_id[one.break_id].reason
            for institution in {by_id[one.break_id].institution for one in decided if one.remedy in _SENDS_AGAIN}:
                self.statements.hear_again(institution, day)
        if touched:
            self.settle_down()
            self._run_day(day, touched)

    def _can_be_done(self, one: Break) -> bool:
        """An answer is only sent again to whoever has a queue for it."""
        return one.proposal not in _SENDS_AGAIN or one.institution in self.statements.with_mailbox

    def _asked_anew(self, day: date) -> set[str]:
        """Have everybody whose books differ otherwise state them once more; who had to."""
        asked = self._unclear(day)
        for party in sorted(asked):
            others = [one for one in self.script.get(party, ()) if one.day != day or one.kind is FaultKind.LATE_ROW]
            self.statements.spoil(party, others)
            self.statements.collect(party, day)
        return asked

    def _sign_off(self, day: date, *, patient: bool) -> None:
        """Sign what is clear. `patient`: what may be explained tomorrow is left until then."""
        for run in self._standing(day):
            still_open = self._breaks(run.run_id, ("open", "waiting"))
            if patient and still_open:
                continue
            exceptions = {str(one.break_id): f"to be cleared with {run.party}: {one.reason}" for one in still_open}
            action = self._act(SIGN_OFF, f"run/{run.run_id}", {"exceptions": exceptions}, "books compared")
            if action.state is not ActionState.EXECUTED:
                raise DemoFailed(f"{run.party} for {day} was not signed off: {action.outcome}")
            for one in still_open:
                known = self._latest(_item(one))
                known.how, known.said = LEFT, one.reason

    def _seal_what_is_ready(self) -> None:
        for day in sorted(self.days):
            if self.days[day].seal is not None:
                continue
            if self._standing(day):
                return
            action = self._act(SEAL, f"day/{day}", {}, "the day is over and everybody has signed")
            if action.state is not ActionState.EXECUTED:
                raise DemoFailed(f"{day} was not sealed: {action.outcome}")
            with self.engine.connect() as connection:
                self.days[day].seal = next(one for one in seals.listed(connection) if one.business_day == day)

    def _act(self, kind: str, subject: str, detail: Mapping[str, object], reason: str) -> Action:
        """One asks, another agrees where two are wanted."""
        action = self.actions.request(kind, subject, detail, reason, LI)
        self.actions_made += 1
        if action.state is ActionState.REQUESTED:
            return self.actions.approve(action.id, WANG)
        self.made_alone += 1
        return action


def hosted_by_us(parties: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Of (party, adapter) those whose books are ours: there is nobody to compare them with."""
    return frozenset(code for code, adapter in parties if adapter == HOSTED)


def _first_seen(item: Item, one: Break) -> Found:
    return Found(item, one.payer, one.break_class, one.break_class, one.case_id, one.leg_no, one.difference_fen)


def _item(one: Break) -> Item:
    return Item(one.party, one.day, one.institution, one.settlement_no or one.reference)
