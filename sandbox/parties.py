"""The cast of the sandbox: who plays, under which code, selling what. The region is one city, 440300."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.adjudication import CommercialPlan, CriticalIllnessPlan
from sandbox.claims_desk import Desk

REGION = "440300"
BASIC = f"BASIC-{REGION}"
CRITICAL_ILLNESS = "CICI"
ANKANG = "ANKANG"
HENGAN = "HENGAN"
PARTIES = (BASIC, CRITICAL_ILLNESS, ANKANG, HENGAN)

BASIC_PRODUCT = "BASIC-MEDICAL"
CRITICAL_ILLNESS_PRODUCT = "CRITICAL-ILLNESS"
ANKANG_PRODUCT = "ANKANG-MEDICAL"
HENGAN_PRODUCT = "HENGAN-HEALTH"
SHARED_PRODUCT = "CITY-CARE"
"""Coinsurance: 60 parts ANKANG, 40 parts HENGAN, one policy."""
SHARES = {ANKANG: 60, HENGAN: 40}
INSURERS_OF = {
    CRITICAL_ILLNESS_PRODUCT: (CRITICAL_ILLNESS,),
    ANKANG_PRODUCT: (ANKANG,),
    HENGAN_PRODUCT: (HENGAN,),
    SHARED_PRODUCT: (ANKANG, HENGAN),
}
POLICY_PREFIX = {ANKANG_PRODUCT: "AK", HENGAN_PRODUCT: "HA", SHARED_PRODUCT: "CC"}


def _city_care(insurer: str) -> CommercialPlan:
    return CommercialPlan(
        product=SHARED_PRODUCT,
        deductible_fen=1_500_00,
        percent=60,
        cap_fen=300_000_00,
        only_in_catalogue=False,
        waiting_days=0,
        excluded_diagnoses=("Z41",),
        review_above_fen=40_000_00,
        share_percent=SHARES[insurer],
    )


DESKS: Mapping[str, Desk] = {
    CRITICAL_ILLNESS: Desk("CI", critical_illness={CRITICAL_ILLNESS_PRODUCT: CriticalIllnessPlan()}),
    ANKANG: Desk(
        "AK",
        commercial={
            ANKANG_PRODUCT: CommercialPlan(ANKANG_PRODUCT, deductible_fen=100_00, percent=80, cap_fen=50_000_00),
            SHARED_PRODUCT: _city_care(ANKANG),
        },
    ),
    HENGAN: Desk(
        "HA",
        commercial={
            HENGAN_PRODUCT: CommercialPlan(
                HENGAN_PRODUCT, deductible_fen=0, percent=90, cap_fen=10_000_00, only_in_catalogue=False
            ),
            SHARED_PRODUCT: _city_care(HENGAN),
        },
    ),
}
