"""What a bill is held against before anybody is asked: mappings, catalogue, diseases, staff, blacklist.

Only where the institution's profile asks for it (`checks` in the rule book); for the others nothing is read. A batch
costs one statement per kind. Everything that is missing is named at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import Connection

from hub.master_rows import scopes_of, subject_key
from routing.rulebook import Institution
from schemas.errors import Forbidden, HubError, InvalidMessage, Violation
from schemas.settlement import SettlementRequest
from store import master_lookup
from store.master_lookup import Sought

Asked = tuple[SettlementRequest, Institution]
VIOLATIONS_MAX = 1000


@dataclass(slots=True)
class _Known:
    """What the store has of everything that the bills of a batch name."""

    mapped: dict[tuple[str, str, date], set[str]] = field(default_factory=dict)
    items: set[Sought] = field(default_factory=set)
    diseases: set[Sought] = field(default_factory=set)
    staff: set[tuple[str, str, date]] = field(default_factory=set)
    refused: set[Sought] = field(default_factory=set)


class MasterChecks:
    """Holds bills against master data. `person_secret` finds people on the blacklist."""

    def __init__(self, person_secret: bytes) -> None:
        self._person_secret = person_secret

    def check(
        self, connection: Connection, drafts: Sequence[Asked], day_of: Callable[[SettlementRequest], date]
    ) -> list[HubError | None]:
        """One result per bill, in order: nothing, or why it is refused."""
        if not any(institution.checks for _, institution in drafts):
            return [None] * len(drafts)
        dated = [(request, institution, day_of(request)) for request, institution in drafts]
        known = self._look_up(connection, dated)
        return [self._error(known, *one) for one in dated]

    def _look_up(self, connection: Connection, dated: Sequence[tuple[SettlementRequest, Institution, date]]) -> _Known:
        def of(check: str, seek: Callable[[SettlementRequest, Institution, date], Iterable[Sought]]) -> set[Sought]:
            return {sought for one in dated if check in one[1].checks for sought in seek(*one)}

        known = _Known()
        if sought := of("mapping", _local_codes):
            known.mapped = master_lookup.mapped(connection, sought)
        if sought := of("catalogue", _item_codes):
            known.items = master_lookup.items(connection, sought)
        if sought := of("disease", _disease_codes):
            known.diseases = master_lookup.diseases(connection, sought)
        if sought := of("staff", _staff_codes):
            known.staff = master_lookup.staff(connection, sought)
        if sought := of("blacklist", self._subjects):
            known.refused = master_lookup.refused(connection, sought)
        return known

    def _error(self, known: _Known, request: SettlementRequest, institution: Institution, day: date) -> HubError | None:
        if "blacklist" in institution.checks and known.refused & set(self._subjects(request, institution, day)):
            return Forbidden("on the blacklist", code="blacklist.refused", settlement_no=request.settlement_no)
        found = list(problems(known, request, institution, day))
        if not found:
            return None
        said = f"{len(found)} entries of the bill are not in the master data"
        return InvalidMessage(said, *found[:VIOLATIONS_MAX], code="master.refused")

    def _subjects(self, request: SettlementRequest, institution: Institution, day: date) -> Iterator[Sought]:
        scopes = scopes_of(institution.region)
        yield Sought("person", subject_key(self._person_secret, "person", request.patient.id_no), day, scopes)
        yield Sought("institution", institution.code, day, scopes)
        if request.visit.doctor_code:
            yield Sought("staff", request.visit.doctor_code, day, scopes)


def problems(known: _Known, request: SettlementRequest, institution: Institution, day: date) -> Iterator[Violation]:
    """Everything about a bill that master data does not know, in the order of the bill."""
    scopes, checks = scopes_of(institution.region), institution.checks
    if "staff" in checks:
        yield from _staff_problems(known, request, institution, day)
    if "disease" in checks:
        for index, diagnosis in enumerate(request.diagnoses):
            if Sought("", diagnosis.code, day, scopes) not in known.diseases:
                remedy = "is not in the dictionary of diseases on this day; correct the code"
                yield Violation(f"diagnoses[{index}].code", "disease.missing", remedy)
    for index, line in enumerate(request.fees):
        if "mapping" in checks and line.local_code is not None:
            mapped = known.mapped.get((institution.code, line.local_code, day))
            if mapped is None:
                remedy = "has no mapping in force on this day; send mapping.upload first"
                yield Violation(f"fees[{index}].local_code", "mapping.missing", remedy)
            elif line.item_code not in mapped:
                remedy = "is not what the mapping of local_code says; correct one of the two"
                yield Violation(f"fees[{index}].item_code", "mapping.differs", remedy)
        if "catalogue" in checks and Sought("", line.item_code, day, scopes) not in known.items:
            remedy = "is in no catalogue in force on this day; correct the code"
            yield Violation(f"fees[{index}].item_code", "catalogue.missing", remedy)


def _staff_problems(
    known: _Known, request: SettlementRequest, institution: Institution, day: date
) -> Iterator[Violation]:
    code = request.visit.doctor_code
    if code is None:
        yield Violation("visit.doctor_code", "staff.missing", "add the doctor's code")
    elif (institution.code, code, day) not in known.staff:
        yield Violation("visit.doctor_code", "staff.unknown", "is not registered on this day; send staff.upload first")


def _local_codes(request: SettlementRequest, institution: Institution, day: date) -> Iterator[Sought]:
    for line in request.fees:
        if line.local_code is not None:
            yield Sought(institution.code, line.local_code, day, ())


def _item_codes(request: SettlementRequest, institution: Institution, day: date) -> Iterator[Sought]:
    scopes = scopes_of(institution.region)
    return (Sought("", line.item_code, day, scopes) for line in request.fees)


def _disease_codes(request: SettlementRequest, institution: Institution, day: date) -> Iterator[Sought]:
    scopes = scopes_of(institution.region)
    return (Sought("", diagnosis.code, day, scopes) for diagnosis in request.diagnoses)


def _staff_codes(request: SettlementRequest, institution: Institution, day: date) -> Iterator[Sought]:
    if request.visit.doctor_code is not None:
        yield Sought(institution.code, request.visit.doctor_code, day, ())


def insurer_codes(connection: Connection, payer: str, request: SettlementRequest, day: date) -> dict[str, str]:
    """The payer's own code of each item of the bill that it has mapped, by the national code."""
    return master_lookup.insurer_codes(connection, payer, {line.item_code for line in request.fees}, day)
