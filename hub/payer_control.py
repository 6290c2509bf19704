"""Every second: the switches that people turned reach this process's gates, and how its payers fare is told to all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from hub.calls import Payer
from hub.gate import GateView
from hub.ports import Clock
from routing.breaker import BreakerState
from store import payers

log = structlog.get_logger()

TELL_EVERY = timedelta(seconds=10)
ALIVE = timedelta(seconds=30)
"""A process that has not told for so long counts as gone."""
_FORGET_AFTER = timedelta(days=1)


class PayerControl:
    """One pass reads the switches and writes the health of payers that changed, or all of them every ten seconds."""

    def __init__(self, engine: Engine, clock: Clock, known: Mapping[str, Payer], process: str) -> None:
        self._engine = engine
        self._clock = clock
        self._payers = known
        self._process = process
        self._told: dict[str, GateView] = {}
        self._told_at: datetime | None = None

    def __call__(self) -> int:
        now = self._clock.now()
        views = {code: payer.gate.view() for code, payer in self._payers.items()}
        everything = self._told_at is None or abs(now - self._told_at) >= TELL_EVERY
        news = [code for code, view in views.items() if everything or _moved(self._told.get(code), view)]
        with self._engine.begin() as connection:
            stopped = {switch.party: switch.stopped for switch in payers.switches(connection)}
            if news:
                payers.tell(connection, [self._row(code, views[code]) for code in news], now, now - _FORGET_AFTER)
        for code, payer in self._payers.items():
            payer.gate.stop(stopped.get(payers.EVERYBODY, False) or stopped.get(code, False))
        for code in news:
            self._announce(code, views[code])
        self._told.update({code: views[code] for code in news})
        self._told_at = now if everything else self._told_at
        return 0

    def _row(self, code: str, view: GateView) -> dict[str, object]:
        return {
            "party": code,
            "process": self._process,
            "breaker": view.breaker.value,
            "failures": view.failures,
            "last_error": view.last_error,
            "retries_held": view.retries_held,
        }

    def _announce(self, code: str, view: GateView) -> None:
        before = self._told.get(code)
        if before is None or before.breaker is view.breaker:
            return
        if view.breaker is BreakerState.CLOSED:
            log.info("payer_back", payer=code)
        elif before.breaker is BreakerState.CLOSED:
            log.warning("payer_down", payer=code, failures=view.failures, last_error=view.last_error)


def _moved(before: GateView | None, view: GateView) -> bool:
    return before is None or before.breaker is not view.breaker
