"""What people do about reconciliation: remedies in bulk, the signature under a run, the seal on a day.

Each is checked when it is asked for, so that whoever asks hears what stands in the way, and again when the second
person agrees. A dry run is the same work, taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta

from sqlalchemy import Connection

from hub.people.actions import ActionKind
from hub.people.operators import check_operator, check_reason
from hub.ports import Clock
from hub.recon.remedies import book_in_force
from hub.recon.remedies_apply import HARMLESS, Decision, Outcome, Remedies, decisions_of, detail_of
from hub.recon.seal_books import DayBooks, day_books, summary_of
from hub.recon.staleness import HOSPITALS, NEIGHBOURS, SCHEME, stale
from hub.work import Work, WorkUnits
from routing.days import CHINA_STANDARD_TIME, day_of
from schemas.counting import how_many
from schemas.errors import Conflict, InvalidMessage, NotFound, Violation
from store import breaks, doubts, fund_totals, seals, signing
from store.actions import Action, ActionState
from store.signing import RunHead

APPLY, SIGN_OFF, SEAL = "recon.apply", "recon.sign_off", "recon.seal"
STATEMENT, DOUBTS, NOT_DUE = "statement", "doubts", "not_yet_due"
"""Exceptions beside single breaks: no statement came; legs of the day are still in doubt; items were not due. What else
may be left out is in `hub.recon.staleness`."""
_NAMES = (STATEMENT, DOUBTS, NOT_DUE, SCHEME, HOSPITALS, NEIGHBOURS)
_SHOWN = 10


def recon_kinds(clock: Clock) -> tuple[ActionKind, ...]:
    """The kinds `recon.apply` and `recon.sign_off` about `run/<id>`, `recon.seal` about `day/<date>`."""
    signing_off, sealing = _SignOff(clock), _Seal(clock)
    remedies = Remedies(clock)

    def apply(work: Work, action: Action) -> str:
        _run_to_work_on(work.connection, action)
        return _summary(remedies.carry_out(work, action))

    def check(work: Work, action: Action) -> None:
        _run_to_work_on(work.connection, action)
        decisions_of(action.detail)

    def moves_money(_work: Work, action: Action) -> bool:
        return any(one.remedy not in HARMLESS for one in decisions_of(action.detail))

    return (
        ActionKind(APPLY, apply, second_person=moves_money, check=check),
        ActionKind(SIGN_OFF, signing_off.run, check=signing_off.check),
        ActionKind(SEAL, sealing.run, check=sealing.check),
    )


def _summary(made: Sequence[Outcome]) -> str:
    refused = [one for one in made if not one.done]
    named = "; ".join(f"break {one.break_id}: {one.text}" for one in refused[:_SHOWN])
    if len(refused) == len(made):
        raise Conflict(f"nothing could be done: {named}", code="break.nothing_done")
    done = f"{len(made) - len(refused)} of {how_many(len(made), 'break')} seen to"
    return f"{done}; not: {named}" if refused else done


class _TakenBack(Exception):
    """Ends a dry run."""


def dry_run(
    work_units: WorkUnits, clock: Clock, run_id: int, decided: Sequence[Decision], reason: str, by: str
) -> list[Outcome]:
    """What would come of these decisions now, break by break: carried out and taken back."""
    check_operator(by)
    made: list[Outcome] = []
    asked = Action(0, APPLY, seals.run_subject(run_id), detail_of(run_id, decided), check_reason(reason), by,
                   clock.now(), ActionState.REQUESTED, "a-second-person", None, "")  # fmt: skip
    try:
        with work_units.begin("dry_run") as work:
            _run_to_work_on(work.connection, asked)
            made = Remedies(clock).carry_out(work, asked)
            raise _TakenBack
    except _TakenBack:
        return made


def _run_to_work_on(connection: Connection, action: Action) -> RunHead:
    """The run that the action is about, held; Conflict when its breaks are not to be touched (any more)."""
    run = signing.lock(connection, _number(action))
    if run is None:
        raise NotFound("there is no such run", code="run.not_found")
    if run.state == "void":
        raise Conflict(f"{run.name} is void: a later run has taken its place", code="run.state")
    if run.state != "done":
        raise Conflict(f"{run.name} is {run.state}", code="run.state")
    return run


def _number(action: Action) -> int:
    try:
        number = int(action.subject.removeprefix("run/"))
    except ValueError:
        number = 0
    # Verification finds what was signed and sealed by the subject, so there is one way to write it.
    if not 0 < number < 2**63 or action.subject != seals.run_subject(number):
        raise _wrong("subject", "write run/<number>")
    return number


def _wrong(field: str, remedy: str) -> InvalidMessage:
    return InvalidMessage("not to be understood", Violation(field, "recon.action", remedy), code="operator.invalid")


def _exceptions(action: Action) -> dict[str, str]:
    given = action.detail.get("exceptions", {})
    if not isinstance(given, Mapping):
        raise _wrong("exceptions", "give a reason for each exception")
    return {str(name): check_reason(str(why)) for name, why in given.items()}


def _refuse(problems: Sequence[str], what: str) -> None:
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise Conflict(f"{what}: {'; '.join(problems[:_SHOWN])}{more}", code="recon.not_ready")


class _SignOff:
    """The signature under a run: nothing is open in it but what is named with a reason."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def check(self, work: Work, action: Action) -> None:
        run = _run_to_work_on(work.connection, action)
        breaks.follow(work.connection, self._clock.now(), run.run_id)
        _refuse(self._problems(work.connection, run, _exceptions(action)), f"{run.name} cannot be signed off")

    def run(self, work: Work, action: Action) -> str:
        self.check(work, action)
        run_id = _number(action)
        for name, why in _exceptions(action).items():
            if name.isdigit():
                breaks.leave_open(
                    work.connection, int(name), why, action_id=action.id, by=action.requested_by,
                    approver=action.decided_by,
                )  # fmt: skip
        digest = signing.sign(
            work.connection, run_id, by=action.requested_by, approver=action.decided_by, now=self._clock.now()
        )
        return f"signed off, digest {digest}"

    def _problems(self, connection: Connection, run: RunHead, exceptions: Mapping[str, str]) -> list[str]:
        still_open = signing.open_breaks(connection, run.run_id)
        found = [f"no open break {name}" for name in exceptions
                 if name not in _NAMES and name not in set(map(str, still_open))]  # fmt: skip
        unnamed = [str(one) for one in still_open if str(one) not in exceptions]
        if unnamed:
            found.append(f"{how_many(len(unnamed), 'break is', 'breaks are')} open ({', '.join(unnamed[:_SHOWN])})")
        if NOT_DUE not in exceptions and (count := signing.not_yet_due(connection, run.run_id)):
            found.append(f"{how_many(count, 'item was', 'items were')} not due or still under way: run it again")
        since = stale(connection, run, book_in_force(connection))
        found += [one.text for one in since if not one.name or one.name not in exceptions]
        if newer := signing.newer_entries(connection, run):
            found.append(f"{how_many(newer, 'entry was', 'entries were')} booked for that day since: run it again")
        if STATEMENT not in exceptions and not signing.has_own_statement(connection, run):
            found.append(f"there is no statement of {run.party}")
        if DOUBTS not in exceptions and (count := _in_doubt(connection, run)):
            legs = f"{count} of its legs {'is' if count == 1 else 'are'} in doubt since then"
            found.append(f"{legs}: hub doubt list --payer {run.party}")
        return found


def _in_doubt(connection: Connection, run: RunHead) -> int:
    end = datetime.combine(run.day + timedelta(days=1), time(), CHINA_STANDARD_TIME)
    return len(doubts.listed(connection, payer=run.party, older_than=end))


class _Seal:
    """The seal on a day: everybody's books were compared and signed, or it is said why not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def check(self, work: Work, action: Action) -> None:
        day = _day(action)
        found = seal_problems(work.connection, day, _exceptions(action), self._clock.now())
        _refuse(found, f"{day} cannot be sealed")

    def run(self, work: Work, action: Action) -> str:
        day, exceptions = _day(action), _exceptions(action)
        before = seals.count(work.connection, day)
        self.check(work, action)
        books = self._books(work.connection, day, exceptions)
        # Of the days sealed before: this one is not sealed for anybody else yet.
        fund_totals.catch_up(work.connection)
        made = seals.take(
            work.connection,
            day,
            by=action.requested_by,
            approver=action.decided_by,
            reason="; ".join([action.reason, *(f"without {name}: {why}" for name, why in books.left_out.items())]),
            now=self._clock.now(),
            books=books.as_dict(),
        )
        if made.entries != before:
            # Booked after we looked: nobody posts any more, so now it holds.
            anew = self._books(work.connection, day, exceptions)
            _refuse(anew.problems, f"{day} cannot be sealed")
            if anew.as_dict() != books.as_dict():
                raise Conflict(f"{day} is still being booked: ask for the seal again", code="recon.not_ready")
        return f"{how_many(made.entries, 'entry', 'entries')} sealed, chain {made.chain}; {summary_of(made.books)}"

    def _books(self, connection: Connection, day: date, exceptions: Mapping[str, str]) -> DayBooks:
        return day_books(connection, book_in_force(connection), day, exceptions, self._clock.now())


def _day(action: Action) -> date:
    try:
        day = date.fromisoformat(action.subject.removeprefix("day/"))
    except ValueError:
        day = None
    if day is None or action.subject != seals.day_subject(day):
        raise _wrong("subject", "write day/YYYY-MM-DD")
    return day


def seal_problems(connection: Connection, day: date, exceptions: Mapping[str, str], now: datetime) -> list[str]:
    """What stands in the way of sealing a day. Exceptions: as in `hub.recon.seal_books.day_books`."""
    if day >= day_of(now):
        return ["the day is not over"]
    last = seals.listed(connection, 1)
    sealed = last[0].business_day if last else None
    if sealed is not None and day <= sealed:
        return [f"it is sealed already, as is every day up to {sealed}"]
    if earlier := signing.earlier_open_day(connection, day, sealed):
        return [f"{earlier} comes before it and is not sealed"]
    return day_books(connection, book_in_force(connection), day, exceptions, now).problems
