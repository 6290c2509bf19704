"""The routes, and the guard around them: whatever goes wrong inside ends as problem details."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from hub.broker.errors import described
from hub.gateway.cases import Cases
from hub.gateway.courier import case_id_of
from hub.gateway.health import Health
from hub.gateway.mailbox import Mailbox
from hub.gateway.openapi import document
from hub.gateway.operators import Operators
from hub.gateway.problems import SAID_AS, http_error, problem_response
from hub.gateway.signatures import SignedCallers
from hub.gateway.transactions import JSON, MESSAGE_ID, Transactions
from schemas.errors import HubError, IllegalTransition, OutcomeUnknown, Unavailable
from store.database import database_is_away

log = structlog.get_logger()


class GatewayApp:
    """The ASGI application."""

    def __init__(
        self,
        transactions: Transactions,
        cases: Cases,
        mailbox: Mailbox,
        health: Health,
        operators: Operators,
        dialects: Sequence[Route] = (),
        signatures: SignedCallers | None = None,
    ) -> None:
        """`dialects` are the routes of the channels that have a form of their own."""
        self._signatures = signatures
        get, post = ["GET"], ["POST"]
        self.routes = [
            Route("/api/v1/transactions/{name}", transactions.post, methods=post),
            Route("/api/v1/cases", cases.find, methods=get),
            Route("/api/v1/cases/{case_id}", cases.get, methods=get),
            Route("/api/v1/cases/{case_id}/timeline", cases.timeline, methods=get),
            Route("/api/v1/mailbox", mailbox.fetch, methods=get),
            Route("/api/v1/mailbox/ack", mailbox.acknowledge, methods=post),
            Route("/healthz", health.alive, methods=get),
            Route("/readyz", health.ready, methods=get),
            Route("/openapi.json", self._describe, methods=get),
            *operators.routes(),
            *dialects,
        ]
        self._router = Router(self.routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The router raises its own refusals only inside an application.
        scope["app"] = self
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            if self._signatures is not None:
                receive = await self._signatures.admitted(scope, receive)
            await self._router(scope, receive, watched)
        except Exception as error:
            if begun:
                raise
            await _refusal(scope, error)(scope, receive, send)

    async def _describe(self, _request: Request) -> Response:
        return Response(self._document, media_type=JSON)

    @cached_property
    def _document(self) -> bytes:
        return document()


def _refusal(scope: Scope, error: Exception) -> Response:
    """What the caller is told. A bug says nothing about itself outside, everything inside."""
    said_as: Callable[..., Response] = scope.get(SAID_AS, problem_response)
    if isinstance(error, HTTPException):
        return said_as(http_error(error.status_code), headers=error.headers)
    if database_is_away(error):
        error = Unavailable("the database is away")
    if isinstance(error, HubError) and not isinstance(error, IllegalTransition):
        _note(scope, error)
        return said_as(error, case_id=case_id_of(error))
    log.error("request_failed", path=scope["path"], message_id=scope.get(MESSAGE_ID, ""), **described(error))
    return said_as(http_error(500))


def _note(scope: Scope, error: HubError) -> None:
    if isinstance(error, Unavailable | OutcomeUnknown):
        log.warning("request_not_served", method=scope["method"], code=error.code, reason=error.message)
