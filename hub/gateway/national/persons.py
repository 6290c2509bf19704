"""1101 and 2001: who a person is to the hub, and what later messages mean by `psn_no`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from hub.gateway.national.calls import Call, Reply, Services, wrong
from schemas.codes import IdentityType, InsuranceType
from schemas.errors import HubError
from schemas.master import Enrolled, IdentityAnswer
from schemas.national.fields import CHINA
from schemas.transactions import Transaction
from store import national

TOKEN, ID_CARD, SOCIAL_CARD = "01", "02", "03"
_ENJOYS, _DOES_NOT = "1", "0"
_INSURED = "1"
_NO = "0"
_FUNDS = {InsuranceType.EMPLOYEE: "310100", InsuranceType.RESIDENT: "390100"}


class PersonUnknown(HubError):
    """The hub knows no insured person of this number and name."""

    code = "national.person_unknown"


@dataclass(frozen=True, slots=True)
class Person:
    """Who `psn_no` means, as 1101 said it."""

    name: str
    id_type: str
    id_no: str
    sex: str
    birth_date: str | None
    insurances: tuple[tuple[str, str], ...]
    """(insutype, region)."""

    def patient(self) -> dict[str, Any]:
        """The canonical patient."""
        known = {"name": self.name, "id_type": self.id_type, "id_no": self.id_no, "sex": self.sex}
        return known | ({"birth_date": self.birth_date} if self.birth_date else {})


async def person_information(call: Call, services: Services) -> Reply:
    """1101: asks the hub, and remembers the answer under `psn_no` for the messages that follow."""
    asked = call.content["data"]
    id_type, id_no = _certificate(asked)
    if "psn_name" not in asked:
        raise wrong("psn_name", "national.certificate", "send the name")
    name = asked["psn_name"]
    answer = await _identity(call, services, id_type, id_no, name, call.received_at.astimezone(CHINA).date())
    if not answer.found or not answer.insurances:
        raise PersonUnknown("no such insured person")
    insured = [[one.insurance_type.value, one.region] for one in answer.insurances]
    remembered = {
        "name": name,
        "id_type": id_type,
        "id_no": id_no,
        "sex": answer.sex.value,
        "birth_date": answer.birth_date.isoformat() if answer.birth_date else None,
        "insurances": insured,
    }
    numbers = dict.fromkeys(one.person_no for one in answer.insurances)

    def keep(connection: Connection) -> None:
        for number in numbers:
            national.keep_person(connection, call.party, number, remembered, call.received_at)

    await services.write(keep)
    base = {
        "psn_no": answer.insurances[0].person_no,
        "psn_cert_type": id_type,
        "certno": id_no,
        "psn_name": name,
        "gend": answer.sex.value,
        "brdy": answer.birth_date,
        "age": age_on(answer.birth_date, call.received_at),
    }
    warning = "；".join(word.zh for word in answer.warnings)
    return Reply(
        {"baseinfo": base, "insuinfo": [_insured(one, answer.birth_date) for one in answer.insurances]}, warning
    )


def _certificate(asked: Mapping[str, Any]) -> tuple[str, str]:
    """(identity type, number): what was written out before what the card says. A token names nobody to the hub."""
    if "certno" in asked:
        return asked.get("psn_cert_type", IdentityType.ID_CARD.value), asked["certno"].upper()
    if asked["mdtrt_cert_type"] == ID_CARD:
        return IdentityType.ID_CARD.value, asked["mdtrt_cert_no"].upper()
    if asked["mdtrt_cert_type"] == SOCIAL_CARD:
        return IdentityType.SOCIAL_CARD.value, asked["mdtrt_cert_no"]
    raise wrong("certno", "national.certificate", "send the identity number")


async def _identity(call: Call, services: Services, id_type: str, id_no: str, name: str, on: date) -> IdentityAnswer:
    message = {"institution": call.party, "id_type": id_type, "id_no": id_no, "name": name, "on": on.isoformat()}
    brought = await services.bring(call, Transaction.IDENTITY_CONFIRM, message)
    return IdentityAnswer.model_validate_json(brought.answer or b"")


def _insured(one: Enrolled, birth: date | None) -> dict[str, Any]:
    return {
        "balc": 0,
        "insutype": one.insurance_type.value,
        "psn_type": _person_type(one, birth),
        "psn_insu_stas": _INSURED,
        "psn_insu_date": one.valid_from,
        "paus_insu_date": one.valid_until,
        "cvlserv_flag": _NO,
        "insuplc_admdvs": one.region,
        # The table wants a word; the hub does not know employers.
        "emp_name": "无",
    }


def _person_type(one: Enrolled, birth: date | None) -> str:
    """psn_type by scheme, and for residents by age; finer categories are not the hub's to know."""
    if one.insurance_type is not InsuranceType.RESIDENT:
        return "11"
    if birth is None:
        return "15"
    years = (one.valid_from - birth).days // 365
    return "14" if years < 18 else "16" if years >= 60 else "15"


def age_on(birth: date | None, at: datetime) -> Decimal | None:
    """Whole years on the day in China; None without a birth date."""
    if birth is None:
        return None
    today = at.astimezone(CHINA).date()
    return Decimal(today.year - birth.year - ((today.month, today.day) < (birth.month, birth.day)))


async def benefit_check(call: Call, services: Services) -> Reply:
    """2001: whether the person may settle under the scheme on the day."""
    asked = call.facts
    person = await person_of(call, services, asked)
    day = asked["begntime"].astimezone(CHINA).date()
    answer = await _identity(call, services, person.id_type, person.id_no, person.name, day)
    scheme = next((one for one in answer.insurances if one.insurance_type == asked["insutype"]), None)
    enjoys = answer.found and scheme is not None and not answer.refused
    reasons = [word.zh for word in answer.warnings]
    if scheme is None:
        reasons.append("该日期未参加此险种")
    if answer.refused:
        reasons.append("该人员暂停享受待遇")
    checked = {
        "psn_no": asked["psn_no"],
        "trt_chk_type": "1",
        "fund_pay_type": fund_of(asked["insutype"]),
        "trt_enjymnt_flag": _ENJOYS if enjoys else _DOES_NOT,
        "begndate": scheme.valid_from if scheme else None,
        "enddate": scheme.valid_until if scheme else None,
        "trt_chk_rslt": "" if enjoys else "；".join(reasons)[:500],
    }
    return Reply({"trtinfo": [checked]})


def fund_of(insurance_type: str) -> str:
    """fund_pay_type of a scheme's pool."""
    resident = insurance_type in (InsuranceType.RESIDENT, InsuranceType.URBAN_RESIDENT, InsuranceType.NRCMS)
    return _FUNDS[InsuranceType.RESIDENT if resident else InsuranceType.EMPLOYEE]


async def person_of(call: Call, services: Services, asked: Mapping[str, Any]) -> Person:
    """Who the message's `psn_no` means; refused when this institution never asked, or the certificate is another's."""
    found = await services.read(lambda connection: national.person(connection, call.party, asked["psn_no"]))
    if found is None:
        raise wrong("psn_no", "national.person", "ask with 1101 first")
    person = Person(**{**found, "insurances": tuple(tuple(one) for one in found["insurances"])})
    card = asked.get("mdtrt_cert_no", "")
    by_card = asked.get("mdtrt_cert_type") == ID_CARD and card and person.id_type == IdentityType.ID_CARD
    if by_card and card.upper() != person.id_no:
        raise wrong("mdtrt_cert_no", "national.person_differs", "send the certificate of this person")
    return person


def insurance_of(call: Call, person: Person, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical insurance: the scheme that the message chose, which must be one of the person's."""
    insutype = asked["insutype"]
    regions = [region for scheme, region in person.insurances if scheme == insutype]
    if not regions:
        raise wrong("insutype", "national.insured", "choose one of the person's schemes")
    region = call.insured_in if call.insured_in in regions else ""
    if not region:
        raise wrong("insuplc_admdvs", "national.region", "send the region that 1101 gave")
    insurance = {"type": insutype, "person_no": asked["psn_no"], "region": region}
    card = asked.get("mdtrt_cert_no", "")
    return insurance | ({"card_no": card} if asked.get("mdtrt_cert_type") == SOCIAL_CARD and card else {})
