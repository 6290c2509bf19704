"""Parties that sign what they send us over HTTP: whoever has a `caller.<key id>` in the file of secrets must.

A token in HTTP's headers names the party; with a key, the token alone lets nobody in, on any route. (At /national an
envelope that is signed in its own dialect needs no token, and this signature is not asked for.) A signature is good for
five minutes and once: its nonce is kept in the inbox, so that it is once for all gateways together.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from crypto import http_signatures
from crypto.errors import KeyUnusable, SignatureRefused
from crypto.http_signatures import Proof
from crypto.message_keys import VERIFY, VerifyingKey, verifying_keys
from hub.gateway.batched import BatchedCalls
from hub.gateway.identity import Doorkeeper, NotIdentified
from hub.gateway.reading import BODY_S_MAX
from hub.party_secrets import Secrets
from hub.ports import Clock
from hub.routes import new_id
from hub.settings import InvalidSettings
from hub.work import WorkUnits
from schemas.errors import Forbidden, Malformed
from store import inbox
from store.inbox import Received

CALLER = "caller."
BODY_BYTES_MAX = 5 * 1024 * 1024
IN_TIME_S = 2.5
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json"})
"""Where it does not matter who speaks."""
Keys = Mapping[str, Mapping[str, VerifyingKey]]


class NotSigned(NotIdentified):
    """The party signs what it sends, and this is not proven to come from it (HTTP 401)."""

    code = "party.signature"


def caller_keys(secrets: Secrets) -> dict[str, dict[str, VerifyingKey]]:
    """The keys of those that must sign, by party and key id; InvalidSettings for one that cannot be used."""
    found: dict[str, dict[str, VerifyingKey]] = {}
    for party, named in secrets.items():
        given = {VERIFY + name.removeprefix(CALLER): text for name, text in named.items() if name.startswith(CALLER)}
        if not given:
            continue
        try:
            found[party] = verifying_keys(given)
        except KeyUnusable as error:
            raise InvalidSettings(f"HUB_PARTY_SECRETS: {party}: a key {CALLER}* cannot be used: {error}") from None
    return found


class SignedCallers:
    """Looks at each request before its route does."""

    def __init__(
        self,
        keys: Keys,
        doorkeeper: Doorkeeper,
        calls: BatchedCalls[Callable[[], Any], Any],
        work_units: WorkUnits,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._doorkeeper = doorkeeper
        self._calls = calls
        self._work_units = work_units
        self._clock = clock

    async def admitted(self, scope: Scope, receive: Receive) -> Receive:
        """What the route reads from. NotSigned unless a party that must sign did."""
        keys = self._keys_of(Request(scope)) if self._keys and scope["path"] not in OPEN_PATHS else None
        if keys is None:
            return receive
        party, known = keys
        request = Request(scope, receive)
        body = await _whole_body(request)
        proof = self._proof(known, request, body)
        if not await self._calls(partial(self._first_time, party, proof), IN_TIME_S):
            raise NotSigned("this signature came before (signature.replayed)", party=party)
        return _again(body, receive)

    def _keys_of(self, request: Request) -> tuple[str, Mapping[str, VerifyingKey]] | None:
        """Who must have signed; None for somebody who need not, and for whom the route itself will refuse."""
        try:
            party = self._doorkeeper.party_of(_bearer(request), request.headers.get("x-party"))
        except Forbidden:
            return None
        known = self._keys.get(party)
        return None if known is None else (party, known)

    def _proof(self, known: Mapping[str, VerifyingKey], request: Request, body: bytes) -> Proof:
        raw_path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
        query: bytes = request.scope.get("query_string", b"")
        target = raw_path.partition(b"?")[0] + (b"?" + query if query else b"")
        headers = {name: ", ".join(request.headers.getlist(name)) for name in request.headers}
        signed = http_signatures.Request(
            request.method, target.decode("latin-1"), body, headers.get("idempotency-key", "")
        )
        try:
            return http_signatures.verify_request(known, signed, headers, self._clock.now().timestamp())
        except SignatureRefused as refusal:
            raise NotSigned(f"{refusal} ({refusal.code})") from None

    def _first_time(self, party: str, proof: Proof) -> bool:
        """Whether this nonce is new; two gateways that ask at once get one yes."""
        kept = Received(f"nonce:{party}", f"{proof.key_id}:{proof.nonce}", "-", new_id())
        with self._work_units.begin("nonce") as work:
            return not inbox.take(work.connection, [kept])


def _bearer(request: Request) -> str | None:
    """The token as a bearer, also where SOAP clients send it as the password of HTTP basic."""
    given = request.headers.get("authorization")
    if given is None or given[:6].lower() != "basic ":
        return given
    try:
        _, _, token = base64.b64decode(given[6:].strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return given
    return f"Bearer {token}"


async def _whole_body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                size += len(chunk)
                if size > BODY_BYTES_MAX:
                    raise Malformed("the body is larger than 5 MiB: send it in parts", code="message.too_large")
                chunks.append(chunk)
    except TimeoutError:
        raise HTTPException(408) from None
    except ClientDisconnect:
        raise HTTPException(400) from None
    return b"".join(chunks)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read, then whatever comes after it."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
