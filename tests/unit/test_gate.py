"""The gate before a payer: who may pass, why not, and that threads cannot get more through together."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hub.gate import Closed, Gate
from routing.breaker import OPEN_S, BreakerState
from routing.budget import BURST_MIN
from tests.support.builders import CRITICAL, a_party, a_rule_book


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def a_gate(clock: Clock | None = None, *, by_queue: bool = False, **changes) -> Gate:
    party = a_rule_book(parties=[a_party(CRITICAL, **changes)]).party_by_code[CRITICAL]
    return Gate(party, by_queue=by_queue, monotonic=clock or Clock())


def down(clock: Clock, **changes) -> Gate:
    gate = a_gate(clock, **changes)
    for _ in range(5):
        gate.ended("payer.silent")
    return gate


def test_a_stopped_gate_lets_nothing_through_until_it_is_released():
    gate = a_gate()
    gate.stop(True)

    assert [one.reason for one in (gate.first(), gate.again()) if one] == ["payer_stopped"] * 2
    gate.stop(False)
    assert (gate.first(), gate.again()) == (None, None)


def test_a_payer_that_is_down_is_asked_by_one_probe():
    clock = Clock()
    gate = down(clock)

    assert gate.first() == Closed("payer_down", OPEN_S)
    clock.now = OPEN_S
    assert gate.first() is None
    assert gate.again() == Closed("payer_down", OPEN_S)
    gate.ended()
    assert (gate.first(), gate.again(), gate.view().breaker) == (None, None, BreakerState.CLOSED)


def test_a_party_without_a_breaker_is_never_down():
    assert down(Clock(), breaker_failures=0).first() is None
    assert down(Clock(), by_queue=True).first() is None


def test_a_repeat_without_budget_rests_and_is_counted():
    gate = a_gate()
    granted = [gate.again() for _ in range(int(BURST_MIN) + 3)]

    assert granted.count(None) == BURST_MIN
    assert {one.reason for one in granted if one} == {"retry_budget"}
    assert gate.view().retries_held == 3
    assert gate.first() is None


def test_a_repeat_that_must_rest_does_not_use_up_the_probe():
    clock = Clock()
    gate = a_gate(clock)
    while gate.again() is None:
        pass
    for _ in range(5):
        gate.ended("payer.silent")
    gate._budget.tokens = -100.0
    clock.now = OPEN_S

    assert gate.again() == Closed("retry_budget", 5.0)
    assert gate.first() is None


def test_while_a_payer_is_down_no_budget_is_spent():
    gate = down(Clock())
    for _ in range(100):
        assert gate.again() == Closed("payer_down", OPEN_S)

    assert gate.view().retries_held == 0
    gate.ended()
    assert gate.again() is None


def together(threads: int, do) -> None:
    begin = threading.Barrier(threads)

    def run() -> None:
        begin.wait()
        do()

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def test_threads_together_get_no_more_through_than_one():
    gate = a_gate()
    passed: list[Closed | None] = []

    together(8, lambda: [passed.append(gate.again()) for _ in range(50)])

    assert passed.count(None) == BURST_MIN
    assert gate.view().retries_held == 400 - BURST_MIN


def test_threads_together_make_one_probe():
    clock = Clock()
    gate = down(clock)
    clock.now = OPEN_S
    passed: list[Closed | None] = []

    together(8, lambda: [passed.append(gate.first()) for _ in range(50)])

    assert passed.count(None) == 1
