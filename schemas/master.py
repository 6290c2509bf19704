"""Master data by message: catalogues, dictionaries, mappings, people. Files hold the same rows (`hub import`).

An upload is all or nothing; its answer lists every row that stood in the way. Validity is by day, the last one
included; a row without an end holds until another replaces it.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AwareDatetime, Field, StringConstraints

from schemas.base import (
    Bilingual,
    Code,
    Identifier,
    InstitutionCode,
    ItemName,
    Name,
    PartyCode,
    RegionCode,
    Text,
    Value,
)
from schemas.codes import FeeCategory, IdentityType, InsuranceType, ItemLevel, Sex
from schemas.money import Money, Price

ROWS_MAX = 5000
"""Rows of one message; more come as a file."""
IdNumber = Annotated[str, StringConstraints(min_length=4, max_length=50, pattern=r"^[0-9A-Za-z()/-]+$")]


class ListType(StrEnum):
    """list_type: which of the three catalogues (drugs, service items, materials) an item is in."""

    WESTERN_DRUG = "101"
    HERBAL = "102"
    IN_HOUSE = "103"
    ETHNIC = "104"
    SERVICE = "201"
    CONSUMABLE = "301"


class Dated(Value):
    """A row that holds from day to day."""

    valid_from: date
    valid_until: date | None = None


class CatalogueItem(Dated):
    """One item of the three catalogues (三大目录). `price_max` is per unit; `self_pay` the first own share, 0 to 1."""

    list_type: ListType
    item_code: Code
    item_name: ItemName
    category: FeeCategory | None = None
    level: ItemLevel
    price_max: Price | None = None
    self_pay: Price | None = None
    spec: ItemName | None = None
    unit: Name | None = None


class Mapping(Dated):
    """What a hospital's own item is in the national catalogue, or what a national one is at an insurer (对码关系)."""

    list_type: ListType
    local_code: Code
    local_name: ItemName
    item_code: Code
    payer: PartyCode | None = None
    """Left out: the hospital's code to the national one. Given: the national code (`local_code`) to this payer's."""


class Disease(Dated):
    """One entry of the disease dictionary."""

    code: Code
    name: ItemName


class InstitutionRow(Dated):
    """One designated institution."""

    code: InstitutionCode
    name: Name
    region: RegionCode
    level: Annotated[str, StringConstraints(max_length=20)] = ""


class StaffRow(Dated):
    """One doctor, nurse, pharmacist or technician by the national code."""

    institution: InstitutionCode
    code: Identifier
    name: Name
    title: Annotated[str, StringConstraints(max_length=50)] = ""
    department: Annotated[str, StringConstraints(max_length=100)] = ""


class PopulationRow(Dated):
    """One insured person; `category` marks, for example, people below the poverty line (贫困人口)."""

    id_type: IdentityType
    id_no: IdNumber
    name: Name
    sex: Sex = Sex.UNKNOWN
    birth_date: date | None = None
    person_no: Identifier
    region: RegionCode
    insurance_type: InsuranceType
    category: Annotated[str, StringConstraints(max_length=20)] = ""


class EnrolmentRow(Dated):
    """One person's policy (承保信息)."""

    id_type: IdentityType
    id_no: IdNumber
    name: Name
    region: RegionCode
    product: Identifier
    policy_no: Identifier
    sum_insured: Money | None = None


class BlacklistRow(Dated):
    """A person, an institution or a member of staff that may not settle (`refuse`), or is to be looked at (`flag`)."""

    kind: Literal["person", "institution", "staff"]
    subject: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """A person's identity number, an institution's or a staff member's code."""
    action: Literal["refuse", "flag"]
    reason: Text


Row = TypeVar("Row", bound=Dated)


class Upload(Value, Generic[Row]):
    """Rows of one kind. `request_no` is the sender's own number of this upload; `sender` the institution or party."""

    schema_version: Literal["1"] = "1"
    sender: Identifier
    request_no: Identifier
    rows: Annotated[tuple[Row, ...], Field(min_length=1, max_length=ROWS_MAX)]


class MappingUpload(Upload[Mapping]):
    """`mapping.upload` (对码关系上传; national 3301)."""


class CatalogueUpload(Upload[CatalogueItem]):
    """`catalogue.upload` (三大目录上传)."""


class DiseaseUpload(Upload[Disease]):
    """`disease.upload` (疾病字典上传)."""


class InstitutionUpload(Upload[InstitutionRow]):
    """`institution.upload` (医疗机构信息上传)."""


class StaffUpload(Upload[StaffRow]):
    """`staff.upload` (医护人员信息上传)."""


class PopulationImport(Upload[PopulationRow]):
    """`population.import` (贫困人口信息导入)."""


class EnrolmentImport(Upload[EnrolmentRow]):
    """`enrolment.import` (承保信息导入)."""


class BlacklistImport(Upload[BlacklistRow]):
    """`blacklist.import` (黑名单)."""


class RowProblem(Value):
    """One row that stood in the way; rows count from 1."""

    row: int
    field: str
    code: str
    remedy: str


class UploadAnswer(Value):
    """What became of an upload: all of it is in force, or none."""

    schema_version: Literal["1"] = "1"
    transaction: str
    sender: str
    request_no: str
    taken: bool
    rows: int
    new: int
    changed: int
    unchanged: int
    problems: tuple[RowProblem, ...] = ()
    answered_at: AwareDatetime


class IdentityConfirm(Value):
    """`identity.confirm` (身份确认; national 1101, 2001): who is this person to the insurers, on this day."""

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    id_type: IdentityType
    id_no: IdNumber
    name: Name
    on: date | None = None


class Enrolled(Value):
    """A scheme that the person is in."""

    insurance_type: InsuranceType
    person_no: str
    region: str
    category: str = ""
    valid_from: date
    valid_until: date | None = None


class Covered(Value):
    """A product that covers the person."""

    product: str
    policy_no: str
    valid_from: date
    valid_until: date | None = None


class IdentityAnswer(Value):
    """What the hub knows of the person. `found` is false when number and name do not belong together here."""

    schema_version: Literal["1"] = "1"
    institution: str
    found: bool
    name: str
    sex: Sex = Sex.UNKNOWN
    birth_date: date | None = None
    insurances: tuple[Enrolled, ...] = ()
    coverages: tuple[Covered, ...] = ()
    refused: bool = False
    """On the blacklist: a settlement would be refused."""
    warnings: tuple[Bilingual, ...] = ()
    answered_at: AwareDatetime
