"""What is known of a person by keyed hashes: schemes, policies, and whether a settlement would be refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from store.driver import Prepared


@dataclass(frozen=True, slots=True)
class Scheme:
    """One scheme that a person is in."""

    insurance_type: str
    person_no: str
    region: str
    category: str
    sex: str
    birth_date: date | None
    valid_from: date
    valid_until: date | None


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy of a person."""

    product: str
    policy_no: str
    valid_from: date
    valid_until: date | None


_ON_THE_DAY = "replaced_by IS NULL AND valid_from <= $3 AND (valid_until IS NULL OR valid_until >= $3)"
_KNOWN = Prepared(
    "SELECT EXISTS (SELECT FROM insured_person WHERE person_key = $1 AND name_key = $2 AND replaced_by IS NULL) "
    "OR EXISTS (SELECT FROM enrolment WHERE person_key = $1 AND name_key = $2 AND replaced_by IS NULL)",
    "text",
    "text",
)
_SCHEMES = Prepared(
    "SELECT DISTINCT ON (region, insurance_type) insurance_type, person_no, region, category, sex, birth_date, "
    f"valid_from, valid_until FROM insured_person WHERE person_key = $1 AND name_key = $2 AND {_ON_THE_DAY} "
    "ORDER BY region, insurance_type, import_id DESC",
    "text",
    "text",
    "date",
)
_POLICIES = Prepared(
    "SELECT DISTINCT ON (product, policy_no) product, policy_no, valid_from, valid_until FROM enrolment "
    f"WHERE person_key = $1 AND name_key = $2 AND {_ON_THE_DAY} ORDER BY product, policy_no, import_id DESC",
    "text",
    "text",
    "date",
)
_LISTED = Prepared(
    f"SELECT action FROM blacklist_entry WHERE kind = 'person' AND subject = $1 AND scope = ANY($2) AND {_ON_THE_DAY}",
    "text",
    "text[]",
    "date",
)


def is_known(connection: Connection, person: str, name: str) -> bool:
    """Whether somebody brought this person under this name, on whatever day."""
    return bool(_KNOWN.rows(connection, person, name)[0][0])


def schemes(connection: Connection, person: str, name: str, day: date) -> list[Scheme]:
    """The schemes in force on the day."""
    return [Scheme(*row) for row in _SCHEMES.rows(connection, person, name, day)]


def policies(connection: Connection, person: str, name: str, day: date) -> list[Policy]:
    """The policies in force on the day."""
    return [Policy(*row) for row in _POLICIES.rows(connection, person, name, day)]


def blacklisted(connection: Connection, subject: str, scopes: Sequence[str], day: date) -> set[str]:
    """What the blacklists of these regions say of the person on the day: `refuse`, `flag`, or nothing."""
    return {row[0] for row in _LISTED.rows(connection, subject, list(scopes), day)}
