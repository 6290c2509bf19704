"""Who speaks: a bearer token as on the other routes, HTTP basic with the party's code and that token, or the two inside
the message as a UsernameToken."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Any

from lxml import etree
from starlette.requests import Request

from hub.gateway.batched import BatchedCalls
from hub.gateway.courier import IN_TIME_S
from hub.gateway.identity import Doorkeeper, NotIdentified
from hub.gateway.soap.username_token import read_security
from hub.ports import Clock
from hub.routes import new_id
from hub.work import WorkUnits
from store.inbox import Received

_NONCES = "soap.nonce:"


def party_of(doorkeeper: Doorkeeper, request: Request) -> str:
    """The party that HTTP's headers prove; NotIdentified when they prove none."""
    authorization = request.headers.get("authorization")
    if authorization is not None and authorization[:6].lower() == "basic ":
        authorization = _as_bearer(authorization[6:])
    return doorkeeper.party_of(authorization, request.headers.get("x-party"))


class SoapDoor:
    """Tells who speaks, from HTTP's headers or from the message's."""

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        clock: Clock,
        work: WorkUnits,
        calls: BatchedCalls[Callable[[], Any], Any],
        signers: frozenset[str] = frozenset(),
    ) -> None:
        """Of `signers`, who must sign their HTTP requests, a token inside the message alone is not enough."""
        self._doorkeeper = doorkeeper
        self._signers = signers
        self._clock = clock
        self._work = work
        self._calls = calls

    def by_http(self, request: Request) -> str | None:
        """The party that HTTP's headers prove, None when they name nobody; NotIdentified when they prove nothing."""
        trusted = self._doorkeeper.trust_header and "x-party" in request.headers
        if "authorization" not in request.headers and not trusted:
            return None
        return party_of(self._doorkeeper, request)

    async def by_message(self, security: etree._Element | None, known: str | None) -> str:
        """The party that speaks: the one `known` from HTTP, the one that the message proves, or both if they agree."""
        if security is None:
            if known is None:
                raise NotIdentified("no token")
            return known
        token = read_security(security, self._clock.now())
        party = self._doorkeeper.party_with(token.party, token.proves)
        if known != party and (known is not None or party in self._signers):
            raise NotIdentified("HTTP does not prove the party that the message names")
        if token.used and not await self._calls(partial(self._is_first, party, token.used), IN_TIME_S):
            raise NotIdentified("the nonce was used before")
        return party

    def _is_first(self, party: str, nonce: str) -> bool:
        """Whether this nonce was never used before; from now on it was."""
        received = Received(_NONCES + party, nonce, "", new_id())
        with self._work.begin("nonce") as work:
            return not work.store.inbox.take(work.connection, [received])


def _as_bearer(credentials: str) -> str:
    """A token names its party, so the name beside it must be the same."""
    try:
        name, _, token = base64.b64decode(credentials.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise NotIdentified("not a name and a password") from None
    if not name or not token.startswith(f"{name}."):
        raise NotIdentified("the token does not belong to the name")
    return f"Bearer {token}"
