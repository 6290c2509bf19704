"""A settlement beside the visit that it ends: registered, its lines complete, discharged, not settled before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hub.work import Work
from routing.rulebook import Institution
from routing.visits import check_discharged, check_settlement
from schemas.errors import Conflict, HubError
from schemas.payer import Operation
from schemas.settlement import SettlementRequest
from schemas.visit import StandingLine
from store import visits
from store.records import CaseRecord
from store.visits import VisitRecord


@dataclass(frozen=True, slots=True)
class Asked:
    """A bill that wants to become a case."""

    case: CaseRecord
    request: SettlementRequest
    institution: Institution


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside a bill: its visit with the lines that it holds, or why it cannot be taken; neither where no
    visit is kept."""

    visit_id: str = ""
    line_nos: tuple[str, ...] = ()
    error: HubError | None = None


def visits_beside(work: Work, asked: Sequence[Asked]) -> list[Beside]:
    """One answer per bill, in order. The visits stay locked until the transaction ends.

    A settlement that is there already is left to be found as a repeat.
    """
    connection = work.connection
    keys = [(one.case.institution, one.case.case_key) for one in asked]
    found = visits.lock(connection, [(one.request.institution, one.request.visit.visit_no) for one in asked])
    # Under the locks: the settlement may have been under way elsewhere until now, and it is no other one's.
    repeats = work.store.cases.find_by_key(connection, keys)
    seen: dict[tuple[tuple[str, str], str], Beside] = {}
    lines = {visit.visit_id: visits.standing_lines(connection, visit.visit_id) for visit in found.values()}
    beside = []
    for key, one in zip(keys, asked, strict=True):
        visit = found.get((one.request.institution, one.request.visit.visit_no))
        try:
            same = key, one.case.request_hash
            if same not in seen:
                seen[same] = Beside() if key in repeats else _beside(one, visit, lines)
            beside.append(seen[same])
        except HubError as error:
            beside.append(Beside(error=error))
    return beside


def _beside(one: Asked, visit: VisitRecord | None, lines: dict[str, list[StandingLine]]) -> Beside:
    if visit is None:
        if one.institution.visits == "required":
            raise Conflict("no visit is registered under this number: register it first", code="visit.missing")
        return Beside()
    if one.request.patient.id_no != visit.admission.patient.id_no:
        raise Conflict("the visit was registered for another person", code="visit.person")
    held = check_settlement(visit.facts, one.request, lines[visit.visit_id])
    numbers = tuple(line.line_no for line in held)
    if one.case.purpose is Operation.SETTLE:
        check_discharged(visit.facts)
        # Nobody else in this batch settles them as well.
        visit.settled_by = one.case.case_id
        lines[visit.visit_id] = [
            line.model_copy(update={"settled_by": one.case.settlement_no}) if line in held else line
            for line in lines[visit.visit_id]
        ]
    return Beside(visit.visit_id, numbers)
