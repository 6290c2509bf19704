"""Rows of master data one by one: who may bring them, what is wrong with each, and what of it is stored.

Pure: the same for messages and files. Problems name row, field and remedy and repeat no value. Identity numbers and
names do not pass this module: what goes on are keyed hashes of them.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from routing.rulebook import RuleBook
from schemas.codes import IdentityType
from schemas.errors import Forbidden
from schemas.identity import INSTITUTION_PATTERN, birth_date_of, id_card_problem
from schemas.master import (
    BlacklistRow,
    CatalogueItem,
    Dated,
    Disease,
    EnrolmentRow,
    InstitutionRow,
    Mapping,
    PopulationRow,
    RowProblem,
    StaffRow,
)
from schemas.transactions import SPECS, Sender, Transaction
from store import master_kinds as kinds
from store.coverage import person_key
from store.master_kinds import Kind

OPERATOR = "hub"
"""Owner of what the hub's own operators bring; no party can have this name."""
PRICE_MAX = Decimal(10_000_000)
Problem = tuple[str, str, str]
"""Field, code and remedy."""
_INSTITUTION = re.compile(INSTITUTION_PATTERN)
_DOTS = re.compile(r"[·•・‧∙⋅．.]")


@dataclass(frozen=True, slots=True)
class Bringer:
    """Who brings rows. `scope` is the region that they concern: empty for all, None for an insurer's own data."""

    code: str
    role: Sender | None
    scope: str | None
    products: frozenset[str] = frozenset()
    """Of an insurer: the products that the rule book has it pay for."""


def bringer_of(book: RuleBook, party: str, transaction: Transaction) -> Bringer:
    """The party as the rule book knows it; Forbidden when it may not bring this kind."""
    found = _known(book, party)
    if found is None:
        raise Forbidden("this party is not registered", code="party.unknown", party=party)
    if found.role not in SPECS[transaction].senders:
        raise Forbidden("this party may not bring this kind of master data", party=party)
    return found


def _known(book: RuleBook, party: str) -> Bringer | None:
    if institution := book.institution_by_code.get(party):
        return Bringer(party, Sender.INSTITUTION, institution.region)
    known = book.party_by_code.get(party)
    if known is None:
        return None
    products = frozenset(rule.product for rule in book.rules if any(payer.party == party for payer in rule.payers))
    if known.kind == "basic":
        return Bringer(party, Sender.BASIC, known.region or "", products)
    return Bringer(party, Sender.INSURER, None, products)


def scopes_of(region: str) -> tuple[str, ...]:
    """Whose data concerns a region: everybody's, the province's, the city's and its own."""
    return tuple(dict.fromkeys(("", region[:2] + "0000", region[:4] + "00", region)))


def operator() -> Bringer:
    """The hub's own operators, who may bring everything for everybody."""
    return Bringer(OPERATOR, None, "")


def name_key(secret: bytes, person: str, name: str) -> str:
    """Keyed hash of the name of the person of this key; spaces, width and kinds of middle dot do not count."""
    plain = _DOTS.sub("·", "".join(unicodedata.normalize("NFKC", name).split())).upper()
    return hmac.digest(secret, f"name:{person}:{plain}".encode(), "sha256").hex()


def subject_key(secret: bytes, kind: str, subject: str) -> str:
    """What a blacklist entry is found by: codes as they are, identity numbers as a keyed hash."""
    return person_key(secret, "any", subject.upper()) if kind == "person" else subject


@dataclass(frozen=True, slots=True)
class RowKind:
    """How rows of one kind are read, judged and stored."""

    kind: Kind
    transaction: Transaction
    model: type[Dated]
    values: Callable[[Any, bytes], tuple[object, ...]]
    """In the order of `kind.columns`, without the two days."""
    checks: Callable[[Any, Bringer], Iterable[Problem]]

    @property
    def of_people(self) -> bool:
        """Whether a message with such rows must not be kept as it came."""
        return self.kind in (kinds.POPULATION, kinds.ENROLMENT, kinds.BLACKLIST)

    def problems(self, number: int, row: Any, bringer: Bringer) -> list[RowProblem]:
        """Everything that is wrong with a row by itself."""
        found = list(self.checks(row, bringer))
        if row.valid_until is not None and row.valid_until < row.valid_from:
            found.append(("valid_until", "validity.order", "lies before valid_from; correct one of them"))
        return [RowProblem(row=number, field=field, code=code, remedy=remedy) for field, code, remedy in found]

    def stored(self, row: Any, secret: bytes) -> tuple[object, ...]:
        """The row as `store.master_data.stage` takes it."""
        return (*self.values(row, secret), row.valid_from, row.valid_until)


def _catalogue_values(row: CatalogueItem, _: bytes) -> tuple[object, ...]:
    return (
        row.list_type.value,
        row.item_code,
        row.item_name,
        row.category and row.category.value,
        row.level.value,
        row.price_max,
        row.self_pay,
        row.spec,
        row.unit,
    )


def _catalogue_checks(row: CatalogueItem, _: Bringer) -> Iterator[Problem]:
    if row.price_max is not None and not 0 < row.price_max <= PRICE_MAX:
        yield "price_max", "price.bounds", f"write more than 0 and at most {PRICE_MAX}, or nothing for no limit"
    if row.self_pay is not None and row.self_pay > 1:
        yield "self_pay", "ratio.bounds", "write the share between 0 and 1, such as 0.1 for ten per cent"


def _mapping_values(row: Mapping, _: bytes) -> tuple[object, ...]:
    return row.payer or "", row.list_type.value, row.local_code, row.local_name, row.item_code


def _mapping_checks(row: Mapping, bringer: Bringer) -> Iterator[Problem]:
    if bringer.role is Sender.INSTITUTION and row.payer is not None:
        yield "payer", "mapping.payer", "leave it out: a hospital maps its codes to the national ones"
    elif bringer.role in (Sender.INSURER, Sender.BASIC) and row.payer != bringer.code:
        yield "payer", "mapping.payer", "write your own code: a payer maps the national codes to its own"


def _disease_values(row: Disease, _: bytes) -> tuple[object, ...]:
    return row.code, row.name


def _nothing_wrong(_row: Dated, _bringer: Bringer) -> Iterable[Problem]:
    return ()


def _institution_values(row: InstitutionRow, _: bytes) -> tuple[object, ...]:
    return row.code, row.name, row.region, row.level


def _own_region(row: InstitutionRow | PopulationRow | EnrolmentRow, bringer: Bringer) -> Iterator[Problem]:
    if bringer.role is Sender.BASIC and bringer.scope not in scopes_of(row.region):
        yield "region", "region.foreign", "write your own region: rows of another come from its own system"


def _staff_values(row: StaffRow, _: bytes) -> tuple[object, ...]:
    return row.institution, row.code, row.name, row.title, row.department


def _staff_checks(row: StaffRow, bringer: Bringer) -> Iterator[Problem]:
    if bringer.role is Sender.INSTITUTION and row.institution != bringer.code:
        yield "institution", "institution.foreign", "write your own code: another institution names its staff itself"


def _population_values(row: PopulationRow, secret: bytes) -> tuple[object, ...]:
    key = person_key(secret, row.id_type, row.id_no)
    born = None if row.id_type is IdentityType.ID_CARD else row.birth_date
    return (
        key,
        row.region,
        row.insurance_type.value,
        name_key(secret, key, row.name),
        row.sex.value,
        born,
        row.person_no,
        row.category,
    )


def _identity(row: PopulationRow | EnrolmentRow) -> Iterator[Problem]:
    if row.id_type is IdentityType.ID_CARD and (problem := id_card_problem(row.id_no)):
        yield "id_no", "patient.id_no", problem


def _population_checks(row: PopulationRow, bringer: Bringer) -> Iterator[Problem]:
    wrong = list(_identity(row))
    yield from wrong
    by_number = row.id_type is IdentityType.ID_CARD and not wrong
    if by_number and row.birth_date is not None and row.birth_date != birth_date_of(row.id_no):
        yield "birth_date", "patient.birth_date", "differs from the identity number; correct one of them"
    yield from _own_region(row, bringer)


def _enrolment_values(row: EnrolmentRow, secret: bytes) -> tuple[object, ...]:
    key = person_key(secret, row.id_type, row.id_no)
    return key, row.product, row.policy_no, name_key(secret, key, row.name), row.region, row.sum_insured


def _enrolment_checks(row: EnrolmentRow, bringer: Bringer) -> Iterator[Problem]:
    yield from _identity(row)
    if bringer.role is Sender.INSURER and row.product not in bringer.products:
        yield "product", "product.foreign", "name a product that the rule book has you pay for"
    yield from _own_region(row, bringer)


def _blacklist_values(row: BlacklistRow, secret: bytes) -> tuple[object, ...]:
    return row.kind, subject_key(secret, row.kind, row.subject), row.action, row.reason


def _blacklist_checks(row: BlacklistRow, _: Bringer) -> Iterator[Problem]:
    if row.kind == "institution" and not _INSTITUTION.fullmatch(row.subject):
        yield "subject", "string_pattern_mismatch", "write the institution's code: a capital letter and eleven digits"
    looks_like_a_card = len(row.subject) == 18 and row.subject[:17].isdigit()
    if row.kind == "person" and looks_like_a_card and (problem := id_card_problem(row.subject)):
        yield "subject", "patient.id_no", problem


T = Transaction
ROW_KINDS: dict[str, RowKind] = {
    one.kind.name: one
    for one in (
        RowKind(kinds.CATALOGUE, T.CATALOGUE_UPLOAD, CatalogueItem, _catalogue_values, _catalogue_checks),
        RowKind(kinds.MAPPING, T.MAPPING_UPLOAD, Mapping, _mapping_values, _mapping_checks),
        RowKind(kinds.DISEASE, T.DISEASE_UPLOAD, Disease, _disease_values, _nothing_wrong),
        RowKind(kinds.INSTITUTION, T.INSTITUTION_UPLOAD, InstitutionRow, _institution_values, _own_region),
        RowKind(kinds.STAFF, T.STAFF_UPLOAD, StaffRow, _staff_values, _staff_checks),
        RowKind(kinds.POPULATION, T.POPULATION_IMPORT, PopulationRow, _population_values, _population_checks),
        RowKind(kinds.ENROLMENT, T.ENROLMENT_IMPORT, EnrolmentRow, _enrolment_values, _enrolment_checks),
        RowKind(kinds.BLACKLIST, T.BLACKLIST_IMPORT, BlacklistRow, _blacklist_values, _blacklist_checks),
    )
}
ROW_KIND_OF: dict[Transaction, RowKind] = {one.transaction: one for one in ROW_KINDS.values()}
FAULT_REMEDIES = {
    "row.duplicate": "is in the upload twice with the same first day; keep one of the two",
    "validity.overlap": "begins while the row before it of the same key still holds; correct one of the two",
    "item.unknown": "is in no catalogue in force on these days; upload the catalogue first or correct the code",
}
