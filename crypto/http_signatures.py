"""Signed HTTP: RFC 9421 (message signatures) with RFC 9530 (content digests), in the one form that we write and take.

A request signs its method, path, query, the digest of its body and its idempotency key; an answer signs its status, the
digest of its body and the signature of the request that it answers, so that no answer can be shown for another request.
Both carry when they were made and a nonce. `alg` says what the key says: it is compared, never followed. Beside the
registered algorithms hmac-sm3 and sm2 (r||s, SM3, default user id), and the digest sm3, are used by agreement.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from crypto import sm3
from crypto.errors import SignatureRefused
from crypto.message_keys import SigningKey, VerifyingKey

LABEL = "hub"
WINDOW_S = 300
NONCE_CHARACTERS_MIN = 16
SIGNATURE, INPUT, DIGEST = "signature", "signature-input", "content-digest"
_PARAMETERS = re.compile(
    r'\((?P<covered>[^()]{0,400})\);created=(?P<created>[0-9]{1,12});keyid="(?P<keyid>[0-9A-Za-z._-]{1,64})"'
    r';alg="(?P<alg>[0-9a-z-]{1,20})";nonce="(?P<nonce>[0-9A-Za-z._~+/=-]{1,128})"',
    re.ASCII,
)
_SIGNATURE = re.compile(rf"{LABEL}=:(?P<base64>[0-9A-Za-z+/=]{{1,400}}):", re.ASCII)
_DIGESTS = {"sha-256": lambda body: hashlib.sha256(body).digest(), "sm3": sm3.digest}


@dataclass(frozen=True, slots=True)
class Request:
    """What a request's signature is about. `target` is path and query as they are sent."""

    method: str
    target: str
    body: bytes = b""
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature that holds. Whoever takes it sees to it that (`key_id`, `nonce`) comes once within the window."""

    key_id: str
    nonce: str
    created: int


def sign_request(key: SigningKey, key_id: str, request: Request, created: int, nonce: str) -> dict[str, str]:
    """The headers to send along."""
    headers = _digest_header(key.algorithm, request.body)
    return headers | _sign(key, key_id, _of_request(request, headers.get(DIGEST, "")), created, nonce)


def verify_request(keys: Mapping[str, VerifyingKey], request: Request, headers: Mapping[str, str], now: float) -> Proof:
    """Who signed it and with which nonce; SignatureRefused unless one of `keys` did, now, and exactly this."""
    headers = _signed_headers(headers)
    _check_digest(headers, request.body)
    return _verify(keys, _of_request(request, headers.get(DIGEST, "")), headers, now)


def sign_answer(
    key: SigningKey, key_id: str, status: int, body: bytes, request_signature: str, created: int, nonce: str
) -> dict[str, str]:
    """The headers of an answer; `request_signature` is the request's Signature header."""
    headers = _digest_header(key.algorithm, body)
    parts = _of_answer(status, headers.get(DIGEST, ""), request_signature)
    return headers | _sign(key, key_id, parts, created, nonce)


def verify_answer(
    keys: Mapping[str, VerifyingKey],
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    request_signature: str,
    now: float,
) -> Proof:
    """As `verify_request`, for the answer to the request that carried `request_signature`."""
    headers = _signed_headers(headers)
    _check_digest(headers, body)
    return _verify(keys, _of_answer(status, headers.get(DIGEST, ""), request_signature), headers, now)


def _of_request(request: Request, digest: str) -> dict[str, str]:
    path, _, query = request.target.partition("?")
    parts = {'"@method"': request.method.upper(), '"@path"': path, '"@query"': f"?{query}"}
    if digest:
        parts[f'"{DIGEST}"'] = digest
    if request.idempotency_key:
        parts['"idempotency-key"'] = request.idempotency_key
    return parts


def _of_answer(status: int, digest: str, request_signature: str) -> dict[str, str]:
    parts = {'"@status"': str(status)}
    if digest:
        parts[f'"{DIGEST}"'] = digest
    return parts | {f'"{SIGNATURE}";req': request_signature}


def _base(parts: Mapping[str, str], parameters: str) -> bytes:
    lines = [f"{name}: {value}" for name, value in parts.items()]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode()


def _sign(key: SigningKey, key_id: str, parts: Mapping[str, str], created: int, nonce: str) -> dict[str, str]:
    parameters = f'({" ".join(parts)});created={created};keyid="{key_id}";alg="{key.algorithm}";nonce="{nonce}"'
    signature = base64.b64encode(key.sign(_base(parts, parameters))).decode()
    return {INPUT: f"{LABEL}={parameters}", SIGNATURE: f"{LABEL}=:{signature}:"}


def _verify(
    keys: Mapping[str, VerifyingKey], parts: Mapping[str, str], headers: Mapping[str, str], now: float
) -> Proof:
    given, signature = headers[INPUT], headers[SIGNATURE]
    parameters = given.removeprefix(f"{LABEL}=")
    said, written = _PARAMETERS.fullmatch(parameters), _SIGNATURE.fullmatch(signature)
    if said is None or written is None or not given.startswith(f"{LABEL}="):
        raise SignatureRefused("the signature headers are not written as agreed", "signature.form")
    key = keys.get(said["keyid"])
    if key is None:
        raise SignatureRefused("no key of this name", "signature.key")
    if said["alg"] != key.algorithm:
        raise SignatureRefused("the key is of another algorithm", "signature.algorithm")
    if said["covered"].split(" ") != list(parts):
        raise SignatureRefused("the signature does not cover what it must", "signature.cover")
    key.verify(_base(parts, parameters), _decoded(written["base64"]))
    if abs(now - int(said["created"])) > WINDOW_S:
        raise SignatureRefused("signed too long ago, or in the future", "signature.expired")
    if len(said["nonce"]) < NONCE_CHARACTERS_MIN:
        raise SignatureRefused("the nonce is too short", "signature.nonce")
    return Proof(said["keyid"], said["nonce"], int(said["created"]))


def _digest_header(algorithm: str, body: bytes) -> dict[str, str]:
    if not body:
        return {}
    name = "sha-256" if algorithm == "hmac-sha256" else "sm3"
    return {DIGEST: f"{name}=:{base64.b64encode(_DIGESTS[name](body)).decode()}:"}


def _check_digest(headers: Mapping[str, str], body: bytes) -> None:
    given = headers.get(DIGEST, "")
    if not given and not body:
        return
    name, _, value = given.partition("=")
    if name not in _DIGESTS:
        raise SignatureRefused("the body has no digest that is agreed upon", "digest.missing")
    expected = f":{base64.b64encode(_DIGESTS[name](body)).decode()}:"
    if not hmac.compare_digest(value.encode("utf-8", "replace"), expected.encode()):
        raise SignatureRefused("the body is not what was signed", "digest.wrong")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise SignatureRefused("not Base64", "signature.form") from None


def _signed_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """By lower-case name; SignatureRefused without a signature. A name that comes twice proves nothing."""
    lowered: dict[str, str] = {}
    for name, value in headers.items():
        if name.lower() in lowered and name.lower() in (SIGNATURE, INPUT, DIGEST):
            raise SignatureRefused("a signature header comes twice", "signature.form")
        lowered[name.lower()] = value
    if not lowered.get(INPUT) or not lowered.get(SIGNATURE):
        raise SignatureRefused("there is no signature", "signature.missing")
    return lowered
