"""The declarations, as data."""

from __future__ import annotations

import re

import pytest

from hub.broker.topology import TIERS, UNROUTED, Party, topology

PARTIES = (
    Party("H1", "hospital", reads_out=True),
    Party("Q1", "queue_insurer", reads_out=True),
    Party("B1", "payer"),
)


@pytest.mark.parametrize(
    ("exchange", "routing_key", "queue"),
    [
        ("in.H1", "settlement.settle", "intake"),
        ("in.H1", "settlement.trial", "intake"),
        ("in.H1", "settlement.cancel", "intake"),
        ("in.H1", "case.query", "intake"),
        ("in.Q1", "claim.answer", "claim.answers"),
        ("cmd", "payer.B1", "payer.B1"),
        ("cmd", "payer.Q1", "payer.Q1"),
        ("out", "out.H1", "out.H1"),
        ("in.H1", "claim.answer", UNROUTED),
        ("in.Q1", "settlement.settle", UNROUTED),
        ("in.B1", "settlement.settle", UNROUTED),
        ("out", "out.B1", UNROUTED),
        ("nowhere", "", UNROUTED),
    ],
)
def test_a_message_reaches_its_queue(exchange: str, routing_key: str, queue: str) -> None:
    assert topology(PARTIES).resolve(exchange, routing_key) == queue


def test_every_work_queue_can_be_retried_and_dies_safely() -> None:
    declared = topology(PARTIES)
    work = [one for one in declared.queues if "x-max-length" in one.arguments and not one.name.startswith("retry.")]

    assert {one.name for one in work} >= {"intake", "claim.answers", "payer.B1", "payer.Q1", UNROUTED}
    for queue in work:
        assert queue.arguments["x-queue-type"] == "quorum"
        assert queue.arguments["x-dead-letter-exchange"] == "dead"
        assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
        assert queue.arguments["x-overflow"] == "reject-publish"
        if not queue.name.startswith("out."):
            ways_back = [one for one in declared.bindings if one.exchange == "back" and one.queue == queue.name]
            assert {one.link for one in ways_back} >= {queue.link}


def test_both_links_have_what_they_need_alone() -> None:
    declared = topology(PARTIES)

    for binding in declared.bindings:
        assert any(one.name == binding.exchange and one.link == binding.link for one in declared.exchanges)
        assert any(one.name == binding.queue and one.link == binding.link for one in declared.queues)
    for queue in declared.queues:
        target = queue.arguments.get("x-dead-letter-exchange")
        assert target is None or any(one.name == target and one.link == queue.link for one in declared.exchanges)


def test_parties_touch_the_edge_only() -> None:
    declared = topology(PARTIES)

    assert {one.link for one in declared.exchanges if one.name.startswith("in.") or one.name == "out"} == {"edge"}
    assert {one.link for one in declared.queues if one.name.startswith("out.")} == {"edge"}
    assert {one.link for one in declared.queues if one.name.startswith("payer.")} == {"core"}


@pytest.mark.parametrize(
    ("delay_s", "tier_ms"),
    [(0, 1_000), (1, 1_000), (2, 1_000), (3, 5_000), (5, 5_000), (20, 30_000), (300, 600_000), (1e9, 3_600_000)],
)
def test_a_delay_finds_its_nearest_tier(delay_s: float, tier_ms: int) -> None:
    assert topology(()).tier_for(delay_s).delay_ms == tier_ms


def test_the_lanes_of_a_tier_spread_a_crowd() -> None:
    assert [tier.lane_delays_ms for tier in TIERS][:2] == [(800, 1_000, 1_300), (4_000, 5_000, 6_500)]
    names = [lane for tier in TIERS for lane in tier.lanes]
    assert len(set(names)) == len(names) == 18


def test_with_a_secret_the_broker_knows_every_queue_by_a_name_that_cannot_be_guessed() -> None:
    plain, named, otherwise = (topology(PARTIES, name_secret=secret) for secret in ("", "one secret", "another"))
    on_broker = {queue.name: named.on_broker(queue.name) for queue in named.queues}

    assert all(plain.on_broker(name) == name for name in on_broker)
    assert all(re.fullmatch(re.escape(name) + r"\.[0-9a-f]{16}", given) for name, given in on_broker.items())
    assert len({given[-16:] for given in on_broker.values()}) == len(on_broker)
    assert not set(on_broker.values()) & {otherwise.on_broker(name) for name in on_broker}
    assert all(named.plain(given) == name for name, given in on_broker.items())
    assert named.plain("out.NOBODY.0123456789abcdef") == "out.NOBODY.0123456789abcdef"
    assert "secret" not in repr(named)
