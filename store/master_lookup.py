"""Master data as settlements look it up: one statement per kind for all bills of a batch, by key.

`scopes` are the regions whose data a bill is held against, from everybody's (empty) to its own district's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection

from store.driver import Prepared
from store.rows import as_json

_IN_FORCE = "m.replaced_by IS NULL AND m.valid_from <= r.day AND (m.valid_until IS NULL OR m.valid_until >= r.day)"
_RECORDS = "json_to_recordset($1) AS r(place text, code text, day date, scopes text[])"


class Sought(NamedTuple):
    """One code on one day. `place` is the institution, or the kind of a blacklist entry."""

    place: str
    code: str
    day: date
    scopes: tuple[str, ...]


_MAPPED = Prepared(
    f"SELECT DISTINCT r.place, r.code, r.day, m.item_code FROM {_RECORDS} JOIN item_mapping m "
    f"ON m.owner = r.place AND m.local_code = r.code WHERE m.payer = '' AND {_IN_FORCE}",
    "json",
)
_ITEMS = Prepared(
    f"SELECT DISTINCT r.code, r.day, array_to_string(r.scopes, ',') FROM {_RECORDS} JOIN catalogue_item m "
    f"ON m.item_code = r.code WHERE m.scope = ANY(r.scopes) AND {_IN_FORCE}",
    "json",
)
_DISEASES = Prepared(
    f"SELECT DISTINCT r.code, r.day, array_to_string(r.scopes, ',') FROM {_RECORDS} JOIN disease m "
    f"ON m.code = r.code WHERE m.scope = ANY(r.scopes) AND {_IN_FORCE}",
    "json",
)
_STAFF = Prepared(
    f"SELECT DISTINCT r.place, r.code, r.day FROM {_RECORDS} JOIN staff_member m "
    f"ON m.institution = r.place AND m.code = r.code WHERE m.scope IS NOT NULL AND {_IN_FORCE}",
    "json",
)
_REFUSED = Prepared(
    f"SELECT DISTINCT r.place, r.code, r.day, array_to_string(r.scopes, ',') FROM {_RECORDS} JOIN blacklist_entry m "
    "ON m.kind = r.place AND m.subject = r.code "
    f"WHERE m.action = 'refuse' AND m.scope = ANY(r.scopes) AND {_IN_FORCE}",
    "json",
)
_INSURER_CODES = Prepared(
    f"SELECT r.code, min(m.item_code) FROM {_RECORDS} JOIN item_mapping m "
    f"ON m.owner = r.place AND m.local_code = r.code WHERE m.payer = r.place AND {_IN_FORCE} GROUP BY r.code",
    "json",
)


def mapped(connection: Connection, sought: Iterable[Sought]) -> dict[tuple[str, str, date], set[str]]:
    """The national codes that each hospital's own code stands for on the day."""
    found: dict[tuple[str, str, date], set[str]] = {}
    for institution, code, day, item in _MAPPED.rows(connection, _given(sought)):
        found.setdefault((institution, code, day), set()).add(item)
    return found


def items(connection: Connection, sought: Iterable[Sought]) -> set[Sought]:
    """Those that are in a catalogue of their regions on the day; `place` is not looked at and left empty."""
    return {Sought("", code, day, _scopes(text)) for code, day, text in _ITEMS.rows(connection, _given(sought))}


def diseases(connection: Connection, sought: Iterable[Sought]) -> set[Sought]:
    """Like `items`, in the dictionary of diseases."""
    return {Sought("", code, day, _scopes(text)) for code, day, text in _DISEASES.rows(connection, _given(sought))}


def staff(connection: Connection, sought: Iterable[Sought]) -> set[tuple[str, str, date]]:
    """Institution, code and day of those that work there on the day."""
    return {tuple(row) for row in _STAFF.rows(connection, _given(sought))}


def refused(connection: Connection, sought: Iterable[Sought]) -> set[Sought]:
    """Those that a blacklist of their regions refuses on the day."""
    return {
        Sought(kind, code, day, _scopes(text)) for kind, code, day, text in _REFUSED.rows(connection, _given(sought))
    }


def insurer_codes(connection: Connection, payer: str, codes: Iterable[str], day: date) -> dict[str, str]:
    """The payer's own code of each national one that it has mapped."""
    sought = {Sought(payer, code, day, ()) for code in codes}
    return dict(_INSURER_CODES.rows(connection, _given(sought)))


def _given(sought: Iterable[Sought]) -> str:
    return as_json([one._asdict() for one in set(sought)])


def _scopes(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
