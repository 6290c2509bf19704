"""A primary and a synchronous standby: each may be killed, frozen and promoted by itself.

The standby begins as a copy of the stopped primary's data, which needs none of PostgreSQL's client programs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from tests.support.eventually import eventually
from tests.support.postgres_server import LocalPostgres, database_name, maintenance
from tests.support.processes import owner_group

STANDBY = "standby"
_PRIMARY_SETTINGS = {"wal_level": "replica", "max_wal_senders": "4", "wal_keep_size": "256MB", "hot_standby": "on"}


class _Standby(LocalPostgres):
    """A server whose data is a copy of another's, following it."""

    def __init__(self, primary: LocalPostgres) -> None:
        self._source = primary.folder / "data"
        host = urlsplit(primary.url)
        follow = f"host=127.0.0.1 port={host.port} user=postgres application_name={STANDBY}"
        super().__init__({**_PRIMARY_SETTINGS, "primary_conninfo": follow})

    def _initialise(self) -> None:
        shutil.copytree(self._source, self._data, ignore=shutil.ignore_patterns("postmaster.pid"))
        (self._data / "standby.signal").touch()
        self._data.chmod(0o700)
        if self._home.owner is not None:
            for path in (self._data, *self._data.rglob("*")):
                shutil.chown(path, self._home.owner, owner_group(self._home.owner))


@dataclass
class PostgresPair:
    """Commits on the primary wait for the standby."""

    primary: LocalPostgres
    standby: LocalPostgres

    def url_of(self, database_url: str, *, on: LocalPostgres) -> str:
        """The same database on one of the two."""
        return urlunsplit(urlsplit(on.url)._replace(path=f"/{database_name(database_url)}"))

    def url(self, database_url: str) -> str:
        """The database on whichever of the two takes writes, as libpq writes it."""
        hosts = ",".join(urlsplit(one.url).netloc.rpartition("@")[2] for one in (self.primary, self.standby))
        return f"postgresql://postgres@{hosts}/{database_name(database_url)}?target_session_attrs=read-write"

    def promote(self) -> None:
        """Make the standby the primary; it then waits for nobody."""
        with maintenance(self.standby.url) as cursor:
            cursor.execute("SELECT pg_promote(true, 30)")

    def is_in_step(self) -> bool:
        """Whether the standby follows and commits wait for it."""
        with maintenance(self.primary.url) as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")
            return bool(cursor.fetchone() == (1,))

    def waiting_commits(self) -> list[int]:
        """Process ids on the primary whose COMMIT waits for the standby."""
        with maintenance(self.primary.url) as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            return [int(pid) for (pid,) in cursor.fetchall()]

    def cancel_waiting(self) -> int:
        """What an operator might do about commits that wait: cancel them; how many there were."""
        with maintenance(self.primary.url) as cursor:
            cursor.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            return cursor.rowcount


@contextmanager
def postgres_pair(settings: Mapping[str, str] | None = None) -> Iterator[PostgresPair]:
    """A running pair; commits wait for the standby from the first."""
    primary = LocalPostgres({**_PRIMARY_SETTINGS, **(settings or {})})
    try:
        primary.stop()
        standby = _Standby(primary)
    except BaseException:
        primary.close()
        raise
    try:
        primary.start()
        with maintenance(primary.url) as cursor:
            cursor.execute(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({STANDBY})'")
            cursor.execute("SELECT pg_reload_conf()")
        pair = PostgresPair(primary, standby)
        eventually(pair.is_in_step, within_s=90)
        yield pair
    finally:
        standby.close()
        primary.close()
