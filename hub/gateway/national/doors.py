"""Who speaks: by the bearer token of the other routes, by a signature of the envelope, or by both.

The dialect belongs to the institution's profile in the rule book; a message cannot ask for a weaker one. Keys are in
the file of the parties' secrets: `own_private_key` (ours, signs answers), `their_public_key`, `sm4_key`,
`gateway_id`, `gateway_secret`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crypto import sm2, sm4
from crypto.errors import CannotDecrypt, KeyUnusable, SignatureRefused
from crypto.signing import BodySigning, EnvelopeSigning, GatewaySigning, Signing, Unsigned
from hub.books import RuleBooks
from hub.gateway.identity import Doorkeeper, NotIdentified, PartyShutOut
from hub.gateway.national.calls import wrong
from hub.party_secrets import Secrets
from hub.routes import new_id
from hub.work import WorkUnits
from routing.rulebook import Institution
from schemas.errors import Forbidden, InvalidMessage
from schemas.national.envelope import dump_json, read_json
from schemas.national.fields import CHINA, Record
from store import inbox
from store.inbox import Received

WINDOW = timedelta(minutes=5)
SM4 = "SM4"
_NONCE_MAX = 64
_MODES = {"ecb": sm4.Mode.ECB, "cbc": sm4.Mode.CBC, "gcm": sm4.Mode.GCM}


class KeysMissing(Forbidden):
    """The institution is to sign, and its keys are not in the file of the parties' secrets."""

    code = "national.keys"


@dataclass(frozen=True, slots=True)
class Entered:
    """Whoever came in: the envelope as it was meant, and how answers to it are sealed."""

    institution: Institution
    envelope: Record
    seal: Callable[[Record], tuple[Record, Mapping[str, str]]]


class NationalDoor:
    """Proves the sender of an envelope. `enter` reads the database: call it on a thread of its own."""

    def __init__(self, doorkeeper: Doorkeeper, books: RuleBooks, secrets: Secrets, work_units: WorkUnits) -> None:
        self._doorkeeper = doorkeeper
        self._books = books
        self._secrets = secrets
        self._work_units = work_units
        self._pairs: dict[str, tuple[sm2.PrivateKey | None, sm2.PublicKey]] = {}

    def enter(self, envelope: Record, headers: Mapping[str, str], now: datetime) -> Entered:
        """The envelope, opened. NotIdentified or PartyShutOut otherwise; InvalidMessage for what cannot be opened."""
        code = envelope.get("fixmedins_code")
        institution = self._books.active().book.institution_by_code.get(code) if isinstance(code, str) else None
        told = self._by_token(headers)
        if told is not None and told != code:
            raise wrong("fixmedins_code", "national.institution", "send your own number")
        if institution is None:
            raise _unregistered(told) if told else NotIdentified("nobody we know")
        if self._doorkeeper.doors.is_shut(institution.code):
            raise PartyShutOut("the party is disabled", party=institution.code)
        dialect = institution.national.signing
        if told is None and dialect in ("none", "body"):
            raise NotIdentified("no token")
        signing = self._signing(institution, now)
        try:
            opened = signing.verify(envelope, headers)
        except SignatureRefused:
            raise NotIdentified("the signature does not prove the sender") from None
        if dialect != "none":
            _in_time(opened, now)
        key = self._secrets.get(institution.code, {}).get("sm4_key", "")
        if dialect == "body" or envelope.get("enc_type") != SM4:
            return Entered(institution, opened, _sealing(signing, dialect))
        return _decrypted(Entered(institution, opened, _sealing(signing, dialect)), key)

    def _by_token(self, headers: Mapping[str, str]) -> str | None:
        """Whom the token names; None without one. A wrong token is never passed over."""
        authorization, x_party = headers.get("authorization"), headers.get("x-party")
        if authorization is None and (x_party is None or not self._doorkeeper.trust_header):
            return None
        return self._doorkeeper.party_of(authorization, x_party)

    def _signing(self, institution: Institution, now: datetime) -> Signing:
        secrets = self._secrets.get(institution.code, {})
        profile = institution.national
        try:
            match profile.signing:
                case "envelope":
                    return EnvelopeSigning(*self._pair(institution.code))
                case "body":
                    key = secrets.get("sm4_key", "")
                    mode = _MODES.get(profile.encryption, sm4.Mode.ECB)
                    return BodySigning(*self._pair(institution.code), _sm4_key(key) if key else None, mode)
                case "gateway":
                    return GatewaySigning(
                        secrets["gateway_id"],
                        secrets["gateway_secret"],
                        clock=now.timestamp,
                        fresh_nonce=lambda nonce: self._first_time(institution, nonce),
                    )
        except (KeyError, KeyUnusable):
            raise KeysMissing("the institution's keys are missing or cannot be used", party=institution.code) from None
        return Unsigned()

    def _pair(self, institution: str) -> tuple[sm2.PrivateKey | None, sm2.PublicKey]:
        """Our key and theirs; read once, since finding a public key takes a while."""
        if institution not in self._pairs:
            secrets = self._secrets.get(institution, {})
            self._pairs[institution] = (_own(secrets), sm2.PublicKey.of_text(secrets["their_public_key"]))
        return self._pairs[institution]

    def _first_time(self, institution: Institution, nonce: str) -> bool:
        """Whether a nonce was never used by this institution: the inbox remembers it for good."""
        if len(nonce) > _NONCE_MAX:
            return False
        seen = Received(f"nonce:{institution.code}", nonce, institution.region, new_id())
        with self._work_units.engine.begin() as connection:
            return not inbox.take(connection, [seen])


def _unregistered(party: str) -> Forbidden:
    return Forbidden("this institution is not registered", code="party.unknown", party=party)


def _own(secrets: Mapping[str, str]) -> sm2.PrivateKey | None:
    """Ours; without it answers go out unsigned."""
    text = secrets.get("own_private_key", "")
    return sm2.PrivateKey.of_text(text) if text else None


def _sm4_key(text: str) -> bytes:
    return sm2.key_bytes(text, (sm4.KEY_BYTES,))


def _in_time(envelope: Mapping[str, Any], now: datetime) -> None:
    """A signed envelope is good for a few minutes; its own number makes a repeat within them harmless."""
    try:
        said = datetime.fromisoformat(str(envelope.get("inf_time", ""))).replace(tzinfo=CHINA)
    except ValueError:
        raise wrong("inf_time", "national.moment", "send the time of the message") from None
    if abs(now - said) > WINDOW:
        raise wrong("inf_time", "national.clock", "set the clock of the sending system")


def _sealing(signing: Signing, dialect: str) -> Callable[[Record], tuple[Record, Mapping[str, str]]]:
    """Signs an answer as the request was, where there is a key for it."""

    def seal(answer: Record) -> tuple[Record, Mapping[str, str]]:
        signs = isinstance(signing, EnvelopeSigning | BodySigning) and signing.own is not None
        return signing.sign(answer, "output") if signs or dialect == "gateway" else (answer, {})

    return seal


def _decrypted(entered: Entered, key_text: str) -> Entered:
    """With `input` in the clear; the answer's `output` will be encrypted alike."""
    profile = entered.institution.national
    if profile.encryption == "none" or not key_text:
        raise wrong("enc_type", "national.encrypted", "encrypt only as agreed")
    mode = _MODES[profile.encryption]
    try:
        key = _sm4_key(key_text)
        sealed = base64.b64decode(str(entered.envelope.get("input", "")), validate=True)
        plain = sm4.decrypt(key, sealed, mode)
    except (CannotDecrypt, KeyUnusable, binascii.Error, ValueError):
        raise wrong("input", "national.encrypted", "encrypt with the agreed key and mode") from None
    try:
        content = read_json(plain)
    except InvalidMessage:
        raise wrong("input", "national.payload", "send a JSON object") from None

    def seal(answer: Record) -> tuple[Record, Mapping[str, str]]:
        output = base64.b64encode(sm4.encrypt(key, dump_json(answer.get("output", {})), mode)).decode()
        return entered.seal({**answer, "enc_type": SM4, "output": output})

    return Entered(entered.institution, {**entered.envelope, "input": content}, seal)
