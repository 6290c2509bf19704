"""5201, 5203, 5204: what the hub holds of visits, settlements and fee lines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from hub.gateway.national.calls import Call, Reply, Services
from hub.gateway.national.numbers import short_number
from hub.gateway.national.persons import person_of
from hub.gateway.national.setlinfo import settlement_nodes, warning_of
from hub.gateway.national.settlements import read_settled, settlement_of
from hub.gateway.national.visits import held_visit
from hub.gateway.national.words import NotKnown, Spoken
from routing.states import CaseState
from schemas.answer import CombinedAnswer
from schemas.codes import CaseStatus
from schemas.national.fields import CHINA
from schemas.transactions import Transaction
from schemas.visit import AdmissionRegister, FeesAnswer, StandingLine
from store import national
from store.coverage import person_key
from store.national import FoundVisit

_IN, _OUT = "1", "0"
_ASKED_AGAIN = "Q"


async def visits_between(call: Call, services: Services) -> Reply:
    """5201: the visits of a person that began in the time asked for, of one medical type."""
    facts = call.content["data"]
    person = await person_of(call, services, facts)
    key = person_key(services.person_secret, person.id_type, person.id_no)
    found = await services.read(
        lambda connection: national.visits_of(connection, call.party, key, facts["begntime"], facts["endtime"])
    )
    rows = [(one, AdmissionRegister.model_validate(one.admission)) for one in found]
    return Reply({"mdtrtinfo": [_visit(one, it) for one, it in rows if it.medical_type == facts["med_type"]]})


def _visit(found: FoundVisit, admission: AdmissionRegister) -> dict[str, Any]:
    return {
        "mdtrt_id": short_number(found.visit_id),
        "psn_no": admission.insurance.person_no,
        "psn_name": admission.patient.name[:50],
        "begntime": admission.admitted_at,
        "endtime": found.discharged_at,
        "med_type": admission.medical_type.value,
        "ipt_otp_no": admission.visit_no[:30],
        "insutype": admission.insurance.type.value,
        "inhosp_stas": _OUT if found.state == "discharged" else _IN,
        "dscg_dept_name": admission.department,
    }


async def settlement(call: Call, services: Services) -> Reply:
    """5203: as it stands now; a settlement that was undone is refused in words."""
    found = await settlement_of(call, services, call.content["data"])
    message = {"institution": call.party, "settlement_no": found.case.settlement_no}
    brought = await services.bring(call, Transaction.QUERY, message, message_id=f"{call.msgid}-{_ASKED_AGAIN}")
    answer = CombinedAnswer.model_validate_json(brought.answer or b"")
    if answer.status is CaseStatus.CANCELLED:
        raise Spoken("该结算已撤销")
    if answer.status is CaseStatus.CANCELLING:
        raise NotKnown("该结算正在撤销，请稍后查询")
    case_id = found.case.case_id
    now = await services.read(lambda connection: read_settled(connection, case_id, answer, found.visit_number))
    return Reply(settlement_nodes(now or found, services.books.active().book), warning_of(answer))


async def fee_lines(call: Call, services: Services) -> Reply:
    """5204: the lines that stand, each with the settlement that took it in."""
    facts = call.content["data"]
    visit = await held_visit(call, services, facts)
    message = {"institution": call.party, "visit_no": visit.admission.visit_no}
    brought = await services.bring(call, Transaction.FEES_QUERY, message)
    answer = FeesAnswer.model_validate_json(brought.answer or b"")
    settled = await services.read(lambda connection: _settled(connection, visit.visit_id))
    if facts.get("setl_id", settled) != settled:
        return Reply()
    more = {"mdtrt_id": visit.number, "psn_no": facts["psn_no"], "setl_id": settled}
    return Reply({"feedetail": [{**_line(line), **more} for line in answer.fees]})


def _settled(connection: Connection, visit_id: str) -> str | None:
    """setl_id of the settlement that stands and was answered."""
    case_id = national.settled_by(connection, visit_id)
    found = read_settled(connection, case_id, None) if case_id else None
    if found is None or found.case.state is CaseState.CANCELLING:
        return None
    return short_number(found.case.case_id)


def _line(line: StandingLine) -> Mapping[str, Any]:
    day = line.occurred_on
    return {
        "feedetl_sn": line.line_no[:30],
        "chrg_bchno": line.batch_no[:30],
        "med_list_codg": line.item_code,
        "medins_list_codg": line.local_code,
        "medins_list_name": line.local_name or line.item_name,
        "det_item_fee_sumamt": line.amount,
        "cnt": Decimal(line.quantity),
        "pric": Decimal(line.price),
        "chrgitm_lv": line.level.value,
        "med_chrgitm_type": line.category.value,
        "fee_ocur_time": datetime.combine(day, time(), CHINA) if day else None,
    }
