"""Rule book versions: stored as given, activated at a moment, never changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from store.tables import rulebook_activations, rulebooks


@dataclass(frozen=True, slots=True)
class StoredRuleBook:
    """One version; `active_from` None when it was stored but never activated."""

    version: int
    title: str
    content: str
    sha256: str
    created_at: datetime
    active_from: datetime | None


_WITH_ACTIVATION = select(rulebooks, rulebook_activations.c.active_from).join_from(
    rulebooks, rulebook_activations, isouter=True
)


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
    """From `at` on this version decides. Nothing is overwritten: activating an older version again is the way back."""
    connection.execute(insert(rulebook_activations).values(version=version, active_from=at))


def active(connection: Connection, now: datetime) -> StoredRuleBook | None:
    """The version whose activation is the latest that is not in the future."""
    return _one(
        connection.execute(
            _WITH_ACTIVATION.where(rulebook_activations.c.active_from <= now)
            .order_by(rulebook_activations.c.active_from.desc(), rulebook_activations.c.id.desc())
            .limit(1)
        )
    )


def by_version(connection: Connection, version: int) -> StoredRuleBook | None:
    """A version with its latest activation, if any."""
    return _one(
        connection.execute(
            _WITH_ACTIVATION.where(rulebooks.c.version == version)
            .order_by(rulebook_activations.c.active_from.desc().nulls_last())
            .limit(1)
        )
    )


def _one(result: Any) -> StoredRuleBook | None:
    row = result.first()
    return StoredRuleBook(**row._asdict()) if row is not None else None
