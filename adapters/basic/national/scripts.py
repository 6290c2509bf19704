"""Which calls an operation takes, in which order: the script of a conversation, written before the first byte leaves.

The name of a step is an infno, with a role before it where the step is not always said or its refusal means nothing:

    sign:9001     only where the region wants it and no sign-in is current
    find:5201     of a settle: only when the registration was refused, perhaps because there is one already
    look:5204     what stands already (visits that came by notices)
    clear:2205    takes back what an attempt before left; refused where there is nothing
    undo:2205     only after a refusal: takes back what this conversation uploaded
    after:2202    of a trial: takes back what was registered for it
    then:5203     one more settlement of the visit to look at
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from adapters.basic.national.contents import (
    ALL_LINES,
    BATCH,
    MDTRT_ID,
    SETL_ID,
    Contents,
    facts_of,
    look_for_visit,
    person,
    short,
)
from adapters.basic.national.region import NUMBERS, Region
from adapters.conversation import Step
from schemas.codes import VisitKind
from schemas.errors import InvalidMessage, Violation
from schemas.national.envelope import dump_json, msgid_of, write_request
from schemas.national.transactions import Content, exchange_of, write_input
from schemas.payer import MessageNumbers, Operation, PayerTask
from schemas.settlement import FeeLine
from schemas.visit import AdmissionFacts, UploadedLine

SETTLE_OF = {VisitKind.OUTPATIENT: "2207", VisitKind.INPATIENT: "2304", VisitKind.PHARMACY: "2102"}
TRIAL_OF = {VisitKind.OUTPATIENT: "2206", VisitKind.INPATIENT: "2303", VisitKind.PHARMACY: "2101"}
CANCEL_OF = {VisitKind.OUTPATIENT: "2208", VisitKind.INPATIENT: "2305", VisitKind.PHARMACY: "2103"}
SETTLEMENTS_MAX = 3
"""How many settlements of one visit an inquiry looks at."""

_EFFECTS = {"2601": NUMBERS - 1}
"""The first number is for the message with the effect. A reversal and the cancellation that people may have said after
it was refused are one request of the hub and two messages of the region: two numbers."""
Planned = tuple[str, Content]


class Scripts:
    """Steps by the region's switches."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._contents = Contents(region)
        self._plans: dict[Operation, Callable[[PayerTask], list[Planned]]] = {
            Operation.SETTLE: self._settle,
            Operation.TRIAL: self._trial,
            Operation.CANCEL: self._cancel,
            Operation.REVERSE: self._reverse,
            Operation.INQUIRE: self._inquire,
        }

    def of_task(self, task: PayerTask) -> list[Step]:
        """The steps of a task; InvalidMessage names what the interface cannot carry."""
        request = task.request
        head = Head(self._region, request.institution, request.region, request.insurance.region, task.numbers)
        return self._written(head, self._plans[task.operation](task), effect_of(task))

    def written(self, head: Head, plan: Sequence[Planned], effect: str) -> list[Step]:
        """Steps of a plan of somebody else's making."""
        return self._written(head, plan, effect)

    def _written(self, head: Head, plan: Sequence[Planned], effect: str) -> list[Step]:
        if self._region.yes("sign_in"):
            texts = self._region.texts
            sign_in = {"signIn": {"opter_no": texts["opter"][:20], "mac": texts["mac"], "ip": texts["ip"]}}
            plan = [("sign:9001", sign_in), *plan]
        last = max(place for place, (name, _) in enumerate(plan, 1) if name == effect)
        return [head.step(name, content, place, place == last) for place, (name, content) in enumerate(plan, 1)]

    def _settle(self, task: PayerTask) -> list[Planned]:
        request, facts = task.request, facts_of(task.request)
        if request.visit.kind is VisitKind.PHARMACY:
            return [*self._person(facts), ("2102", self._contents.pharmacy(request))]
        batch = short(request.settlement_no)
        begun = [*self._person(facts), *self._registered(facts), *self._uploaded(facts, request.fees, batch)]
        if request.visit.kind is VisitKind.OUTPATIENT:
            return [*begun, ("2207", self._contents.settlement(request, BATCH))]
        ended_at = request.visit.ended_at
        assert ended_at is not None, "a stay that is settled has ended"
        return [
            *begun,
            ("2402", self._contents.discharge(facts, ended_at)),
            ("2304", self._contents.settlement(request, BATCH)),
        ]

    def _trial(self, task: PayerTask) -> list[Planned]:
        request, facts = task.request, facts_of(task.request)
        if request.visit.kind is VisitKind.PHARMACY:
            return [*self._person(facts), ("2101", self._contents.pharmacy(request))]
        plan = [
            *self._person(facts),
            *self._registered(facts),
            *self._uploaded(facts, request.fees, short(request.settlement_no)),
            (TRIAL_OF[request.visit.kind], self._contents.settlement(request, BATCH)),
            ("after:" + fee_undo(facts.kind), lines_undone(facts)),
        ]
        if not self._region.visits_told:
            plan.append(("after:" + registration_undo(facts.kind), registration_undone(facts)))
        return plan

    def _cancel(self, task: PayerTask) -> list[Planned]:
        setl_id, separator, mdtrt_id = (task.original_reference or "").partition("/")
        if not separator:
            missing = Violation("original_reference", "national.reference", "name setl_id/mdtrt_id")
            raise InvalidMessage("what is to be undone has no number of the region", missing, party=task.payer)
        data = {"setl_id": setl_id, "mdtrt_id": mdtrt_id, "psn_no": task.request.insurance.person_no}
        return [(CANCEL_OF[task.request.visit.kind], {"data": data})]

    def _reverse(self, task: PayerTask) -> list[Planned]:
        data = {
            "psn_no": task.request.insurance.person_no,
            "omsgid": original_msgid(task),
            "oinfno": SETTLE_OF[task.request.visit.kind],
        }
        return [("2601", {"data": data})]

    def _inquire(self, task: PayerTask) -> list[Planned]:
        facts = facts_of(task.request)
        psn_no = facts.insurance.person_no
        one = {"data": {"psn_no": psn_no, "setl_id": SETL_ID, "mdtrt_id": MDTRT_ID}}
        return [
            ("find:5201", look_for_visit(facts)),
            ("look:5204", {"data": {"psn_no": psn_no, "mdtrt_id": MDTRT_ID}}),
            ("5203", one),
            *[("then:5203", one)] * (SETTLEMENTS_MAX - 1),
        ]

    def _person(self, facts: AdmissionFacts) -> list[Planned]:
        if not self._region.yes("confirm_person"):
            return []
        return [("1101", person(facts.patient, facts.insurance, facts.admitted_at))]

    def _registered(self, facts: AdmissionFacts) -> list[Planned]:
        stay = facts.kind is VisitKind.INPATIENT
        plan: list[Planned] = [("2401" if stay else "2201", self._contents.registration(facts))]
        if self._region.yes("queries"):
            plan.append(("find:5201", look_for_visit(facts)))
        if self._region.visits_told:
            plan.append(("look:5204", {"data": {"psn_no": facts.insurance.person_no, "mdtrt_id": MDTRT_ID}}))
        if stay:
            plan.append(("clear:2405", registration_undone(facts)))
        else:
            plan.append(("2203", self._contents.encounter(facts)))
        plan.append(("clear:" + fee_undo(facts.kind), lines_undone(facts)))
        return plan

    def _uploaded(self, facts: AdmissionFacts, lines: Sequence[FeeLine | UploadedLine], batch: str) -> list[Planned]:
        return [
            *self.chunks(facts, lines, batch),
            ("undo:" + fee_undo(facts.kind), lines_undone(facts)),
        ]

    def chunks(self, facts: AdmissionFacts, lines: Sequence[FeeLine | UploadedLine], batch: str) -> list[Planned]:
        """The uploads of fee lines."""
        size = self._region.fee_lines_max
        infno = "2301" if facts.kind is VisitKind.INPATIENT else "2204"
        return [
            (infno, self._contents.fees(facts, lines[start : start + size], batch))
            for start in range(0, len(lines), size)
        ]


class Head:
    """The heads of the envelopes of one request: the effect takes its first message number, the rest follow."""

    def __init__(
        self, region: Region, institution: str, treated_in: str, insured_in: str, numbers: MessageNumbers | None
    ) -> None:
        if numbers is None:
            raise ValueError(f"party {region.party}: a national message needs message numbers")
        self._region, self._institution, self._numbers = region, institution, numbers
        self._places = {"mdtrtarea_admvs": region.region or treated_in, "insuplc_admdvs": insured_in}

    def step(self, name: str, content: Content, place: int, effect: bool) -> Step:
        """One call; InvalidMessage for what its table cannot carry."""
        infno = infno_of(name)
        number = _EFFECTS.get(infno, 0) if effect else place
        envelope = write_request(self._fields(infno, number), write_input(infno, content))
        return Step(name, dump_json(envelope).decode(), effect=effect)

    def _fields(self, infno: str, number: int) -> dict[str, str | datetime]:
        assert number < NUMBERS, "more calls than numbers"
        exchange = exchange_of(infno)
        assert exchange is not None
        texts, at = self._region.texts, self._numbers.at
        places = self._places if exchange.person else {"mdtrtarea_admvs": self._places["mdtrtarea_admvs"]}
        return {
            "infno": infno,
            "msgid": msgid_of(self._institution, at, self._numbers.first + number),
            **places,
            "recer_sys_code": texts["recer_sys_code"],
            "infver": texts["infver"],
            "opter_type": texts["opter_type"],
            "opter": texts["opter"],
            "opter_name": texts["opter_name"],
            "inf_time": at,
            "fixmedins_code": self._institution,
            "fixmedins_name": self._region.names.get(self._institution, self._institution),
        }


def effect_of(task: PayerTask) -> str:
    """The step that has the effect; of an inquiry, the one that ends it."""
    kind = task.request.visit.kind
    match task.operation:
        case Operation.SETTLE:
            return SETTLE_OF[kind]
        case Operation.TRIAL:
            return TRIAL_OF[kind]
        case Operation.CANCEL:
            return CANCEL_OF[kind]
        case Operation.REVERSE:
            return "2601"
    return "5203"


def infno_of(name: str) -> str:
    """The transaction of a step."""
    return name.rpartition(":")[2]


def own_msgid(task: PayerTask) -> str:
    """The number of the message with the effect: what `medins_setl_id` echoes."""
    assert task.numbers is not None
    return msgid_of(task.request.institution, task.numbers.at, task.numbers.first)


def original_msgid(task: PayerTask) -> str:
    """The number of the settle that an undo or inquiry is about; ValueError without its numbers."""
    if task.original_numbers is None:
        raise ValueError(f"party {task.payer}: the original's message numbers are missing")
    return msgid_of(task.request.institution, task.original_numbers.at, task.original_numbers.first)


def fee_undo(kind: VisitKind) -> str:
    """Which transaction takes fee lines back."""
    return "2302" if kind is VisitKind.INPATIENT else "2205"


def registration_undo(kind: VisitKind) -> str:
    """Which transaction takes a registration back."""
    return "2404" if kind is VisitKind.INPATIENT else "2202"


def lines_undone(facts: AdmissionFacts) -> Content:
    """2205 or 2302 for all lines that are not settled."""
    name = "feedetl_sn" if facts.kind is VisitKind.INPATIENT else "chrg_bchno"
    return {"data": {"mdtrt_id": MDTRT_ID, "psn_no": facts.insurance.person_no, name: ALL_LINES}}


def registration_undone(facts: AdmissionFacts) -> Content:
    """2202, 2404 or, of a discharge, 2405."""
    data = {"mdtrt_id": MDTRT_ID, "psn_no": facts.insurance.person_no}
    if facts.kind is not VisitKind.INPATIENT:
        data["ipt_otp_no"] = short(facts.visit_no)
    return {"data": data}
