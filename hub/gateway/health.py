"""Whether the process lives, and whether it can do its work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from hub.books import RuleBooks
from hub.broker.transport import Transport
from hub.gateway.batched import BatchedCalls
from hub.gateway.protocol import Leaving
from hub.gateway.transactions import JSON
from schemas.errors import HubError, Unavailable

DATABASE_S_MAX = 0.9
_ALIVE = b'{"status":"ok"}'
_ASK = text("SELECT 1")


class Health:
    """/healthz and /readyz. Nobody has to say who he is here, so nothing but states is told."""

    def __init__(
        self,
        checks: BatchedCalls[Callable[[], Any], Any],
        engine: Engine,
        transport: Transport,
        books: RuleBooks,
        leaving: Leaving,
    ) -> None:
        """`checks` has threads of its own: a database that hangs must not hide behind requests that hang on it."""
        self._checks = checks
        self._engine = engine
        self._transport = transport
        self._books = books
        self._leaving = leaving

    async def alive(self, _request: Request) -> Response:
        """200 as long as the process answers at all."""
        return Response(_ALIVE, media_type=JSON)

    async def ready(self, _request: Request) -> Response:
        """200 when requests can be served, 503 otherwise, with each check."""
        checks = {
            "database": await self._database_answers(),
            "broker": self._transport.healthy(),
            "rule_book": self._rule_book_is_active(),
        }
        if self._leaving.begun:
            checks["stays"] = False
        ready = all(checks.values())
        content = {
            "status": "ok" if ready else "unavailable",
            "checks": {name: "ok" if good else "unavailable" for name, good in checks.items()},
        }
        return Response(orjson.dumps(content), 200 if ready else 503, media_type=JSON)

    async def _database_answers(self) -> bool:
        try:
            await self._checks(self._ask_database, DATABASE_S_MAX)
        except (SQLAlchemyError, Unavailable):
            return False
        return True

    def _ask_database(self) -> None:
        with self._engine.connect() as connection:
            connection.execute(_ASK)

    def _rule_book_is_active(self) -> bool:
        try:
            self._books.active()
        except HubError:
            return False
        return True
