"""Signed canonical REST against an insurer that takes nothing else, and mutual TLS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import urllib3

from adapters.registry import make_adapter
from crypto import http_signatures, sm2
from crypto.http_signatures import Request
from crypto.message_keys import newest_signing_key, signing_key, verifying_keys
from sandbox.book import Book
from sandbox.faults import Fault, FaultKind
from sandbox.insurer_rest import RestInsurer
from sandbox.parties import ANKANG, ANKANG_PRODUCT, DESKS
from sandbox.signatures import SignatureDesk
from schemas.codes import Outcome
from schemas.errors import OutcomeUnknown, Unavailable
from schemas.payer import Decision, Operation, PartySettings, PayerTask
from tests.support.one_party import listening
from tests.support.payer_tasks import a_fee, a_request, an_insurer_task
from tests.support.scripted_server import http, scripted_server

HUB, INSURER = sm2.new_key(), sm2.new_key()
SECRET = "a secret of both sides, 32 or longer"
NAME = "2026-11"
SECRETS = {
    "hmac-sha256": {f"sign.{NAME}": f"hmac-sha256:{SECRET}", f"verify.{NAME}": f"hmac-sha256:{SECRET}"},
    "hmac-sm3": {f"sign.{NAME}": f"hmac-sm3:{SECRET}", f"verify.{NAME}": f"hmac-sm3:{SECRET}"},
    "sm2": {f"sign.{NAME}": f"sm2:{HUB.secret.hex()}", f"verify.{NAME}": f"sm2:{INSURER.public.encoded.hex()}"},
}
"""What the hub holds."""
THEIRS = SECRETS | {
    "sm2": {f"sign.{NAME}": f"sm2:{INSURER.secret.hex()}", f"verify.{NAME}": f"sm2:{HUB.public.encoded.hex()}"}
}
"""What the insurer holds."""
TASK = an_insurer_task(
    request=a_request(fees=(a_fee(1, price="3000.00"),)),
    payer=ANKANG,
    product=ANKANG_PRODUCT,
    policy_no="AK-20250101-00000001",
)


@contextmanager
def insurer(algorithm: str, clock: Callable[[], float] = time.time) -> Iterator[tuple[str, RestInsurer]]:
    """An insurer that signs and wants signatures, and its address."""
    keys = THEIRS[algorithm]
    desk = SignatureDesk(verifying_keys(keys), newest_signing_key(keys), clock)
    app = RestInsurer(ANKANG, Book(volatile=True), DESKS[ANKANG], signatures=desk)
    with listening(app) as url:
        yield url, app


def settings(url: str, algorithm: str = "hmac-sha256", **changes) -> PartySettings:
    values = {
        "code": ANKANG,
        "adapter": "insurer.rest",
        "endpoint": url,
        "options": {"signature": algorithm, "signed_answers": "yes"},
        "secrets": SECRETS[algorithm],
    }
    return PartySettings(**values | changes)


def ask(party: PartySettings, task: PayerTask = TASK) -> Decision:
    adapter = make_adapter(party)
    try:
        return adapter.decode(task, adapter.send(adapter.prepare(task), 5.0))
    finally:
        adapter.close()


@pytest.mark.parametrize("algorithm", SECRETS)
def test_an_insurer_that_wants_signatures_is_served(algorithm):
    with insurer(algorithm) as (url, app):
        party = settings(url, algorithm)

        first = ask(party)
        inquiry = replace(TASK, operation=Operation.INQUIRE, request_id="R-2", original_request_id=TASK.request_id)

        assert first.outcome is Outcome.APPROVED
        assert ask(party) == first
        assert ask(party, inquiry).outcome is Outcome.APPROVED
        assert app.book.totals().settled == 1


def test_who_does_not_sign_has_no_effect():
    with insurer("hmac-sha256") as (url, app):
        decision = ask(settings(url, options={}))

        assert (decision.outcome, decision.raw_code) == (Outcome.UNKNOWN, "http.401")
        assert app.book.totals().entries == 0


@pytest.mark.parametrize(
    "secrets",
    [
        dict.fromkeys(SECRETS["hmac-sha256"], f"hmac-sha256:{'x' * 40}"),
        {"sign.1999": f"hmac-sha256:{SECRET}", f"verify.{NAME}": f"hmac-sha256:{SECRET}"},
    ],
    ids=["another key", "another key id"],
)
def test_who_does_not_sign_rightly_has_no_effect(secrets):
    with insurer("hmac-sha256") as (url, app):
        party = settings(url, options={"signature": "hmac-sha256"}, secrets=secrets)

        assert ask(party).raw_code == "http.401"
        assert app.book.totals().entries == 0


def test_a_request_is_good_once_and_for_five_minutes():
    body = b'{"request_id":"R-1"}'
    with insurer("hmac-sha256") as (url, _), urllib3.PoolManager() as pool:

        def status(at: float, nonce: str) -> tuple[int, str]:
            key = signing_key(SECRETS["hmac-sha256"][f"sign.{NAME}"])
            signed = http_signatures.sign_request(key, NAME, Request("POST", "/claims", body), int(at), nonce)
            answer = pool.request("POST", f"{url}/claims", body=body, headers=signed)
            return answer.status, answer.json().get("code", "")

        assert status(time.time(), "n" * 20)[0] == 422
        assert status(time.time(), "n" * 20) == (401, "signature.replayed")
        assert status(time.time() - 400, "o" * 20) == (401, "signature.expired")
        assert status(time.time() + 400, "p" * 20) == (401, "signature.expired")


@pytest.mark.parametrize("operation", [Operation.SETTLE, Operation.TRIAL])
def test_an_answer_that_is_wrongly_signed_is_no_answer(operation):
    with insurer("sm2") as (url, app):
        app.faults.set([Fault(kind=FaultKind.WRONG_SIGNATURE, count=1)])
        party = settings(url, "sm2")
        task = replace(TASK, operation=operation)

        with pytest.raises(OutcomeUnknown) as unknown:
            ask(party, task)

        assert unknown.value.code == "answer.signature"
        assert ask(party, task).outcome is Outcome.APPROVED


def test_an_answer_that_is_not_signed_at_all_is_no_answer():
    approved = (
        b'{"schema_version":"1","request_id":"R-0001","outcome":"approved","amount":"1.00","payer_reference":"A-1",'
        b'"decided_at":"2026-03-02T09:20:00+08:00"}'
    )
    reading = lambda peer: peer.read_request() and peer.send(http(approved, "application/json"))  # noqa: E731
    with scripted_server(reading) as server, pytest.raises(OutcomeUnknown):
        ask(settings(server.url))
    with scripted_server(reading) as server:
        options = {"signature": "hmac-sha256"}
        assert ask(settings(server.url, options=options)).outcome is Outcome.APPROVED


def test_without_its_keys_a_party_can_be_looked_at_and_not_called():
    adapter = make_adapter(settings("http://127.0.0.1:9", secrets={}))

    with pytest.raises(Unavailable) as error:
        adapter.send(adapter.prepare(TASK), 1.0)

    assert error.value.code == "party.no_key"


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"signature": "rsa"}},
        {"options": {"signed_answers": "yes"}},
        {"options": {"signature": "hmac-sha256", "signed_answers": "true"}},
        {"options": {"signature": "sm2"}},
        {"options": {"signature": "hmac-sha256", "signature_key": "1999"}},
        {"secrets": {f"sign.{NAME}": "hmac-sha256:short"}},
        {"secrets": {f"sign.{NAME}": f"hmac-sha256:{SECRET}"}},
        {"secrets": {"other": "x"}},
    ],
)
def test_options_and_keys_that_cannot_work_are_refused_at_the_start(changes):
    with pytest.raises(ValueError, match=f"party {ANKANG}") as refusal:
        make_adapter(settings("http://127.0.0.1:9", **changes))

    assert SECRET not in str(refusal.value)
    assert "short" not in str(refusal.value)
