"""Stored cases as they came in, for planning them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Engine, text

from hub.bootstrap import person_secret
from hub.rulebook_check import StoredRequest
from hub.settings import Settings
from schemas.settlement import SettleRequest
from store import coverage, exchanges

BATCH = 500
_LAST = text("SELECT case_id FROM settlement_case WHERE purpose = 'settle' ORDER BY received_at DESC LIMIT :limit")


def last_cases(engine: Engine, given: Settings, count: int) -> list[StoredRequest]:
    """The last `count` settlements with the coverage their patients have now, the newest first."""
    with engine.connect() as connection:
        rows = connection.execute(_LAST, {"limit": count}).all()
    return [one for start in range(0, len(rows), BATCH) for one in _loaded(engine, given, rows[start : start + BATCH])]


def _loaded(engine: Engine, given: Settings, rows: Sequence[Any]) -> Iterator[StoredRequest]:
    named = [str(row.case_id) for row in rows]
    secret = person_secret(given)
    with engine.connect() as connection:
        requests = {
            case_id: SettleRequest.model_validate_json(body)
            for case_id, body in exchanges.requests_of(connection, named).items()
        }
        keys = {
            case_id: coverage.person_key(secret, request.patient.id_type, request.patient.id_no)
            for case_id, request in requests.items()
        }
        policies = coverage.find(connection, keys.values())
    for case_id in named:
        if case_id in requests:
            request = requests[case_id]
            yield StoredRequest(
                case_id, request.institution, request.settlement_no, request, policies.get(keys[case_id], ())
            )
