"""The two hub series: with payers inside its own process, and with sandbox parties over SOAP and REST."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from bench import payload
from bench.hub_series import HubSeries
from sandbox import parties

BASIC, INSURER = "BASIC-330100", "CICI"
SANDBOX_START_S = 20.0
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
    product: CRITICAL-ILLNESS
    payers: [{{party: {insurer}}}]
    valid_from: 2020-01-01
    reason: {{zh: 大病保险, en: critical-illness insurance for all enrolled}}
"""


def _rule_book(parties: str) -> str:
    rules = _RULES.format(institution=payload.INSTITUTION, region=payload.REGION, basic=BASIC, insurer=INSURER)
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


class HubFull(HubSeries):
    """The main job: the basic system over SOAP, then one insurer over REST, sandbox parties that answer at once."""

    name = "hub_full"
    title = "hub, SOAP and REST parties"
    _endpoints: dict[str, str]

    def rule_book(self) -> str:
        return _rule_book(
            f"""parties:
  - {{code: {BASIC}, kind: basic, name: {{zh: 基本, en: basic}}, adapter: basic.soap, region: "{payload.REGION}",
     endpoint: "{self._endpoints[parties.BASIC]}"}}
  - {{code: {INSURER}, kind: insurer, name: {{zh: 大病, en: ci}}, adapter: insurer.rest,
     endpoint: "{self._endpoints[parties.CRITICAL_ILLNESS]}"}}
"""
        )

    def start_parties(self, scratch: Path) -> None:
        told = scratch / "sandbox.json"
        data = scratch / "sandbox"
        data.mkdir(exist_ok=True)
        told.unlink(missing_ok=True)
        self._processes.spawn(
            "sandbox", ["sandbox.server", "--data", str(data), "--ports-file", str(told), "--volatile"], {}
        )
        until = time.monotonic() + SANDBOX_START_S
        while not told.exists() and time.monotonic() < until:
            time.sleep(0.05)
        self._endpoints = orjson.loads(told.read_bytes())["endpoints"]

    def roles(self) -> Mapping[str, Sequence[int]]:
        return {role: pids for role, pids in super().roles().items() if role != "sandbox"}

    def parties(self) -> Sequence[int]:
        return super().roles().get("sandbox", ())
