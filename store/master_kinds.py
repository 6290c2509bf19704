"""The kinds of master data by name: which table holds each, what its rows are found by, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from store import tables_master as tables

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_FRAME = frozenset({"id", "owner", "scope", "valid_from", "valid_until", "import_id", "replaced_by"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `key` beside the owner finds the versions of one thing; `content` is what a version says."""

    name: str
    table: Table
    key: tuple[str, ...]
    content: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """What a new row brings, in the order in which it is given to `store.master_data.stage`."""
        return (*self.key, *self.content, "valid_from", "valid_until")

    def sql_type(self, column: str) -> str:
        return self.table.c[column].type.compile(dialect=_DIALECT)


def _kind(name: str, table: Table, *key: str) -> Kind:
    content = tuple(column.name for column in table.c if column.name not in _FRAME and column.name not in key)
    return Kind(name, table, key, content)


CATALOGUE = _kind("catalogue", tables.catalogue_items, "list_type", "item_code")
MAPPING = _kind("mapping", tables.mappings, "payer", "list_type", "local_code")
DISEASE = _kind("disease", tables.diseases, "code")
INSTITUTION = _kind("institution", tables.institution_records, "code")
STAFF = _kind("staff", tables.staff, "institution", "code")
POPULATION = _kind("population", tables.population, "person_key", "region", "insurance_type")
ENROLMENT = _kind("enrolment", tables.enrolments, "person_key", "product", "policy_no")
BLACKLIST = _kind("blacklist", tables.blacklist, "kind", "subject")
KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (CATALOGUE, MAPPING, DISEASE, INSTITUTION, STAFF, POPULATION, ENROLMENT, BLACKLIST)
}
