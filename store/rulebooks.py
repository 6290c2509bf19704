"""Rule book versions: stored as given, activated at a moment, never changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from store.tables import rulebooks


@dataclass(frozen=True, slots=True)
class StoredRuleBook:
    """One version; `active_from` None when it was stored but never activated."""

    version: int
    title: str
    content: str
    sha256: str
    created_at: datetime
    active_from: datetime | None


def add(connection: Connection, title: str, content: str) -> int:
    """Store a version, or find the one with the same content; its number."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    known = connection.execute(
        select(rulebooks.c.version).where(rulebooks.c.sha256 == digest).order_by(rulebooks.c.version.desc())
    ).scalar()
    if known is not None:
        return int(known)
    added = connection.execute(
        insert(rulebooks).values(title=title, content=content, sha256=digest).returning(rulebooks.c.version)
    )
    return int(added.scalar_one())


def activate(connection: Connection, version: int, at: datetime) -> None:
    """From `at` on this version decides; activating an older one again is the way back."""
    connection.execute(update(rulebooks).where(rulebooks.c.version == version).values(active_from=at))


def active(connection: Connection, now: datetime) -> StoredRuleBook | None:
    """The version whose activation is the latest that is not in the future."""
    return _one(
        connection.execute(
            select(rulebooks)
            .where(rulebooks.c.active_from <= now)
            .order_by(rulebooks.c.active_from.desc(), rulebooks.c.version.desc())
            .limit(1)
        )
    )


def by_version(connection: Connection, version: int) -> StoredRuleBook | None:
    return _one(connection.execute(select(rulebooks).where(rulebooks.c.version == version)))


def _one(result: Any) -> StoredRuleBook | None:
    row = result.first()
    return StoredRuleBook(**row._asdict()) if row is not None else None
