"""The checks of `hub health`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import urllib3
from sqlalchemy import Engine

from hub.cli.common import open_database
from hub.cli.failures import explain
from hub.cli.schema import schema_state
from hub.cli.topology import reach_broker
from hub.settings import Settings
from store import rulebooks


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the hub needs, and how it is."""

    what: str
    ok: bool
    detail: str


def checks(given: Settings, timeout_s: float) -> list[Check]:
    """Every check, in the order in which a start would need them."""
    return [*_database(given), _broker(given), _gateway(given, timeout_s)]


def _database(given: Settings) -> list[Check]:
    try:
        with open_database(given) as engine:
            return [Check("database", True, "answers"), _schema(engine), _rule_book(engine)]
    except Exception as error:  # noqa: BLE001 - _why raises what it cannot explain
        return [Check("database", False, _why(error))]


def _schema(engine: Engine) -> Check:
    present, wanted = schema_state(engine)
    detail = f"revision {present}" if present == wanted else f"revision {present}, needs {wanted}: run `hub db upgrade`"
    return Check("schema", present == wanted, detail)


def _rule_book(engine: Engine) -> Check:
    with engine.connect() as connection:
        active = rulebooks.active(connection, datetime.now(UTC))
    if active is None:
        return Check("rule book", False, "none is active: run `hub rules activate FILE`")
    return Check("rule book", True, f"version {active.version}, {active.title}")


def _broker(given: Settings) -> Check:
    if given.embedded_broker:
        return Check("broker", True, "embedded")
    try:
        reach_broker(given)
    except Exception as error:  # noqa: BLE001
        return Check("broker", False, _why(error))
    return Check("broker", True, "RabbitMQ answers")


def _gateway(given: Settings, timeout_s: float) -> Check:
    host = "127.0.0.1" if given.http_host in ("0.0.0.0", "::") else given.http_host
    url = f"http://{host}:{given.http_port}/readyz"
    try:
        status = urllib3.request("GET", url, timeout=timeout_s, retries=False).status
    except urllib3.exceptions.HTTPError:
        return Check("gateway", True, f"does not run here ({url})")
    return Check("gateway", status == 200, f"ready ({url})" if status == 200 else f"{url} answers {status}")


def _why(error: Exception) -> str:
    """The refusal as text; a bug goes on as what it is."""
    explained = explain(error)
    if explained is None:
        raise error
    return explained.text
