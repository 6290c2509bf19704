"""Carrying out what people decided about breaks: each through the same acts that people have for one leg, so that the
rules about money hold, each for itself, so that one that cannot be done stops no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import Connection

from hub.answers import deliver
from hub.people.actions import ActionKind
from hub.people.doubts import doubt_kinds, subject_of
from hub.ports import Clock
from hub.recon.remedies import able_of, book_in_force, required, side
from hub.routes import OUT_PREFIX, STAGING_PREFIX
from hub.work import Work
from routing.days import CHINA_STANDARD_TIME, day_of
from routing.postings import Account, Kind
from routing.rulebook import RuleBook
from routing.states import LegState
from schemas.errors import Conflict, HubError, IllegalTransition, InvalidMessage, OutcomeUnknown, Unavailable, Violation
from schemas.money import yuan_of
from schemas.statement import BreakClass, Remedy
from store import actions, breaks, ledger
from store.actions import Action, ActionState
from store.breaks import Break, Resolution, Word
from store.ledger import Entry

BREAKS_MAX = 500
"""Of one action: so many cases are held for the second or two that it takes. Books are read before."""
NOTE_MAX = 500
WORDS_TIMEOUT_S = 60
NOON = time(12)
"""Of the statement's day, where the payer's books do not say when it settled."""
HARMLESS = frozenset({Remedy.INQUIRE, Remedy.RESEND_ANSWER})
"""What moves no money, so that one person may do it."""
_ENDED = (LegState.DECLINED, LegState.CANCELLED, LegState.REVERSED)
_UNDOING = (LegState.CANCELLING, LegState.CANCEL_HELD, LegState.REVERSING)


@dataclass(frozen=True, slots=True)
class Decision:
    """What people want done about a break. `note` says more than the action's reason, and may be empty."""

    break_id: int
    remedy: Remedy
    note: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a decision, or would."""

    break_id: int
    remedy: Remedy
    done: bool
    text: str


def as_proposed(found: Iterable[Break], remedy: Remedy | None = None) -> tuple[list[Decision], int]:
    """Decisions as they are proposed, or all the same; and how many are left, since people must look at them first."""
    breaks_ = list(found)
    made = [Decision(one.break_id, remedy or Remedy(one.proposal or Remedy.PEOPLE)) for one in breaks_]
    if remedy is None:
        made = [one for one in made if one.remedy not in (Remedy.PEOPLE, Remedy.NONE)]
    return made, len(breaks_) - len(made)


def detail_of(run_id: int, decided: Sequence[Decision]) -> dict[str, Any]:
    """The detail of an action that asks for these."""
    return {"run": run_id, "remedies": [[one.break_id, one.remedy.value, one.note] for one in decided]}


def decisions_of(detail: Mapping[str, Any]) -> list[Decision]:
    """What an action's detail asks for; InvalidMessage says what is wrong with it."""
    try:
        found = [Decision(_number(number), Remedy(remedy), str(note)) for number, remedy, note in detail["remedies"]]
    except (KeyError, ValueError, TypeError):
        raise _wrong("remedies", "give [break, remedy, note] for each") from None
    numbers = [one.break_id for one in found]
    if not found or len(found) > BREAKS_MAX or len(set(numbers)) != len(numbers):
        raise _wrong("remedies", f"name 1 to {BREAKS_MAX} breaks, each once")
    if any(one.remedy is Remedy.NONE or len(one.note) > NOTE_MAX for one in found):
        raise _wrong("remedies", f"each needs a remedy and a note of at most {NOTE_MAX} characters")
    return found


def _number(given: object) -> int:
    """ValueError for what is no whole number of a row: 1.9 must not be taken for 1."""
    if type(given) is not int or not 0 < given < 2**63:
        raise ValueError
    return given


def _wrong(field: str, remedy: str) -> InvalidMessage:
    return InvalidMessage("no remedies", Violation(field, "recon.remedies", remedy), code="operator.invalid")


class Remedies:
    """Carries out decisions in a given unit of work."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._doubts: dict[str, ActionKind] = {kind.name: kind for kind in doubt_kinds(clock)}

    def carry_out(self, work: Work, action: Action) -> list[Outcome]:
        """Do what the action asks, break by break; who asked and who agreed is the action's. Nothing is published."""
        decided = decisions_of(action.detail)
        words = _words(work.connection, [one.break_id for one in decided if one.remedy is Remedy.CONFIRM])
        found = required(work.connection, [one.break_id for one in decided])
        # In one order for everybody; each is looked at again below, when it is held.
        work.store.cases.lock(work.connection, [one.case_id for one in found.values() if one.case_id])
        bulk = _Bulk(work, action, book_in_force(work.connection), self._clock, self._doubts, words)
        made = [bulk.one(found[one.break_id], one) for one in decided]
        breaks.link(work.connection, [one.break_id for one in made if one.done])
        breaks.follow(work.connection, self._clock.now(), int(action.detail["run"]))
        return made


def _words(connection: Connection, numbers: Sequence[int]) -> dict[int, Word]:
    """What the payers' own books say, read before anything is held: it goes through whole statements of a party.

    Books may be replaced before the breaks are held: whoever takes a word checks then that they stand (`_check_books`).
    """
    if not numbers:
        return {}
    with connection.begin_nested() as reading:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {WORDS_TIMEOUT_S * 1000}")
        found = breaks.words_of(connection, numbers)
        # Nothing was written; what was set for reading ends here.
        reading.rollback()
    return found


@dataclass(frozen=True, slots=True)
class _Bulk:
    """One action's remedies under way."""

    work: Work
    action: Action
    book: RuleBook
    clock: Clock
    doubts: Mapping[str, ActionKind]
    words: Mapping[int, Word]

    def one(self, broken: Break, decision: Decision) -> Outcome:
        work = self.work
        messages, hints = len(work.outgoing), len(work.hints)
        try:
            with work.connection.begin_nested():
                text = self._carry_out(broken, decision)
            return Outcome(broken.break_id, decision.remedy, True, text)
        except (Unavailable, OutcomeUnknown, IllegalTransition):
            raise
        except HubError as error:
            del work.outgoing[messages:], work.hints[hints:]
            return Outcome(broken.break_id, decision.remedy, False, told(error))

    def _carry_out(self, broken: Break, decision: Decision) -> str:
        action = self.action
        if broken.run_id != action.detail.get("run"):
            raise Conflict(f"the break belongs to run {broken.run_id}", code="break.run")
        under_way = broken.state == "explained" and broken.break_class is BreakClass.NOT_YET_DUE
        if broken.state not in ("open", "waiting") and not under_way:
            raise Conflict(f"the break is {broken.state}", code="break.state")
        text = self._remedied(broken, decision.remedy)
        done = decision.remedy in (Remedy.POST_DIFFERENCE, Remedy.PEOPLE)
        why = f"{text}: {decision.note or action.reason}"
        how = Resolution(decision.remedy, why, action.id, action.requested_by, action.decided_by, done=done)
        breaks.decide(self.work.connection, broken.break_id, how, self.clock.now())
        return text

    def _remedied(self, broken: Break, remedy: Remedy) -> str:
        match remedy:
            case Remedy.CONFIRM:
                return self._confirm(broken)
            case Remedy.REVERSE:
                return self._reverse(broken)
            case Remedy.INQUIRE:
                return self._doubt(broken, "doubt.ask")
            case Remedy.RESEND_ANSWER:
                return _resend(self.work, self.book, broken)
            case Remedy.POST_DIFFERENCE:
                return _post_difference(self.work, broken, day_of(self.clock.now()))
            case _:
                return "seen to by people"

    def _confirm(self, broken: Break) -> str:
        """The payer's book is its word: the share stands with its amount, or its undo is confirmed."""
        payer = side(broken.payer_side)
        if payer is None:
            raise Conflict("there is no book of the payer to take its word from", code="break.no_word")
        _check_books(self.work, broken)
        if payer.balance > 1:
            remedy = "what is too many must go there, or enter its word by `hub doubt approve`"
            raise Conflict(f"its book has it {payer.balance} times: {remedy}", code="break.no_word")
        if not payer.stands:
            if broken.leg_state not in _UNDOING:
                raise Conflict(f"the leg is {broken.leg_state}: no undo of it is under way", code="break.no_word")
            return self._doubt(broken, "doubt.undone")
        said = self.words.get(broken.break_id, Word())
        at = said.at or datetime.combine(broken.day, NOON, CHINA_STANDARD_TIME)
        word = {"amount": yuan_of(payer.net_fen), "reference": said.reference, "decided_at": at.isoformat()}
        return self._doubt(broken, "doubt.approve", **word)

    def _reverse(self, broken: Break) -> str:
        if broken.leg_state is LegState.APPROVED:
            raise Conflict("it is approved here: the hospital must cancel its settlement", code="break.state")
        if broken.attempts == 0:
            raise Conflict("the payer was never asked: nothing of ours stands there", code="break.state")
        if not able_of(self.book.party_by_code.get(broken.payer)).reverse:
            raise Conflict("the payer's interface cannot undo it: its people must", code="break.cannot")
        ended = broken.leg_state in _ENDED
        return self._doubt(broken, "doubt.take_back" if ended else "doubt.reverse")

    def _doubt(self, broken: Break, kind: str, **word: Any) -> str:
        """What people can do about one leg, as an action of its own with both their names."""
        if broken.case_id is None or not broken.leg_no:
            raise Conflict("no leg of ours belongs to the break", code="break.no_leg")
        action, connection, now = self.action, self.work.connection, self.clock.now()
        detail = {**word, "break": broken.break_id, "action": action.id}
        subject = subject_of(broken.case_id, broken.leg_no)
        own = actions.add(connection, kind, subject, detail, reason=action.reason, by=action.requested_by, now=now)
        done = self.doubts[kind].run(self.work, own)
        actions.decide(connection, own.id, ActionState.EXECUTED, by=action.decided_by, outcome=done, now=now)
        return done


def _check_books(work: Work, broken: Break) -> None:
    """Conflict: what would be taken for the party's word is not its word any more."""
    if breaks.books_replaced(work.connection, broken):
        raise Conflict(f"{broken.party} has sent other books since: run it again", code="break.state")


def _post_difference(work: Work, broken: Break, today: date) -> str:
    """The receivable becomes what the payer's book says; the other half waits on `difference` to be explained."""
    if not broken.about_payer or broken.case_id is None or not broken.leg_no:
        raise Conflict("only a payer's difference about a leg of ours can be posted", code="break.no_leg")
    _check_books(work, broken)
    fen = broken.difference_fen
    if fen == 0:
        raise Conflict("the amounts do not differ", code="break.no_difference")
    ours, theirs = side(broken.hub), side(broken.payer_side)
    if ours and theirs and not broken.in_fund and ours.account_fen != theirs.account_fen:
        raise Conflict("the personal accounts differ: that is nobody's to write off", code="break.account")
    case = work.store.cases.read(work.connection, [broken.case_id])[broken.case_id]
    leg = case.leg(broken.leg_no)
    if leg.state is not LegState.APPROVED and leg.state not in _ENDED:
        # Its own word or undo is still to be booked, and would come on top.
        raise Conflict(f"the leg is {leg.state}: what it comes to is not known yet", code="break.state")
    if breaks.booked_since(work.connection, broken):
        raise Conflict("its leg was booked after the run had read the ledger: run it again", code="break.state")
    if elsewhere := breaks.posted_elsewhere(work.connection, broken):
        remedy = "this break is the same difference: end it by `people`, and let one scheme alone hold the share"
        raise Conflict(f"a difference of its leg is posted already, by {elsewhere}; {remedy}", code="break.twice")
    more, less = Account.RECEIVABLE, Account.DIFFERENCE
    entry = Entry(
        region=case.region,
        business_day=today,
        effective_day=today,
        institution=case.institution,
        payer=leg.payer,
        layer=leg.layer.value,
        product=leg.product,
        kind=Kind.CORRECTION,
        debit=more if fen > 0 else less,
        credit=less if fen > 0 else more,
        amount_fen=abs(fen),
        case_id=case.case_id,
        leg_no=leg.leg_no,
        about_day=broken.day,
        cause=f"break/{broken.break_id}",
    )
    ledger.post(work.connection, [entry])
    return f"posted a difference of {yuan_of(abs(fen))} {'more' if fen > 0 else 'less'} owed by {leg.payer}"


def _resend(work: Work, book: RuleBook, broken: Break) -> str:
    """The newest answer once more, the way it went, or to the hospital's queue where it had asked over HTTP."""
    if broken.case_id is None:
        raise Conflict("nobody here knows the case", code="break.no_case")
    case = work.store.cases.lock(work.connection, [broken.case_id])[broken.case_id]
    answer = work.store.answers.latest(work.connection, [case.case_id]).get(case.case_id)
    if answer is None:
        raise Conflict("the hospital was given no answer that could be sent again", code="break.no_answer")
    institution = book.institution_by_code.get(case.institution)
    reply_to = case.reply_to
    if not reply_to.startswith((OUT_PREFIX, STAGING_PREFIX)):
        if institution is None or not institution.amqp:
            remedy = f"tell it to query {case.settlement_no}"
            raise Conflict(f"{case.institution} fetches its answers itself: {remedy}", code="break.no_way")
        reply_to = f"{OUT_PREFIX}{case.institution}"
    deliver(work, case, answer.body, [(reply_to, case.correlation_id)])
    return f"revision {answer.revision} of the answer was sent again"


def told(error: HubError) -> str:
    """Why something cannot be done, in one line."""
    said = error.message or str(error) or error.code
    return "; ".join([said, *(f"{one.field}: {one.remedy}" for one in getattr(error, "violations", ()))])
