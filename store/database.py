"""Connections and migrations."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.extensions
import structlog
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from store.lookout import Lookout

if TYPE_CHECKING:  # alembic takes a second to import and is needed for migrations only
    from alembic.config import Config

log = structlog.get_logger()

LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 5_000
MIGRATION_LOCK_TIMEOUT_MS = 1_000
"""Shorter than everybody else's: whoever queues behind a migration that waits for a table gets its turn in time."""
MIGRATION_TRIES_MAX = 120
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
_DRIVER = "postgresql+psycopg2"
_READ_ONLY = "25006"
"""A standby that took over the old name, say, or a server that protects the last of its disk."""


# Our statements look rows up by key, a bounded set at a time. The planner must not turn to scans of whole tables when
# its statistics lag behind the growth of a table: the cost of a case may not depend on how many are stored.
_LOOK_UP_BY_KEY = (
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan"
)


def open_engine(url: str, *, pool_size: int = 8, application: str = "hub", by_key: bool = True) -> Engine:
    """An engine with our deadlines on every connection; opens nothing until it is used.

    `by_key` False is for reports, which read whole days and want the planner's free choice.
    """
    # Where statistics lag, compiling a statement takes a second and running it a millisecond.
    options = (
        f"-c lock_timeout={LOCK_TIMEOUT_MS} -c statement_timeout={STATEMENT_TIMEOUT_MS} "
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS} -c timezone=UTC "
        "-c client_min_messages=warning -c jit=off"
    )
    if by_key:
        options += f" {_LOOK_UP_BY_KEY}"
    engine = create_engine(
        _driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=3,
        pool_pre_ping=False,
        # No table has a column of this type; else its number is asked for.
        use_native_hstore=False,
        # An error's text must not carry the rows that it was about.
        hide_parameters=True,
        connect_args={
            "options": options,
            "connect_timeout": 3,
            "application_name": application,
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            # Without it what was sent to a host that lost its power is sent again for a quarter of an hour.
            "tcp_user_timeout": 15_000,
            "connection_factory": _SureCommits,
        },
    )
    event.listen(engine, "handle_error", _look_for_one_that_takes_writes)
    if _SEVERAL_HOSTS.fullmatch(url):
        Lookout(engine)
    return engine


def _look_for_one_that_takes_writes(context: ExceptionContext) -> None:
    """A server that may only be read is not our database, or not now: its connections are given up."""
    if getattr(context.original_exception, "pgcode", None) == _READ_ONLY:
        context.is_disconnect = True


class _SureCommits(psycopg2.extensions.connection):
    """A connection whose `commit` succeeds only if PostgreSQL has nothing to say about it.

    When the wait for a synchronous standby is cancelled, COMMIT succeeds with a mere warning: the transaction stands
    here and perhaps nowhere else, and a failover would lose it. So a commit with a warning is one that nobody knows the
    outcome of. Any warning counts: its text is in the server's language.
    """

    def commit(self) -> None:
        """OperationalError: committed here, perhaps not on the standby; ask again what became of it."""
        self.notices.clear()
        super().commit()
        if self.notices:
            log.critical("commit_not_replicated", pid=self.info.backend_pid)
            raise psycopg2.OperationalError("the commit was not confirmed by a standby")


_SEVERAL_HOSTS = re.compile(r"(?P<scheme>[^:/]+://)(?P<login>[^@/]*@)?(?P<hosts>[^/?]*,[^/?]*)(?P<rest>.*)", re.DOTALL)
_HOST = re.compile(r"\[?(?P<name>[^\]]*?)\]?(:(?P<port>\d+))?")
_PORT = "5432"


def _driver_url(url: str) -> URL:
    """For SQLAlchemy, which wants several hosts (`postgresql://a:5432,b:5432/hub`, as libpq has it) in the query.

    Of several hosts only the one that takes writes is our database, so that is what is asked for.
    """
    several = _SEVERAL_HOSTS.fullmatch(url)
    if several is None:
        return make_url(url).set(drivername=_DRIVER)
    plain = make_url(f"{several['scheme']}{several['login'] or ''}{several['rest']}")
    hosts = [match for one in several["hosts"].split(",") if (match := _HOST.fullmatch(one))]
    wanted = {
        "target_session_attrs": "read-write",
        **plain.query,
        "host": ",".join(host["name"] for host in hosts),
        "port": ",".join(host["port"] or _PORT for host in hosts),
    }
    return plain.set(drivername=_DRIVER, query=wanted)


def database_is_away(error: BaseException) -> bool:
    """Whether `error` says that the database could not be reached or gave up: nothing is known to have been stored.

    A lost COMMIT counts too: the caller must find out by the keys of what it tried to store.
    """
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def alembic_config(url: str) -> Config:
    """Alembic's settings for our migrations, without a file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("store") / "migrations"))
    config.attributes["url"] = _driver_url(url)
    return config


def schema_revisions(engine: Engine) -> tuple[str, str]:
    """(present, needed) revision; both the same when this code can work.

    A revision that this code does not know was made by a newer one: migrations only add as long as older processes
    run, so it will do. Reads no alembic, which takes a second that every start would pay.
    """
    known = sorted(
        entry.name.partition("_")[0]
        for entry in (files("store") / "migrations" / "versions").iterdir()
        if entry.name[:4].isdigit() and entry.name.endswith(".py")
    )
    with engine.connect() as connection:
        has_any = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is not None
        present = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if has_any else None
    if present is None:
        return "none", known[-1]
    return (present, known[-1]) if present in known else (known[-1], known[-1])


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`, also while processes work on it.

    Each step waits shortly for the tables that it changes and lets everybody else pass before it tries again.
    """
    from alembic import command
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

    patiently = Retrying(
        retry=retry_if_exception(_table_is_busy),
        stop=stop_after_attempt(MIGRATION_TRIES_MAX),
        wait=wait_random(0.2, 1.0),
        reraise=True,
    )
    patiently(command.upgrade, alembic_config(url), revision)


def _table_is_busy(error: BaseException) -> bool:
    """Whether a lock was not to be had in time, or the database chose us to end a deadlock."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) in ("55P03", "40P01")
