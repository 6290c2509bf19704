"""The words of a hosted product's calculation, in Chinese and English."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.base import Bilingual
from schemas.hosted import TraceLine
from schemas.money import yuan_of

REASON_MAX = 900

_STEPS: dict[str, tuple[str, str]] = {
    "total": ("医疗费用总额 {amount}", "total of the bill {amount}"),
    "own_pay": ("减：全自费 {amount}", "less wholly self-paid {amount}"),
    "over_limit": ("减：超限价自费 {amount}", "less over the price limit {amount}"),
    "first_self_pay": (
        "减：先行自付 {of} 中不予计入的 {ratio} = {amount}",
        "less the {ratio} of the first self-payment {of} that do not count = {amount}",
    ),
    "excluded_items": ("减：除外项目 {amount}", "less excluded items {amount}"),
    "other_categories": ("减：范围外费用类别 {amount}", "less categories out of scope {amount}"),
    "self_paid_items": (
        "减：丙类 {of} 中不予计入的 {ratio} = {amount}",
        "less the {ratio} of level 03 items {of} that do not count = {amount}",
    ),
    "partly_items": (
        "减：乙类 {of} 中不予计入的 {ratio} = {amount}",
        "less the {ratio} of level 02 items {of} that do not count = {amount}",
    ),
    "full_items": (
        "减：甲类 {of} 中不予计入的 {ratio} = {amount}",
        "less the {ratio} of level 01 items {of} that do not count = {amount}",
    ),
    "basic_paid": ("减：基本医保补偿 {amount}", "less what the basic insurance pays {amount}"),
    "earlier_paid": ("减：此前各方赔付 {amount}", "less what payers between pay {amount}"),
    "compliant_net": (
        "合规医疗费用 {amount}（净额：总额－基本补偿－不予报销）",
        "compliant amount {amount} (net: total less basic payment less what is not reimbursable)",
    ),
    "compliant_gross": (
        "政策范围内费用 {amount}（毛额：各方支付之前的 inscp_scp_amt）",
        "amount within the national scope {amount} (gross: inscp_scp_amt, before anybody pays)",
    ),
    "deductible_per_visit": ("减：次起付线 {amount}", "less the deductible of the visit {amount}"),
    "deductible_per_year": (
        "减：起付线 {amount}（年度 {whole}，此前已扣 {before}）",
        "less deductible {amount} (of {whole} a year, {before} taken before)",
    ),
    "above_deductible": ("起付线以上 {amount}", "above the deductible {amount}"),
    "band_per_visit": ("{band_zh}：{of} × {ratio} = {amount}", "{band_en}: {of} × {ratio} = {amount}"),
    "band_per_year": (
        "年度累计{band_zh}：{of} × {ratio} = {amount}",
        "of the year {band_en}: {of} × {ratio} = {amount}",
    ),
    "shares": ("各段合计 {amount}", "sum of the bands {amount}"),
    "ratio": ("赔付比例：{of} × {ratio} = {amount}", "share paid: {of} × {ratio} = {amount}"),
    "after_ratio": ("按比例计得 {amount}", "by that share {amount}"),
    "cap_per_visit": ("次限额 {amount}", "at most {amount} a visit"),
    "cap_per_year": (
        "年度限额剩余 {amount}（{whole}，此前已赔 {before}）",
        "left of the year's cap {amount} (of {whole}, {before} paid before)",
    ),
    "cap_for_life": (
        "终身限额剩余 {amount}（{whole}，此前已赔 {before}）",
        "left of the cap for life {amount} (of {whole}, {before} paid before)",
    ),
    "left": ("各方支付后个人剩余 {amount}", "left of the bill after all payers before {amount}"),
    "pays": ("本次赔付 {amount}", "pays {amount}"),
}
_REFUSALS: dict[str, tuple[str, str]] = {
    "product.no_terms": ("该产品在就诊日无有效条款", "the product has no terms for the day of service"),
    "product.no_policy": ("未查到该产品的保单起期", "the person's policy of this product is not known"),
    "product.waiting_period": ("就诊日在等待期内", "the service lies within the waiting period"),
    "product.excluded_visit": ("该就诊类别属责任免除", "this kind of visit is excluded"),
    "product.excluded_diagnosis": ("该诊断属责任免除", "the diagnosis is excluded"),
    "product.basic_unknown": ("尚无基本医保结算结果", "the basic system's adjudication is not known yet"),
    "product.nothing_compliant": ("无合规医疗费用", "nothing on the bill is within the product's scope"),
    "product.within_deductible": ("合规费用未超过起付线", "the compliant amount does not exceed the deductible"),
    "product.cap_used": ("限额已用完", "the cap is used up"),
    "product.nothing_left": ("个人已无剩余费用", "payers before leave nothing to pay"),
    "product.share_is_nothing": ("按比例计得为零", "the product's share comes to nothing"),
    "product.unknown": ("现行规则集中无此产品", "the rule book in force has no such product"),
    "product.undone": ("该申请已撤销，不再受理", "this claim was undone and is not taken again"),
    "product.no_such_claim": ("未找到该赔付", "there is no such claim"),
    "product.not_standing": ("该申请没有可撤销的赔付", "this claim paid nothing that could be taken back"),
    "product.not_mirrored": ("撤销内容与原赔付不符", "the cancel names another reference or amount than was paid"),
}
_SAID = ("compliant_", "deductible_", "band_", "ratio", "cap_", "pays")


@dataclass(frozen=True, slots=True)
class Words:
    """Figures that a line mentions besides its amount: a yearly figure and what was used before, or a band's edges."""

    whole: int | None = None
    before: int = 0

    def of(self, step: str, amount: int, of: int | None, ratio_bp: int | None) -> tuple[str, str]:
        """The line of this step in Chinese and English."""
        zh, en = _STEPS[step]
        figures = {"amount": yuan_of(amount)}
        if of is not None:
            figures |= {"of": yuan_of(of), "ratio": percent(ratio_bp or 0)}
        if step.startswith("band_"):
            figures |= self._band()
        elif self.whole is not None:
            figures |= {"whole": yuan_of(self.whole), "before": yuan_of(self.before)}
        return zh.format_map(figures), en.format_map(figures)

    def _band(self) -> dict[str, str]:
        """A band from `whole` up to `before`, or without end."""
        low, high = yuan_of(self.whole or 0), yuan_of(self.before)
        if not self.before:
            return {"band_zh": f"{low} 以上部分", "band_en": f"above {low}"}
        return {"band_zh": f"{low} 至 {high} 部分", "band_en": f"from {low} to {high}"}


def percent(ratio_bp: int) -> str:
    """8000 -> "80%", 7550 -> "75.5%"."""
    whole, rest = divmod(ratio_bp, 100)
    return f"{whole}.{rest:02d}".rstrip("0") + "%" if rest else f"{whole}%"


def refusal_words(code: str) -> Bilingual:
    """Why nothing is paid or undone."""
    zh, en = _REFUSALS[code]
    return Bilingual(zh=zh, en=en)


def amount_words(trace: Sequence[TraceLine]) -> Bilingual:
    """The calculation in one sentence: the lines that decided."""
    said = [line for line in trace if line.step.startswith(_SAID)]
    zh, en = "；".join(line.zh for line in said), "; ".join(line.en for line in said)
    if max(len(zh), len(en)) > REASON_MAX:
        return Bilingual(zh=f"{said[0].zh}；{said[-1].zh}", en=f"{said[0].en}; {said[-1].en}")
    return Bilingual(zh=zh, en=en)
