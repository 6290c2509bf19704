"""The insurer that reads its tasks from the queue of a real RabbitMQ, or from a mailbox; and what goes wrong there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pika
import pytest
import urllib3

from sandbox import parties
from sandbox.faults import Fault, FaultKind
from sandbox.server import CastSettings, Sandbox
from schemas.payer import ClaimDecision
from tests.support.eventually import eventually
from tests.support.insurer_client import Insurer
from tests.support.sandbox_builders import a_cancel, a_reversal, a_task

HENGAN = parties.HENGAN
OUT, IN = f"out.{HENGAN}", f"in.{HENGAN}"


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    pool = urllib3.PoolManager(retries=False, timeout=30.0)
    yield pool
    pool.clear()


def hengan_task(request_id: str = "R-1", **changes: Any) -> bytes:
    fields = {"insurer": HENGAN, "product": parties.HENGAN_PRODUCT, "policy_no": "HA-20260101-00000007"}
    task: bytes = a_task(request_id, **(fields | changes)).model_dump_json().encode()
    return task


@pytest.fixture
def channel(rabbitmq_url: str) -> Iterator[Any]:
    opened = declared(rabbitmq_url)
    yield opened
    opened.connection.close()


def declared(url: str) -> Any:
    """A channel of the hub's side, with HENGAN's exchange and queue and a queue for its answers."""
    opened = pika.BlockingConnection(pika.URLParameters(url)).channel()
    opened.exchange_declare(IN, "direct", durable=True)
    for name in (OUT, "answers"):
        opened.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    opened.queue_bind("answers", IN, "claim.answer")
    return opened


@pytest.fixture
def queue_sandbox(tmp_path: Path, rabbitmq_url: str, channel: Any) -> Iterator[Sandbox]:
    with Sandbox(CastSettings(data=tmp_path, broker_url=rabbitmq_url)) as running:
        yield running


def put(channel: Any, *bodies: bytes) -> None:
    for number, body in enumerate(bodies):
        properties = pika.BasicProperties(message_id=f"M-{number}", type="claim.settle", delivery_mode=2)
        channel.basic_publish("", OUT, body, properties)


def answers(channel: Any, count: int) -> list[tuple[Any, ClaimDecision]]:
    found: list[tuple[Any, ClaimDecision]] = []

    def enough() -> bool:
        while (got := channel.basic_get("answers", auto_ack=True))[0] is not None:
            found.append((got[1], ClaimDecision.model_validate_json(got[2])))
        return len(found) >= count

    eventually(enough, within_s=60)
    return found


def waiting(channel: Any) -> int:
    return int(channel.queue_declare(OUT, passive=True).method.message_count)


def test_tasks_from_the_queue_are_answered_on_the_insurers_exchange(queue_sandbox: Sandbox, channel: Any) -> None:
    put(channel, *(hengan_task(f"R-{number}") for number in range(50)))

    told = answers(channel, 50)

    assert {decision.request_id for _, decision in told} == {f"R-{number}" for number in range(50)}
    for properties, decision in told:
        assert (properties.correlation_id, properties.type) == (decision.request_id, "claim.answer")
        assert decision.amount == 360_000
    assert len({properties.message_id for properties, _ in told}) == 50
    assert queue_sandbox.books[HENGAN].totals().net_fen == 50 * 360_000
    assert eventually(lambda: waiting(channel) == 0)


def test_a_task_that_comes_twice_is_answered_twice_and_paid_once(queue_sandbox: Sandbox, channel: Any) -> None:
    put(channel, hengan_task(), hengan_task())

    (_, first), (_, second) = answers(channel, 2)

    assert first == second
    assert queue_sandbox.books[HENGAN].totals().settled == 1


def test_settle_and_cancel_may_come_in_one_batch(queue_sandbox: Sandbox, channel: Any) -> None:
    cancel = a_cancel(360_000).model_copy(update={"insurer": HENGAN})
    put(channel, hengan_task(), cancel.model_dump_json().encode())

    outcomes = [decision.outcome for _, decision in answers(channel, 2)]

    assert sorted(outcomes) == ["approved", "cancelled"]
    assert queue_sandbox.books[HENGAN].totals().net_fen == 0


def test_a_reversal_by_queue_bars_the_task_that_comes_later(queue_sandbox: Sandbox, channel: Any) -> None:
    put(channel, a_reversal(insurer=HENGAN).model_dump_json().encode(), hengan_task())

    told = {decision.request_id: decision for _, decision in answers(channel, 2)}

    assert (told["X-1"].outcome, told["X-1"].amount) == ("cancelled", 0)
    assert (told["R-1"].outcome, told["R-1"].reason_code) == ("declined", "cancelled_before")
    assert queue_sandbox.books[HENGAN].totals().net_fen == 0


def test_a_queue_insurer_refuses_to_undo_when_told_to(queue_sandbox: Sandbox, channel: Any) -> None:
    queue_sandbox.set_faults(HENGAN, [Fault(kind=FaultKind.REFUSE_UNDO, count=1)])
    undo = a_reversal(insurer=HENGAN).model_dump_json().encode()
    put(channel, hengan_task(), undo, undo)

    told = [decision.outcome for _, decision in answers(channel, 3) if decision.request_id == "X-1"]

    assert told == ["declined", "cancelled"]


def test_a_delayed_effect_by_queue_comes_without_an_answer(queue_sandbox: Sandbox, channel: Any) -> None:
    queue_sandbox.set_faults(HENGAN, [Fault(kind=FaultKind.DELAYED_EFFECT, count=1, seconds=0.3)])
    put(channel, hengan_task("R-1"))
    put(channel, hengan_task("R-2"))

    assert [decision.request_id for _, decision in answers(channel, 1)] == ["R-2"]
    assert eventually(lambda: queue_sandbox.books[HENGAN].effective("R-1") == 360_000)


def test_a_task_that_is_none_does_not_stop_its_neighbours(queue_sandbox: Sandbox, channel: Any) -> None:
    put(channel, b"rubbish", hengan_task(), b"[]")

    assert answers(channel, 1)[0][1].request_id == "R-1"
    assert eventually(lambda: waiting(channel) == 0)


def test_duplicate_answers_have_their_own_message_ids(queue_sandbox: Sandbox, channel: Any) -> None:
    queue_sandbox.set_faults(HENGAN, [Fault(kind=FaultKind.DUPLICATE_ANSWER)])
    put(channel, hengan_task())

    (one, first), (two, second) = answers(channel, 2)

    assert first == second
    assert one.message_id != two.message_id


def test_a_lost_answer_is_paid_and_never_told(queue_sandbox: Sandbox, channel: Any) -> None:
    queue_sandbox.set_faults(HENGAN, [Fault(kind=FaultKind.LOST_ANSWER, count=1)])
    put(channel, hengan_task("R-1"))
    eventually(lambda: queue_sandbox.books[HENGAN].effective("R-1") > 0)
    put(channel, hengan_task("R-2"))

    assert [decision.request_id for _, decision in answers(channel, 1)] == ["R-2"]


def test_a_late_answer_comes_after_the_next_one(queue_sandbox: Sandbox, channel: Any) -> None:
    queue_sandbox.set_faults(HENGAN, [Fault(kind=FaultKind.LATE, count=1, seconds=0.5)])
    put(channel, hengan_task("R-1"), hengan_task("R-2"))

    assert [decision.request_id for _, decision in answers(channel, 2)] == ["R-2", "R-1"]


def test_a_review_tells_the_hub_the_final_word(queue_sandbox: Sandbox, channel: Any, http: urllib3.PoolManager) -> None:
    shared = {"product": parties.SHARED_PRODUCT, "policy_no": "CC-20260101-00000007", "left": 9_000_000}
    put(channel, hengan_task(**shared))
    (_, deferred) = answers(channel, 1)[0]

    reviewed = Insurer(queue_sandbox, http, HENGAN).post("/sandbox/review", b'{"request_id":"R-1","amount":"900.00"}')

    (_, final) = answers(channel, 1)[0]
    assert (deferred.outcome, final.outcome, final.amount) == ("deferred", "approved", 90_000)
    assert reviewed.status == 200


def test_a_killed_broker_loses_no_answer(tmp_path: Path, breakable_rabbitmq: Any, breakable_rabbitmq_url: str) -> None:
    before = declared(breakable_rabbitmq_url)
    before.confirm_delivery()
    with Sandbox(CastSettings(data=tmp_path, broker_url=breakable_rabbitmq_url)) as sandbox:
        put(before, *(hengan_task(f"R-{number}") for number in range(40)))
        eventually(lambda: sandbox.books[HENGAN].totals().settled > 0)
        breakable_rabbitmq.kill()
        breakable_rabbitmq.start()
        after = declared(breakable_rabbitmq_url)
        put(after, *(hengan_task(f"R-{number}") for number in range(40, 60)))
        told: set[str] = set()

        def everybody() -> bool:
            told.update(decision.request_id for _, decision in answers(after, 1))
            return len(told) == 60

        eventually(everybody, within_s=30)
        after.connection.close()
        assert sandbox.books[HENGAN].totals().settled == 60


# the mailbox


class Mailbox(ThreadingHTTPServer):
    """The hub's HTTP mailbox as the insurer is promised it."""

    daemon_threads = True

    def __init__(self, tasks: list[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _MailboxHandler)
        self.messages = [
            {"id": number, "message_id": f"M-{number}", "type": "claim.settle", "body": orjson.loads(task)}
            for number, task in enumerate(tasks)
        ]
        self.answers: list[ClaimDecision] = []
        self.parties: set[str | None] = set()
        self.fail_posts = 0
        self.lock = threading.Lock()


class _MailboxHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Mailbox

    def do_GET(self) -> None:
        with self.server.lock:
            self.tell(200, orjson.dumps({"messages": self.server.messages}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.parties.add(self.headers["X-Party"])
            if self.path.endswith("/ack"):
                done = set(orjson.loads(body)["ids"])
                self.server.messages = [one for one in self.server.messages if one["id"] not in done]
            elif self.server.fail_posts:
                self.server.fail_posts -= 1
                self.tell(503, b"{}")
                return
            else:
                self.server.answers.append(ClaimDecision.model_validate_json(body))
        self.tell(202, b"{}")

    def tell(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


def test_tasks_from_the_mailbox_are_answered_and_acknowledged(tmp_path: Path) -> None:
    mailbox = Mailbox([hengan_task(f"R-{number}") for number in range(5)])
    mailbox.fail_posts = 2
    thread = threading.Thread(target=mailbox.serve_forever, daemon=True)
    thread.start()
    with Sandbox(CastSettings(data=tmp_path, hub_url=f"http://127.0.0.1:{mailbox.server_port}")) as sandbox:
        eventually(lambda: not mailbox.messages, within_s=60)

        assert {decision.request_id for decision in mailbox.answers} == {f"R-{number}" for number in range(5)}
        assert sandbox.books[HENGAN].totals().settled == 5
        assert mailbox.parties == {HENGAN}
    mailbox.shutdown()
    mailbox.server_close()
