"""A message on a queue is known by its sender's id, wherever the sender's client can put it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hub.broker.transport import VerdictKind
from hub.clock import SystemClock
from hub.desk import Desk
from hub.engine import Engine
from hub.inbound import Inbound, Taken
from tests.support.builders import HOSPITAL
from tests.support.hub_in_process import FakeDelivery


class Recorder:
    """A desk that only writes down what it was given."""

    def __init__(self) -> None:
        self.taken: list[Inbound] = []

    def take(self, batch: list[Inbound]) -> list[Taken]:
        self.taken += batch
        return [Taken(case_id="c") for _ in batch]


def handled(**changes: Any) -> tuple[FakeDelivery, list[Inbound]]:
    desk = Recorder()
    delivery = FakeDelivery(
        **{"body": b"{}", "exchange": f"in.{HOSPITAL}", "routing_key": "settlement.settle", "message_id": ""} | changes
    )
    nothing = cast(Any, None)
    Engine(nothing, nothing, SystemClock(), cast(Desk, desk)).handle([delivery])
    return delivery, desk.taken


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"message_id": "P-1"}, "P-1"),
        ({"headers": {"message-id": " H-1"}}, "H-1"),
        ({"message_id": "P-1", "headers": {"message-id": "H-1"}}, "P-1"),
    ],
)
def test_the_property_counts_and_the_header_where_there_is_none(changes: dict[str, Any], expected: str) -> None:
    delivery, taken = handled(**changes)

    assert [one.message_id for one in taken] == [expected]
    assert delivery.verdict.kind is VerdictKind.ACK


def test_a_message_without_any_id_dies_with_the_reason() -> None:
    delivery, taken = handled()

    assert taken == []
    assert (delivery.verdict.kind, delivery.verdict.cause) == (VerdictKind.DEAD, "message.no_message_id")
