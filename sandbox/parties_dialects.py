"""The parties that speak dialects of their own: who they are, what they sell. They play when asked for."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.adjudication import CommercialPlan, CriticalIllnessPlan
from sandbox.claims_desk import Desk

GUANGXI_REGION = "450100"
"""Critical illness and supplementary insurance each with an insurer of its own, over SOAP."""
GUANGXI_BASIC = f"BASIC-{GUANGXI_REGION}"
RECORDED_REGION = "450200"
"""The basic system adjudicates every layer itself and uploads the result afterwards (mode B)."""
RECORDED_BASIC = f"BASIC-{RECORDED_REGION}"
NATIONAL_REGION = "360100"
"""The basic system speaks the national envelope."""
NATIONAL_BASIC = f"BASIC-{NATIONAL_REGION}"
YONGTAI = "YONGTAI"
PINGJIA = "PINGJIA"
TAIHE = "TAIHE"
YONGTAI_PRODUCT = "YONGTAI-CRITICAL"
PINGJIA_PRODUCT = "PINGJIA-SUPPLEMENT"
TAIHE_PRODUCT = "TAIHE-MEDICAL"
POLICY_PREFIX = {TAIHE_PRODUCT: "TH"}

DESKS: Mapping[str, Desk] = {
    YONGTAI: Desk("YT", critical_illness={YONGTAI_PRODUCT: CriticalIllnessPlan(deductible_fen=2_000_00)}),
    PINGJIA: Desk(
        "PJ",
        critical_illness={PINGJIA_PRODUCT: CriticalIllnessPlan(deductible_fen=500_00, cap_fen=30_000_00)},
    ),
    TAIHE: Desk(
        "TH",
        commercial={TAIHE_PRODUCT: CommercialPlan(TAIHE_PRODUCT, deductible_fen=0, percent=80, cap_fen=60_000_00)},
    ),
}
