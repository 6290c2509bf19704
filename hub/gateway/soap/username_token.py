"""WS-Security UsernameToken: the party's code with its token as password, in clear or as a digest that is good once.

Nothing else of WS-Security is understood: a signature or an encrypted part is refused, never ignored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from lxml import etree

from hub.gateway.identity import NotIdentified
from schemas.errors import Malformed

_OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
_WSSE = f"{{{_OASIS}-wssecurity-secext-1.0.xsd}}"
_WSU = f"{{{_OASIS}-wssecurity-utility-1.0.xsd}}"
_PROFILE = f"{_OASIS}-username-token-profile-1.0#"
SECURITY = f"{_WSSE}Security"
WINDOW = timedelta(minutes=5)
"""How far a token's moment may be from ours, to either side."""
NONCE_BYTES = range(8, 65)
_TEXT, _DIGEST = f"{_PROFILE}PasswordText", f"{_PROFILE}PasswordDigest"


@dataclass(frozen=True, slots=True)
class UsernameToken:
    """What a sender says of itself; a digest goes with a nonce."""

    party: str
    password: str
    nonce: bytes = b""
    created: str = ""

    def proves(self, token: str) -> bool:
        """Whether the sender knows this token of its party."""
        expected = token.encode()
        if self.nonce:
            said = self.nonce + self.created.encode() + expected
            expected = base64.b64encode(hashlib.sha1(said, usedforsecurity=False).digest())
        return hmac.compare_digest(expected, self.password.encode())

    @property
    def used(self) -> str:
        """What must not come a second time; empty for a password in clear."""
        return hashlib.sha256(self.nonce).hexdigest() if self.nonce else ""


def read_security(block: etree._Element, now: datetime) -> UsernameToken:
    """The token of a wsse:Security block.

    Malformed for parts that we do not understand, NotIdentified for a moment that is too far from `now`.
    """
    tokens = block.findall(f"{_WSSE}UsernameToken")
    stamps = block.findall(f"{_WSU}Timestamp")
    if len(tokens) != 1 or len(stamps) > 1 or len(block) != len(tokens) + len(stamps):
        raise _unusable()
    for stamp in stamps:
        _check_stamp(_texts(stamp), now)
    return _token(tokens[0], now)


def _token(element: etree._Element, now: datetime) -> UsernameToken:
    texts = _texts(element)
    password = element.find(f"{_WSSE}Password")
    if password is None or not texts.keys() <= {"Username", "Password", "Nonce", "Created"}:
        raise _unusable()
    party, said, created = texts.get("Username", ""), texts["Password"], texts.get("Created", "")
    kind = password.get("Type", _TEXT)
    if kind == _TEXT:
        return UsernameToken(party, said)
    if kind != _DIGEST:
        raise _unusable()
    if abs(_moment(created) - now) > WINDOW:
        raise NotIdentified("the token's moment is too far from ours")
    return UsernameToken(party, said, _nonce(texts.get("Nonce", "")), created)


def _check_stamp(texts: dict[str, str], now: datetime) -> None:
    if "Created" in texts and _moment(texts["Created"]) > now + WINDOW:
        raise NotIdentified("the message comes from the future")
    if "Expires" in texts and _moment(texts["Expires"]) <= now:
        raise NotIdentified("the message has expired")


def _texts(element: etree._Element) -> dict[str, str]:
    """The children's texts by local name; each may come once and hold nothing but text."""
    texts = {etree.QName(child).localname: (child.text or "").strip() for child in element}
    if len(texts) != len(element) or any(len(child) for child in element):
        raise _unusable()
    return texts


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _unusable() from None
    if moment.tzinfo is None:
        raise _unusable()
    return moment


def _nonce(text: str) -> bytes:
    try:
        nonce = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _unusable() from None
    if len(nonce) not in NONCE_BYTES:
        raise _unusable()
    return nonce


def _unusable() -> Malformed:
    return Malformed(
        "of WS-Security this service takes one UsernameToken, and a Timestamp beside it", code="soap.security"
    )
