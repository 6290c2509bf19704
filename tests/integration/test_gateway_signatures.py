"""A party that signs what it sends: the token alone lets nobody in, and a signature is good once."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from crypto import http_signatures, sm2
from crypto.message_keys import signing_key, verifying_key
from hub.gateway.identity import token_for
from hub.gateway.signatures import caller_keys
from hub.settings import InvalidSettings
from tests.support.builders import HOSPITAL, OTHER_HOSPITAL, a_settle_request
from tests.support.http_client import Client, Reply
from tests.support.hub_in_process import TOKEN_SECRET, TestHub, a_hub

KEY = sm2.new_key()
OWN = f"sm2:{KEY.secret.hex()}"
SECRETS = {
    HOSPITAL: {"caller.2026-11": f"sm2:{KEY.public.encoded.hex()}", "caller.2026-12": f"hmac-sha256:{'k' * 32}"},
    OTHER_HOSPITAL: {"verify.2026-11": f"hmac-sha256:{'k' * 32}"},
}
PATH = "/api/v1/transactions/settlement.settle"


@pytest.fixture
def world(database_url, tmp_path) -> Iterator[TestHub]:
    file = tmp_path / "secrets.yaml"
    file.write_text(json.dumps(SECRETS))
    with a_hub(database_url, settings_changes={"party_secrets": str(file)}) as running:
        yield running


def signed(
    world: TestHub,
    method: str = "POST",
    path: str = PATH,
    body: bytes = b"",
    *,
    key: str = OWN,
    key_id: str = "2026-11",
    late_s: int = 0,
    idempotency_key: str = "",
) -> dict[str, str]:
    """Headers by the names that the client of the tests takes."""
    created = int(world.clock.now().timestamp()) - late_s
    nonce = base64.urlsafe_b64encode(sm2.new_key().secret).decode()
    request = http_signatures.Request(method, path, body, idempotency_key)
    headers = http_signatures.sign_request(signing_key(key), key_id, request, created, nonce)
    return {name.replace("-", "_"): value for name, value in headers.items()}


def settle(world: TestHub, number: str = "S-1", headers: dict[str, str] | None = None, **changes) -> Reply:
    body = json.dumps(a_settle_request(30_000, number)).encode()
    given = signed(world, body=body, idempotency_key=number, **changes) if headers is None else headers
    return Client(world.hub.gateway.port).request("POST", PATH, body, Idempotency_Key=number, **given)


def refused(reply: Reply, reason: str) -> bool:
    assert (reply.status, reply.json["code"]) == (401, "party.signature")
    assert reason in reply.json["detail"]
    return True


def test_a_party_that_signs_is_served_under_each_of_its_keys(world):
    assert settle(world).status == 200
    assert settle(world, "S-2", key=f"hmac-sha256:{'k' * 32}", key_id="2026-12").status == 200

    case_id = settle(world).json["case_id"]
    path = f"/api/v1/cases/{case_id}"
    client = Client(world.hub.gateway.port)

    assert client.get(path, **signed(world, "GET", path)).status == 200
    query = "/api/v1/cases?settlement_no=S-2"
    assert client.get(query, **signed(world, "GET", query)).status == 200


NOT_PROVEN: tuple[tuple[dict[str, Any], str], ...] = (
    ({"headers": {}}, "signature.missing"),
    ({"key": f"sm2:{'11' * 32}"}, "signature.wrong"),
    ({"key_id": "1999"}, "signature.key"),
    ({"late_s": 400}, "signature.expired"),
    ({"late_s": -400}, "signature.expired"),
    ({"path": "/api/v1/transactions/settlement.cancel"}, "signature.wrong"),
    ({"method": "PUT"}, "signature.wrong"),
    ({"key": f"hmac-sha256:{'k' * 32}"}, "signature.algorithm"),
)


def test_the_token_alone_lets_nobody_in_and_each_refusal_says_why(world):
    changed_body = signed(world, body=b"{}", idempotency_key="S-1")

    for changes, reason in (*NOT_PROVEN, ({"headers": changed_body}, "digest.wrong")):
        assert refused(settle(world, **changes), reason)
    assert world.count("settlement_case") == 0


def test_only_who_has_a_key_must_sign_and_does_on_every_route(world):
    client = Client(world.hub.gateway.port)
    basic = base64.b64encode(f"{HOSPITAL}:{token_for(TOKEN_SECRET, HOSPITAL)}".encode()).decode()

    assert refused(client.get("/api/v1/cases?settlement_no=S-1"), "signature.missing")
    assert refused(client.get("/api/v1/mailbox"), "signature.missing")
    assert refused(client.post("case.query", {"institution": HOSPITAL, "settlement_no": "S-1"}), "signature.missing")
    assert refused(client.request("POST", "/national", b"{}"), "signature.missing")
    soap = client.request("POST", "/soap/settlement", b"<a/>", Authorization=f"Basic {basic}")
    assert refused(soap, "signature.missing")
    assert client.get("/healthz").status == 200
    other = Client(world.hub.gateway.port, OTHER_HOSPITAL)
    assert other.get("/api/v1/cases?settlement_no=S-1").status == 200


def test_a_signature_is_good_once(world):
    body = json.dumps(a_settle_request(30_000, "S-1")).encode()
    headers = signed(world, body=body, idempotency_key="S-1")

    assert settle(world, headers=headers).status == 200
    assert refused(settle(world, headers=headers), "signature.replayed")
    assert settle(world).status == 200


def test_a_key_that_cannot_be_used_stops_the_start_by_name():
    with pytest.raises(InvalidSettings, match=HOSPITAL) as refusal:
        caller_keys({HOSPITAL: {"caller.1": "sm2:abcd"}})

    assert "abcd" not in str(refusal.value)
    assert caller_keys({HOSPITAL: {"sign.1": "whatever"}}) == {}
    assert verifying_key(SECRETS[HOSPITAL]["caller.2026-11"]).algorithm == "sm2"
