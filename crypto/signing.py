"""How a national envelope is signed: three dialects over the parsed JSON object, for client and server alike.

Each is a value with `sign(envelope) -> (envelope, headers)` and `verify(envelope, headers) -> envelope`. Nothing is
changed in place. What carries the business is `input` of a request and `output` of an answer: say which with `payload`.
`verify` raises SignatureRefused (a ValueError with a `code`), also for what is missing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import orjson

from crypto import sm2, sm3, sm4
from crypto.errors import CannotDecrypt, SignatureRefused

Envelope = dict[str, Any]
Headers = dict[str, str]
WINDOW_S = 300


class Signing(Protocol):
    """One dialect with the keys of one party."""

    def sign(self, envelope: Mapping[str, Any], payload: str = "input") -> tuple[Envelope, Headers]:
        """The envelope to send, and the headers that go with it."""
        ...

    def verify(self, envelope: Mapping[str, Any], headers: Mapping[str, str], payload: str = "input") -> Envelope:
        """The envelope as its sender meant it (decrypted, if it was encrypted); SignatureRefused unless proven."""
        ...


@dataclass(frozen=True, slots=True)
class Unsigned:
    """The region asks for no signature; `verify` takes everything."""

    def sign(self, envelope: Mapping[str, Any], payload: str = "input") -> tuple[Envelope, Headers]:
        """As it is."""
        return dict(envelope), {}

    def verify(self, envelope: Mapping[str, Any], headers: Mapping[str, str], payload: str = "input") -> Envelope:
        """As it is."""
        return dict(envelope)


@dataclass(frozen=True, slots=True)
class EnvelopeSigning:
    """SM2 over the head of the envelope, upper-case hex in `cainfo`.

    The head is all but `cainfo` and the payload, as `key=value` in ASCII order of the keys, joined by `&`. The payload
    is *not* signed: in this dialect only the transport protects it. `own` signs, `theirs` verifies; either may be
    missing where it is not needed.
    """

    own: sm2.PrivateKey | None = None
    theirs: sm2.PublicKey | None = None
    form: sm2.Form = sm2.Form.RAW
    skip_empty: bool = False
    """Whether a member without a value stays out of the text (regions differ)."""

    def sign(self, envelope: Mapping[str, Any], payload: str = "input") -> tuple[Envelope, Headers]:
        """With `signtype` SM2 and `cainfo`."""
        signed = {**envelope, "signtype": "SM2"}
        signed["cainfo"] = _own(self.own).sign(self._text(signed, payload), self.form).hex().upper()
        return signed, {}

    def verify(self, envelope: Mapping[str, Any], headers: Mapping[str, str], payload: str = "input") -> Envelope:
        """Unchanged."""
        _expect_type(envelope, "SM2")
        signature = _from_hex(_text_of(envelope, "cainfo"))
        _theirs(self.theirs).verify(self._text(envelope, payload), signature, self.form)
        return dict(envelope)

    def _text(self, envelope: Mapping[str, Any], payload: str) -> bytes:
        members = {key: _plain(value) for key, value in envelope.items() if key not in ("cainfo", payload)}
        chosen = sorted(key for key, value in members.items() if value or not self.skip_empty)
        return "&".join(f"{key}={members[key]}" for key in chosen).encode()


@dataclass(frozen=True, slots=True)
class BodySigning:
    """SM2 over the JSON text of the payload, Base64 in `cainfo`; the payload then encrypted with SM4; a bearer token.

    Signed is the text as it travels: the encrypted text once decrypted, a payload that is text as it is, an object as
    compact JSON in its own order (so a peer that puts spaces into it must send it as text). Without `sm4_key` nothing
    is encrypted. `token` supplies the current bearer token of whoever sends (asked at each signing); `accepted_token`
    is what a server demands.
    """

    own: sm2.PrivateKey | None = None
    theirs: sm2.PublicKey | None = None
    sm4_key: bytes | None = field(default=None, repr=False)
    mode: sm4.Mode = sm4.Mode.ECB
    form: sm2.Form = sm2.Form.DER
    token: Callable[[], str] | None = None
    accepted_token: Callable[[str], bool] | None = None

    def sign(self, envelope: Mapping[str, Any], payload: str = "input") -> tuple[Envelope, Headers]:
        """With `signtype`, `cainfo`, and `enc_type` SM4 where it is encrypted."""
        text = _payload_text(envelope, payload)
        signed = {**envelope, "signtype": "SM2"}
        signed["cainfo"] = base64.b64encode(_own(self.own).sign(text, self.form)).decode()
        if self.sm4_key is not None:
            signed["enc_type"] = "SM4"
            signed[payload] = base64.b64encode(sm4.encrypt(self.sm4_key, text, self.mode)).decode()
        return signed, {"Authorization": f"Bearer {self.token()}"} if self.token else {}

    def verify(self, envelope: Mapping[str, Any], headers: Mapping[str, str], payload: str = "input") -> Envelope:
        """With the payload as a JSON value again."""
        self._check_token(headers)
        _expect_type(envelope, "SM2")
        opened = dict(envelope)
        text = self._opened(envelope, payload)
        _theirs(self.theirs).verify(text, _from_base64(_text_of(envelope, "cainfo")), self.form)
        try:
            opened[payload] = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise SignatureRefused("the payload is no JSON", "payload.form") from None
        return opened

    def _opened(self, envelope: Mapping[str, Any], payload: str) -> bytes:
        if self.sm4_key is None:
            return _payload_text(envelope, payload)
        if envelope.get("enc_type") != "SM4":
            raise SignatureRefused("the payload is not encrypted", "payload.plain")
        try:
            return sm4.decrypt(self.sm4_key, _from_base64(_text_of(envelope, payload)), self.mode)
        except CannotDecrypt:
            # The same answer as for a wrong signature: which of the two it is helps only an attacker.
            raise SignatureRefused("the signature is wrong") from None

    def _check_token(self, headers: Mapping[str, str]) -> None:
        if self.accepted_token is None:
            return
        scheme, _, token = _header(headers, "authorization").partition(" ")
        if scheme.lower() != "bearer" or not self.accepted_token(token):
            raise SignatureRefused("the token is missing or not valid", "token.wrong")


@dataclass(frozen=True, slots=True)
class GatewaySigning:
    """Headers x-tif-*: SHA-256 of timestamp + secret + nonce + timestamp; `signtype` SM3 with a digest in `cainfo`.

    The digest is SM3 over the payload's JSON text, in upper-case hex: it shows damage, but anybody can make it.
    `fresh_nonce` decides whether a nonce comes for the first time; keep it longer than the window.
    """

    paas_id: str
    secret: str = field(repr=False)
    clock: Callable[[], float] = time.time
    nonce: Callable[[], str] = lambda: secrets.token_hex(16)
    fresh_nonce: Callable[[str], bool] = lambda _nonce: True
    window_s: float = WINDOW_S

    def sign(self, envelope: Mapping[str, Any], payload: str = "input") -> tuple[Envelope, Headers]:
        """With `signtype`, `cainfo` and the four headers."""
        signed = {**envelope, "signtype": "SM3", "cainfo": _sm3_text(envelope, payload)}
        timestamp, nonce = str(int(self.clock())), self.nonce()
        headers = {
            "x-tif-paasid": self.paas_id,
            "x-tif-timestamp": timestamp,
            "x-tif-nonce": nonce,
            "x-tif-signature": self._signature(timestamp, nonce),
        }
        return signed, headers

    def verify(self, envelope: Mapping[str, Any], headers: Mapping[str, str], payload: str = "input") -> Envelope:
        """Unchanged."""
        paas_id, timestamp, nonce, signature = (
            _header(headers, f"x-tif-{name}") for name in ("paasid", "timestamp", "nonce", "signature")
        )
        if not (paas_id and timestamp and nonce and signature):
            raise SignatureRefused("the gateway headers are missing", "signature.missing")
        expected = self._signature(timestamp, nonce)
        if not _same(paas_id, self.paas_id) or not _same(signature.upper(), expected):
            raise SignatureRefused("the signature is wrong")
        _expect_type(envelope, "SM3")
        if not _same(_text_of(envelope, "cainfo").upper(), _sm3_text(envelope, payload)):
            raise SignatureRefused("the digest is wrong", "digest.wrong")
        if not timestamp.isdecimal() or abs(self.clock() - int(timestamp)) > self.window_s:
            raise SignatureRefused("sent too long ago, or in the future", "signature.expired")
        if not self.fresh_nonce(nonce):
            raise SignatureRefused("sent before", "signature.replayed")
        return dict(envelope)

    def _signature(self, timestamp: str, nonce: str) -> str:
        return hashlib.sha256(f"{timestamp}{self.secret}{nonce}{timestamp}".encode()).hexdigest().upper()


def _own(key: sm2.PrivateKey | None) -> sm2.PrivateKey:
    if key is None:
        raise SignatureRefused("no key to sign with", "key.missing")
    return key


def _theirs(key: sm2.PublicKey | None) -> sm2.PublicKey:
    if key is None:
        raise SignatureRefused("no key of theirs", "key.missing")
    return key


def _expect_type(envelope: Mapping[str, Any], signtype: str) -> None:
    """The dialect is a matter of the party, never of the message: a message cannot ask for a weaker one."""
    if envelope.get("signtype") != signtype:
        raise SignatureRefused("another kind of signature is expected", "signature.type")


def _text_of(envelope: Mapping[str, Any], member: str) -> str:
    value = envelope.get(member)
    if not isinstance(value, str) or not value:
        raise SignatureRefused(f"{member} is missing", "signature.missing")
    return value


def _payload_text(envelope: Mapping[str, Any], payload: str) -> bytes:
    value = envelope.get(payload)
    return value.encode() if isinstance(value, str) else orjson.dumps(value, default=_digits)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value, default=_digits).decode()


def _digits(value: object) -> orjson.Fragment:
    """A decimal with the digits that it came with: 12.50 stays 12.50."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError("not a JSON value")


def _sm3_text(envelope: Mapping[str, Any], payload: str) -> str:
    return sm3.digest(_payload_text(envelope, payload)).hex().upper()


def _header(headers: Mapping[str, str], name: str) -> str:
    """Names are compared without regard to case."""
    return next((value for key, value in headers.items() if key.lower() == name), "")


def _same(theirs: str, ours: str) -> bool:
    return hmac.compare_digest(theirs.encode("utf-8", "replace"), ours.encode())


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise SignatureRefused("not hex", "signature.form") from None


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureRefused("not Base64", "signature.form") from None
