"""The seals on a schedule: whether the last sealed days, and the runs that were signed for them, are what they were."""

from __future__ import annotations

from itertools import islice
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from hub.ports import Clock
from store import incidents, invariants, seal_checks, seals
from store.incidents import Found
from store.seal_checks import Fault

log = structlog.get_logger()

PAUSE_S = 6 * 3600.0
"""Every row of a week is read: often enough for what only people can change past the hub."""
LOOK_PAUSE_S = 60.0
FIRST_S = 300.0
DAYS = 7
"""Older ones are looked at by `hub verify`."""
TIMEOUT_S = 600.0
FIRST_SHOWN = 5
NAME = "seals"
RULE = "sealed days and signed-off runs are what they were"
_GAVE_UP = "57014"


class SealWatch:
    """Looks a few times a day; what is found is an incident, as for a broken invariant."""

    def __init__(self, engine: Engine, clock: Clock, process: str) -> None:
        self._engine = engine
        self._clock = clock
        self._process = process

    def __call__(self) -> int:
        """One look, if it is due and nobody else has it; how many faults there are."""
        now = self._clock.now()
        with self._engine.begin() as connection:
            mine = incidents.take_pass(connection, NAME, self._process, now, pause_s=PAUSE_S, late_s=2 * PAUSE_S)
        return len(self.look()) if mine is not None else 0

    def look(self) -> list[Fault]:
        """Look now, whoever has looked before."""
        subject = f"view/{NAME}"
        try:
            with self._engine.connect() as connection:
                invariants.prepare(connection, TIMEOUT_S)
                found = list(islice(seal_checks.faults(connection, DAYS), invariants.ROWS_MAX))
                newest = seals.listed(connection, 1)
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != _GAVE_UP:
                raise
            log.warning("seals_not_checked", after_s=TIMEOUT_S)
            unchecked = {"code": NAME, "view": NAME, "error": "it took too long"}
            self._tell("invariant.unchecked", subject, unchecked)
            return []
        facts: dict[str, Any] = {
            "code": NAME,
            "view": NAME,
            "rule": RULE,
            "count": len(found),
            "count_max": invariants.ROWS_MAX,
            "case_ids": [],
            "first": [f"{one.subject}: {one.detail}" for one in found[:FIRST_SHOWN]],
        }
        self._tell("invariant.broken", subject, facts if found else None)
        self._tell("invariant.unchecked", subject, None)
        for one in newest:
            # Logs that are kept on another machine hold what whoever owns this database cannot write anew.
            log.info("newest_seal", day=str(one.business_day), chain=one.chain, holds=not found)
        return found

    def _tell(self, kind: str, subject: str, facts: dict[str, Any] | None) -> None:
        """Report, or with None that it is over."""
        now = self._clock.now()
        with self._engine.begin() as connection:
            if facts is None:
                incidents.recover_subject(connection, kind, subject, now)
            else:
                incidents.report(connection, kind, [Found(subject, facts)], now)
