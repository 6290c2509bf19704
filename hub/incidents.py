"""Incidents as people and programs read them: the stored facts with their words."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from hub.incident_words import words
from hub.watch import WATCH
from store import incidents
from store.incidents import Incident


def as_dict(one: Incident) -> dict[str, Any]:
    """An incident with its words; moments as datetimes, facts without anybody's data."""
    said = words(one.kind, one.subject, one.facts)
    return {
        "id": one.id,
        "kind": one.kind,
        "subject": one.subject,
        "state": "open" if one.recovered_at is None else "recovered",
        "summary": said.summary,
        "next_step": said.next_step,
        "command": said.command,
        "opened_at": one.opened_at,
        "seen_at": one.seen_at,
        "recovered_at": one.recovered_at,
        "open_notice_at": one.open_notice_at,
        "recovery_notice_at": one.recovery_notice_at,
        "facts": dict(one.facts),
    }


def listing(connection: Connection, *, kind: str = "", recovered: bool = False, limit: int = 50) -> dict[str, Any]:
    """How many are open by kind, when the watch last looked (None: never), and the newest incidents."""
    found = incidents.listed(connection, kind=kind, recovered=recovered, limit=limit)
    return {
        "open": incidents.counts(connection),
        "watched_at": incidents.last_pass(connection, WATCH),
        "incidents": [as_dict(one) for one in found],
    }
