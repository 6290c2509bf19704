"""The rule book of the cast with its dialects: the city of `rules`, and the regions whose parties speak their own way.

450100: critical illness with YONGTAI and supplementary insurance with PINGJIA, both asked at the counter (scheme 2,
mode A). 450200: the same products, adjudicated by the basic system and uploaded afterwards (mode B). 360100: a basic
system with the national interface, CICI for critical illness. TAIHE sells a commercial product in all but 450200.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sandbox import insurer_taikang, parties, parties_dialects
from sandbox.day import Place
from sandbox.insurer_chinalife import NOT_FOUND
from sandbox.parties_dialects import (
    GUANGXI_BASIC,
    GUANGXI_REGION,
    NATIONAL_BASIC,
    NATIONAL_REGION,
    PINGJIA,
    RECORDED_BASIC,
    RECORDED_REGION,
    TAIHE,
    YONGTAI,
)
from sandbox.rules import VALID_FROM, rule_book

PLACES = tuple(
    Place(f"{letter}{region}00001", name, kind, region)
    for region in (GUANGXI_REGION, RECORDED_REGION, NATIONAL_REGION)
    for letter, name, kind in (("H", "示例医院1", "hospital"), ("P", "示例药店1", "pharmacy"))
)
_RECORDS = ("adjudication.upload", "settlement.cancel")


@dataclass(frozen=True, slots=True)
class _Party:
    """One line of the parties: who it is, how it is spoken to."""

    code: str
    kind: str
    adapter: str
    zh: str
    en: str
    region: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


_PARTIES = (
    _Party(GUANGXI_BASIC, "basic", "basic.soap", "示例市居民医保", "Guangxi-type basic insurance", GUANGXI_REGION),
    _Party(RECORDED_BASIC, "basic", "basic.soap", "示例州居民医保", "Basic insurance that uploads", RECORDED_REGION),
    _Party(
        NATIONAL_BASIC,
        "basic",
        "basic.national",
        "示例区医疗保障局",
        "National-style basic",
        NATIONAL_REGION,
        {"fee_classes": "yes", "dept_code": "A03", "doctor_code": "D360100000001", "statements": "yes"},
    ),
    _Party(
        YONGTAI,
        "insurer",
        "insurer.chinalife",
        "永泰人寿大病保险",
        "Yongtai Critical Illness",
        GUANGXI_REGION,
        {"not_found": NOT_FOUND},
        _RECORDS,
    ),
    _Party(
        PINGJIA, "insurer", "insurer.picc", "平嘉补充保险", "Pingjia Supplementary", GUANGXI_REGION, notices=_RECORDS
    ),
    _Party(TAIHE, "insurer", "insurer.taikang", "泰和健康保险", "Taihe Health", options=insurer_taikang.OPTIONS),
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of the rules; `uploaded` is mode B."""

    name: str
    layer: str
    product: str
    party: str
    when: Mapping[str, Any]
    zh: str
    en: str
    uploaded: bool = False
    needs_coverage: bool = False


def _regional(region: str, basic: str, *, uploaded: bool = False) -> tuple[_Rule, ...]:
    """Basic insurance for everybody; critical illness and the supplement for stays."""
    stays = {"regions": [region], "visit_kinds": ["inpatient"]}
    return (
        _Rule(
            f"basic-{region}",
            "basic",
            parties.BASIC_PRODUCT,
            basic,
            {"regions": [region]},
            "基本医疗保险参保人",
            "enrolled in the region's basic insurance",
            uploaded,
        ),
        _Rule(
            f"critical-illness-{region}",
            "critical_illness",
            parties_dialects.YONGTAI_PRODUCT,
            YONGTAI,
            stays,
            "大病保险覆盖全体参保人住院费用",
            "critical-illness cover for everybody's stays",
            uploaded,
        ),
        _Rule(
            f"supplement-{region}",
            "supplementary",
            parties_dialects.PINGJIA_PRODUCT,
            PINGJIA,
            stays,
            "补充医疗保险覆盖全体参保人住院费用",
            "supplementary cover for everybody's stays",
            uploaded,
        ),
    )


_RULES = (
    *_regional(GUANGXI_REGION, GUANGXI_BASIC),
    *_regional(RECORDED_REGION, RECORDED_BASIC, uploaded=True),
    _Rule(
        f"basic-{NATIONAL_REGION}",
        "basic",
        parties.BASIC_PRODUCT,
        NATIONAL_BASIC,
        {"regions": [NATIONAL_REGION]},
        "基本医疗保险参保人",
        "enrolled in the region's basic insurance",
    ),
    _Rule(
        f"critical-illness-{NATIONAL_REGION}",
        "critical_illness",
        parties.CRITICAL_ILLNESS_PRODUCT,
        parties.CRITICAL_ILLNESS,
        {"regions": [NATIONAL_REGION], "visit_kinds": ["inpatient"]},
        "大病保险覆盖全体参保人住院费用",
        "critical-illness cover for everybody's stays",
    ),
    _Rule(
        "taihe-medical",
        "commercial",
        parties_dialects.TAIHE_PRODUCT,
        TAIHE,
        {"regions": [parties.REGION, GUANGXI_REGION, NATIONAL_REGION]},
        "持有有效商业保单",
        "a commercial policy is in force",
        needs_coverage=True,
    ),
)


def dialect_rule_book(
    endpoints: Mapping[str, str],
    places: Iterable[Place] = (),
    valid_from: date = VALID_FROM,
    *,
    amqp: bool = False,
    options: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """A rule book with JSON-ready values for a sandbox with `dialects`.

    `places` are those of the city; the other regions bring their own (`PLACES`). A party without an endpoint is left
    out with its rules. `options` by party replace or add to those of the table.
    """
    book = rule_book(endpoints, [*places, *PLACES], amqp=amqp, valid_from=valid_from)
    book["title"] = "Sandbox city and regions with dialects"
    present = [party for party in _PARTIES if party.code in endpoints]
    book["parties"] += [_party(party, endpoints, (options or {}).get(party.code, {})) for party in present]
    known = {party["code"] for party in book["parties"]}
    book["rules"] += [_rule(rule, valid_from) for rule in _RULES if rule.party in known]
    return book


def _party(party: _Party, endpoints: Mapping[str, str], options: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "code": party.code,
        "kind": party.kind,
        "name": {"zh": party.zh, "en": party.en},
        "adapter": party.adapter,
        "endpoint": endpoints[party.code],
        "options": {**party.options, **options},
        "notices": list(party.notices),
    }
    return found | ({"region": party.region} if party.region else {})


def _rule(rule: _Rule, valid_from: date) -> dict[str, Any]:
    return {
        "id": rule.name,
        "layer": rule.layer,
        "product": rule.product,
        "payers": [{"party": rule.party}],
        "needs_coverage": rule.needs_coverage,
        "adjudicated_by": "basic" if rule.uploaded else "payer",
        "called": "post_upload" if rule.uploaded else "sync",
        "valid_from": valid_from.isoformat(),
        "when": dict(rule.when),
        "reason": {"zh": rule.zh, "en": rule.en},
    }
