"""The gateway in a process of its own beside RabbitMQ: hints cross over, queues replace mailboxes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from hub.bootstrap import ALL_ROLES, Hub, Role, bootstrap, broker_topology
from hub.broker import declare
from hub.gateway import waiters
from hub.settings import Settings
from routing.rulebook_file import read_rule_book
from tests.support.builders import StubPayer, a_rule_book_text
from tests.support.eventually import eventually
from tests.support.http_client import Client
from tests.support.hub_in_process import PERSON_SECRET, TOKEN_SECRET
from tests.support.rule_books import put_in_force


@pytest.fixture
def hubs(database_url: str, rabbitmq_url: str) -> Iterator[tuple[Hub, Hub]]:
    """(gateway, everything else), as two processes would be."""
    book = a_rule_book_text()
    put_in_force(database_url, book)
    assert declare.apply(broker_topology(read_rule_book(book)), rabbitmq_url).ok
    settings = Settings(
        database_url=SecretStr(database_url),
        broker_url=SecretStr(rabbitmq_url),
        person_key_secret=SecretStr(PERSON_SECRET),
        party_token_secret=SecretStr(TOKEN_SECRET),
        http_port=0,
    )
    gateway = bootstrap(settings, frozenset({Role.GATEWAY}), make=lambda _: StubPayer())
    others = bootstrap(settings, ALL_ROLES - {Role.GATEWAY}, make=lambda _: StubPayer())
    others.start()
    gateway.start()
    yield gateway, others
    gateway.stop()
    others.stop()


def test_a_settlement_goes_through_the_broker_and_back(hubs):
    hospital = Client(hubs[0].gateway.port)

    settled, cancelled = hospital.settle("S-1"), hospital.cancel("S-1")

    assert (settled.status, settled.json["status"]) == (200, "settled")
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")


def test_a_hint_of_another_process_wakes_who_waits(database_url, rabbitmq_url, request, monkeypatch):
    # The poll comes too late to be of any help here.
    monkeypatch.setattr(waiters.AnswerWaiters.__init__, "__kwdefaults__", {"poll_s": 60.0})
    gateway, _ = request.getfixturevalue("hubs")
    hospital = Client(gateway.gateway.port)

    # The channel for hints opens a moment after the rest.
    numbers = itertools.count(1)
    assert eventually(lambda: hospital.settle(f"S-{next(numbers)}", Prefer="wait=2").status == 200, 60)


def test_there_is_no_mailbox_beside_a_queue(hubs):
    reply = Client(hubs[0].gateway.port).get("/api/v1/mailbox")

    assert (reply.status, reply.json["code"]) == (409, "mailbox.use_queue")


def test_the_other_roles_serve_no_http(hubs):
    assert hubs[1].gateway is None
