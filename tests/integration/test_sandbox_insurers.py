"""The insurers over REST, over the queue of a real RabbitMQ, and over a mailbox; and every fault they can be given."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pika
import pytest
import urllib3
from pydantic import ValidationError

from sandbox import parties
from sandbox.faults import Fault, FaultKind
from sandbox.server import CastSettings, Sandbox
from schemas.money import fen_of
from schemas.payer import ClaimDecision, Operation
from tests.support.eventually import eventually
from tests.support.sandbox_builders import a_cancel, a_reversal, a_task, basic_facts

ANKANG = parties.ANKANG


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(CastSettings(data=tmp_path)) as running:
        yield running


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    pool = urllib3.PoolManager(retries=False, timeout=5.0)
    yield pool
    pool.clear()


class Insurer:
    """A foreign REST client of one insurer."""

    def __init__(self, sandbox: Sandbox, http: urllib3.PoolManager, code: str = ANKANG) -> None:
        self.url = sandbox.cast.control_urls()[code]
        self.http = http

    def post(self, path: str, body: bytes) -> Any:
        return self.http.request("POST", self.url + path, body=body, headers={"Content-Type": "application/json"})

    def get(self, path: str) -> Any:
        return self.http.request("GET", self.url + path)

    def claim(self, task: Any) -> ClaimDecision:
        answer = self.post("/claims", task.model_dump_json().encode())
        assert answer.status == 200
        return ClaimDecision.model_validate_json(answer.data)

    def cancel(self, cancel: Any) -> ClaimDecision:
        return ClaimDecision.model_validate_json(self.post("/claims/cancel", cancel.model_dump_json().encode()).data)


@pytest.fixture
def insurer(sandbox: Sandbox, http: urllib3.PoolManager) -> Insurer:
    return Insurer(sandbox, http)


def test_a_claim_is_decided_and_booked(sandbox: Sandbox, insurer: Insurer) -> None:
    decision = insurer.claim(a_task())

    assert (decision.outcome, decision.amount) == ("approved", 312_000)
    assert decision.payer_reference
    assert sandbox.books[ANKANG].effective("R-1") == 312_000


def test_a_repeated_claim_gets_the_first_decision(sandbox: Sandbox, insurer: Insurer) -> None:
    assert insurer.claim(a_task()) == insurer.claim(a_task())
    assert sandbox.books[ANKANG].totals().entries == 1


def test_an_id_used_for_another_claim_is_a_conflict(insurer: Insurer) -> None:
    insurer.claim(a_task())

    assert insurer.post("/claims", a_task(left=1).model_dump_json().encode()).status == 409


def test_a_trial_leaves_no_trace(sandbox: Sandbox, insurer: Insurer) -> None:
    assert insurer.claim(a_task(operation=Operation.TRIAL)).amount == 312_000
    assert sandbox.books[ANKANG].totals().entries == 0


def test_a_claim_is_cancelled_once(sandbox: Sandbox, insurer: Insurer) -> None:
    insurer.claim(a_task())

    first, second = insurer.cancel(a_cancel(312_000)), insurer.cancel(a_cancel(312_000, "X-2"))

    assert (first.outcome, first.amount) == (second.outcome, second.amount) == ("cancelled", 312_000)
    assert sandbox.books[ANKANG].totals().net_fen == 0


def test_a_cancel_before_its_claim_bars_it(insurer: Insurer) -> None:
    early = insurer.cancel(a_cancel(312_000))
    late = insurer.claim(a_task())

    assert (early.outcome, early.reason_code) == ("declined", "unknown_original")
    assert (late.outcome, late.reason_code) == ("declined", "cancelled_before")


def test_a_cancel_in_doubt_undoes_whatever_was_paid(sandbox: Sandbox, insurer: Insurer) -> None:
    insurer.claim(a_task())

    undone, again = insurer.cancel(a_reversal()), insurer.cancel(a_reversal("X-2"))

    assert (undone.outcome, undone.amount) == (again.outcome, again.amount) == ("cancelled", 312_000)
    assert sandbox.books[ANKANG].totals().net_fen == 0


def test_a_reversal_before_its_claim_is_confirmed_and_bars_it(insurer: Insurer) -> None:
    early = insurer.cancel(a_reversal())
    late = insurer.claim(a_task())

    assert (early.outcome, early.amount) == ("cancelled", 0)
    assert (late.outcome, late.reason_code) == ("declined", "cancelled_before")


def test_a_reversed_deferral_is_not_decided_any_more(insurer: Insurer) -> None:
    insurer.claim(a_task(basic=basic_facts(9_000_000, 0), left=9_000_000))

    undone = insurer.cancel(a_reversal())

    assert (undone.outcome, undone.amount) == ("cancelled", 0)
    assert insurer.post("/sandbox/review", b'{"request_id":"R-1","amount":"1.00"}').status == 409


def test_a_cancel_of_another_amount_is_refused(sandbox: Sandbox, insurer: Insurer) -> None:
    insurer.claim(a_task())

    assert insurer.cancel(a_cancel(311_999)).reason_code == "amount_differs"
    assert sandbox.books[ANKANG].effective("R-1") == 312_000


def test_an_inquiry_finds_the_decision_or_nothing(insurer: Insurer) -> None:
    unknown = insurer.get("/claims/R-1")

    assert (unknown.status, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert orjson.loads(unknown.data)["type"] == "urn:settlement-hub:problem:claim.not_found"
    assert orjson.loads(unknown.data)["request_id"] == "R-1"

    decision = insurer.claim(a_task())

    assert ClaimDecision.model_validate_json(insurer.get("/claims/R-1").data) == decision

    insurer.cancel(a_reversal())

    fate = ClaimDecision.model_validate_json(insurer.get("/claims/R-1").data)
    assert (fate.request_id, fate.outcome, fate.amount) == ("R-1", "cancelled", 312_000)


def test_a_large_claim_is_deferred_and_decided_by_hand(sandbox: Sandbox, insurer: Insurer) -> None:
    deferred = insurer.claim(a_task(basic=basic_facts(9_000_000, 0), left=9_000_000))
    reviewed = insurer.post("/sandbox/review", b'{"request_id":"R-1","amount":"12000.00"}')

    assert deferred.outcome == "deferred"
    assert ClaimDecision.model_validate_json(reviewed.data).amount == 1_200_000
    assert insurer.claim(a_task(basic=basic_facts(9_000_000, 0), left=9_000_000)).outcome == "approved"
    assert insurer.post("/sandbox/review", b'{"request_id":"R-1","amount":"1.00"}').status == 409
    assert sandbox.books[ANKANG].effective("R-1") == 1_200_000


def test_critical_illness_has_its_own_server(sandbox: Sandbox, http: urllib3.PoolManager) -> None:
    task = a_task(product=parties.CRITICAL_ILLNESS_PRODUCT, insurer=parties.CRITICAL_ILLNESS, layer="critical_illness")

    assert Insurer(sandbox, http, parties.CRITICAL_ILLNESS).claim(task).amount == 60_000


def test_rubbish_is_refused_without_an_echo(insurer: Insurer) -> None:
    answer = insurer.post("/claims", b'{"patient":"secret"}')

    assert answer.status == 422
    assert b"secret" not in answer.data


def test_the_book_can_be_read_over_http(insurer: Insurer) -> None:
    for number in range(3):
        insurer.claim(a_task(f"R-{number}"))

    page = orjson.loads(insurer.get("/sandbox/book?limit=2&offset=1").data)

    assert page["totals"]["settled"] == 3
    assert [entry["request_id"] for entry in page["entries"]] == ["R-1", "R-2"]
    assert insurer.get("/sandbox/book?limit=x").status == 400
    assert orjson.loads(insurer.get("/healthz").data) == {"status": "ok", "party": ANKANG}


def test_a_restarted_party_remembers(tmp_path: Path, http: urllib3.PoolManager) -> None:
    with Sandbox(CastSettings(data=tmp_path)) as first:
        decision = Insurer(first, http).claim(a_task())

    with Sandbox(CastSettings(data=tmp_path)) as second:
        assert Insurer(second, http).claim(a_task()) == decision


# faults


def ask_troubled(insurer: Insurer, script: str) -> Any:
    report = orjson.loads(insurer.post("/sandbox/faults?seed=5", script.encode()).data)
    assert report["seed"] == 5
    return insurer.post("/claims", a_task().model_dump_json().encode())


def test_lost_answer_pays_and_cuts_the_line(sandbox: Sandbox, insurer: Insurer) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask_troubled(insurer, '[{"kind":"lost_answer","count":1}]')

    assert sandbox.books[ANKANG].effective("R-1") == 312_000
    assert insurer.claim(a_task()).amount == 312_000
    assert sandbox.books[ANKANG].totals().settled == 1


def test_silent_pays_nothing_and_never_answers(sandbox: Sandbox, insurer: Insurer) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask_troubled(insurer, '[{"kind":"silent","seconds":0.05}]')

    assert sandbox.books[ANKANG].totals().entries == 0


def test_http_500_pays_nothing(sandbox: Sandbox, insurer: Insurer) -> None:
    assert ask_troubled(insurer, '[{"kind":"http_500"}]').status == 500
    assert sandbox.books[ANKANG].totals().entries == 0


def test_wrong_total_is_in_the_answer_only(sandbox: Sandbox, insurer: Insurer) -> None:
    answer = orjson.loads(ask_troubled(insurer, '[{"kind":"wrong_total"}]').data)

    assert fen_of(answer["amount"]) > 400_000
    assert sandbox.books[ANKANG].effective("R-1") == 312_000


def test_garbage_is_never_a_decision_on_this_claim(sandbox: Sandbox, insurer: Insurer) -> None:
    ask_troubled(insurer, '[{"kind":"garbage"}]')
    for _ in range(12):
        body = insurer.post("/claims", a_task().model_dump_json().encode()).data
        assert b'"request_id":"R-1"' not in body

    assert sandbox.books[ANKANG].totals().settled == 1


@pytest.mark.parametrize("kind", ["slow", "late", "duplicate_answer"])
def test_slow_late_and_doubled_answers_are_still_right(sandbox: Sandbox, insurer: Insurer, kind: str) -> None:
    answer = ask_troubled(insurer, f'[{{"kind":"{kind}","seconds":0.02}}]')

    assert orjson.loads(answer.data)["outcome"] == "approved"
    assert sandbox.books[ANKANG].totals().settled == 1


def test_a_lie_hides_what_stands_from_inquiries_alone(insurer: Insurer) -> None:
    assert ask_troubled(insurer, '[{"kind":"not_found_first","count":2}]').status == 200

    assert [insurer.get("/claims/R-1").status for _ in range(3)] == [404, 404, 200]


def test_a_refused_undo_changes_nothing_and_may_be_tried_again(sandbox: Sandbox, insurer: Insurer) -> None:
    ask_troubled(insurer, '[{"kind":"refuse_undo","count":2}]')

    told = [insurer.cancel(undo) for undo in (a_cancel(312_000), a_reversal(), a_reversal())]

    assert [(each.outcome, each.reason_code) for each in told] == [
        ("declined", "undo_refused"),
        ("declined", "undo_refused"),
        ("cancelled", ""),
    ]
    assert sandbox.books[ANKANG].totals().net_fen == 0


def test_a_delayed_effect_comes_after_the_connection_is_gone(sandbox: Sandbox, insurer: Insurer) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask_troubled(insurer, '[{"kind":"delayed_effect","count":1,"seconds":0.5}]')

    assert insurer.get("/claims/R-1").status == 404
    assert orjson.loads(insurer.get("/sandbox/faults").data)["delayed"] == 1
    assert eventually(lambda: sandbox.books[ANKANG].effective("R-1") == 312_000)
    assert eventually(lambda: orjson.loads(insurer.get("/sandbox/faults").data)["delayed"] == 0)
    assert insurer.claim(a_task()).amount == 312_000
    assert sandbox.books[ANKANG].totals().settled == 1


def test_a_reversal_bars_a_request_that_is_still_lying_inside(sandbox: Sandbox, insurer: Insurer) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask_troubled(insurer, '[{"kind":"delayed_effect","count":1,"seconds":0.5}]')

    undone = insurer.cancel(a_reversal())

    assert (undone.outcome, undone.amount) == ("cancelled", 0)
    assert eventually(lambda: sandbox.books[ANKANG].find("R-1") is not None)
    assert sandbox.books[ANKANG].totals().net_fen == 0


@pytest.mark.parametrize("operation", ["reverse", "inquire"])
@pytest.mark.parametrize("kind", ["lost_answer", "silent", "late", "http_500"])
def test_reversals_and_inquiries_fail_like_anything_else(
    sandbox: Sandbox, insurer: Insurer, operation: str, kind: str
) -> None:
    ask = {"reverse": lambda: insurer.cancel(a_reversal()), "inquire": lambda: insurer.get("/claims/R-1")}[operation]
    script = f'[{{"kind":"{kind}","operation":"{operation}","count":1,"seconds":0.02}}]'
    assert ask_troubled(insurer, script).status == 200

    with suppress(urllib3.exceptions.ProtocolError, ValidationError):
        ask()

    assert orjson.loads(insurer.get("/sandbox/faults").data)["struck"] == {kind: 1}
    worked = operation == "reverse" and kind in ("lost_answer", "late")
    assert sandbox.books[ANKANG].effective("R-1") == (0 if worked else 312_000)


def test_a_refused_connection_comes_back_on_the_same_port(sandbox: Sandbox, insurer: Insurer) -> None:
    insurer.post("/sandbox/faults", b'[{"kind":"refuse_connection","seconds":1.5}]')

    def refused() -> bool:
        try:
            urllib3.request("GET", f"{insurer.url}/healthz", retries=False, timeout=1.0)
        except urllib3.exceptions.NewConnectionError:
            return True
        except urllib3.exceptions.ProtocolError:
            return False
        return False

    assert eventually(refused)
    assert eventually(lambda: not refused(), within_s=10)


def test_a_wrong_script_is_refused(insurer: Insurer) -> None:
    assert insurer.post("/sandbox/faults", b'[{"kind":"explode"}]').status == 422
    assert insurer.post("/sandbox/faults", b'[{"kind":"slow","operation":"pay"}]').status == 422
    assert insurer.post("/sandbox/faults?seed=x", b"[]").status == 422
    assert orjson.loads(insurer.get("/sandbox/faults").data)["faults"] == []


# the queue

HENGAN = parties.HENGAN
OUT, IN = f"out.{HENGAN}", f"in.{HENGAN}"


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

    eventually(enough, within_s=25)
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
        eventually(lambda: not mailbox.messages, within_s=20)

        assert {decision.request_id for decision in mailbox.answers} == {f"R-{number}" for number in range(5)}
        assert sandbox.books[HENGAN].totals().settled == 5
        assert mailbox.parties == {HENGAN}
    mailbox.shutdown()
    mailbox.server_close()
