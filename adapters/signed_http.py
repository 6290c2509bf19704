"""HTTP whose requests are signed and whose answers are verified, where the party's options ask for it.

Options: `signature` (hmac-sha256, hmac-sm3 or sm2; none when left out), `signed_answers` (yes or no), `signature_key`
(which key signs; the last by name when left out). Secrets: `sign.<key id>` and `verify.<key id>`, see
`crypto.message_keys`. The signature is made anew at each sending and is no part of the evidence that is stored before.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping

from adapters.http_pool import HttpPool
from crypto import http_signatures
from crypto.errors import KeyUnusable, SignatureRefused
from crypto.http_signatures import SIGNATURE, Request
from crypto.message_keys import ALGORITHMS, SigningKey, VerifyingKey, newest_signing_key, verifying_keys
from schemas.errors import OutcomeUnknown, Unavailable
from schemas.payer import PartySettings, PreparedCall, RawAnswer

OPTION, ANSWERS_OPTION, KEY_OPTION = "signature", "signed_answers", "signature_key"
IDEMPOTENCY_KEY = "Idempotency-Key"


class SignedHttp:
    """Calls to one party, signed as it wants; safe to share between threads.

    ValueError for options and keys that cannot work together. A party whose keys are not given at all can be looked at
    (`hub rules check` has none), and is Unavailable to every call.
    """

    def __init__(self, settings: PartySettings, clock: Callable[[], float] = time.time) -> None:
        self.pool = HttpPool(settings)
        self._party = settings.code
        self._clock = clock
        self._algorithm = _algorithm(settings)
        self._key: tuple[str, SigningKey] | None = None
        self._their_keys: Mapping[str, VerifyingKey] = {}
        self._verifies = _yes(settings, ANSWERS_OPTION)
        if self._verifies and not self._algorithm:
            raise ValueError(f"party {settings.code}: {ANSWERS_OPTION} needs {OPTION}")
        if self._algorithm and settings.secrets:
            self._take_keys(settings)

    def send(self, call: PreparedCall, headers: Mapping[str, str], timeout_s: float) -> RawAnswer:
        """As `HttpPool.send`. An answer that is not proven to be the party's is none: OutcomeUnknown."""
        if not self._algorithm:
            return self.pool.send(call, headers, timeout_s)
        if self._key is None:
            raise Unavailable("the party's signing key is missing", party=self._party, code="party.no_key")
        signature = self._signed(call, headers)
        answer, answered = self.pool.exchange(call, {**headers, **signature}, timeout_s)
        if self._verifies:
            self._verify(answer, answered, signature[SIGNATURE])
        return answer

    def close(self) -> None:
        """Closes idle connections."""
        self.pool.close()

    def _take_keys(self, settings: PartySettings) -> None:
        try:
            self._key = newest_signing_key(settings.secrets, settings.options.get(KEY_OPTION, ""))
            self._their_keys = verifying_keys(settings.secrets)
        except KeyUnusable as error:
            raise ValueError(f"party {settings.code}: a key cannot be used: {error}") from None
        if self._key is None:
            raise ValueError(f"party {settings.code}: there is no key sign.* for {OPTION}")
        if self._key[1].algorithm != self._algorithm:
            raise ValueError(f"party {settings.code}: {OPTION} is {self._algorithm}, but the key is of another kind")
        if self._verifies and not self._their_keys:
            raise ValueError(f"party {settings.code}: there is no key verify.* for {ANSWERS_OPTION}")

    def _signed(self, call: PreparedCall, headers: Mapping[str, str]) -> dict[str, str]:
        assert self._key is not None
        key_id, key = self._key
        request = Request(call.method, self.pool.target(call), call.body, headers.get(IDEMPOTENCY_KEY, ""))
        return http_signatures.sign_request(key, key_id, request, int(self._clock()), secrets.token_urlsafe(18))

    def _verify(self, answer: RawAnswer, headers: Mapping[str, str], request_signature: str) -> None:
        try:
            http_signatures.verify_answer(
                self._their_keys, answer.status, answer.body, headers, request_signature, self._clock()
            )
        except SignatureRefused as refusal:
            raise OutcomeUnknown(
                "the answer is not proven to be the party's",
                code="answer.signature",
                party=self._party,
                status=answer.status,
                reason=refusal.code,
            ) from None


def _algorithm(settings: PartySettings) -> str:
    asked = settings.options.get(OPTION, "none")
    if asked not in (*ALGORITHMS, "none"):
        raise ValueError(f"party {settings.code}: {OPTION} is one of none, {', '.join(ALGORITHMS)}")
    return "" if asked == "none" else asked


def _yes(settings: PartySettings, option: str) -> bool:
    asked = settings.options.get(option, "no")
    if asked not in ("yes", "no"):
        raise ValueError(f"party {settings.code}: {option} is yes or no")
    return asked == "yes"
