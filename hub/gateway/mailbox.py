"""The mailbox: messages for parties that fetch them over HTTP, where there is no RabbitMQ to consume from.

Fetched messages come again unless they are acknowledged within LEASE_S.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, Protocol

import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from adapters.registry import consumes_from_queue
from hub.books import RuleBooks
from hub.gateway.batched import BatchedCalls
from hub.gateway.courier import IN_TIME_S
from hub.gateway.identity import Doorkeeper
from hub.gateway.reading import check_content_type, read_body, whole_number
from hub.gateway.transactions import JSON
from routing.rulebook import RuleBook
from schemas.base import PartyCode, Value, read_message
from schemas.errors import Conflict, Forbidden, NotFound
from store.outbox import StoredMessage

LEASE_S = 30.0
POLL_S = 0.05
POLL_S_MAX = 0.2
WAIT_S_MAX = 60
LIMIT_MAX = 200


class Letterbox(Protocol):
    """A transport that keeps parties' messages itself."""

    def mailbox_take(self, party: str, limit: int, lease_s: float) -> list[StoredMessage]: ...

    def mailbox_ack(self, party: str, outbox_ids: Iterable[int]) -> int: ...


class NoMailbox(NotFound):
    """The speaker is none of those who get messages."""

    code = "mailbox.none"


class MailboxAck(Value):
    """Ids of messages that the party has taken over."""

    party: PartyCode | None = None
    ids: Annotated[tuple[Annotated[int, Field(ge=1, le=2**63 - 1)], ...], Field(max_length=1000)]


class Mailbox:
    """The endpoints below /api/v1/mailbox."""

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        calls: BatchedCalls[Callable[[], Any], Any],
        books: RuleBooks,
        letterbox: Letterbox | None,
    ) -> None:
        """`letterbox` is None where RabbitMQ carries the messages."""
        self._doorkeeper = doorkeeper
        self._calls = calls
        self._books = books
        self._letterbox = letterbox
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Let everybody who waits go with what there is; only on the loop's thread."""
        self._closing.set()

    async def fetch(self, request: Request) -> Response:
        """Messages for the speaker, oldest first; waits up to `wait` seconds for the first."""
        party, letterbox = self._enter(request, request.query_params.get("party"))
        limit = whole_number(request, "limit", 50, 1, LIMIT_MAX)
        until = time.monotonic() + whole_number(request, "wait", 0, 0, WAIT_S_MAX)
        pause_s = POLL_S
        while True:
            messages = await self._calls(partial(letterbox.mailbox_take, party, limit, LEASE_S), IN_TIME_S)
            left_s = until - time.monotonic()
            if messages or left_s <= 0 or await self._ends_within(min(pause_s, left_s), request):
                return Response(orjson.dumps({"messages": [_shown(one) for one in messages]}), media_type=JSON)
            pause_s = min(pause_s * 1.2, POLL_S_MAX)

    async def acknowledge(self, request: Request) -> Response:
        """Remove messages that the speaker has taken over; unknown ids are passed over."""
        self._enter(request, None)
        check_content_type(request)
        ack = read_message(MailboxAck, await read_body(request))
        party, letterbox = self._enter(request, ack.party)
        removed = await self._calls(partial(letterbox.mailbox_ack, party, ack.ids), IN_TIME_S)
        return Response(orjson.dumps({"removed": removed}), media_type=JSON)

    def _enter(self, request: Request, named: str | None) -> tuple[str, Letterbox]:
        party = self._doorkeeper.party_of(request.headers.get("authorization"), request.headers.get("x-party"))
        if named is not None and named != party:
            raise Forbidden("another party's mailbox")
        if self._letterbox is None:
            raise Conflict("consume your own queue of the message broker instead", code="mailbox.use_queue")
        if not _has_mailbox(self._books.active().book, party):
            raise NoMailbox("this party gets no messages")
        return party, self._letterbox

    async def _ends_within(self, pause_s: float, request: Request) -> bool:
        """Pause; True when there is no sense in going on."""
        try:
            async with asyncio.timeout(pause_s):
                await self._closing.wait()
        except TimeoutError:
            return await request.is_disconnected()
        return True


def _has_mailbox(book: RuleBook, party: str) -> bool:
    if (institution := book.institution_by_code.get(party)) is not None:
        return institution.amqp
    insurer = book.party_by_code.get(party)
    return insurer is not None and consumes_from_queue(insurer.adapter)


def _shown(message: StoredMessage) -> dict[str, Any]:
    return {
        "id": message.outbox_id,
        "message_id": message.message_id,
        "type": message.type,
        "correlation_id": message.correlation_id,
        "body": orjson.Fragment(message.body),
    }
