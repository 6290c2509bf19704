"""The bill of a registered visit, for parties whose settlement names a visit and no lines."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from hub.work import WorkUnits
from routing.visits import bill_lines
from schemas.errors import NotFound
from schemas.settlement import FeeLine
from schemas.visit import AdmissionRegister, DischargeRegister
from store import visits
from store.visits import VisitRecord


@dataclass(frozen=True, slots=True)
class VisitBill:
    """What is known of a visit: who and when, how it ended, and its lines with refunds taken off."""

    visit_id: str
    admission: AdmissionRegister
    discharge: DischargeRegister | None
    fees: tuple[FeeLine, ...]
    total_fen: int
    settled_by: str | None
    """The case of the settlement that stands or is under way."""


class VisitBills:
    """Reads bills."""

    def __init__(self, work_units: WorkUnits) -> None:
        self._work_units = work_units

    def bill(self, institution: str, visit_no: str) -> VisitBill:
        """The bill as it stands; NotFound when no visit is registered under this number."""
        with self._work_units.read() as connection:
            return self.read(connection, institution, visit_no)

    @staticmethod
    def read(connection: Connection, institution: str, visit_no: str) -> VisitBill:
        """The same within a transaction of the caller."""
        number = (institution, visit_no)
        visit = visits.read(connection, [number]).get(number)
        if visit is None:
            raise NotFound("no visit is registered under this number", code="visit.not_found", visit_no=visit_no)
        return _bill(connection, visit)


def _bill(connection: Connection, visit: VisitRecord) -> VisitBill:
    lines = bill_lines([line for _, line in visits.standing_lines(connection, visit.visit_id)])
    return VisitBill(visit.visit_id, visit.admission, visit.discharge, lines, visit.total_fen, visit.settled_by)
