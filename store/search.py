"""Cases by whatever name people have in hand: numbers of the hospital, of payers, of the hub, and of the person.

Numbers that stand in an indexed column are looked up there. The others get a row of `search_key` each when they become
known: a hash of eight bytes and the case. Nothing that identifies a person is stored; a person comes here as the keyed
hash that policies are found by.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from sqlalchemy import Connection, text

from routing.days import CHINA_STANDARD_TIME
from store.copying import copy_rows
from store.records import LegRecord
from store.tables_search import search_keys


class Name(StrEnum):
    """What a case can be found by."""

    CASE = "case"
    """The hub's number of the case, also as it stands in a request to a payer or in a national answer."""
    SETTLEMENT = "settlement"
    """The institution's settlement number."""
    MESSAGE = "message"
    """Message id or correlation id of the request."""
    VISIT = "visit"
    PERSON = "person"
    POLICY = "policy"
    REFERENCE = "reference"
    """What a payer calls its part: also setl_id and mdtrt_id alone."""
    UNDO = "undo"
    """Number, message id or correlation id of a cancellation or reversal."""
    NOTICE = "notice"
    CLAIM = "claim"
    PAYMENT = "payment"


@dataclass(frozen=True, slots=True)
class Known:
    """A case by one of its names."""

    name: Name
    value: str
    case_id: str
    region: str


@dataclass(frozen=True, slots=True)
class Found:
    """A case as a list shows it; amounts in whole fen. `by`: every name that the key is of this case."""

    case_id: str
    by: tuple[Name, ...]
    institution: str
    settlement_no: str
    purpose: str
    state: str
    total_fen: int
    received_at: datetime
    business_day: date | None


_COLUMNS = ("key", "case_id", "region")
_STORED = (Name.MESSAGE, Name.VISIT, Name.POLICY, Name.REFERENCE)
_CASE = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")
_OF_LEG = re.compile(r"-[1-9]\d*(-c|-q\d+)?$")
_MSGID = re.compile(r"(?P<institution>[A-Z0-9]{12})(?P<at>\d{14})(?P<number>\d{4})", re.ASCII)
_NUMBER = re.compile(r"[1-9]\d{0,17}", re.ASCII)


def key_of(name: Name, value: str) -> int:
    """The stored key of a name."""
    return int.from_bytes(sha256(f"{name}:{value}".encode()).digest()[:8], signed=True)


def add(connection: Connection, known: Iterable[Known]) -> None:
    """Remember names of cases. Writing one down twice changes nothing."""
    rows = [(key_of(one.name, one.value), one.case_id, one.region) for one in known]
    if rows:
        copy_rows(connection, search_keys, _COLUMNS, rows)


def references(leg: LegRecord) -> list[Known]:
    """The names that a payer's reference gives to its case: the whole, and its parts where it has several."""
    reference = leg.payer_reference or ""
    parts = {reference, *reference.split("/")} - {""}
    return [Known(Name.REFERENCE, part, leg.case_id, leg.region) for part in sorted(parts)]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a key may mean."""

    key: str
    case_ids: tuple[str, ...]
    institution: str
    settlement_no: str
    stored: dict[int, Name]
    notices: tuple[str, ...]
    number: int | None


_CASES = "(SELECT case_id, '{name}' AS name FROM {source} ORDER BY case_id DESC LIMIT :limit)"
_CLAIMED = "SELECT i.case_id FROM fund_claim_item i WHERE i.claim_no = {number} ORDER BY i.case_id DESC LIMIT :limit"
_SOURCES: dict[str, str] = {
    "case": "settlement_case WHERE case_id = ANY(CAST(:case_ids AS uuid[]))",
    "settlement": "settlement_case WHERE case_key = :settlement_no "
    "AND institution = coalesce(nullif(:institution, ''), institution)",
    "undo": "case_undo WHERE cancel_no = :key OR correlation_id = :key",
    "notice": "notice WHERE case_id IS NOT NULL AND request_id = ANY(:notices)",
    "claim": f"({_CLAIMED.format(number=':number')}) AS of_claim WHERE case_id IS NOT NULL",
    "payment": "fund_payment p CROSS JOIN LATERAL jsonb_array_elements_text(p.claims) AS n(claim_no) "
    f"CROSS JOIN LATERAL ({_CLAIMED.format(number='CAST(n.claim_no AS bigint)')}) AS of_claim "
    "WHERE p.payment_no = :key AND of_claim.case_id IS NOT NULL",
}
_STORED_KEYS = """
SELECT s.case_id, CAST(wanted.key AS text) AS name
FROM unnest(CAST(:stored AS bigint[])) AS wanted(key)
CROSS JOIN LATERAL (
    SELECT case_id FROM search_key WHERE search_key.key = wanted.key ORDER BY case_id DESC LIMIT :limit
) AS s
"""
_HITS = text(
    "WITH hit AS ("
    + " UNION ALL ".join([_STORED_KEYS, *(_CASES.format(name=name, source=one) for name, one in _SOURCES.items())])
    + """), newest AS (
        SELECT case_id, array_agg(DISTINCT name) AS names FROM hit GROUP BY case_id ORDER BY case_id DESC LIMIT :limit
    )
    SELECT CAST(c.case_id AS text), n.names, c.institution, c.settlement_no, c.purpose, c.state, c.total_fen,
        c.received_at, c.business_day
    FROM newest n JOIN settlement_case c ON c.case_id = n.case_id
    ORDER BY c.case_id DESC"""
)
# The block's first number and count say which serials it holds; the second is what finds it.
_REQUESTS_BY_MSGID = text("""
    SELECT request_id FROM message_number
    WHERE at >= :at AND at < :until AND institution = :institution
      AND mod(CAST(:number AS bigint) - first + 10000 * (first / 10000 + 1), 10000) < count
""")


def find(connection: Connection, key: str, persons: Sequence[str] = (), limit: int = 50) -> list[Found]:
    """The cases that are known by this key, the newest first, `limit` at most.

    `persons` are keyed hashes (`store.coverage.person_key`) of the person that the key may name.
    """
    wanted = _wanted(connection, key.strip(), persons)
    rows = connection.execute(
        _HITS,
        {
            "key": wanted.key,
            "case_ids": list(wanted.case_ids),
            "institution": wanted.institution,
            "settlement_no": wanted.settlement_no,
            "stored": list(wanted.stored),
            "notices": list(wanted.notices),
            "number": wanted.number,
            "limit": limit,
        },
    )
    return [Found(row[0], _names(row.names, wanted), *row[2:]) for row in rows]


def _names(names: Iterable[str], wanted: _Wanted) -> tuple[Name, ...]:
    order = list(Name)
    known = {wanted.stored[int(name)] if name.lstrip("-").isdigit() else Name(name) for name in names}
    return tuple(sorted(known, key=order.index))


def _wanted(connection: Connection, key: str, persons: Sequence[str]) -> _Wanted:
    institution, slash, number = key.partition("/")
    requests = [key, *_requests_by_msgid(connection, key)]
    stored = {key_of(name, key): name for name in _STORED}
    stored |= {key_of(Name.PERSON, person): Name.PERSON for person in persons}
    return _Wanted(
        key=key,
        case_ids=tuple({case_id for request in requests for case_id in _case_ids(request)}),
        institution=institution if slash else "",
        settlement_no=number if slash else key,
        stored=stored,
        notices=tuple(requests),
        number=int(key) if _NUMBER.fullmatch(key) else None,
    )


def _case_ids(key: str) -> list[str]:
    """The hub's number of a case in any of its forms: with dashes, without, or in a request's number."""
    found = _CASE.fullmatch(key.lower()) or _CASE.fullmatch(_OF_LEG.sub("", key.lower()))
    return ["-".join(found.groups())] if found else []


def _requests_by_msgid(connection: Connection, key: str) -> list[str]:
    """Requests that hold the number of a message to a national-style region."""
    found = _MSGID.fullmatch(key)
    if found is None:
        return []
    try:
        at = datetime.strptime(found["at"], "%Y%m%d%H%M%S").replace(tzinfo=CHINA_STANDARD_TIME)
    except ValueError:
        return []
    values = {"institution": found["institution"], "number": int(found["number"]), "at": at}
    rows = connection.execute(_REQUESTS_BY_MSGID, values | {"until": at + timedelta(seconds=1)})
    return [row.request_id for row in rows]
