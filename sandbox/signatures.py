"""A party that wants its requests signed, and signs its answers: the other end of the agreement."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import orjson

from crypto import http_signatures
from crypto.errors import SignatureRefused
from crypto.http_signatures import SIGNATURE, WINDOW_S, Request
from crypto.message_keys import SigningKey, VerifyingKey
from sandbox.web import Answer, Call, Handler, Reply

PROBLEM = "application/problem+json"
REFUSED = "urn:settlement-hub:problem:signature.refused"
NONCES_MAX = 100_000


class SignatureDesk:
    """Lets signed requests through, each once, and signs what is answered if `own` is given.

    `keys` are those of the hub by key id. Nonces are remembered in memory for the window, and no longer.
    """

    def __init__(
        self,
        keys: Mapping[str, VerifyingKey],
        own: tuple[str, SigningKey] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._own = own
        self._clock = clock
        self._seen: dict[tuple[str, str], int] = {}

    def guarding(self, handler: Handler) -> Handler:
        """The handler behind this desk."""

        async def guarded(call: Call) -> Answer:
            try:
                self._check(call)
            except SignatureRefused as refusal:
                return self._signed(call, _problem(refusal))
            return self._signed(call, await handler(call))

        return guarded

    def _check(self, call: Call) -> None:
        target = f"{call.path}?{call.query.decode('latin-1')}" if call.query else call.path
        request = Request(call.method, target, call.body, call.headers.get("idempotency-key", ""))
        proof = http_signatures.verify_request(self._keys, request, call.headers, self._clock())
        used = (proof.key_id, proof.nonce)
        if used in self._seen:
            raise SignatureRefused("this signature came before", "signature.replayed")
        self._forget_old()
        self._seen[used] = proof.created

    def _forget_old(self) -> None:
        """Oldest first: what is out of the window is refused by its time."""
        while self._seen:
            oldest = next(iter(self._seen))
            if len(self._seen) < NONCES_MAX and self._seen[oldest] > self._clock() - 2 * WINDOW_S:
                return
            del self._seen[oldest]

    def _signed(self, call: Call, answer: Answer) -> Answer:
        if self._own is None or not isinstance(answer, Reply):
            return answer
        key_id, key = self._own
        body = answer.body + b" " if answer.forged else answer.body
        headers = http_signatures.sign_answer(
            key,
            key_id,
            answer.status,
            body,
            call.headers.get(SIGNATURE, ""),
            int(self._clock()),
            secrets.token_urlsafe(18),
        )
        return replace(answer, headers={**answer.headers, **headers})


def _problem(refusal: SignatureRefused) -> Reply:
    problem = {"type": REFUSED, "title": "Signature refused", "status": 401, "code": refusal.code}
    return Reply(orjson.dumps(problem), 401, PROBLEM)
