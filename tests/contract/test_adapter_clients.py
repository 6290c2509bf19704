"""The payers' clients against real servers: what left and what did not, and never a decision out of a failure."""

from __future__ import annotations

import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import trustme

from adapters.conversation import TRANSCRIPT, calls_of
from adapters.http_pool import ANSWER_BYTES_MAX
from adapters.registry import make_adapter
from schemas.codes import Outcome
from schemas.errors import Malformed, OutcomeUnknown, Unavailable
from schemas.payer import Decision, Operation, PartySettings, PayerTask
from tests.support.basic_soap import MEDIA, an_answer
from tests.support.payer_tasks import a_task, an_insurer_task
from tests.support.samples import ADAPTERS, read_answer
from tests.support.scripted_server import Peer, free_port, http, scripted_server

APPROVED = (
    b'{"schema_version":"1","request_id":"R-0001","outcome":"approved","amount":"1.00","payer_reference":"A-1",'
    b'"decided_at":"2026-03-02T09:20:00+08:00"}'
)
STANDS = APPROVED.replace(b"R-0001", b"R-0000")
INQUIRY = a_task(Operation.INQUIRE)


def recorded(adapter: str, sample: str) -> tuple[PayerTask, bytes, str]:
    """A recorded task with the answer to it; of a conversation with the answer to its last call."""
    _, task, answer = read_answer(ADAPTERS / adapter / "samples" / f"{sample}.expected.json")
    if answer.content_type != TRANSCRIPT:
        return task, answer.body, answer.content_type
    last = calls_of(answer)[-1]
    return task, last.answer, last.content_type


OPTIONS = {"insurer.picc": {"fees": "by_notice"}}
"""Of a dialect whose settle is a conversation: those that leave one call of it."""
PARTIES = {
    "basic.soap": (a_task(), an_answer(a_task()).body, MEDIA["1.1"]),
    "basic.soap12": (a_task(), an_answer(a_task(), "1.2").body, MEDIA["1.2"]),
    "insurer.rest": (an_insurer_task(), APPROVED, "application/json"),
    "basic.soap inquiry": (INQUIRY, an_answer(INQUIRY).body, MEDIA["1.1"]),
    "insurer.rest inquiry": (an_insurer_task(Operation.INQUIRE), STANDS, "application/json"),
    "insurer.chinalife": recorded("insurer/chinalife", "settle_approved"),
    "insurer.picc": recorded("insurer/picc", "settle_approved"),
    "basic.national": recorded("basic/national", "pharmacy_approved"),
}
"""By adapter and, where it is no settle, what is asked."""
everyone = pytest.mark.parametrize("name", PARTIES)


def settings(name: str, endpoint: str, **changes) -> PartySettings:
    options = OPTIONS.get(name, {})
    return PartySettings(code="P", adapter=name.partition(" ")[0], endpoint=endpoint, options=options, **changes)


def ask(adapter, name: str, timeout_s: float = 5.0) -> Decision:
    """What the engine does: prepare, send, decode."""
    task = PARTIES[name][0]
    return adapter.decode(task, adapter.send(adapter.prepare(task), timeout_s))


def ask_at(name: str, endpoint: str, timeout_s: float = 5.0, **changes) -> Decision:
    adapter = make_adapter(settings(name, endpoint, **changes))
    try:
        return ask(adapter, name, timeout_s)
    finally:
        adapter.close()


def answering(name: str, server_requests: list[bytes] | None = None, **options):
    """A script that answers every request on a connection rightly."""
    body, content_type = PARTIES[name][1:]

    def script(peer: Peer) -> None:
        while request := peer.read_request():
            if server_requests is not None:
                server_requests.append(request)
            peer.send(http(body, content_type, **options))

    return script


@everyone
def test_an_answer_becomes_a_decision(name):
    requests: list[bytes] = []
    with scripted_server(answering(name, requests)) as server:
        decision = ask_at(name, server.url)

    assert decision.outcome is Outcome.APPROVED
    assert requests[0].startswith(b"GET /pay/claims/R-0000 " if name == "insurer.rest inquiry" else b"POST /pay")


def test_a_soap_request_says_its_action():
    requests: list[bytes] = []
    with scripted_server(answering("basic.soap", requests)) as server:
        ask_at("basic.soap", server.url)
    with scripted_server(answering("basic.soap12", requests)) as server:
        ask_at("basic.soap12", server.url)

    assert b'\r\nSOAPAction: "urn:settlement-hub:basic:v1/Settle"\r\n' in requests[0]
    assert b"\r\nContent-Type: text/xml; charset=utf-8\r\n" in requests[0]
    assert b"SOAPAction" not in requests[1]
    assert b'action="urn:settlement-hub:basic:v1/Settle"\r\n' in requests[1]


def test_a_rest_request_carries_its_idempotency_key():
    requests: list[bytes] = []
    with scripted_server(answering("insurer.rest", requests)) as server:
        ask_at("insurer.rest", server.url)

    assert requests[0].startswith(b"POST /pay/claims HTTP/1.1\r\n")
    assert b"\r\nIdempotency-Key: R-0001\r\n" in requests[0]


def test_a_rest_inquiry_has_no_body_and_no_idempotency_key():
    requests: list[bytes] = []
    with scripted_server(answering("insurer.rest inquiry", requests)) as server:
        ask_at("insurer.rest inquiry", server.url)

    head, _, body = requests[0].partition(b"\r\n\r\n")
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert body == b""
    assert b"accept" in names
    assert names.isdisjoint({b"idempotency-key", b"content-type", b"content-length", b"transfer-encoding"})


def test_calls_with_and_without_a_body_share_a_connection():
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.read_request():
            requests.append(request)
            peer.send(http(STANDS if request.startswith(b"GET") else APPROVED, "application/json"))

    with scripted_server(script) as server:
        adapter = make_adapter(settings("insurer.rest", server.url))
        for name in ("insurer.rest", "insurer.rest inquiry", "insurer.rest"):
            assert ask(adapter, name).outcome is Outcome.APPROVED
        adapter.close()

    assert server.connections == 1
    assert [request.partition(b" ")[0] for request in requests] == [b"POST", b"GET", b"POST"]


@everyone
def test_a_connection_is_kept_between_calls(name):
    with scripted_server(answering(name)) as server:
        adapter = make_adapter(settings(name, server.url))
        for _ in range(3):
            ask(adapter, name)
        adapter.close()

    assert server.connections == 1


@everyone
def test_a_refused_connection_means_that_nothing_left(name):
    with pytest.raises(Unavailable):
        ask_at(name, f"http://127.0.0.1:{free_port()}/pay")


@everyone
def test_an_unknown_host_means_that_nothing_left(name):
    with pytest.raises(Unavailable):
        ask_at(name, "http://payer.invalid/pay")


@everyone
def test_a_connection_that_does_not_come_about_means_that_nothing_left(name):
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(3):  # fill the queue of connections that nobody accepts
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        with pytest.raises(Unavailable):
            ask_at(name, f"http://127.0.0.1:{port}/pay", timeout_s=0.2)


def silent(peer: Peer) -> None:
    peer.read_request()
    peer.wait_for_the_end()


def resets(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def closes(peer: Peer) -> None:
    peer.read_request()


def closes_without_reading(peer: Peer) -> None:
    peer.sock.recv(1)


def talks_nonsense(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"\x16\x03\x01 what? \r\n\r\n")


def truncates(peer: Peer) -> None:
    peer.read_request()
    peer.send(http(b"x" * 100, "text/xml")[:-50])


def breaks_a_chunk(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")


def drips_headers(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    while not peer.stopping.wait(0.02):
        peer.send(b"X-Drip: 1\r\n")


def drips_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 100000\r\n\r\n")
    while not peer.stopping.wait(0.02):
        peer.send(b"<")


def floods_headers(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 10_000 + b"\r\n")


def floods_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n")
    for _ in range(100):
        peer.send(b"x" * 1024 * 1024)


def announces_a_flood(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000)
    peer.wait_for_the_end()


def zips(peer: Peer) -> None:
    peer.read_request()
    peer.send(http(b"\x1f\x8b" + b"\0" * 100, "text/xml", extra="Content-Encoding: gzip\r\n"))


DEAF = [
    silent,
    resets,
    closes,
    closes_without_reading,
    talks_nonsense,
    truncates,
    breaks_a_chunk,
    drips_headers,
    drips_body,
    floods_headers,
    floods_body,
    announces_a_flood,
    zips,
]


@everyone
@pytest.mark.parametrize("script", DEAF, ids=lambda script: script.__name__)
def test_without_a_whole_answer_the_outcome_is_unknown(name, script):
    with scripted_server(script) as server, pytest.raises(OutcomeUnknown):
        ask_at(name, server.url, timeout_s=0.2)


@everyone
@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "503 Busy", "404 Not Found", "302 Found"])
def test_an_http_error_decides_nothing(name, status):
    page = http(b"<html>sorry</html>", "text/html", status, "Location: http://127.0.0.1:9/\r\nRetry-After: 1\r\n")

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(page)

    with scripted_server(script) as server:
        assert ask_at(name, server.url).outcome is Outcome.UNKNOWN
    assert server.connections == 1


@everyone
@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"<html/>", b"{}", b"[]", b"null"])
def test_garbage_decides_nothing(name, body):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(http(body, PARTIES[name][2]))

    # Neither is held as a contradiction: the leg stays in doubt and the payer is asked again.
    with scripted_server(script) as server, pytest.raises((Malformed, OutcomeUnknown)):
        ask_at(name, server.url)


@everyone
def test_a_kept_connection_that_died_is_doubt_and_the_next_call_works(name):
    body, content_type = PARTIES[name][1:]

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(http(body, content_type))
        if peer.number == 0:
            peer.read_request()
            peer.reset()
        else:
            peer.wait_for_the_end()

    with scripted_server(script) as server:
        adapter = make_adapter(settings(name, server.url))
        ask(adapter, name)
        with pytest.raises(OutcomeUnknown):
            ask(adapter, name)
        assert ask(adapter, name).outcome is Outcome.APPROVED
        adapter.close()


@everyone
def test_a_connection_that_the_payer_closed_meanwhile_is_replaced(name):
    closed = threading.Event()
    body, content_type = PARTIES[name][1:]

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(http(body, content_type))
        peer.sock.close()
        closed.set()

    with scripted_server(script) as server:
        adapter = make_adapter(settings(name, server.url))
        ask(adapter, name)
        assert closed.wait(5)
        assert ask(adapter, name).outcome is Outcome.APPROVED
        adapter.close()


def test_more_calls_than_the_party_takes_wait_or_do_not_leave():
    with scripted_server(silent) as server:
        adapter = make_adapter(settings("basic.soap", server.url, concurrency=1))
        with ThreadPoolExecutor(2) as threads:
            calls = [threads.submit(ask, adapter, "basic.soap", 0.3 + number / 10) for number in range(2)]
            errors = {type(call.exception()) for call in calls}
        adapter.close()

    assert OutcomeUnknown in errors
    assert server.connections <= 2


def test_a_deadline_that_is_over_sends_nothing():
    requests: list[bytes] = []
    with scripted_server(answering("basic.soap", requests)) as server, pytest.raises((Unavailable, OutcomeUnknown)):
        ask_at("basic.soap", server.url, timeout_s=0.0)

    assert requests == []


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, *, wants_client: bool = False, host: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


@pytest.fixture
def ca_file(authority, tmp_path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@everyone
def test_tls_with_the_right_authority_works_and_is_kept(name, authority, ca_file):
    with scripted_server(answering(name), server_tls(authority)) as server:
        adapter = make_adapter(settings(name, server.url, ca_file=ca_file))
        assert ask(adapter, name).outcome is Outcome.APPROVED
        assert ask(adapter, name).outcome is Outcome.APPROVED
        adapter.close()

    assert server.connections == 1


@everyone
def test_a_certificate_of_another_authority_is_refused_before_anything_leaves(name, ca_file):
    requests: list[bytes] = []
    with scripted_server(answering(name, requests), server_tls(trustme.CA())) as server, pytest.raises(Unavailable):
        ask_at(name, server.url, ca_file=ca_file)

    assert requests == []


def test_a_certificate_of_another_host_is_refused(authority, ca_file):
    tls = server_tls(authority, host="payer.example")
    with scripted_server(answering("basic.soap"), tls) as server, pytest.raises(Unavailable):
        ask_at("basic.soap", server.url, ca_file=ca_file)


def test_without_an_authority_of_its_own_the_systems_decide(authority):
    with scripted_server(answering("basic.soap"), server_tls(authority)) as server, pytest.raises(Unavailable):
        ask_at("basic.soap", server.url)


def test_old_tls_is_refused(authority, ca_file):
    tls = server_tls(authority)
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        tls.minimum_version, tls.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with scripted_server(answering("basic.soap"), tls) as server, pytest.raises(Unavailable):
        ask_at("basic.soap", server.url, ca_file=ca_file)


def test_a_server_that_never_shakes_hands_is_given_up(ca_file):
    with scripted_server(silent) as server, pytest.raises(Unavailable):
        ask_at("basic.soap", server.url.replace("http:", "https:"), timeout_s=0.3, ca_file=ca_file)


@pytest.mark.parametrize("name", ["basic.soap", "insurer.rest"])
def test_a_client_certificate_is_shown_where_it_is_wanted(name, authority, ca_file, tmp_path):
    own = authority.issue_cert("hub.example")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    own.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(pem.bytes() for pem in own.cert_chain_pems))
    files = {"client_certificate_file": str(chain), "client_key_file": str(key)}
    with scripted_server(answering(name), server_tls(authority, wants_client=True)) as server:
        assert ask_at(name, server.url, ca_file=ca_file, **files).outcome is Outcome.APPROVED


def test_who_shows_no_client_certificate_is_told_so(authority, ca_file):
    requests: list[bytes] = []

    def refusal() -> str:
        # TLS 1.3 lets the client finish before the server looks, and a reset may overtake the server's reason.
        with pytest.raises((Unavailable, OutcomeUnknown)) as error:
            ask_at("insurer.rest", server.url, ca_file=ca_file)
        return error.value.code

    with scripted_server(answering("insurer.rest", requests), server_tls(authority, wants_client=True)) as server:
        assert "tls.client_certificate" in (refusal() for _ in range(50))

    assert requests == []


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": ""},
        {"endpoint": "payer"},
        {"endpoint": "ftp://payer/"},
        {"endpoint": "http://user:secret@payer/"},
        {"endpoint": "http://payer/?a=1"},
        {"endpoint": "https://payer/", "ca_file": "/nowhere/ca.pem"},
        {"endpoint": "https://payer/", "client_certificate_file": "/nowhere/client.pem"},
        {"endpoint": "http://payer/", "adapter": "no.such"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(changes):
    with pytest.raises(ValueError, match="party P") as refusal:
        make_adapter(PartySettings(**{"code": "P", "adapter": "basic.soap"} | changes))

    assert "secret" not in str(refusal.value)


def test_a_flood_is_not_kept_in_memory():
    sent: list[int] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n")
        for megabyte in range(100):
            peer.send(b"x" * 1024 * 1024)
            sent.append(megabyte)

    with scripted_server(script) as server, pytest.raises(OutcomeUnknown):
        ask_at("basic.soap", server.url)

    assert len(sent) * 1024 * 1024 < 10 * ANSWER_BYTES_MAX
