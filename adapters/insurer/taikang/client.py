"""The calls: AES around each package, a token beside it, one fresh token and one repeat when it has expired."""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar
from urllib.parse import urlencode

import orjson

from adapters.conversation import Said, Step, converse, steps_of
from adapters.http_pool import HttpPool
from adapters.insurer.taikang import answers
from adapters.insurer.taikang.dialect import Dialect
from adapters.insurer.taikang.judgement import JSON, Verdict, applies, is_immediate, package_of, verdict_on
from adapters.insurer.taikang.messages import (
    ACCEPT,
    ACCEPT_GAP,
    CLAIM,
    NUMBERS,
    SERIAL_GAP,
    SETTLE,
    notice_script,
    script_of,
)
from adapters.insurer.taikang.package import fen_in, text_in
from crypto import aes
from crypto.errors import CannotDecrypt
from schemas.errors import HubError, OutcomeUnknown, Unavailable
from schemas.money import fen_of
from schemas.payer import Capabilities, Decision, Notice, PartySettings, PayerTask, PreparedCall, RawAnswer

TOKEN_PATH = "/api/token/access_token"
RENEW_S = 180.0
SEALED = "application/octet-stream"
_EXPIRED = ("Token已过期".encode(), b'"ERR0003"')
_ACCEPT = re.compile(rf'"{re.escape(ACCEPT_GAP)}([0-9.]+)"', re.ASCII)
NEEDS = frozenset({"patient.name", "patient.id_no", "diagnoses.main", "fees.all", "basic", "earlier.amounts"})
"""The insurer holds the lines and everybody's shares against the total: what is left out would not add up."""
NOTICES = frozenset({"admission.register", "admission.change", "admission.cancel", "fees.upload", "fees.cancel"})


class Taikang:
    """An insurer of the Taikang type. Safe to share between threads.

    ValueError for options and keys that cannot work. Without any secrets it can be looked at and prepare messages, and
    is Unavailable to every call.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(notices=NOTICES, numbers=NUMBERS, needs=NEEDS)

    def __init__(self, settings: PartySettings) -> None:
        self._dialect = Dialect.of(settings)
        self._http = HttpPool(settings)
        self._tokens = _Tokens(self._http, self._dialect)

    def prepare(self, task: PayerTask) -> PreparedCall:
        """The script of a settle, trial or cancel; InvalidMessage for anything else."""
        return script_of(self._dialect, task)

    def prepare_notice(self, notice: Notice) -> PreparedCall:
        """The script of a notice."""
        return notice_script(self._dialect, notice)

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        """Unavailable when nothing was settled, OutcomeUnknown when that is not known."""
        if not self._dialect.aes_key:
            raise Unavailable("the party's keys are missing", party=self._dialect.party, code="party.no_key")
        return converse(steps_of(call), _Talk(self._dialect, self._called).speak, lambda _said: True, timeout_s)

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """See `answers.decode`."""
        return answers.decode(self._dialect, task, answer)

    def decode_notice(self, notice: Notice, answer: RawAnswer) -> Decision:
        """See `answers.decode_notice`."""
        return answers.decode_notice(self._dialect, notice, answer)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    def _called(self, step: Step, ends_s: float) -> Said:
        """The answer, decrypted where it can be. A token that expired means that nothing was done: once more."""
        sender = step.path.partition("?")[2]
        token = self._tokens.current(sender, ends_s)
        answer = self._posted(step, token, ends_s)
        if _is_expired(answer):
            self._tokens.drop(sender, token)
            token = self._tokens.current(sender, ends_s)
            answer = self._posted(step, token, ends_s)
            if _is_expired(answer):
                raise Unavailable("a fresh token is taken for expired", party=self._dialect.party, code="token.refused")
        return self._opened(step, answer)

    def _posted(self, step: Step, token: str, ends_s: float) -> RawAnswer:
        sealed = base64.b64encode(aes.encrypt(self._dialect.aes_key, step.body.encode()))
        headers = {"Content-Type": JSON, "Accept": JSON, "access_token": token}
        return self._http.send(PreparedCall(sealed, JSON, step.path), headers, ends_s - time.monotonic())

    def _opened(self, step: Step, answer: RawAnswer) -> Said:
        """The transcript keeps what was said, not its wrapping, so that it can be read when the key has changed."""
        sent = step.body.encode()
        try:
            plain = aes.decrypt(self._dialect.aes_answer_key, base64.b64decode(answer.body.strip(), validate=True))
        except (CannotDecrypt, binascii.Error):
            return Said(step.name, sent, answer.status, SEALED, answer.body)
        return Said(step.name, sent, answer.status, JSON, plain)


class _Talk:
    """One conversation under way: what was said so far decides what is said next."""

    def __init__(self, dialect: Dialect, call: Callable[[Step, float], Said]) -> None:
        self._dialect = dialect
        self._call = call
        self._verdicts: dict[str, Verdict] = {}

    def speak(self, step: Step, said: Sequence[Said], timeout_s: float) -> Said | None:
        """One call; None for a step that does not apply. Unavailable for one before the effect that was not taken."""
        if not applies(step.name, self._verdicts):
            return None
        filled = _filled(step, said, self._dialect)
        if filled is None:
            return None
        heard = self._call(replace(step, body=filled), time.monotonic() + timeout_s)
        verdict = self._verdicts[step.name] = verdict_on(heard, self._dialect)
        before_effect = not step.effect and step.name not in (CLAIM, ACCEPT)
        if before_effect and verdict is Verdict.UNCLEAR:
            raise Unavailable("a step before the effect was not taken", party=self._dialect.party, code="call.step")
        return heard


class TaikangRepeats(Taikang):
    """An insurer whose agreement says that a settle repeated under its bill number gets the first answer."""

    capabilities: ClassVar[Capabilities] = replace(Taikang.capabilities, idempotent_submit=True)


class _Tokens:
    """The current token of each sender, by the query that names it. It is renewed three minutes before it ends."""

    def __init__(self, http: HttpPool, dialect: Dialect) -> None:
        self._http = http
        self._dialect = dialect
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, float]] = {}

    def current(self, sender: str, ends_s: float) -> str:
        """Unavailable when there is none to be had by `ends_s`: nothing of the message has left."""
        if not self._lock.acquire(timeout=max(0.0, ends_s - time.monotonic())):
            raise Unavailable("somebody else waits for a token", party=self._dialect.party, code="token.lost")
        try:
            token, good_until = self._known.get(sender, ("", 0.0))
            if not token or time.monotonic() >= good_until:
                token, life_s = self._fetched(sender, ends_s - time.monotonic())
                self._known[sender] = token, time.monotonic() + max(1.0, life_s - RENEW_S)
            return token
        finally:
            self._lock.release()

    def drop(self, sender: str, token: str) -> None:
        """Forget a token that was refused, unless somebody has fetched another since."""
        with self._lock:
            if self._known.get(sender, ("", 0.0))[0] == token:
                del self._known[sender]

    def _fetched(self, sender: str, timeout_s: float) -> tuple[str, float]:
        asked = {
            "appId": self._dialect.app_id,
            "secret": self._dialect.app_secret,
            "grant_type": "client_credential",
        }
        call = PreparedCall(b"", "", f"{TOKEN_PATH}?{urlencode(asked)}&{sender}", "GET")
        try:
            answer = self._http.send(call, {"Accept": JSON}, timeout_s)
            given = orjson.loads(answer.body)
            if str(given["result"]["code"]) == "0":
                return str(given["data"]["access_token"]), float(given["data"]["expires_in"])
        except OutcomeUnknown as error:
            raise Unavailable("no token came", party=self._dialect.party, code="token.lost") from error
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise Unavailable("the answer holds no token", party=self._dialect.party, code="token.malformed") from None
        raise Unavailable("the token is refused", party=self._dialect.party, code="token.refused")


def _is_expired(answer: RawAnswer) -> bool:
    """Said in plain text, which no encrypted answer can be taken for."""
    return any(words in answer.body for words in _EXPIRED)


def _filled(step: Step, said: Sequence[Said], dialect: Dialect) -> str | None:
    """The step's text with what earlier answers gave; None when there is nothing to apply for or to accept."""
    if step.name not in (CLAIM, ACCEPT):
        return step.body
    heard = {call.name: call for call in said}
    try:
        settled = package_of(heard[SETTLE], dialect.party)
        if not is_immediate(settled):
            return None
        serial = text_in(settled.body, "settleSerialNum")
        text = step.body.replace(f'"{SERIAL_GAP}"', orjson.dumps(serial).decode())
        if step.name == CLAIM:
            return text
        final = package_of(heard[CLAIM], dialect.party).body
        if not text_in(final, "mngFinalPay"):
            return None
        pays_fen = fen_in(final, "mngFinalPay")
    except (HubError, KeyError):
        return None
    return _ACCEPT.sub(lambda gap: '"1"' if pays_fen <= fen_of(gap[1]) else '"0"', text)
