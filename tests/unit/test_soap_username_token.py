"""A party may prove itself inside the message: its code and its token, in clear or as a digest that is good once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from lxml import etree
from zeep.wsse.username import UsernameToken
from zeep.wsse.utils import WSU

from hub.gateway.identity import Doorkeeper, token_for
from hub.gateway.soap.username_token import SECURITY, WINDOW
from hub.gateway.soap.versions import SOAP_11
from tests.support.builders import HOSPITAL, OTHER_HOSPITAL, a_settle_request
from tests.support.soap_app import NOW, SECRET, SoapApp, basic
from tests.support.soap_messages import SoapReply, envelope, payload

TOKEN = token_for(SECRET, HOSPITAL)
SETTLE = payload("Settle", a_settle_request())


def with_token(
    password: str = TOKEN,
    party: str = HOSPITAL,
    *,
    digest: bool = True,
    at: datetime = NOW,
    nonce: str = "a nonce of some bytes",
    lifetime: timedelta | None = None,
) -> bytes:
    """A settlement with a token as zeep writes one; `lifetime` adds a Timestamp."""
    root = etree.fromstring(envelope(SETTLE))
    stamp = None
    if lifetime is not None:
        stamp = WSU.Timestamp(WSU.Created(at.isoformat()), WSU.Expires((at + lifetime).isoformat()))
    token = UsernameToken(party, password, use_digest=digest, nonce=nonce, created=at, timestamp_token=stamp)
    token.apply(root, {})
    root.find(f".//{SECURITY}").set(f"{{{SOAP_11.namespace}}}mustUnderstand", "1")
    return etree.tostring(root)


def sent(app: SoapApp, raw: bytes, **headers: str) -> SoapReply:
    return app.post(raw, **{"Authorization": ""} | headers)


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("lifetime", [None, timedelta(minutes=1)])
def test_a_party_proves_itself_in_the_message(digest, lifetime):
    app = SoapApp()

    assert sent(app, with_token(digest=digest, lifetime=lifetime)).status == 200
    assert app.courier.taken[0][1] == HOSPITAL


@pytest.mark.parametrize("away", [-WINDOW, WINDOW])
def test_clocks_may_differ_by_five_minutes(away):
    assert sent(SoapApp(), with_token(at=NOW + away)).status == 200


def test_a_digest_is_good_once_and_a_nonce_belongs_to_its_party():
    app = SoapApp()

    assert sent(app, with_token()).status == 200
    assert sent(app, with_token()).code == "party.unauthenticated"
    assert sent(app, with_token(nonce="another nonce")).status == 200
    assert sent(app, with_token(token_for(SECRET, OTHER_HOSPITAL), OTHER_HOSPITAL)).status == 200
    assert len(app.courier.taken) == 3


@pytest.mark.parametrize(
    "raw",
    [
        with_token("x"),
        with_token("x", digest=False),
        with_token("", digest=False),
        with_token(party=OTHER_HOSPITAL),
        with_token(party=OTHER_HOSPITAL, digest=False),
        with_token(party="x'--"),
        with_token(at=NOW - WINDOW - timedelta(seconds=1)),
        with_token(at=NOW + WINDOW + timedelta(seconds=1)),
        with_token(digest=False, at=NOW - timedelta(hours=1), lifetime=timedelta(minutes=1)),
        with_token(digest=False, at=NOW + timedelta(hours=1), lifetime=timedelta(minutes=1)),
        envelope(SETTLE),
    ],
)
def test_whoever_cannot_prove_it_is_a_stranger(raw):
    app = SoapApp()

    reply = sent(app, raw)

    assert (reply.status, reply.code) == (401, "party.unauthenticated")
    assert app.courier.taken == []
    assert app.nonces == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"</wsse:UsernameToken>", b"</wsse:UsernameToken><x/>"),
        (b"<wsse:UsernameToken", b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/><wsse:UsernameToken'),
        (b"#PasswordDigest", b"#PasswordOther"),
        (b"<wsse:Nonce", b"<wsse:Salt/><wsse:Nonce"),
        (b"</wsse:Username>", b"</wsse:Username><wsse:Username>x</wsse:Username>"),
        (b"2026-03-02T", b"yesterday T"),
        (b"2026-03-02T01:15:00+00:00", b"2026-03-02T01:15:00"),
    ],
)
def test_what_is_not_understood_is_not_ignored(old, new):
    raw = with_token()
    assert old in raw

    reply = sent(SoapApp(), raw.replace(old, new))

    assert (reply.status, reply.code) == (500, "soap.security")


@pytest.mark.parametrize("nonce", [b"", b"YQ==", b"!", b"YWFh" * 100])
def test_a_nonce_is_neither_short_nor_endless(nonce):
    raw = with_token()
    begin, end = raw.index(b">", raw.index(b"<wsse:Nonce")) + 1, raw.index(b"</wsse:Nonce>")

    assert sent(SoapApp(), raw[:begin] + nonce + raw[end:]).code == "soap.security"


def test_http_and_the_message_must_name_the_same_party():
    app = SoapApp()

    assert sent(app, with_token(), Authorization=basic(OTHER_HOSPITAL)).status == 401
    assert sent(app, with_token(), Authorization=basic()).status == 200


def test_of_who_must_sign_the_message_alone_is_not_enough():
    app = SoapApp(signers=frozenset({HOSPITAL}))

    assert sent(app, with_token()).status == 401
    assert sent(app, with_token(), Authorization=basic()).status == 200


def test_without_a_secret_nobody_gets_in():
    assert sent(SoapApp(Doorkeeper("")), with_token(token_for("", HOSPITAL))).status == 401


def test_a_stranger_may_not_send_much():
    raw = envelope(SETTLE.replace("急性鼻咽炎", "x" * 1024 * 1024))

    assert sent(SoapApp(), raw).status == 413
