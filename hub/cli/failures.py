"""From an error to the one line that says what is wrong and what to do; bugs stay bugs."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from hub.cli.common import NEGATIVE, USAGE


@dataclass(frozen=True, slots=True)
class Explained:
    """A refusal for people."""

    text: str
    exit_code: int = NEGATIVE


def explain(error: Exception) -> Explained | None:
    """The refusal for an error that can be expected; None for a bug, whose traceback we want to see."""
    for look in (_settings, _rule_book, _postgres, _database, _broker, _hub, _files):
        if (explained := look(error)) is not None:
            return explained
    return None


def _settings(error: Exception) -> Explained | None:
    from hub.settings import InvalidSettings

    return Explained(str(error), USAGE) if isinstance(error, InvalidSettings) else None


def _rule_book(error: Exception) -> Explained | None:
    from routing.rulebook_file import InvalidRuleBook

    if not isinstance(error, InvalidRuleBook):
        return None
    return Explained("\n".join(["the rule book cannot be used:", *(f"  {one}" for one in error.complaints)]))


def _postgres(error: Exception) -> Explained | None:
    from hub.local_postgres import PostgresUnavailable

    return Explained(f"HUB_DATABASE_URL: {error}") if isinstance(error, PostgresUnavailable) else None


def _database(error: Exception) -> Explained | None:
    from sqlalchemy.exc import ArgumentError, DBAPIError, TimeoutError

    # Where alembic, which takes its time to load, is not loaded, no error is its own.
    alembic = sys.modules.get("alembic.util.exc")
    if alembic is not None and isinstance(error, alembic.CommandError):
        return Explained(f"HUB_DATABASE_URL: the schema cannot be brought there: {error}")
    if isinstance(error, ArgumentError):
        return Explained("HUB_DATABASE_URL: write postgresql://user:password@host:5432/database", USAGE)
    if isinstance(error, TimeoutError):
        return Explained("HUB_DATABASE_URL: the database did not give a connection in time; try again")
    if not isinstance(error, DBAPIError):
        return None
    cause = str(error.orig).strip().splitlines()
    code = getattr(error.orig, "pgcode", None)
    if code in ("42P01", "42703", "3F000"):
        return Explained("the database has not the tables of this version: run `hub db upgrade`")
    if code is None or code[:2] in ("08", "57", "53", "28", "3D"):
        return Explained(f"HUB_DATABASE_URL: the database cannot be used: {cause[0] if cause else 'no answer'}")
    return None


def _broker(error: Exception) -> Explained | None:
    from pika.exceptions import AMQPConnectionError, AMQPError

    if isinstance(error, AMQPConnectionError):
        return Explained("HUB_BROKER_URL: RabbitMQ cannot be reached or refuses the user, password or vhost")
    return Explained(f"HUB_BROKER_URL: RabbitMQ: {error}") if isinstance(error, AMQPError) else None


def _hub(error: Exception) -> Explained | None:
    from schemas.errors import HubError, IllegalTransition, InvalidMessage

    if not isinstance(error, HubError) or isinstance(error, IllegalTransition):
        return None
    wrong = error.violations if isinstance(error, InvalidMessage) else ()
    return Explained("\n".join([str(error) or error.code, *(f"  {one.field}: {one.remedy}" for one in wrong)]))


def _files(error: Exception) -> Explained | None:
    """A file or folder that somebody named and that cannot be used; a workbook hides the cause in its own error."""
    from xlsxwriter.exceptions import FileCreateError

    cause = error.args[0] if isinstance(error, FileCreateError) and error.args else error
    if isinstance(cause, OSError) and cause.filename is not None:
        return Explained(f"{cause.filename}: {cause.strerror}")
    return None
