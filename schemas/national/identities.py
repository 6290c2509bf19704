"""The amount identities A2 to A8 over read records, all in fen. A breach is told, never corrected.

Each is named `national.A4` and so on. Not among them: a deductible may exceed what is in scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import Violation
from schemas.money import rounded_fen

ACCOUNT_TYPES = frozenset({"310200"})
FUND_PARTS = (
    "hifp_pay",
    "cvlserv_pay",
    "hifes_pay",
    "hifmi_pay",
    "hifob_pay",
    "hifdm_pay",
    "maf_pay",
    "oth_pay",
)
AMOUNTS = (
    "medfee_sumamt",
    "fulamt_ownpay_amt",
    "overlmt_selfpay",
    "preselfpay_amt",
    "inscp_scp_amt",
    *FUND_PARTS,
    "fund_pay_sumamt",
    "psn_part_amt",
    "acct_pay",
    "psn_cash_pay",
    "hosp_part_amt",
)
BUCKETS: Mapping[str, str] = {
    "3101": "hifp_pay",
    "3901": "hifp_pay",
    "3902": "hifmi_pay",
    "3903": "hifmi_pay",
    "3103": "hifmi_pay",
    "3201": "cvlserv_pay",
    "3301": "hifob_pay",
    "3701": "hifes_pay",
    "6101": "maf_pay",
}
"""Which part of setlinfo a fund_pay_type counts into, by its first four digits; the rest are oth_pay."""

EXACT = frozenset({"A7", "A8"})
"""Who pays what: no tolerance, since somebody would have to bear the difference."""


@dataclass(frozen=True, slots=True)
class Switches:
    """What regions do differently. `fund_includes_account`: fund_pay_sumamt counts the personal account in.

    `account_row_in_detail`: where it is counted in, setldetail has a row for it.
    """

    tolerance_fen: int = 0
    fund_includes_account: bool = False
    account_row_in_detail: bool = False


def bucket_of(fund_pay_type: str, more: Mapping[str, str] | None = None) -> str:
    """The field of setlinfo that a fund counts into; `more` are a region's own types."""
    return (more or {}).get(fund_pay_type) or BUCKETS.get(fund_pay_type[:4], "oth_pay")


def funds_without_account(info: Mapping[str, Any], switches: Switches) -> int:
    """What funds bear, the personal account left out."""
    return int(info["fund_pay_sumamt"]) - (info.get("acct_pay", 0) if switches.fund_includes_account else 0)


def broken_amounts(
    info: Mapping[str, Any], details: Sequence[Mapping[str, Any]], switches: Switches
) -> list[Violation]:
    """A4 to A8 over setlinfo and setldetail."""
    return [
        Violation(field, f"national.{name}", remedy)
        for name, field, difference, remedy in _differences(info, details, switches)
        if abs(difference) > (0 if name in EXACT else switches.tolerance_fen)
    ]


def broken_lines(lines: Iterable[Mapping[str, Any]], switches: Switches) -> list[Violation]:
    """A2 and A3 over the lines of a fee answer; A3 only where the line says how it splits."""
    broken = []
    for index, line in enumerate(lines):
        path = f"result[{index}].det_item_fee_sumamt"
        amount = line["det_item_fee_sumamt"]
        if abs(amount - rounded_fen(line["cnt"] * line["pric"])) > switches.tolerance_fen:
            broken.append(Violation(path, "national.A2", "det_item_fee_sumamt = cnt x pric, rounded to the fen"))
        parts = [line.get(name) for name in ("fulamt_ownpay_amt", "overlmt_amt", "preselfpay_amt", "inscp_scp_amt")]
        split = sum(part or 0 for part in parts)
        if any(part is not None for part in parts) and abs(amount - split) > switches.tolerance_fen:
            remedy = "det_item_fee_sumamt = fulamt_ownpay_amt + overlmt_amt + preselfpay_amt + inscp_scp_amt"
            broken.append(Violation(path, "national.A3", remedy))
    return broken


def _differences(
    info: Mapping[str, Any], details: Sequence[Mapping[str, Any]], switches: Switches
) -> list[tuple[str, str, int, str]]:
    total, fund, account = info["medfee_sumamt"], info["fund_pay_sumamt"], info["acct_pay"]
    person, hospital = info["psn_part_amt"], info["hosp_part_amt"]
    scope = sum(info[name] for name in AMOUNTS[1:5])
    parts = sum(info.get(name, 0) for name in FUND_PARTS)
    if switches.fund_includes_account:
        parts += account
    return [
        (
            "A4",
            "inscp_scp_amt",
            total - scope,
            "medfee_sumamt = fulamt_ownpay_amt + overlmt_selfpay + preselfpay_amt + inscp_scp_amt",
        ),
        ("A5", "fund_pay_sumamt", fund - parts, "fund_pay_sumamt = sum of its parts, by the region's switches"),
        (
            "A6",
            "setldetail",
            fund - _detailed(details, account, switches),
            "fund_pay_sumamt = sum of setldetail.fund_payamt, by the region's switches",
        ),
        (
            "A7",
            "psn_part_amt",
            total - funds_without_account(info, switches) - person - hospital,
            "medfee_sumamt = fund_pay_sumamt + psn_part_amt + hosp_part_amt",
        ),
        ("A8", "psn_cash_pay", person - account - info["psn_cash_pay"], "psn_part_amt = acct_pay + psn_cash_pay"),
    ]


def _detailed(details: Sequence[Mapping[str, Any]], account: int, switches: Switches) -> int:
    funds: int = sum(row["fund_payamt"] for row in details if row["fund_pay_type"] not in ACCOUNT_TYPES)
    if not switches.fund_includes_account:
        return funds
    rows = [row["fund_payamt"] for row in details if row["fund_pay_type"] in ACCOUNT_TYPES]
    return funds + int(sum(rows) if switches.account_row_in_detail else account)
