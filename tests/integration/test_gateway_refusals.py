"""The gateway's refusals: every one in the same form, with its status, and without an effect."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from hub.gateway import protocol, reading
from hub.inbound import Taken
from tests.support.builders import CRITICAL, HOSPITAL, OTHER_HOSPITAL, a_settle_request, as_bytes
from tests.support.eventually import eventually
from tests.support.http_client import Client, Reply
from tests.support.hub_in_process import TestHub, a_hub

SETTLE = "settlement.settle"
PATH = f"/api/v1/transactions/{SETTLE}"
MEBIBYTE = 1024 * 1024
GOOD = as_bytes(a_settle_request())


@pytest.fixture
def world(shared_world: TestHub) -> Iterator[TestHub]:
    """No test of this file may leave a case behind; the one that settles does so in a hub of its own."""
    yield shared_world
    assert shared_world.count("settlement_case") == 0


def refused(reply: Reply, status: int, code: str) -> bool:
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json
    assert problem.keys() >= {"type", "title", "status", "detail", "detail_zh", "code"}
    assert (reply.status, problem["status"], problem["code"]) == (status, status, code)
    return True


@pytest.mark.parametrize("authorization", ["", "Bearer x", "Basic eDp5", f"Bearer {HOSPITAL}.AAAA"])
@pytest.mark.parametrize(
    "path", [PATH, "/api/v1/cases", "/api/v1/cases/1", "/api/v1/cases/1/timeline", "/api/v1/mailbox"]
)
def test_a_stranger_is_not_served(hospital, authorization, path):
    method = "POST" if path == PATH else "GET"

    reply = hospital.request(method, path, GOOD if method == "POST" else None, Authorization=authorization)

    assert refused(reply, 401, "party.unauthenticated")
    assert reply.headers["www-authenticate"].startswith("Bearer")


def test_a_party_header_is_worth_nothing_unless_it_is_trusted(hospital):
    assert refused(hospital.settle(Authorization="", X_Party=HOSPITAL), 401, "party.unauthenticated")


def test_nobody_speaks_for_another(world):
    reply = Client(world.hub.gateway.port, OTHER_HOSPITAL).settle()

    assert refused(reply, 403, "party.forbidden")


def test_an_insurer_settles_nothing(world):
    assert Client(world.hub.gateway.port, CRITICAL).settle().status == 403


def test_who_is_not_registered_may_not_send(world):
    message = a_settle_request(institution="H99999999999")

    reply = Client(world.hub.gateway.port, "H99999999999").post(SETTLE, message)

    assert refused(reply, 403, "party.unknown")


@pytest.mark.parametrize("transaction", [SETTLE, "settlement.trial", "settlement.cancel"])
def test_what_has_an_effect_needs_a_key(hospital, transaction):
    reply = hospital.post(transaction, {}, key="")

    assert refused(reply, 400, "message.idempotency_key")
    assert reply.json["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("key", ["a b", "x" * 65, "é", '""', "a;b"])
def test_a_key_that_cannot_be_used_is_refused(hospital, key):
    reply = hospital.settle(key=key)

    assert refused(reply, 400, "message.idempotency_key")
    assert key not in reply.body.decode()


def test_a_key_may_be_quoted(database_url):
    with a_hub(database_url) as world:
        assert Client(world.hub.gateway.port).settle(key='"K-1"').status == 200


@pytest.mark.parametrize("content_type", ["", "text/xml", "application/json; charset=gbk", "multipart/form-data"])
def test_another_content_type_is_refused(hospital, content_type):
    assert refused(hospital.settle(Content_Type=content_type), 415, "message.content_type")


def test_a_compressed_body_is_refused(hospital):
    assert refused(hospital.settle(Content_Encoding="gzip"), 415, "message.content_type")


def test_an_announced_body_may_not_be_too_large(hospital):
    assert refused(hospital.post(SETTLE, b" " * (MEBIBYTE + 1)), 413, "message.too_large")


def test_a_streamed_body_may_not_become_too_large(hospital):
    def stream():
        yield from [b" " * 65536] * 17

    assert refused(hospital.post(SETTLE, stream()), 413, "message.too_large")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "message.malformed"),
        (b"{", 400, "message.malformed"),
        (b"\xff\xfe", 400, "message.malformed"),
        (b'{"a":1,"a":2}', 400, "message.malformed"),
        (b"[" * 100_000, 400, "message.malformed"),
        (b"{}", 422, "message.invalid"),
        (b"[]", 422, "message.invalid"),
        (GOOD.replace(b'"300.00"', b'"1E5"'), 422, "message.invalid"),
    ],
)
def test_a_wrong_body_is_refused(hospital, body, status, code):
    assert refused(hospital.post(SETTLE, body), status, code)


def test_a_refusal_names_each_field_and_repeats_no_value(hospital):
    reply = hospital.post(SETTLE, a_settle_request(region="SECRET-1", total="SECRET-2"))

    assert {error["field"] for error in reply.json["errors"]} >= {"region", "total"}
    assert "SECRET" not in reply.body.decode()


@pytest.mark.parametrize("name", ["x", "settlement.guess", "SETTLEMENT.SETTLE", "a%2Fb"])
def test_an_unknown_transaction_is_not_found(hospital, name):
    reply = hospital.post(name, GOOD)

    assert reply.status == 404
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1/cases/", "/api/v1/transactions", "/metrics/../x"])
def test_an_unknown_path_is_not_found(hospital, path):
    assert refused(hospital.get(path), 404, "http.no_such_path")


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("DELETE", "/api/v1/cases/1"), ("POST", "/healthz")])
def test_a_method_that_is_not_meant_is_refused(hospital, method, path):
    reply = hospital.request(method, path)

    assert refused(reply, 405, "http.method_not_allowed")
    assert reply.headers["allow"]


def raw(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """What the gateway says to these bytes before it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        connection.settimeout(30)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


@pytest.mark.parametrize(
    "sent",
    [
        b"rubbish\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 5_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX-A: " + b"b" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_same_form(world, sent):
    status, headers, body = raw(world.hub.gateway.port, sent)

    assert (status, headers["content-type"], headers["connection"]) == (400, "application/problem+json", "close")
    assert json.loads(body)["code"] == "http.malformed"


def test_a_refusal_reaches_a_sender_that_is_still_sending(world):
    with socket.create_connection(("127.0.0.1", world.hub.gateway.port), timeout=30) as connection:
        connection.sendall(b"GET /" + b"a" * 100_000)
        # The refusal is on its way by now; what follows must not make the connection reset and take it back.
        assert connection.recv(12) == b"HTTP/1.1 400"
        connection.sendall(b"b" * 200_000)
        rest = b"".join(iter(lambda: connection.recv(65536), b""))

    assert b"http.malformed" in rest


def test_who_sends_no_request_is_hung_up_on(world, monkeypatch):
    monkeypatch.setattr(protocol, "HEADERS_S_MAX", 0.05)

    with socket.create_connection(("127.0.0.1", world.hub.gateway.port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-A:")

        assert connection.recv(1) == b""


def test_a_body_that_comes_too_slowly_is_refused(world, hospital, monkeypatch):
    monkeypatch.setattr(reading, "BODY_S_MAX", 0.05)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n"
        f"Idempotency-Key: K\r\nConnection: close\r\nAuthorization: {hospital.authorization}\r\n\r\n"
    )

    status, _, body = raw(world.hub.gateway.port, head.encode() + b"{")

    assert (status, json.loads(body)["code"]) == (408, "http.too_slow")


def test_a_bug_says_nothing_of_itself(world, hospital, monkeypatch):
    def broken(batch):
        raise ZeroDivisionError("SECRET")

    monkeypatch.setattr(world.hub.gateway._intake._handle, "_take", broken)

    reply = hospital.settle()

    assert refused(reply, 500, "hub.error")
    assert "SECRET" not in reply.body.decode()


def test_a_culprit_does_not_spoil_its_batch(world, monkeypatch):
    def picky(batch):
        if any(one == "bad" for one in batch):
            raise ZeroDivisionError
        return [Taken(case_id=str(one)) for one in batch]

    intake = world.hub.gateway._intake._handle
    monkeypatch.setattr(intake, "_take", picky)
    results = intake(["a", "b", "bad", "c"])

    assert [result.case_id if isinstance(result, Taken) else None for result in results] == ["a", "b", None, "c"]


def test_health_tells_states_and_nothing_else(world, hospital):
    assert hospital.get("/healthz", Authorization="").json == {"status": "ok"}
    ready = eventually(lambda: (reply := hospital.get("/readyz", Authorization="")).status == 200 and reply)
    assert ready.json == {"status": "ok", "checks": {"database": "ok", "broker": "ok", "rule_book": "ok"}}


def test_the_description_is_served(hospital):
    assert hospital.get("/openapi.json", Authorization="").json["openapi"] == "3.1.0"
