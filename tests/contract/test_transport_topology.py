"""Declaring the topology on a real broker, and noticing when it is not as declared."""

from __future__ import annotations

import pika
import pytest

from hub.broker import declare
from hub.broker.topology import topology
from schemas.errors import Unavailable
from tests.contract.transports import PARTIES, small_topology


def test_apply_declares_everything_and_may_run_again(rabbitmq_url: str) -> None:
    wanted = topology(PARTIES)

    assert declare.apply(wanted, rabbitmq_url).ok
    assert declare.apply(wanted, rabbitmq_url).ok

    report = declare.check(wanted, rabbitmq_url)
    assert report.differences == ()
    assert set(report.behaviour.values()) == {"ok"}
    assert report.ok


def test_check_tells_every_difference_as_text(rabbitmq_url: str) -> None:
    wanted = small_topology()
    declare.apply(wanted, rabbitmq_url)
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    channel = connection.channel()
    channel.queue_delete("intake")
    channel.exchange_delete("in.H1")
    channel.queue_delete("payer.B1")
    channel.queue_declare("payer.B1", durable=True)
    connection.close()

    report = declare.check(wanted, rabbitmq_url)

    assert not report.ok
    assert len(report.differences) == 3
    assert any(line.startswith("queue intake: missing") for line in report.differences)
    assert any(line.startswith("exchange in.H1: missing") for line in report.differences)
    assert any(line.startswith("queue payer.B1: differs: ") for line in report.differences)


def test_apply_names_what_the_broker_refuses(rabbitmq_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    connection.channel().queue_declare("intake", durable=True)
    connection.close()

    report = declare.apply(small_topology(), rabbitmq_url)

    assert not report.ok
    assert [line.split(":")[0] for line in report.refused] == ["queue intake"]


def test_a_broker_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        declare.apply(small_topology(), "amqp://127.0.0.1:1/")


def test_queues_from_before_the_secret_get_nothing_more_and_are_named(rabbitmq_url: str) -> None:
    assert declare.apply(small_topology(), rabbitmq_url).ok
    wanted = small_topology("a secret that no party has 01234567")

    report = declare.apply(wanted, rabbitmq_url)

    assert report.ok
    channel = pika.BlockingConnection(pika.URLParameters(rabbitmq_url)).channel()
    channel.confirm_delivery()
    channel.basic_publish("out", "out.H1", b"only once")
    assert channel.basic_get(wanted.on_broker("out.H1"))[2] == b"only once"
    assert channel.basic_get("out.H1")[2] is None
    channel.connection.close()
    assert (
        "queue out.H1: is there under its plain name too; empty and delete it"
        in declare.check(wanted, rabbitmq_url).differences
    )
