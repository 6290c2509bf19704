"""The two hub series: with payers inside its own process, and with sandbox parties over SOAP and REST."""

from __future__ import annotations

from pathlib import Path

from bench import payload
from bench.hub_series import HubSeries

BASIC, INSURER = "BASIC-330100", "CICI"
_RULES = """
institutions:
  - {{code: {institution}, name: Bench hospital, region: "{region}", amqp: true}}
rules:
  - id: basic
    layer: basic
    product: BASIC
    payers: [{{party: {basic}}}]
    valid_from: 2020-01-01
    when: {{regions: ["{region}"]}}
    reason: {{zh: 参保地基本医保, en: enrolled in this region}}
  - id: critical-illness
    layer: critical_illness
    product: CI
    payers: [{{party: {insurer}}}]
    valid_from: 2020-01-01
    reason: {{zh: 大病保险, en: critical-illness insurance for all enrolled}}
"""


def _rule_book(parties: str) -> str:
    rules = _RULES.format(
        institution=payload.INSTITUTION, region=payload.REGION, basic=BASIC, insurer=INSURER
    )
    return f"title: bench\n{parties}{rules}"


class HubStub(HubSeries):
    """Three hops (intake, basic, insurer) with payers that answer at once inside the hub's own processes."""

    name = "hub_stub"
    title = "hub, payers in process"

    def rule_book(self) -> str:
        return _rule_book(
            f"""parties:
  - {{code: {BASIC}, kind: basic, name: {{zh: 基本, en: basic}}, adapter: basic.soap, endpoint: "http://127.0.0.1:9/"}}
  - {{code: {INSURER}, kind: insurer, name: {{zh: 大病, en: ci}}, adapter: insurer.rest, endpoint: "http://127.0.0.1:9"}}
"""
        )

    def start_parties(self, scratch: Path) -> None:
        """They live in the hub's processes."""

    def role_command(self, role: str) -> list[str]:
        return ["bench.stub_role", role]
