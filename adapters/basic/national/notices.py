"""What a region is told of a visit before its settlement, where it wants that (`visits: told`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from adapters.basic.national.answers import Reader, declined, raw_code
from adapters.basic.national.contents import ALL_LINES, MDTRT_ID, Contents, look_for_visit, short
from adapters.basic.national.region import NUMBERS, Region
from adapters.basic.national.scripts import Head, Planned, Scripts, lines_undone, registration_undo, registration_undone
from adapters.basic.national.talk import REGISTRATIONS, UPLOADS, Heard, Talk, facts_in, own_json, whole_transcript
from adapters.conversation import Said, Step, calls_of
from schemas.codes import Outcome, VisitKind
from schemas.errors import InvalidMessage, Violation
from schemas.payer import Decision, Notice, RawAnswer
from schemas.visit import AdmissionFacts, DischargeRegister, FeesCancel, FeesUpload

NOTICES = frozenset(
    {
        "admission.register",
        "admission.change",
        "admission.cancel",
        "fees.upload",
        "fees.cancel",
        "discharge.register",
        "discharge.cancel",
    }
)
LINES_CANCELLED_MAX = 100
Plan = tuple[list[Planned], str]
"""Steps and which of them has the effect."""


class Notices:
    """Notices as conversations."""

    def __init__(self, region: Region, scripts: Scripts, talk: Talk) -> None:
        self._region, self._scripts, self._talk = region, scripts, talk
        self._contents = Contents(region)
        self._reader = Reader(region, talk)
        self._plans: dict[str, Callable[[Notice, AdmissionFacts], Plan]] = {
            "admission.register": self._register,
            "admission.change": self._change,
            "admission.cancel": self._cancel,
            "fees.upload": self._fees,
            "fees.cancel": self._fees_cancel,
            "discharge.register": self._discharge,
            "discharge.cancel": self._discharge_cancel,
        }

    def steps(self, notice: Notice) -> list[Step]:
        """The script; InvalidMessage for what the interface cannot say."""
        plan = self._plans.get(notice.transaction)
        facts = notice.message if isinstance(notice.message, AdmissionFacts) else notice.admission
        if plan is None or facts is None:
            raise _inexpressible(notice, "transaction" if plan is None else "admission")
        steps, effect = plan(notice, facts)
        if any(_asks_for_visit(content) for _, content in steps) and notice.transaction != "admission.register":
            steps = self._with_visit(notice, facts, steps)
        if len(steps) >= NUMBERS:
            raise _inexpressible(notice, "lines")
        head = Head(self._region, facts.institution, facts.region, facts.insurance.region, notice.numbers)
        return self._scripts.written(head, steps, effect)

    def decision(self, notice: Notice, answer: RawAnswer) -> Decision:
        """APPROVED, DECLINED in the region's words, or UNKNOWN; errors as `Reader.decision`."""
        with whole_transcript():
            return self._decided(notice, calls_of(answer))

    def _decided(self, notice: Notice, said: Sequence[Said]) -> Decision:
        if not said:
            return Decision(Outcome.UNKNOWN, raw_code="national.unsaid")
        facts = facts_in((one.name, own_json(one.sent)) for one in said)
        heard = self._talk.heard(said, facts)
        if heard.refusal is not None:
            return self._refusal(notice, heard, facts.institution)
        last = next((one for one in reversed(said) if ":" not in one.name), None)
        taken = Decision(Outcome.APPROVED, payer_reference=heard.mdtrt_id or None, raw_code="0")
        if last is None:
            return taken if heard.standing else Decision(Outcome.UNKNOWN, raw_code="national.unsaid")
        if last.name in REGISTRATIONS and heard.found:
            return taken  # refused, since it was registered before
        if _effect_said(notice, last):
            response = self._reader.response(last, facts.institution)
            if response is None or not response.done:
                return Decision(Outcome.UNKNOWN, raw_code=raw_code(last, response))
            return taken
        return taken if heard.standing else Decision(Outcome.UNKNOWN, raw_code="national.unsaid")

    def _refusal(self, notice: Notice, heard: Heard, institution: str) -> Decision:
        assert heard.refusal is not None
        response = self._reader.response(heard.refusal, institution)
        assert response is not None, "only an answer is a refusal"
        undoing = notice.transaction.endswith(".cancel")
        kinds = ("nothing_left", "already_undone") if undoing else ("already_done",)
        told_before = any(self._region.says(kind, response.err_msg) for kind in kinds)
        if told_before:
            return Decision(Outcome.APPROVED, payer_reference=heard.mdtrt_id or None, raw_code="national.said_before")
        return declined(heard.refusal, response)

    def _with_visit(self, notice: Notice, facts: AdmissionFacts, steps: list[Planned]) -> list[Planned]:
        """With the region's number of the visit where it is known, and a look for it where it is not."""
        if notice.admission_reference:
            return [(name, _named(content, notice.admission_reference)) for name, content in steps]
        return [("find:5201", look_for_visit(facts)), *steps]

    def _register(self, notice: Notice, facts: AdmissionFacts) -> Plan:
        register: Planned = ("2201", self._contents.registration(facts))
        if facts.kind is VisitKind.INPATIENT:
            register = ("2401", register[1])
        find = [("find:5201", look_for_visit(facts))] if self._region.yes("queries") else []
        if register[0] == "2401" or not facts.diagnoses:
            return [register, *find], register[0]
        return [register, *find, ("2203", self._contents.encounter(facts))], "2203"

    def _change(self, notice: Notice, facts: AdmissionFacts) -> Plan:
        if facts.kind is VisitKind.INPATIENT:
            return [("2403", self._contents.change(facts))], "2403"
        return [("2203", self._contents.encounter(facts))], "2203"

    def _cancel(self, notice: Notice, facts: AdmissionFacts) -> Plan:
        infno = registration_undo(facts.kind)
        return [(infno, registration_undone(facts))], infno

    def _fees(self, notice: Notice, facts: AdmissionFacts) -> Plan:
        upload = cast(FeesUpload, notice.message)
        chunks = self._scripts.chunks(facts, upload.lines, short(upload.batch_no))
        if not self._region.yes("queries"):
            return chunks, chunks[-1][0]
        look = {"data": {"psn_no": facts.insurance.person_no, "mdtrt_id": MDTRT_ID}}
        return [("look:5204", look), *chunks], chunks[-1][0]

    def _fees_cancel(self, notice: Notice, facts: AdmissionFacts) -> Plan:
        cancel = cast(FeesCancel, notice.message)
        stay = facts.kind is VisitKind.INPATIENT
        if not cancel.line_nos and cancel.batch_no is None:
            return [("2302" if stay else "2205", lines_undone(facts))], "2302" if stay else "2205"
        known = {"mdtrt_id": MDTRT_ID, "psn_no": facts.insurance.person_no}
        if stay and 0 < len(cancel.line_nos) <= LINES_CANCELLED_MAX:
            lines = [{"data": {**known, "feedetl_sn": short(number)}} for number in cancel.line_nos]
            return [("2302", line) for line in lines], "2302"
        if not stay and cancel.batch_no is not None and cancel.batch_no != ALL_LINES:
            return [("2205", {"data": {**known, "chrg_bchno": short(cancel.batch_no)}})], "2205"
        raise _inexpressible(notice, "line_nos" if cancel.line_nos else "batch_no")

    def _discharge(self, notice: Notice, facts: AdmissionFacts) -> Plan:
        if facts.kind is not VisitKind.INPATIENT:
            raise _inexpressible(notice, "visit_no")
        told = cast(DischargeRegister, notice.message)
        return [("2402", self._contents.discharge(facts, told.discharged_at, told))], "2402"

    def _discharge_cancel(self, notice: Notice, facts: AdmissionFacts) -> Plan:
        if facts.kind is not VisitKind.INPATIENT:
            raise _inexpressible(notice, "visit_no")
        return [("2405", registration_undone(facts))], "2405"


def _effect_said(notice: Notice, last: Said) -> bool:
    """A registration's diagnoses belong to it; the lines of an upload may have stood before."""
    if notice.transaction == "admission.register":
        return last.name != "2201" or not cast(AdmissionFacts, notice.message).diagnoses
    return last.name in UPLOADS or last.name not in REGISTRATIONS


def _asks_for_visit(content: dict[str, Any]) -> bool:
    return any(
        record.get("mdtrt_id") == MDTRT_ID
        for node in content.values()
        for record in (node if isinstance(node, list) else [node])
    )


def _named(content: dict[str, Any], mdtrt_id: str) -> dict[str, Any]:
    def record(one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "mdtrt_id": mdtrt_id} if one.get("mdtrt_id") == MDTRT_ID else one

    return {
        name: [record(one) for one in node] if isinstance(node, list) else record(node)
        for name, node in content.items()
    }


def _inexpressible(notice: Notice, field: str) -> InvalidMessage:
    violation = Violation(field, "national.inexpressible", "the national interface has no word for this")
    return InvalidMessage("this notice cannot be said to this region", violation, party=notice.payer)
