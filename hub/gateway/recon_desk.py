"""What operators see of reconciliation and ask for over HTTP; the same acts as at the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hub.books import RuleBooks
from hub.people.office import Office
from hub.people.operators import REASON_MAX
from hub.people.recon import APPLY, SEAL, SIGN_OFF, dry_run
from hub.ports import Clock
from hub.recon.remedies import propose
from hub.recon.remedies_apply import BREAKS_MAX, NOTE_MAX, Decision, as_proposed, detail_of
from hub.recon.report import Report, read_report
from hub.recon.runs import RunResult, Runs
from hub.recon.seal_books import day_books
from hub.work import WorkUnits
from schemas.base import Identifier, Value
from schemas.errors import Conflict, InvalidMessage, NotFound, Violation
from schemas.money import yuan_of
from schemas.statement import BreakClass, Remedy
from store import breaks, recon_reports, recon_watch, seals, signing
from store.actions import Action
from store.recon_reports import ListedBreak, Run

Reason = Annotated[str, Field(min_length=1, max_length=REASON_MAX)]
STATES = ("open", "waiting", "resolved", "explained")


class RunAsked(Value):
    """Whose books are to be compared, and by which scheme."""

    party: Identifier
    scheme: Identifier = "daily"


class RemedyAsked(Value):
    """What is to be done about one break. `note` says more than the reason for all of them."""

    break_id: Annotated[int, Field(ge=1, le=2**63 - 1)]
    remedy: Remedy
    note: Annotated[str, Field(max_length=NOTE_MAX)] = ""


class BreaksWhere(Value):
    """Open breaks of the run that have these things in common; an empty one means all of them."""

    break_class: BreakClass | None = None
    proposal: Remedy | None = None


class ApplyAsked(Value):
    """Remedies as people decided (`remedies`), or as they are proposed for open breaks (`where`)."""

    remedies: Annotated[tuple[RemedyAsked, ...], Field(min_length=1, max_length=BREAKS_MAX)] | None = None
    where: BreaksWhere | None = None
    reason: Reason
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.remedies is None) == (self.where is None):
            raise PydanticCustomError("remedies.selection", "remedies: name breaks, or send `where`, not both")
        return self


class Signed(Value):
    """Why, and what is left out all the same with the reason for each: breaks by number, schemes as PARTY/SCHEME."""

    reason: Reason
    exceptions: dict[str, Reason] = Field(default_factory=dict)


class ReconDesk:
    """What is on record, and the office that may be asked to act on it."""

    def __init__(self, office: Office, work_units: WorkUnits, books: RuleBooks, clock: Clock) -> None:
        self._office = office
        self._work_units = work_units
        self._books = books
        self._clock = clock
        self._runs = Runs(work_units.engine, books, clock, propose)

    def day(self, day: date) -> dict[str, Any]:
        """Runs, statements, late ones and seal of a day; where it has no seal, what that would keep and what is in its
        way."""
        with self._work_units.read() as connection:
            sealed = recon_reports.seal(connection, day)
            listed = day_books(connection, self._books.active().book, day, {}, self._clock.now())
            return {
                "day": day,
                "runs": [run_as_dict(one) for one in recon_reports.runs(connection, day)],
                "statements": [_in_yuan(asdict(one)) for one in recon_reports.statements(connection, day)],
                "late": recon_watch.late_of(connection, day),
                "seal": _in_yuan(asdict(sealed)) if sealed else None,
                "books": None if sealed else {**listed.as_dict(), "in_the_way": listed.problems},
            }

    def run(self, run_id: int) -> dict[str, Any]:
        """One run; NotFound when there is none."""
        with self._work_units.read() as connection:
            found = recon_reports.run(connection, run_id)
        if found is None:
            raise NotFound("there is no such run", code="run.not_found")
        return run_as_dict(found)

    def report(self, day: date, breaks_max: int) -> Report:
        """The report of a day as everything stands now."""
        with self._work_units.engine.connect() as connection:
            return read_report(connection, self._books.active().book, day, self._clock.now(), breaks_max=breaks_max)

    def breaks(
        self, *, day: date | None, run_id: int | None, party: str, break_class: str, state: str, after: int, limit: int
    ) -> dict[str, Any]:
        """Breaks of a filter with their number in all."""
        states = (state,) if state else ()
        with self._work_units.read() as connection:
            wanted: dict[str, Any] = {
                "day": day, "run_id": run_id, "party": party, "break_class": break_class, "states": states,
            }  # fmt: skip
            found = recon_reports.breaks(connection, **wanted, after=after, limit=limit)
            total = recon_reports.breaks_total(connection, **wanted)
        return {"breaks": [break_as_dict(one) for one in found], "total": total}

    def one_break(self, break_id: int) -> dict[str, Any]:
        """One break; NotFound when there is none."""
        with self._work_units.read() as connection:
            found = recon_reports.one_break(connection, break_id)
        if found is None:
            raise NotFound("there is no such break", code="break.not_found")
        return break_as_dict(found)

    def seals(self, last: int) -> dict[str, Any]:
        """The sealed days."""
        with self._work_units.read() as connection:
            return {"seals": [_in_yuan(asdict(one)) for one in seals.listed(connection, last)]}

    # What is asked for.

    def make_run(self, day: date, asked: RunAsked, by: str) -> dict[str, Any]:
        """Compare now; errors as `Runs.run`."""
        return result_as_dict(self._runs.run(asked.party, asked.scheme, day, by))

    def apply(self, run_id: int, asked: ApplyAsked, by: str) -> Action:
        """Ask for remedies; Conflict when nothing is to be done."""
        detail = detail_of(run_id, self._decided(run_id, asked)[0])
        return self._office.actions.request(APPLY, seals.run_subject(run_id), detail, asked.reason, by)

    def foretell(self, run_id: int, asked: ApplyAsked, by: str) -> dict[str, Any]:
        """What would come of them, break by break, and how many only people can decide."""
        decided, left = self._decided(run_id, asked)
        made = dry_run(self._work_units, self._clock, run_id, decided, asked.reason, by)
        return {"outcomes": [{**asdict(one), "remedy": one.remedy.value} for one in made], "left_to_people": left}

    def _decided(self, run_id: int, asked: ApplyAsked) -> tuple[list[Decision], int]:
        if asked.remedies is not None:
            return [Decision(one.break_id, one.remedy, one.note) for one in asked.remedies], 0
        assert asked.where is not None
        with self._work_units.read() as connection:
            if signing.read(connection, run_id) is None:
                raise NotFound("there is no such run", code="run.not_found")
            found = breaks.of_run(
                connection, run_id, states=("open",), break_class=asked.where.break_class or "",
                proposal=asked.where.proposal or "",
            )  # fmt: skip
            decided, left = as_proposed(found)
        if not decided:
            raise Conflict(f"there is nothing to do but what people must decide: {left} breaks", code="break.undecided")
        if len(decided) > BREAKS_MAX:
            remedy = f"at most {BREAKS_MAX} breaks at once; narrow `where`"
            raise InvalidMessage("too many", Violation("where", "remedies.too_many", remedy), code="operator.invalid")
        return decided, left

    def sign_off(self, run_id: int, asked: Signed, by: str) -> Action:
        """Ask for the signature under a run."""
        return self._ask(SIGN_OFF, seals.run_subject(run_id), asked, by)

    def seal(self, day: date, asked: Signed, by: str) -> Action:
        """Ask for the seal on a day."""
        return self._ask(SEAL, seals.day_subject(day), asked, by)

    def _ask(self, kind: str, subject: str, asked: Signed, by: str) -> Action:
        detail = {"exceptions": dict(asked.exceptions)}
        return self._office.actions.request(kind, subject, detail, asked.reason, by)


def run_as_dict(run: Run) -> dict[str, Any]:
    """A run as JSON; sums inside `totals` are whole fen, as their names say."""
    return asdict(run)


def result_as_dict(result: RunResult) -> dict[str, Any]:
    """What came of a run that was just made."""
    return {**asdict(result), "state": "done"}


def break_as_dict(one: ListedBreak) -> dict[str, Any]:
    """A break as JSON: each side as counts and yuan, null where it was not compared."""
    sides = {name: _side(getattr(one, name)) for name in ("hub", "payer_side", "hospital")}
    return _in_yuan({**asdict(one), **sides})


def _side(figures: list[int] | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    settlements, refunds, settled_fen, refunded_fen, account_fen = figures[:5]
    return {
        "settlements": settlements,
        "refunds": refunds,
        "settled": yuan_of(settled_fen),
        "refunded": yuan_of(refunded_fen),
        "account": yuan_of(account_fen),
    }


def _in_yuan(values: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts as text in yuan, as everywhere at the edges."""
    return {
        name.removesuffix("_fen"): yuan_of(value) if name.endswith("_fen") else value for name, value in values.items()
    }
