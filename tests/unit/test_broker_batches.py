"""What becomes of a batch when its handler raises."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from hub.broker.batches import BatchRunner
from hub.broker.transport import ACK, Verdict, VerdictKind
from schemas.errors import Conflict, IllegalTransition, InvalidMessage, Unavailable


@dataclass
class Received:
    """A delivery in memory."""

    number: int
    verdicts: list[Verdict] = field(default_factory=list)
    queue: str = "payer.B1"
    exchange: str = "cmd"
    routing_key: str = "payer.B1"
    type: str = "leg"
    correlation_id: str = ""
    reply_to: str = ""
    user_id: str = ""
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    attempt: int = 1

    @property
    def message_id(self) -> str:
        return f"m-{self.number}"

    @property
    def settled(self) -> bool:
        return bool(self.verdicts)

    def settle(self, verdict: Verdict) -> None:
        if not self.verdicts:
            self.verdicts.append(verdict)


class Impatient(threading.Event):
    """A stop signal that lets no time pass while it is waited for."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def a_runner(handle, hold_s_max: float = 30.0) -> BatchRunner:
    return BatchRunner(handle, Impatient(), hold_s_max)


def some(count: int) -> list[Received]:
    return [Received(number) for number in range(count)]


@given(size=st.integers(1, 40), poisoned=st.sets(st.integers(0, 39)))
def test_only_the_culprits_die(size: int, poisoned: set[int]) -> None:
    def handle(batch: Sequence[Received]) -> None:
        if any(one.number in poisoned for one in batch):
            raise InvalidMessage("poison", code="poison")
        for one in batch:
            one.settle(ACK)

    batch = some(size)
    a_runner(handle).run(batch)

    for one in batch:
        [verdict] = one.verdicts
        assert (verdict.kind is VerdictKind.DEAD) == (one.number in poisoned)


@pytest.mark.parametrize(
    ("error", "cause", "detail"),
    [
        (InvalidMessage("bad amount", code="amount.bad", field="fees[2]"), "amount.bad", "bad amount (field=fees[2])"),
        (IllegalTransition("no", state="PLANNED"), "hub.illegal_transition", "no (state=PLANNED)"),
        (Conflict("other content"), "case.conflict", "other content"),
        (ValueError("the patient's name"), "hub.bug", "ValueError"),
    ],
)
def test_the_cause_is_a_code_and_no_foreign_text(error: Exception, cause: str, detail: str) -> None:
    def handle(batch: Sequence[Received]) -> None:
        raise error

    [one] = batch = some(1)
    a_runner(handle).run(batch)

    assert one.verdicts == [Verdict(VerdictKind.DEAD, cause=cause, detail=detail)]


@pytest.mark.parametrize(
    "error", [Unavailable("later"), OperationalError("SELECT", {}, Exception())], ids=["ours", "database"]
)
def test_what_is_away_is_waited_for_with_the_whole_batch(error: Exception) -> None:
    sizes: list[int] = []

    def handle(batch: Sequence[Received]) -> None:
        sizes.append(len(batch))
        if len(sizes) < 4:
            raise error
        for one in batch:
            one.settle(ACK)

    batch = some(5)
    a_runner(handle).run(batch)

    assert sizes == [5, 5, 5, 5]
    assert all(one.verdicts == [ACK] for one in batch)


def test_what_stays_away_is_tried_again_from_the_retry_queue() -> None:
    def handle(batch: Sequence[Received]) -> None:
        raise Unavailable("gone for long")

    batch = some(3)
    a_runner(handle, hold_s_max=0.0).run(batch)

    for one in batch:
        assert one.verdicts == [Verdict(VerdictKind.RETRY, delay_s=5.0, cause="service.unavailable")]


def test_poison_found_while_waiting_is_still_found() -> None:
    calls: list[int] = []

    def handle(batch: Sequence[Received]) -> None:
        calls.append(len(batch))
        if len(calls) == 1:
            raise Unavailable("a moment")
        if any(one.number == 2 for one in batch):
            raise InvalidMessage("poison")
        for one in batch:
            one.settle(ACK)

    batch = some(4)
    a_runner(handle).run(batch)

    assert [one.verdicts[0].kind for one in batch] == [ACK.kind, ACK.kind, VerdictKind.DEAD, ACK.kind]


def test_the_last_one_left_is_tried_alone_before_it_is_blamed() -> None:
    def first_settles_then_fails(batch: Sequence[Received]) -> None:
        batch[0].settle(ACK)
        if len(batch) > 1:
            raise InvalidMessage("somebody")

    batch = some(2)
    a_runner(first_settles_then_fails).run(batch)

    assert [one.verdicts for one in batch] == [[ACK], [ACK]]
