"""Alerts: one when an incident opens, one when it ends, grouped when many come at once; to the log and to a webhook.

They are written in the transaction that opens or ends the incident and delivered outside of any, at least once, under
ids by which the receiver drops repeats.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import orjson
import structlog
import urllib3
from sqlalchemy import Connection, Engine

from hub.incident_words import group_words, words
from hub.ports import Clock
from hub.routes import new_id
from store import alerts, incidents
from store.alerts import Alert, Due, Event
from store.incidents import Incident

log = structlog.get_logger()

SINGLE_MAX = 5
"""Alerts of one kind and event in one window; what comes on top is told together."""
WINDOW_S = 300.0
TIMEOUT_S = 5.0
BATCH_MAX = 10
LEASE_S = BATCH_MAX * 2 * TIMEOUT_S + 10.0
PAUSE_S_MAX = 300.0
GIVE_UP_AFTER_S = 86_400.0
SUBJECTS_SHOWN = 5


def write_alerts(connection: Connection, now: datetime) -> int:
    """Write what people must hear of openings and ends; how many alerts."""
    return _write(connection, "opened", now) + _write(connection, "recovered", now)


def _write(connection: Connection, event: Event, now: datetime) -> int:
    waiting = alerts.unannounced(connection, event)
    if not waiting:
        return 0
    by_kind = {kind: list(found) for kind, found in groupby(waiting, key=lambda one: one.kind)}
    recent = alerts.recent(connection, event, list(by_kind), now, WINDOW_S)
    open_now = incidents.counts(connection)
    written: list[Alert] = []
    told: list[int] = []
    for kind, found in by_kind.items():
        heard = recent.get(kind, alerts.Recent(0, 0))
        if heard.single + len(found) <= SINGLE_MAX and not heard.grouped:
            written += [single(event, one) for one in found]
        elif not heard.grouped:
            written.append(group(event, kind, found, open_now.get(kind, 0), now))
        else:
            continue  # people know that there are many; the next word in this matter is due when the window ends
        told += [one.id for one in found]
    alerts.announce(connection, event, written, told, now)
    return len(written)


def single(event: Event, incident: Incident) -> Alert:
    """The alert about one incident."""
    said = words(incident.kind, incident.subject, incident.facts)
    alert_id = new_id()
    body = {
        "id": alert_id,
        "event": event,
        "kind": incident.kind,
        "grouped": False,
        "incident": incident.id,
        "subject": incident.subject,
        "summary": said.summary,
        "next_step": said.next_step if event == "opened" else "",
        "command": f"hub incident show {incident.id}" if event == "recovered" else said.command,
        "opened_at": incident.opened_at.isoformat(),
        "recovered_at": incident.recovered_at.isoformat() if incident.recovered_at else None,
        "facts": {name: value for name, value in incident.facts.items() if name != "case_ids"},
    }
    return Alert(alert_id, event, incident.kind, False, body)


def group(event: Event, kind: str, found: Sequence[Incident], open_now: int, now: datetime) -> Alert:
    """The alert about many incidents of one kind."""
    by_payer = dict(Counter(str(one.facts["payer"]) for one in found if one.facts.get("payer")).most_common())
    said = group_words(kind, len(found), by_payer)
    alert_id = new_id()
    body = {
        "id": alert_id,
        "event": event,
        "kind": kind,
        "grouped": True,
        "count": len(found),
        "open_now": open_now,
        "by_payer": by_payer,
        "incidents": [found[0].id, found[-1].id],
        "subjects": [one.subject for one in found[:SUBJECTS_SHOWN]],
        "summary": said.summary,
        "next_step": said.next_step if event == "opened" else "",
        "command": said.command,
        "opened_at": min(one.opened_at for one in found).isoformat(),
        "recovered_at": now.isoformat() if event == "recovered" else None,
    }
    return Alert(alert_id, event, kind, True, body)


def a_test_alert() -> Alert:
    """An alert that only tries the way."""
    alert_id = new_id()
    body = {"id": alert_id, "event": "test", "kind": "test", "grouped": False, "summary": "the webhook works"}
    return Alert(alert_id, "test", "test", False, body)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where alerts are posted. `secret` signs them; empty: unsigned."""

    url: str
    secret: str = ""
    timeout_s: float = TIMEOUT_S

    def post(self, body: bytes, alert_id: str, now: datetime) -> str:
        """Post one alert; empty when it arrived, else what went wrong (no address, no secret in it)."""
        headers = {"Content-Type": "application/json", "X-Hub-Alert-Id": alert_id, "User-Agent": "settlement-hub"}
        if self.secret:
            moment = str(int(now.timestamp()))
            headers |= {"X-Hub-Timestamp": moment, "X-Hub-Signature": signature(self.secret, moment, body)}
        timeout = urllib3.Timeout(connect=self.timeout_s, read=self.timeout_s)
        try:
            with urllib3.PoolManager(num_pools=1, retries=False, timeout=timeout) as pool:
                status = pool.request("POST", self.url, body=body, headers=headers, redirect=False).status
        except (urllib3.exceptions.HTTPError, UnicodeError) as error:
            return type(error).__name__
        return "" if 200 <= status < 300 else f"HTTP {status}"


def signature(secret: str, moment: str, body: bytes) -> str:
    """What a receiver computes over `X-Hub-Timestamp`, a full stop and the body, to compare in constant time."""
    signed = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"


class AlertDelivery:
    """Brings written alerts to the log and to the webhook, each until it has arrived."""

    def __init__(
        self, engine: Engine, clock: Clock, webhook: Webhook | None, *, luck: Callable[[], float] = random.random
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._webhook = webhook
        self._luck = luck

    def __call__(self) -> int:
        """One pass; how many alerts arrived."""
        now = self._clock.now()
        with self._engine.begin() as connection:
            due = alerts.lease(connection, now, lease_s=LEASE_S, limit=BATCH_MAX)
        if not due:
            return 0
        self._log([one for one in due if not one.logged])
        if self._webhook is None:
            with self._engine.begin() as connection:
                alerts.delivered(connection, [one.id for one in due], now)
            return len(due)
        return sum(self._send(self._webhook, one) for one in due)

    def _log(self, fresh: Sequence[Due]) -> None:
        for one in fresh:
            log.warning("alert", **_fields(one.body))
        if fresh:
            with self._engine.begin() as connection:
                alerts.logged(connection, [one.id for one in fresh], self._clock.now())

    def _send(self, webhook: Webhook, due: Due) -> bool:
        now = self._clock.now()
        error = webhook.post(orjson.dumps(due.body), due.alert_id, now)
        with self._engine.begin() as connection:
            if not error:
                alerts.delivered(connection, [due.id], self._clock.now())
            elif now - due.created_at > timedelta(seconds=GIVE_UP_AFTER_S):
                log.error("alert_given_up", alert=due.alert_id, error=error, attempts=due.attempts)
                alerts.given_up(connection, due.id, error, now)
            else:
                log.warning("alert_not_delivered", alert=due.alert_id, error=error, attempts=due.attempts)
                alerts.failed(connection, due.id, error, now + timedelta(seconds=self._pause_s(due.attempts)))
        return not error

    def _pause_s(self, attempts: int) -> float:
        longest = min(PAUSE_S_MAX, 2.0 ** min(attempts, 16))
        return longest * (0.5 + self._luck() / 2)


def _fields(body: Any) -> dict[str, Any]:
    """The body as fields of a log line, whose own `event` is the word alert."""
    return {("alert_event" if name == "event" else name): value for name, value in body.items()}
