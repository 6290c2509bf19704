"""The rule book of the cast as plain data: who pays in the sandbox's city, where the parties are, who may send.

What `hub rules activate` takes, so that a demo, a bench and a test agree on products and shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from sandbox import parties
from sandbox.day import Place

VALID_FROM = date(2026, 1, 1)


def rule_book(
    endpoints: Mapping[str, str], places: Iterable[Place], *, amqp: bool = False, valid_from: date = VALID_FROM
) -> dict[str, Any]:
    """A rule book with JSON-ready values.

    `endpoints` as `Sandbox.endpoints()` gives them; `amqp` gives every institution an exchange and a queue.
    """
    return {
        "title": "Sandbox city",
        "parties": [
            _party(parties.BASIC, "basic", "basic.soap", endpoints, "示例市医疗保障局", "City basic insurance"),
            _party(parties.CRITICAL_ILLNESS, "insurer", "insurer.rest", endpoints, "示例大病保险", "Critical illness"),
            _party(parties.ANKANG, "insurer", "insurer.rest", endpoints, "安康健康保险", "Ankang Health"),
            _party(parties.HENGAN, "insurer", "insurer.queue", {}, "恒安人寿保险", "Hengan Life"),
        ],
        "institutions": [
            {"code": place.code, "name": place.name, "region": place.region, "amqp": amqp} for place in places
        ],
        "rules": [_rule(*row, valid_from) for row in _RULES],
    }


_BASIC_REASON = ("基本医疗保险参保人", "enrolled in the city's basic insurance")
_CRITICAL_REASON = ("大病保险覆盖全体参保人住院费用", "critical-illness cover for everybody's inpatient bills")
_POLICY_REASON = ("持有有效商业保单", "a commercial policy is in force")
_RULES: tuple[tuple[str, str, int, str, Mapping[str, int], Mapping[str, Any], tuple[str, str]], ...] = (
    (
        "basic",
        "basic",
        10,
        parties.BASIC_PRODUCT,
        {parties.BASIC: 100},
        {"regions": [parties.REGION]},
        _BASIC_REASON,
    ),
    (
        "critical-illness",
        "critical_illness",
        10,
        parties.CRITICAL_ILLNESS_PRODUCT,
        {parties.CRITICAL_ILLNESS: 100},
        {"regions": [parties.REGION], "visit_kinds": ["inpatient"]},
        _CRITICAL_REASON,
    ),
    ("city-care", "commercial", 10, parties.SHARED_PRODUCT, parties.SHARES, {}, _POLICY_REASON),
    ("ankang-medical", "commercial", 20, parties.ANKANG_PRODUCT, {parties.ANKANG: 100}, {}, _POLICY_REASON),
    ("hengan-health", "commercial", 30, parties.HENGAN_PRODUCT, {parties.HENGAN: 100}, {}, _POLICY_REASON),
)


def _party(code: str, kind: str, adapter: str, endpoints: Mapping[str, str], zh: str, en: str) -> dict[str, Any]:
    party: dict[str, Any] = {"code": code, "kind": kind, "name": {"zh": zh, "en": en}, "adapter": adapter}
    if kind == "basic":
        party["region"] = parties.REGION
    if code in endpoints:
        party["endpoint"] = endpoints[code]
    return party


def _rule(
    name: str,
    layer: str,
    order: int,
    product: str,
    payers: Mapping[str, int],
    when: Mapping[str, Any],
    reason: tuple[str, str],
    valid_from: date,
) -> dict[str, Any]:
    return {
        "id": name,
        "layer": layer,
        "order": order,
        "product": product,
        "payers": [{"party": code, "weight": weight} for code, weight in payers.items()],
        "needs_coverage": layer == "commercial",
        "valid_from": valid_from.isoformat(),
        "when": dict(when),
        "reason": {"zh": reason[0], "en": reason[1]},
    }
