"""Inquiries and reversals against the sandbox's parties, as they should be and as they go wrong; the books decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import orjson
import pika
import pytest
import urllib3

from adapters.registry import make_adapter
from sandbox.book import Book
from sandbox.faults import Fault, FaultKind
from sandbox.parties import ANKANG, ANKANG_PRODUCT, BASIC, HENGAN, HENGAN_PRODUCT, SHARED_PRODUCT
from sandbox.server import CastSettings, Sandbox
from schemas.codes import Outcome
from schemas.errors import HubError, InvalidMessage, OutcomeUnknown
from schemas.payer import Decision, Operation, PartySettings, PayerTask, RawAnswer
from tests.support.eventually import eventually
from tests.support.payer_tasks import a_fee, a_request, a_task, an_insurer_task

BILL = a_request(fees=tuple(a_fee(number, price="3000.00", quantity="2") for number in range(1, 6)))
LARGE = a_request(fees=tuple(a_fee(number, price="30000.00", quantity="1") for number in range(1, 6)))
ADAPTERS = {"basic.soap": BASIC, "basic.soap12": BASIC, "insurer.rest": ANKANG}


@dataclass(frozen=True)
class Payer:
    """One party of a sandbox, asked through one adapter."""

    sandbox: Sandbox
    adapter: str
    code: str

    @property
    def book(self) -> Book:
        return self.sandbox.books[self.code]

    def task(self) -> PayerTask:
        if self.code == BASIC:
            return a_task(request=BILL)
        policy = "AK-20250101-00000001"
        return an_insurer_task(request=BILL, payer=ANKANG, product=ANKANG_PRODUCT, policy_no=policy)

    def ask(self, task: PayerTask) -> Decision:
        endpoint = self.sandbox.endpoints()[self.code]
        made = make_adapter(PartySettings(code=self.code, adapter=self.adapter, endpoint=endpoint))
        try:
            return made.decode(task, made.send(made.prepare(task), 5.0))
        finally:
            made.close()

    def fails(self, kind: FaultKind, count: int | None = 1, **more: object) -> None:
        self.sandbox.set_faults(self.code, [Fault(kind=kind, count=count, **more)], seed=3)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


@pytest.fixture(params=ADAPTERS)
def payer(request: pytest.FixtureRequest, sandbox: Sandbox) -> Payer:
    return Payer(sandbox, request.param, ADAPTERS[request.param])


def inquiry_of(task: PayerTask, number: int = 1) -> PayerTask:
    return replace(
        task,
        operation=Operation.INQUIRE,
        request_id=f"{task.request_id}-q{number}",
        original_request_id=task.request_id,
    )


def reversal_of(task: PayerTask, request_id: str = "") -> PayerTask:
    return replace(
        task,
        operation=Operation.REVERSE,
        request_id=request_id or f"{task.request_id}-c",
        original_request_id=task.request_id,
    )


def cancel_of(task: PayerTask, decision: Decision, request_id: str = "") -> PayerTask:
    return replace(
        reversal_of(task, request_id),
        operation=Operation.CANCEL,
        original_reference=decision.payer_reference,
        original_amount_fen=decision.amount_fen,
    )


def test_an_inquiry_finds_what_was_settled_with_everything_in_it(payer: Payer) -> None:
    settled = payer.ask(payer.task())

    found = payer.ask(inquiry_of(payer.task()))

    assert settled.outcome is Outcome.APPROVED
    assert replace(found, raw_code=settled.raw_code) == settled
    assert payer.book.totals().entries == 1


def test_an_inquiry_about_what_never_came_finds_nothing(payer: Payer) -> None:
    assert payer.ask(inquiry_of(payer.task())).outcome is Outcome.NOT_FOUND


def test_an_inquiry_finds_a_refusal(payer: Payer) -> None:
    task = payer.task()
    if payer.code == BASIC:
        insurance = BILL.insurance.model_copy(update={"person_no": "1-PAUSED"})
        task = replace(task, request=BILL.model_copy(update={"insurance": insurance}))
    else:
        task = replace(task, product="NO-SUCH")
    payer.ask(task)

    assert payer.ask(inquiry_of(task)).outcome is Outcome.DECLINED


@pytest.mark.parametrize("undo", ["cancel", "reversal"])
def test_an_inquiry_finds_what_was_undone(payer: Payer, undo: str) -> None:
    settled = payer.ask(payer.task())
    payer.ask(cancel_of(payer.task(), settled) if undo == "cancel" else reversal_of(payer.task()))

    assert payer.ask(inquiry_of(payer.task())).outcome is Outcome.CANCELLED


def test_a_reversal_takes_back_what_stands_and_every_further_one_says_the_same(payer: Payer) -> None:
    settled = payer.ask(payer.task())

    first, again = payer.ask(reversal_of(payer.task())), payer.ask(reversal_of(payer.task()))
    other = payer.ask(reversal_of(payer.task(), "R-OTHER"))
    cancel = payer.ask(cancel_of(payer.task(), settled, "R-CANCEL"))

    assert (first.outcome, first.amount_fen) == (Outcome.CANCELLED, settled.amount_fen)
    assert first == again
    assert {(each.outcome, each.amount_fen) for each in (other, cancel)} == {(first.outcome, first.amount_fen)}
    assert (payer.book.totals().net_fen, payer.book.totals().net_account_fen) == (0, 0)


def test_a_reversal_of_what_never_came_leaves_a_tombstone(payer: Payer) -> None:
    undone = payer.ask(reversal_of(payer.task()))

    late = [payer.ask(payer.task()) for _ in range(2)]

    assert (undone.outcome, undone.amount_fen) == (Outcome.CANCELLED, 0)
    assert {(each.outcome, each.reason_code) for each in late} == {(Outcome.DECLINED, "cancelled_before")}
    assert payer.ask(inquiry_of(payer.task())).outcome in (Outcome.DECLINED, Outcome.CANCELLED)
    assert payer.book.totals().net_fen == 0


def test_a_cancel_of_what_does_not_exist_is_refused(payer: Payer) -> None:
    never = Decision(Outcome.APPROVED, amount_fen=100, payer_reference="NOTHING-1")

    refused = payer.ask(cancel_of(payer.task(), never))

    assert (refused.outcome, refused.reason_code) == (Outcome.DECLINED, "unknown_original")


def test_a_reversal_after_a_refused_cancel_under_the_same_id_succeeds(payer: Payer) -> None:
    settled = payer.ask(payer.task())
    wrong = replace(settled, amount_fen=settled.amount_fen - 1)

    refused, undone = payer.ask(cancel_of(payer.task(), wrong)), payer.ask(reversal_of(payer.task()))

    assert (refused.outcome, undone.outcome) == (Outcome.DECLINED, Outcome.CANCELLED)
    assert undone.amount_fen == settled.amount_fen
    assert payer.book.totals().net_fen == 0


def test_a_payer_may_lie_that_it_knows_nothing(payer: Payer) -> None:
    payer.fails(FaultKind.NOT_FOUND_FIRST, 2)
    payer.ask(payer.task())

    outcomes = [payer.ask(inquiry_of(payer.task(), number)).outcome for number in (1, 2, 3)]

    assert outcomes == [Outcome.NOT_FOUND, Outcome.NOT_FOUND, Outcome.APPROVED]


def test_a_refused_undo_is_a_refusal_and_changes_nothing(payer: Payer) -> None:
    settled = payer.ask(payer.task())
    payer.fails(FaultKind.REFUSE_UNDO)

    refused = payer.ask(reversal_of(payer.task()))

    assert (refused.outcome, refused.reason_code) == (Outcome.DECLINED, "undo_refused")
    assert payer.book.effective(payer.task().request_id) == settled.amount_fen
    assert payer.ask(reversal_of(payer.task())).outcome is Outcome.CANCELLED


@pytest.mark.parametrize("make", [reversal_of, inquiry_of])
@pytest.mark.parametrize("kind", [FaultKind.LOST_ANSWER, FaultKind.SILENT])
def test_an_undo_or_inquiry_without_an_answer_is_asked_again(
    payer: Payer, make: Callable[[PayerTask], PayerTask], kind: FaultKind
) -> None:
    payer.ask(payer.task())
    asked = make(payer.task())
    payer.fails(kind, seconds=0.01, operation=asked.operation)

    with pytest.raises(OutcomeUnknown):
        payer.ask(asked)

    assert payer.ask(asked).outcome in (Outcome.CANCELLED, Outcome.APPROVED)
    assert payer.book.totals().net_fen in (0, payer.book.totals().settled_fen)


@pytest.mark.parametrize("make", [reversal_of, inquiry_of])
def test_rubbish_and_foreign_answers_decide_nothing(payer: Payer, make: Callable[[PayerTask], PayerTask]) -> None:
    payer.ask(payer.task())
    asked = make(payer.task())
    payer.fails(FaultKind.GARBAGE, None, operation=asked.operation)

    for _ in range(6):  # each kind of rubbish, and the answer to another request
        with pytest.raises(HubError) as refusal:
            payer.ask(asked)
        assert refusal.value.__class__ is not InvalidMessage, "nobody is called for what is no answer to us"


def test_an_inquiry_that_tells_wrong_amounts_is_held(payer: Payer) -> None:
    payer.ask(payer.task())
    payer.fails(FaultKind.WRONG_TOTAL, None)

    with pytest.raises(InvalidMessage):
        payer.ask(inquiry_of(payer.task()))


def test_a_cancel_that_tells_another_amount_is_held(payer: Payer) -> None:
    settled = payer.ask(payer.task())
    payer.fails(FaultKind.WRONG_TOTAL, None)

    with pytest.raises(InvalidMessage):
        payer.ask(cancel_of(payer.task(), settled))


@pytest.mark.parametrize("kind", [FaultKind.HTTP_500, FaultKind.DUPLICATE_ANSWER, FaultKind.LATE])
def test_busy_doubled_and_late_reversals_take_back_once(payer: Payer, kind: FaultKind) -> None:
    settled = payer.ask(payer.task())
    payer.fails(kind, seconds=0.01, operation=Operation.REVERSE)

    told = [payer.ask(reversal_of(payer.task())) for _ in range(2)]

    assert told[0].outcome is (Outcome.UNKNOWN if kind is FaultKind.HTTP_500 else Outcome.CANCELLED)
    assert (told[1].outcome, told[1].amount_fen) == (Outcome.CANCELLED, settled.amount_fen)
    assert payer.book.totals().net_fen == 0


def test_a_not_found_proves_nothing_while_the_request_lies_inside(payer: Payer) -> None:
    payer.fails(FaultKind.DELAYED_EFFECT, seconds=0.5)
    with pytest.raises(OutcomeUnknown):
        payer.ask(payer.task())

    assert payer.ask(inquiry_of(payer.task())).outcome is Outcome.NOT_FOUND
    assert eventually(lambda: payer.ask(inquiry_of(payer.task(), 2)).outcome is Outcome.APPROVED)


def test_a_reversal_bars_what_still_lies_inside(payer: Payer) -> None:
    payer.fails(FaultKind.DELAYED_EFFECT, seconds=0.5)
    with pytest.raises(OutcomeUnknown):
        payer.ask(payer.task())

    undone = payer.ask(reversal_of(payer.task()))

    assert (undone.outcome, undone.amount_fen) == (Outcome.CANCELLED, 0)
    assert eventually(lambda: payer.book.find(payer.task().request_id) is not None)
    assert payer.book.totals().net_fen == 0


def test_a_reversed_deferral_cannot_be_paid_any_more(sandbox: Sandbox) -> None:
    payer = Payer(sandbox, "insurer.rest", ANKANG)
    task = replace(payer.task(), request=LARGE, left_fen=LARGE.total, product=SHARED_PRODUCT)
    task = replace(task, policy_no="CC-20250101-00000001")
    deferred, found = payer.ask(task), payer.ask(inquiry_of(task))

    undone = payer.ask(reversal_of(task))

    assert (deferred.outcome, found.outcome, undone.outcome) == (
        Outcome.DEFERRED,
        Outcome.DEFERRED,
        Outcome.CANCELLED,
    )
    body = orjson.dumps({"request_id": task.request_id, "amount": "1.00"})
    url = f"{sandbox.cast.control_urls()[ANKANG]}/sandbox/review"
    assert urllib3.request("POST", url, body=body, retries=False).status == 409


# by queue


def hengan_task() -> PayerTask:
    policy = "HA-20250101-00000001"
    return an_insurer_task(request=BILL, payer=HENGAN, product=HENGAN_PRODUCT, policy_no=policy)


class Line:
    """The hub's end of the queue insurer's line on a real broker."""

    def __init__(self, url: str) -> None:
        self.channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        self.channel.exchange_declare(f"in.{HENGAN}", "direct", durable=True)
        for name in (f"out.{HENGAN}", "answers"):
            self.channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
        self.channel.queue_bind("answers", f"in.{HENGAN}", "claim.answer")
        self.adapter = make_adapter(PartySettings(code=HENGAN, adapter="insurer.queue"))

    def tell(self, task: PayerTask) -> None:
        call = self.adapter.prepare(task)
        properties = pika.BasicProperties(message_id=task.request_id, type=call.path, delivery_mode=2)
        self.channel.basic_publish("", f"out.{HENGAN}", call.body, properties)

    def heard(self, task: PayerTask) -> Decision:
        found: list[bytes] = []

        def arrived() -> bool:
            method, _, body = self.channel.basic_get("answers", auto_ack=True)
            found.extend([body] if method is not None else [])
            return bool(found)

        assert eventually(arrived, within_s=60)
        return self.adapter.decode(task, RawAnswer(found[0]))


@pytest.fixture
def line(rabbitmq_url: str) -> Iterator[Line]:
    opened = Line(rabbitmq_url)
    yield opened
    opened.channel.connection.close()


@pytest.fixture
def hengan(rabbitmq_url: str, line: Line) -> Iterator[Sandbox]:
    with Sandbox(CastSettings(broker_url=rabbitmq_url)) as started:
        yield started


def test_a_reversal_by_queue_takes_back_what_stands(hengan: Sandbox, line: Line) -> None:
    line.tell(hengan_task())
    settled = line.heard(hengan_task())
    for _ in range(2):
        line.tell(reversal_of(hengan_task()))

    told = [line.heard(reversal_of(hengan_task())) for _ in range(2)]

    assert {(each.outcome, each.amount_fen) for each in told} == {(Outcome.CANCELLED, settled.amount_fen)}
    assert hengan.books[HENGAN].totals().net_fen == 0


def test_a_reversal_by_queue_that_overtakes_its_task_bars_it(hengan: Sandbox, line: Line) -> None:
    line.tell(reversal_of(hengan_task()))
    undone = line.heard(reversal_of(hengan_task()))
    line.tell(hengan_task())
    late = line.heard(hengan_task())

    assert (undone.outcome, undone.amount_fen) == (Outcome.CANCELLED, 0)
    assert (late.outcome, late.reason_code) == (Outcome.DECLINED, "cancelled_before")


def test_a_lost_answer_to_a_reversal_by_queue_is_told_to_its_repeat(hengan: Sandbox, line: Line) -> None:
    line.tell(hengan_task())
    settled = line.heard(hengan_task())
    hengan.set_faults(HENGAN, [Fault(kind=FaultKind.LOST_ANSWER, count=1, operation=Operation.REVERSE)])
    for _ in range(2):
        line.tell(reversal_of(hengan_task()))

    assert line.heard(reversal_of(hengan_task())).amount_fen == settled.amount_fen
    assert hengan.books[HENGAN].totals().net_fen == 0


def test_rubbish_from_the_queue_decides_nothing(hengan: Sandbox, line: Line) -> None:
    hengan.set_faults(HENGAN, [Fault(kind=FaultKind.GARBAGE)])
    line.tell(reversal_of(hengan_task()))

    with pytest.raises(HubError):
        line.heard(reversal_of(hengan_task()))
