"""Who is covered by which policy, found by a keyed hash of the identity number: no number stands in the clear."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text

from routing.plan import Coverage
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
_FIND = text(
    "SELECT person_key, product, policy_no, valid_from, valid_until FROM coverage "
    "WHERE person_key = ANY(:keys) ORDER BY person_key, product, policy_no"
)


def person_key(secret: bytes, id_type: str, id_no: str) -> str:
    """HMAC-SHA256 over identity type and number, hexadecimal."""
    return hmac.new(secret, f"{id_type}:{id_no}".encode(), hashlib.sha256).hexdigest()


def add(connection: Connection, new: Sequence[CoverageRow]) -> int:
    """Store policies; the number that were not there yet."""
    rows = [{name: getattr(row, name) for name in _COLUMNS} for row in new]
    return len(connection.execute(_INSERT, {"rows": as_json(rows)}).all())


def find(connection: Connection, keys: Iterable[str]) -> dict[str, list[Coverage]]:
    """The policies of each person that has any."""
    found: dict[str, list[Coverage]] = {}
    for row in connection.execute(_FIND, {"keys": list(set(keys))}):
        coverage = Coverage(row.product, row.policy_no, row.valid_from, row.valid_until)
        found.setdefault(row.person_key, []).append(coverage)
    return found
