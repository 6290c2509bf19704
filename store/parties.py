"""Which parties may come in, and how often their tokens were renewed. A small table, read whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Access:
    """A party's door. Tokens of another generation than `token_generation` are refused."""

    party: str
    enabled: bool
    token_generation: int
    changed_by: str
    changed_at: datetime


_COLUMNS = "party, enabled, token_generation, changed_by, changed_at"
_ALL = text(f"SELECT {_COLUMNS} FROM party_access ORDER BY party")
_TURN = text(f"""
    INSERT INTO party_access (party, enabled, token_generation, changed_by, changed_at)
    VALUES (:party, :enabled, 0, :by, :now)
    ON CONFLICT ON CONSTRAINT party_access_pk DO UPDATE
    SET enabled = excluded.enabled, changed_by = excluded.changed_by, changed_at = excluded.changed_at
    RETURNING {_COLUMNS}""")
_RENEW = text(f"""
    INSERT INTO party_access (party, enabled, token_generation, changed_by, changed_at)
    VALUES (:party, true, 1, :by, :now)
    ON CONFLICT ON CONSTRAINT party_access_pk DO UPDATE
    SET token_generation = party_access.token_generation + 1,
        changed_by = excluded.changed_by, changed_at = excluded.changed_at
    RETURNING {_COLUMNS}""")


def everybody(connection: Connection) -> list[Access]:
    """Every door that was ever touched."""
    return [Access(**row._asdict()) for row in connection.execute(_ALL)]


def turn(connection: Connection, party: str, *, enabled: bool, by: str, now: datetime) -> Access:
    """Open or shut a party's door; its token stays the same."""
    values = {"party": party, "enabled": enabled, "by": by, "now": now}
    return Access(**connection.execute(_TURN, values).one()._asdict())


def renew(connection: Connection, party: str, *, by: str, now: datetime) -> Access:
    """Begin a new generation of tokens; a door that is shut stays shut."""
    return Access(**connection.execute(_RENEW, {"party": party, "by": by, "now": now}).one()._asdict())
