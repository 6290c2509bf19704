"""The watch: what is open and should not be becomes an incident, and ends as one when it is over.

Any number of relays may watch: one of them makes each pass. An incident must be gone for a while before it counts as
over, and only a watch that has looked all that time may say so.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine

from hub.alerts import AlertDelivery, Webhook, write_alerts
from hub.ports import Clock
from hub.recon import seal_watch
from hub.recon.seal_watch import SealWatch
from hub.settings import Settings
from hub.sweeps import Every
from store import incidents, invariants
from store.database import database_is_away
from store.incidents import DETECTORS, SEEN_ELSEWHERE, Found, Incident, Pass
from store.invariants import INVARIANTS, Invariant, Violation

log = structlog.get_logger()

WATCH_PAUSE_S = 5.0
GONE_S = 30.0
LATE_S = 60.0
DELIVERY_PAUSE_S = 1.0
VERIFY_LOOK_PAUSE_S = 5.0
"""How often a relay asks whether the next run of the views is due."""
VERIFY_CASES_MAX = 5_000
"""The newest cases of the window that a scheduled run looks at: its cost has an end, whatever the load."""
VERIFY_TIMEOUT_S = 4.5
"""Of one view on the schedule; `hub verify` gives more."""
FIRST_SHOWN = 5
WATCH, VERIFY = "watch", "verify"


def this_process() -> str:
    """Who makes a pass, for people."""
    return f"{socket.gethostname()}/{os.getpid()}"


VERIFY_FIRST_S = 60.0


class Watch:
    """Looks every few seconds for what people must know of."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        overdue_after_s: float = 120.0,
        pause_s: float = WATCH_PAUSE_S,
        gone_s: float = GONE_S,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._overdue_after_s = overdue_after_s
        self._pause_s = pause_s
        self._gone_s = gone_s

    def __call__(self) -> int:
        """One pass, if it is due and nobody else makes it; how many alerts were written."""
        now = self._clock.now()
        with self._engine.begin() as connection:
            mine = incidents.take_pass(
                connection, WATCH, this_process(), now, pause_s=0.8 * self._pause_s, late_s=LATE_S
            )
            if mine is None:
                return 0
            for kind in DETECTORS:
                incidents.observe(connection, kind, now, self._overdue_after_s)
            self._recover(connection, mine, now)
            return write_alerts(connection, now)

    def _recover(self, connection: Connection, mine: Pass, now: datetime) -> None:
        if mine.before is not None and mine.steady_since == now and mine.before < now:
            facts = {"since": mine.before.isoformat(), "until": now.isoformat()}
            incidents.report(connection, "watch.late", [Found("watch", facts)], now)
        if now - mine.steady_since < timedelta(seconds=self._gone_s):
            return
        # What goes on unchanged is written again only now and then: that long it may look gone.
        gone_s = self._gone_s + incidents.REFRESH_S if self._gone_s else 0.0
        incidents.recover(connection, [*DETECTORS, *SEEN_ELSEWHERE, "watch.late"], now, gone_s)


class Verifier:
    """Runs the invariants' views on a schedule, over what is recent or open; a row in one is an incident."""

    def __init__(self, engine: Engine, clock: Clock, *, interval_s: float, window_s: float) -> None:
        self._engine = engine
        self._clock = clock
        self._interval_s = interval_s
        self._window_s = window_s

    def __call__(self) -> int:
        """One run, if it is due and nobody else makes it; how many views were broken."""
        now = self._clock.now()
        with self._engine.begin() as connection:
            mine = incidents.take_pass(
                connection, VERIFY, this_process(), now, pause_s=self._interval_s, late_s=2 * self._interval_s
            )
            if mine is None:
                return 0
            since = invariants.newest(connection, VERIFY_CASES_MAX, now - timedelta(seconds=self._window_s))
            known = {one.subject: one for one in incidents.listed(connection, kind="invariant.broken")}
        return sum(self._check(one, since, known.get(f"view/{one.view}"), now) for one in INVARIANTS)

    def _check(self, one: Invariant, since: datetime, known: Incident | None, now: datetime) -> bool:
        """Look at what is recent or open, and once more at what was found broken before, however old it is by now."""
        again: list[str] = known.facts["case_ids"] if known else []
        if known and not again:  # it is about no case: look as far back as when it was found
            since = min(since, known.opened_at - timedelta(seconds=self._window_s))
        subject = f"view/{one.view}"
        try:
            with self._engine.connect() as connection:
                invariants.prepare(connection, VERIFY_TIMEOUT_S)
                found = invariants.broken(connection, one, since, again=again)
        except Exception as error:
            log.warning("invariant_not_checked", invariant=one.code, error=type(error).__name__)
            if database_is_away(error) and not _gave_up(error):
                raise
            facts = {"code": one.code, "view": one.view, "error": _why(error)}
            with self._engine.begin() as connection:
                incidents.report(connection, "invariant.unchecked", [Found(subject, facts)], now)
            return False
        self._keep(one, subject, found, now)
        return bool(found)

    def _keep(self, one: Invariant, subject: str, found: list[Violation], now: datetime) -> None:
        with self._engine.begin() as connection:
            if found:
                incidents.report(connection, "invariant.broken", [Found(subject, broken_facts(one, found))], now)
            incidents.recover_subject(connection, "invariant.unchecked", subject, now)
            if not found:
                incidents.recover_subject(connection, "invariant.broken", subject, now)


def broken_facts(one: Invariant, found: list[Violation]) -> dict[str, object]:
    """What people must know of a broken invariant."""
    return {
        "code": one.code,
        "view": one.view,
        "rule": one.rule,
        "count": len(found),
        "count_max": invariants.ROWS_MAX,
        "case_ids": [row.case_id for row in found if row.case_id],
        "first": [f"{row.subject}: {row.detail}" for row in found[:FIRST_SHOWN]],
    }


def _gave_up(error: Exception) -> bool:
    """Whether the database is there and only this statement took too long."""
    return getattr(getattr(error, "orig", None), "pgcode", None) == "57014"


def _why(error: Exception) -> str:
    return "it took too long" if _gave_up(error) else type(error).__name__


def webhook_of(settings: Settings) -> Webhook | None:
    """Where these settings want alerts posted."""
    url = settings.alert_webhook_url.get_secret_value()
    return Webhook(url, settings.alert_webhook_secret.get_secret_value()) if url else None


def watch_sweeps(engine: Engine, clock: Clock, settings: Settings) -> list[Every]:
    """What a relay does for people: look, check, and tell."""
    watch = Watch(engine, clock, overdue_after_s=settings.overdue_after_s)
    verifier = Verifier(engine, clock, interval_s=settings.verify_every_s, window_s=settings.verify_window_s)
    return [
        Every("watch", WATCH_PAUSE_S, watch),
        # A hub that has just started has a backlog to work off before it looks back.
        Every("verify", VERIFY_LOOK_PAUSE_S, verifier, first_s=min(VERIFY_FIRST_S, settings.verify_every_s)),
        Every("seals", seal_watch.LOOK_PAUSE_S, SealWatch(engine, clock, this_process()), first_s=seal_watch.FIRST_S),
        Every("alerts", DELIVERY_PAUSE_S, AlertDelivery(engine, clock, webhook_of(settings))),
    ]
