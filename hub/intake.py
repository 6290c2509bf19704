"""Intake: validate what a hospital sent, find or create the case, plan it, and write the first leg's command.

A batch is one transaction. The database decides duplicates by (institution, settlement number); a repeat with the same
content gets the stored answer, with other content a conflict. A wrong message never spoils the batch it arrived in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from hub.answers import give_answers
from hub.books import ActiveBook, RuleBooks
from hub.inbound import Inbound, Taken
from hub.master_checks import MasterChecks
from hub.ports import Clock
from hub.progress import advance, first_look
from hub.recorded import given_of, record_given, tell_of_given
from hub.routes import new_id
from hub.senders import check_sender
from hub.visit_checks import Asked, visits_beside
from hub.work import Work, WorkUnits
from routing.deadline import answer_due
from routing.plan import Plan, plan_case, service_date
from routing.rulebook import Institution
from schemas.base import read_message_and_content
from schemas.errors import Conflict, HubError, InvalidMessage, NotFound, Violation
from schemas.payer import Operation
from schemas.settlement import SettlementRequest
from schemas.transactions import HOSPITAL_MESSAGES, Transaction
from store import visits
from store.coverage import person_key
from store.exchanges import HOSPITAL_LEG, Exchange
from store.inbox import Received
from store.records import CaseRecord, LegRecord
from store.search import Known, Name

FUTURE_TOLERANCE = timedelta(minutes=5)
TOMBSTONE = "reversed before it came"
"""In the place of the hash of a settlement whose reversal came first: no settlement has it."""


@dataclass(slots=True)
class _Draft:
    """A validated trial or settle request on its way into the store."""

    index: int
    inbound: Inbound
    request: SettlementRequest
    institution: Institution
    person: str
    content_hash: str
    case: CaseRecord | None = None
    plan: Plan | None = None
    visit_id: str = ""
    line_nos: tuple[str, ...] = ()


class Intake:
    """Takes trial and settle messages in batches."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks, clock: Clock, person_secret: bytes) -> None:
        self._work_units = work_units
        self._books = books
        self._clock = clock
        self._person_secret = person_secret
        self._master_checks = MasterChecks(person_secret)

    def take(self, batch: Sequence[Inbound]) -> list[Taken]:
        """One result per message, in order. Raises only when the database is away: then nothing was stored."""
        results: list[Taken] = [Taken()] * len(batch)
        active = self._books.active()
        drafts = []
        for index, inbound in enumerate(batch):
            try:
                drafts.append(self._read(index, inbound, active))
            except HubError as error:
                results[index] = Taken(error=error)
        if drafts:
            with self._work_units.begin("intake") as work:
                self._store(work, drafts, active, results)
        return results

    def _read(self, index: int, inbound: Inbound, active: ActiveBook) -> _Draft:
        message, content = read_message_and_content(HOSPITAL_MESSAGES[inbound.transaction], inbound.body)
        if not isinstance(message, SettlementRequest):
            raise InvalidMessage("not a trial or settle message")
        institution = check_sender(active, inbound.party, message.institution)
        _refuse_future(message, inbound.received_at)
        patient = message.patient
        key = person_key(self._person_secret, patient.id_type, patient.id_no)
        return _Draft(index, inbound, message, institution, key, content_hash(content))

    def _store(self, work: Work, drafts: list[_Draft], active: ActiveBook, results: list[Taken]) -> None:
        connection = work.connection
        policies = work.store.coverage.find(connection, (draft.person for draft in drafts))
        for draft in drafts:
            try:
                plan = plan_case(active.book, draft.request, policies.get(draft.person, ()))
            except HubError as error:
                results[draft.index] = Taken(error=error)
            else:
                draft.case, draft.plan = _new_case(draft, plan, active.version), plan
        _find_earlier(work, drafts, active, results)
        _check(work, drafts, results)
        _check_master_data(work, self._master_checks, drafts, results)
        planned = [(draft, draft.case) for draft in drafts if draft.case is not None]
        if not planned:
            return
        reused = work.store.inbox.take(connection, [_remembered(draft.inbound, case) for draft, case in planned])
        for draft, case in planned:
            if _remembered(draft.inbound, case) in reused:
                results[draft.index] = Taken(error=message_id_reused(draft.inbound))
        planned = [(draft, case) for draft, case in planned if results[draft.index].error is None]
        created = work.store.cases.insert_new(connection, [case for draft, case in planned if draft.plan is not None])
        new = [(draft, case) for draft, case in planned if case.case_id in created]
        work.store.exchanges.add(connection, [_received(draft.inbound, case) for draft, case in new])
        work.store.search.add(connection, [known for draft, case in new for known in _known_by(draft, case)])
        _begin(work, new, active)
        for draft, case in new:
            results[draft.index] = Taken(case_id=case.case_id)
        repeats = [(draft, case) for draft, case in planned if case.case_id not in created]
        if repeats:
            self._answer_repeats(work, repeats, results)

    def _answer_repeats(self, work: Work, repeats: list[tuple[_Draft, CaseRecord]], results: list[Taken]) -> None:
        work.store.inbox.leave_a_mark(work.connection)
        keys = [(case.institution, case.case_key) for _, case in repeats]
        known = work.store.cases.find_by_key(work.connection, keys)
        given = work.store.answers.latest(work.connection, [case_id for case_id, _ in known.values()])
        for draft, case in repeats:
            case_id, request_hash = known[case.institution, case.case_key]
            if request_hash == TOMBSTONE:
                blocked = Conflict(
                    "this settlement was reversed before it came; settle under a new number",
                    code="settlement.reversed_before",
                    settlement_no=case.settlement_no,
                )
                results[draft.index] = Taken(case_id=case_id, error=blocked)
            elif request_hash != case.request_hash:
                error = Conflict(
                    "the settlement number is already used with other content", settlement_no=case.settlement_no
                )
                results[draft.index] = Taken(case_id=case_id, error=error)
            else:
                answer = given[case_id].body if case_id in given else None
                results[draft.index] = Taken(case_id=case_id, answer=answer, repeated=True)


def _find_earlier(work: Work, drafts: list[_Draft], active: ActiveBook, results: list[Taken]) -> None:
    """What the rules of today have no plan for may be there already: then it is a repeat like any other."""
    unplanned = [one for one in drafts if one.plan is None and one.inbound.transaction is not Transaction.TRIAL]
    if not unplanned:
        return
    keys = {draft.index: (draft.request.institution, draft.request.settlement_no) for draft in unplanned}
    known = work.store.cases.find_by_key(work.connection, list(keys.values()))
    for draft in unplanned:
        if keys[draft.index] in known:
            draft.case = _new_case(draft, Plan((), ()), active.version)
            results[draft.index] = Taken()


def _check(work: Work, drafts: list[_Draft], results: list[Taken]) -> None:
    """What the institution's profile asks to be looked at before a bill becomes a case; nothing for most."""
    kept = [draft for draft in drafts if draft.case is not None and draft.institution.visits != "none"]
    if kept:
        asked = [Asked(draft.case, draft.request, draft.institution) for draft in kept if draft.case is not None]
        for draft, beside in zip(kept, visits_beside(work, asked), strict=True):
            draft.visit_id, draft.line_nos = beside.visit_id, beside.line_nos
            if beside.error is not None:
                _refuse(draft, beside.error, results)


def _check_master_data(work: Work, checks: MasterChecks, drafts: list[_Draft], results: list[Taken]) -> None:
    """Refuse bills that name what master data does not know.

    A settlement that is there already is left to be found as a repeat; one that was adjudicated elsewhere has happened.
    """
    asked = [
        (draft, draft.case)
        for draft in drafts
        if draft.case is not None
        and draft.institution.checks
        and draft.inbound.transaction is not Transaction.ADJUDICATION_UPLOAD
    ]
    bills = [(draft.request, draft.institution) for draft, _ in asked]
    found = zip(asked, checks.check(work.connection, bills, service_date), strict=True)
    refused = [(draft, (case.institution, case.case_key), error) for (draft, case), error in found if error is not None]
    if refused:
        repeats = work.store.cases.find_by_key(work.connection, [key for _, key, _ in refused])
        for draft, key, error in refused:
            if key not in repeats:
                _refuse(draft, error, results)


def _refuse(draft: _Draft, error: HubError, results: list[Taken]) -> None:
    draft.case = None
    results[draft.index] = Taken(error=error)


def _begin(work: Work, new: list[tuple[_Draft, CaseRecord]], active: ActiveBook) -> None:
    """The first step of each new case: a command to its first payer, or, where all is adjudicated, the answer."""
    finished = []
    for draft, case in new:
        if draft.visit_id and _settles(case):
            visits.link(work.connection, case.case_id, draft.visit_id, draft.line_nos)
        given = given_of(draft.plan.legs) if draft.plan is not None else {}
        if given:
            now = draft.inbound.received_at
            record_given(work, case, given, draft.inbound.party, now)
            if _settles(case):
                tell_of_given(work, case, draft.inbound, active.book, now)
        if advance(work, case, draft.inbound.received_at):
            finished.append(case)
    if finished:
        give_answers(work, finished, finished[0].received_at)
    work.store.cases.save(
        work.connection, [case for _, case in new if case.changed or any(leg.changed for leg in case.legs)]
    )


def _settles(case: CaseRecord) -> bool:
    return case.purpose is Operation.SETTLE


def _refuse_future(request: SettlementRequest, now: datetime) -> None:
    visit = request.visit
    if visit.started_at > now + FUTURE_TOLERANCE:
        raise _in_future("visit.started_at")
    if visit.ended_at is not None and visit.ended_at > now + FUTURE_TOLERANCE:
        raise _in_future("visit.ended_at")
    for place, share in enumerate(request.adjudicated):
        if share.decided_at is not None and share.decided_at > now + FUTURE_TOLERANCE:
            raise _in_future(f"adjudicated[{place}].decided_at")


def _in_future(field: str) -> InvalidMessage:
    remedy = "lies in the future; check the date and the clock of the sending system"
    return InvalidMessage("a date lies in the future", Violation(field, "date.future", remedy))


def content_hash(content: dict[str, Any]) -> str:
    """SHA-256 over what makes a repeat a repeat: the whole content but the deadline, which each attempt may renew."""
    counted = {name: value for name, value in content.items() if name != "answer_by"}
    return hashlib.sha256(orjson.dumps(counted, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _new_case(draft: _Draft, plan: Plan, rulebook_version: int) -> CaseRecord:
    """The case with its legs, not stored yet."""
    inbound, request = draft.inbound, draft.request
    case_id = new_id()
    trial = inbound.transaction is Transaction.TRIAL
    region = request.insurance.region
    answer_by = answer_due(inbound.received_at, request.answer_by, draft.institution.deadline_s)
    return CaseRecord(
        case_id=case_id,
        region=region,
        institution=request.institution,
        settlement_no=request.settlement_no,
        case_key=f"trial/{inbound.message_id}" if trial else request.settlement_no,
        purpose=Operation.TRIAL if trial else Operation.SETTLE,
        request_hash=draft.content_hash,
        total_fen=request.total,
        rulebook_version=rulebook_version,
        considered=[[seen.rule, seen.missed] for seen in plan.considered],
        visit_kind=request.visit.kind.value,
        insurance_type=request.insurance.type.value,
        received_at=inbound.received_at,
        answer_by=answer_by,
        reply_to=inbound.reply_to,
        correlation_id=inbound.correlation_id or inbound.message_id,
        watch_at=first_look(inbound.received_at, answer_by),
        legs=[
            LegRecord(
                case_id=case_id,
                leg_no=leg.leg_no,
                region=region,
                payer=leg.payer,
                layer=leg.layer,
                product=leg.product,
                policy_no=leg.policy_no,
                rule=leg.rule,
                split=leg.split,
                weight=leg.weight,
                independent=leg.independent,
            )
            for leg in plan.legs
        ],
    )


def _remembered(inbound: Inbound, case: CaseRecord) -> Received:
    return Received(inbound.party, inbound.message_id, case.region, f"{inbound.transaction}:{case.request_hash}")


def message_id_reused(inbound: Inbound) -> Conflict:
    """The refusal of an id that this sender used before for another message."""
    return Conflict("this message id was used for another message", code="message.id_reused", id=inbound.message_id)


def _received(inbound: Inbound, case: CaseRecord) -> Exchange:
    return Exchange(
        region=case.region,
        case_id=case.case_id,
        leg_no=HOSPITAL_LEG,
        party=inbound.party,
        direction="in",
        operation=case.purpose.value,
        request_id=inbound.message_id,
        attempt=1,
        body=inbound.body,
        at=inbound.received_at,
    )


def _known_by(draft: _Draft, case: CaseRecord) -> Iterator[Known]:
    """What people may hold in their hands when they look for this case later."""
    for message_id in {draft.inbound.message_id, case.correlation_id}:
        yield Known(Name.MESSAGE, message_id, case.case_id, case.region)
    yield Known(Name.VISIT, draft.request.visit.visit_no, case.case_id, case.region)
    yield Known(Name.PERSON, draft.person, case.case_id, case.region)
    for policy_no in {leg.policy_no for leg in case.legs if leg.policy_no}:
        yield Known(Name.POLICY, policy_no, case.case_id, case.region)


def not_found(settlement_no: str) -> NotFound:
    """The refusal for a settlement number that this institution never used."""
    return NotFound("there is no settlement with this number", settlement_no=settlement_no)
