"""`identity.confirm`: who a person is to the insurers, told only to whoever knows number and name."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from hub.inbound import Inbound
from hub.master_rows import name_key, subject_key
from routing.plan import CHINA_STANDARD_TIME
from routing.rulebook import Institution, RuleBook
from schemas.base import Bilingual, read_message
from schemas.codes import IdentityType, InsuranceType, Sex
from schemas.errors import Forbidden, InvalidMessage, Violation
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


def confirm(connection: Connection, inbound: Inbound, book: RuleBook, secret: bytes, now: datetime) -> IdentityAnswer:
    """The answer; a number under another name gets the same one as a number that nobody ever brought."""
    asked = read_message(IdentityConfirm, inbound.body)
    institution = _asker(book, inbound.party, asked.institution)
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
    listed = people.blacklisted(connection, subject_key(secret, "person", asked.id_no), institution.region, day)
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


def _asker(book: RuleBook, party: str, code: str) -> Institution:
    """The institution that asks, or for which its region's basic system does."""
    institution = book.institution_by_code.get(code)
    if institution is None:
        raise Forbidden("this institution is not registered", code="party.unknown", party=party)
    system = book.party_by_code.get(party)
    speaks_for_it = system is not None and system.kind == "basic" and system.region == institution.region
    if party != code and not speaks_for_it:
        raise Forbidden("the message names another institution than its sender", party=party)
    return institution


def _sex_of(id_card: str) -> Sex:
    return Sex.MALE if int(id_card[16]) % 2 else Sex.FEMALE
