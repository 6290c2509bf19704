"""Who is covered by which policy, found by a keyed hash of the identity number: no number stands in the clear."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from routing.plan import Coverage
from store.driver import Prepared, as_array
from store.rows import as_json, insert_rows
from store.tables import coverages


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """One policy of one person; both days included, `valid_until` None for open end."""

    person_key: str
    product: str
    policy_no: str
    region: str
    valid_from: date
    valid_until: date | None


_COLUMNS = tuple(CoverageRow.__dataclass_fields__)
_INSERT = insert_rows(coverages, _COLUMNS, unless="coverage_pk", returning=("person_key",))
_FIND = Prepared(
    "SELECT person_key, product, policy_no, valid_from, valid_until FROM coverage "
    "WHERE person_key = ANY($1) ORDER BY person_key, product, policy_no",
    "text[]",
)


def person_key(secret: bytes, id_type: str, id_no: str) -> str:
    """HMAC-SHA256 over identity type and number, hexadecimal."""
    return hmac.new(secret, f"{id_type}:{id_no}".encode(), hashlib.sha256).hexdigest()


def add(connection: Connection, new: Sequence[CoverageRow]) -> int:
    """Store policies; the number that were not there yet."""
    rows = [{name: getattr(row, name) for name in _COLUMNS} for row in new]
    return len(_INSERT.rows(connection, as_json(rows)))


def find(connection: Connection, keys: Iterable[str]) -> dict[str, list[Coverage]]:
    """The policies of each person that has any."""
    found: dict[str, list[Coverage]] = {}
    for key, product, policy_no, valid_from, valid_until in _FIND.rows(connection, as_array(set(keys))):
        found.setdefault(key, []).append(Coverage(product, policy_no, valid_from, valid_until))
    return found
