"""Answers that insurers send as messages: matched to their leg by our request id, then applied like others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from hub.applier import Applier
from hub.calls import Payer, read_answer
from hub.inbound import Inbound, Taken
from hub.outcomes import Finished
from hub.tasks import Requests, claim_task, leg_of_request_id, undo_task
from hub.work import WorkUnits
from routing.states import LegState
from schemas.base import read_message
from schemas.errors import HubError, InvalidMessage, NotFound, Violation
from schemas.payer import ClaimDecision, Operation, PayerTask, RawAnswer
from schemas.settlement import SettlementRequest
from store.records import CaseRecord, LegRecord


@dataclass(frozen=True, slots=True)
class _Claimed:
    index: int
    inbound: Inbound
    case_id: str
    leg_no: int
    undo: bool


class ClaimAnswers:
    """Takes `claim.answer` in batches."""

    def __init__(self, work_units: WorkUnits, payers: Mapping[str, Payer], applier: Applier) -> None:
        self._work_units = work_units
        self._payers = payers
        self._applier = applier
        self._requests = Requests(work_units.store.exchanges)

    def take(self, batch: Sequence[Inbound]) -> list[Taken]:
        """One result per message, in order; a repeated answer is taken and changes nothing."""
        results = [Taken()] * len(batch)
        claimed = []
        for index, inbound in enumerate(batch):
            try:
                claimed.append(_read(index, inbound))
            except HubError as error:
                results[index] = Taken(error=error)
        finished: list[Finished] = []
        with self._work_units.read() as connection:
            found = self._work_units.store.cases.read(connection, [one.case_id for one in claimed])
            for one in claimed:
                try:
                    finished.append(self._decode(connection, one, found))
                    results[one.index] = Taken(case_id=one.case_id)
                except HubError as error:
                    results[one.index] = Taken(error=error)
        if finished:
            self._applier.apply(finished)
        return results

    def _decode(self, connection: Connection, one: _Claimed, found: Mapping[str, CaseRecord]) -> Finished:
        case = found.get(one.case_id)
        if case is None or not 1 <= one.leg_no <= len(case.legs):
            raise NotFound("no claim has this request_id")
        leg = case.leg(one.leg_no)
        payer = self._payers.get(leg.payer)
        if leg.payer != one.inbound.party or payer is None:
            raise NotFound("no claim of this insurer has this request_id", party=one.inbound.party)
        request = self._requests.of(connection, [case.case_id])[case.case_id]
        task = _undo_task(case, leg, request) if one.undo else claim_task(case, leg, request)
        attempt = leg.undo_attempts if one.undo else leg.attempts
        return read_answer(payer.adapter, task, RawAnswer(one.inbound.body), attempt)


def _undo_task(case: CaseRecord, leg: LegRecord, request: SettlementRequest) -> PayerTask:
    """What this payer was asked to undo under the id of the undo: something known, or something in doubt."""
    reversing = leg.state in (LegState.REVERSING, LegState.REVERSED)
    return undo_task(case, leg, request, Operation.REVERSE if reversing else Operation.CANCEL)


def _read(index: int, inbound: Inbound) -> _Claimed:
    decision = read_message(ClaimDecision, inbound.body)
    named = leg_of_request_id(decision.request_id)
    if named is None:
        remedy = "send back the request_id of the task, unchanged"
        raise InvalidMessage("unknown request_id", Violation("request_id", "claim.request_id", remedy))
    return _Claimed(index, inbound, *named)
