"""Code sets of the national interface and the hub's own small enumerations."""

from __future__ import annotations

from enum import StrEnum


class VisitKind(StrEnum):
    """Where the bill arose."""

    OUTPATIENT = "outpatient"
    INPATIENT = "inpatient"
    PHARMACY = "pharmacy"


class Layer(StrEnum):
    """The payer layers in the order in which they work on a bill."""

    BASIC = "basic"
    CRITICAL_ILLNESS = "critical_illness"
    SUPPLEMENTARY = "supplementary"
    COMMERCIAL = "commercial"

    @property
    def rank(self) -> int:
        return _LAYER_RANK[self]


_LAYER_RANK = {layer: rank for rank, layer in enumerate(Layer)}


class InsuranceType(StrEnum):
    """insutype: the scheme a person is enrolled in."""

    EMPLOYEE = "310"
    CIVIL_SERVANT = "320"
    LARGE_AMOUNT = "330"
    RETIRED_CADRE = "340"
    DISABLED_SOLDIER = "350"
    OLD_RED_ARMY = "360"
    ENTERPRISE_SUPPLEMENTARY = "370"
    NRCMS = "380"
    RESIDENT = "390"
    URBAN_RESIDENT = "391"
    RESIDENT_CRITICAL_ILLNESS = "392"
    OTHER = "399"
    LONG_TERM_CARE = "410"
    MATERNITY = "510"


class MedicalType(StrEnum):
    """med_type: the kind of treatment. Provinces add 15, 16 and 99xx; those come with their dialects."""

    OUTPATIENT = "11"
    REGISTRATION = "12"
    EMERGENCY = "13"
    CHRONIC_OUTPATIENT = "14"
    ACCIDENT_OUTPATIENT = "19"
    INPATIENT = "21"
    INJURY_INPATIENT = "22"
    TRANSFERRED_OUT = "23"
    EMERGENCY_TO_INPATIENT = "24"
    CROSS_REGION = "25"
    SINGLE_DISEASE = "26"
    SELF_REFERRED = "27"
    DAY_SURGERY = "28"
    PHARMACY = "41"
    MATERNITY_OUTPATIENT = "51"
    MATERNITY_INPATIENT = "52"
    FAMILY_PLANNING = "53"
    CARE = "61"


MEDICAL_TYPES_BY_VISIT: dict[VisitKind, frozenset[MedicalType]] = {
    VisitKind.PHARMACY: frozenset({MedicalType.PHARMACY}),
    VisitKind.INPATIENT: frozenset(
        code for code in MedicalType if code.value[0] == "2" or code.value in ("52", "53", "61")
    ),
    VisitKind.OUTPATIENT: frozenset(code for code in MedicalType if code.value[0] == "1" or code.value in ("51", "53")),
}


class FeeCategory(StrEnum):
    """med_chrgitm_type: the kind of a fee line."""

    BED = "01"
    CONSULTATION = "02"
    EXAMINATION = "03"
    LABORATORY = "04"
    TREATMENT = "05"
    OPERATION = "06"
    NURSING = "07"
    MATERIALS = "08"
    WESTERN_DRUG = "09"
    HERBAL_PIECES = "10"
    PATENT_CHINESE_DRUG = "11"
    GENERAL_CLINIC = "12"
    REGISTRATION = "13"
    OTHER = "14"


class ItemLevel(StrEnum):
    """chrgitm_lv: 01 wholly in scope (甲), 02 partly (乙), 03 self-paid (丙)."""

    FULL = "01"
    PARTLY = "02"
    SELF_PAID = "03"


class IdentityType(StrEnum):
    """psn_cert_type."""

    ID_CARD = "01"
    PLA_OFFICER = "02"
    ARMED_POLICE = "03"
    HONG_KONG_PERMIT = "04"
    MACAU_PERMIT = "05"
    TAIWAN_PERMIT = "06"
    FOREIGN_RESIDENT = "07"
    FOREIGN_PASSPORT = "08"
    DISABLED = "09"
    MILITARY_DEPENDANT = "10"
    HMT_RESIDENCE = "17"
    SOCIAL_CARD = "90"
    OTHER = "99"


class Sex(StrEnum):
    """gend."""

    UNKNOWN = "0"
    MALE = "1"
    FEMALE = "2"
    UNSTATED = "9"


class Outcome(StrEnum):
    """What a payer said. Only an explicit yes or no is an outcome; everything else is UNKNOWN."""

    APPROVED = "approved"
    DECLINED = "declined"
    DEFERRED = "deferred"
    CANCELLED = "cancelled"
    NOT_FOUND = "not_found"
    """Of an inquiry: the payer does not know the request. Said once it proves nothing: it may still be on its way."""
    UNKNOWN = "unknown"


class CaseStatus(StrEnum):
    """What the hospital is told about a case."""

    PROCESSING = "processing"
    SETTLED = "settled"
    PARTLY_SETTLED = "partly_settled"
    DECLINED = "declined"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    TRIAL = "trial"


class ShareState(StrEnum):
    """What the hospital is told about one payer's part."""

    APPROVED = "approved"
    DECLINED = "declined"
    DEFERRED = "deferred"
    IN_DOUBT = "in_doubt"
    HELD = "held"
    NOT_NEEDED = "not_needed"
    PENDING = "pending"
    CANCELLED = "cancelled"
