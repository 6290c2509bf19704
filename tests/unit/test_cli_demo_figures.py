"""The demo's arithmetic: percentiles, tallies, and when books agree."""

from __future__ import annotations

from typing import Any

import pytest

from hub.demo.day import Tally
from hub.demo.hospitals import AMQP_PLACES_MAX, with_queues
from hub.demo.report import Latency, Proof, proof_as_dict
from hub.supervisor import BACKOFF_S_MAX, pause_s
from sandbox.day import Place
from sandbox.proof import Difference


def an_answer(**changes: Any) -> dict[str, Any]:
    shares = [
        {"payer": "BASIC", "state": "approved", "amount": "70.00"},
        {"payer": "CARE", "state": "declined", "amount": "0.00", "reason_code": "x", "reason": {"zh": "", "en": "why"}},
        {"payer": "CARE", "state": "not_needed", "amount": "0.00"},
    ]
    money = {"total": "100.00", "account": "10.00", "hospital_borne": "0.00", "cash": "20.00", "deferred": "0.00"}
    return {"status": "settled", "shares": shares, **money} | changes


def a_proof(**changes: Any) -> Proof:
    values: dict[str, Any] = {
        "settlements": 1,
        "sides": {"books": {("BASIC", "H", "S"): 7000}, "hub": {("BASIC", "H", "S"): 7000}},
        "differences": [],
        "wrong_sums": [],
        "troubles": [],
        "dead_letters": 0,
        "settled_down": True,
    }
    return Proof(**values | changes)


def test_percentiles_are_values_that_occurred() -> None:
    latency = Latency.of([number / 1000 for number in range(100, 0, -1)])

    assert (latency.p50, latency.p95, latency.p99) == (50.0, 95.0, 99.0)
    assert Latency.of([0.004]) == Latency(4.0, 4.0, 4.0)
    assert Latency.of([]) == Latency(0.0, 0.0, 0.0)


def test_a_tally_adds_up_in_fen() -> None:
    tally = Tally()

    tally.take("outpatient", an_answer())
    tally.take("pharmacy", an_answer())

    assert (tally.cases, tally.total_fen, tally.account_fen, tally.cash_fen) == (2, 20000, 2000, 4000)
    assert tally.payers["BASIC"] == {"asked": 2, "approved": 2, "fen": 14000}
    assert tally.payers["CARE"]["asked"] == 2
    assert tally.reasons["CARE", "declined", "x", "why"] == 2
    assert tally.kinds["pharmacy"]["cases"] == 1


def test_books_agree_when_nothing_is_odd() -> None:
    assert a_proof().agree
    assert proof_as_dict(a_proof())["totals"] == {"BASIC": {"books": "70.00", "hub": "70.00"}}


@pytest.mark.parametrize(
    "odd",
    [
        {"differences": [Difference("BASIC", "H", "S", (("books", 1), ("hub", 2)))]},
        {"wrong_sums": ["S"]},
        {"troubles": ["not settled: S"]},
        {"dead_letters": 1},
        {"settled_down": False},
    ],
)
def test_books_differ_when_anything_is_odd(odd: dict[str, Any]) -> None:
    assert not a_proof(**odd).agree


def test_some_institutions_keep_speaking_http_where_there_is_a_broker() -> None:
    places = [Place(f"H4403000{number:04d}", "x", "hospital") for number in range(200)]

    assert len(with_queues(places)) == AMQP_PLACES_MAX
    assert len(with_queues(places[:20])) == 18


def test_restarts_pause_longer_up_to_a_maximum() -> None:
    pauses = [pause_s(failures, 0.5) for failures in (1, 2, 3, 50)]

    assert pauses == sorted(pauses)
    assert pause_s(50, 0.999) <= BACKOFF_S_MAX
    assert pause_s(1, 0.0) > 0
