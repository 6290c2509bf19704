"""`identity.confirm`: who a person is to the insurers, told only to whoever knows number and name."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from hub.books import ActiveBook
from hub.inbound import Inbound
from hub.master_rows import name_key, scopes_of, subject_key
from hub.senders import check_sender
from routing.days import CHINA_STANDARD_TIME
from schemas.base import Bilingual, read_message
from schemas.codes import IdentityType, InsuranceType, Sex
from schemas.errors import InvalidMessage, Violation
from schemas.identity import birth_date_of, id_card_problem
from schemas.master import Covered, Enrolled, IdentityAnswer, IdentityConfirm
from store import people
from store.coverage import person_key

NOT_FOUND = Bilingual(
    zh="证件号码与姓名不匹配或未登记，请与证件核对。",
    en="Number and name are not known together; compare both with the card.",
)
NOTHING_IN_FORCE = Bilingual(zh="该日期无有效参保或保单。", en="No scheme or policy is in force on this day.")
ON_THE_LIST = Bilingual(zh="该人员在关注名单内，请核实身份。", en="This person is to be looked at: check the identity.")


def confirm(
    connection: Connection, inbound: Inbound, active: ActiveBook, secret: bytes, now: datetime
) -> IdentityAnswer:
    """The answer; a number under another name gets the same one as a number that nobody ever brought."""
    asked = read_message(IdentityConfirm, inbound.body)
    institution = check_sender(active, inbound.party, asked.institution)
    if asked.id_type is IdentityType.ID_CARD and (problem := id_card_problem(asked.id_no)):
        raise InvalidMessage("the identity number is wrong", Violation("id_no", "patient.id_no", problem))
    day = asked.on or now.astimezone(CHINA_STANDARD_TIME).date()
    person = person_key(secret, asked.id_type, asked.id_no)
    name = name_key(secret, person, asked.name)
    if not people.is_known(connection, person, name):
        return IdentityAnswer(
            institution=asked.institution, found=False, name=asked.name, warnings=(NOT_FOUND,), answered_at=now
        )
    schemes = people.schemes(connection, person, name, day)
    policies = people.policies(connection, person, name, day)
    listed = people.blacklisted(
        connection, subject_key(secret, "person", asked.id_no), scopes_of(institution.region), day
    )
    warnings = [NOTHING_IN_FORCE] if not schemes and not policies else []
    sex = Sex(next((scheme.sex for scheme in schemes), Sex.UNKNOWN))
    born = next((scheme.birth_date for scheme in schemes), None)
    if asked.id_type is IdentityType.ID_CARD:
        sex, born = _sex_of(asked.id_no), birth_date_of(asked.id_no)
    return IdentityAnswer(
        institution=asked.institution,
        found=True,
        name=asked.name,
        sex=sex,
        birth_date=born,
        insurances=tuple(
            Enrolled(
                insurance_type=InsuranceType(one.insurance_type),
                person_no=one.person_no,
                region=one.region,
                category=one.category,
                valid_from=one.valid_from,
                valid_until=one.valid_until,
            )
            for one in schemes
        ),
        coverages=tuple(
            Covered(
                product=one.product, policy_no=one.policy_no, valid_from=one.valid_from, valid_until=one.valid_until
            )
            for one in policies
        ),
        refused="refuse" in listed,
        warnings=(*warnings, *([ON_THE_LIST] if listed else [])),
        answered_at=now,
    )


def _sex_of(id_card: str) -> Sex:
    return Sex.MALE if int(id_card[16]) % 2 else Sex.FEMALE
