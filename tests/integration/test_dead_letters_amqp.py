"""Dead letters with RabbitMQ: a message that breaks its handler, set aside, mended, and replayed as its sender's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pika
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from hub.bootstrap import Hub, bootstrap, broker_topology
from hub.broker import declare
from hub.broker.topology import Topology, in_exchange, out_queue
from hub.inbound import Inbound, Taken
from hub.people.office import NoTransport, Office, open_office
from hub.settings import Settings
from hub.work import WorkUnits
from routing.rulebook_file import read_rule_book
from tests.support.builders import BASIC, HOSPITAL, StubPayer, a_rule_book_text, a_settle_request, as_bytes
from tests.support.eventually import eventually
from tests.support.hub_in_process import PERSON_SECRET, TOKEN_SECRET
from tests.support.rule_books import put_in_force

SETTLE = "settlement.settle"


@dataclass
class Beside:
    """A hub beside RabbitMQ, its payers, and the office that a command line would open."""

    hub: Hub
    payers: dict[str, StubPayer]
    office: Office
    url: str

    def publishes(self, body: bytes, message_id: str, routing_key: str = SETTLE, **properties: Any) -> None:
        """As HOSPITAL would."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            given = pika.BasicProperties(message_id=message_id, delivery_mode=2, **properties)
            connection.channel().basic_publish(in_exchange(HOSPITAL), routing_key, body, given)

    def received(self) -> list[tuple[str, dict[str, Any]]]:
        """What waits for HOSPITAL: (correlation id, body) each."""
        found = []
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            while (message := channel.basic_get(out_queue(HOSPITAL), auto_ack=True))[0] is not None:
                found.append((message[1].correlation_id, json.loads(message[2])))
        return found

    def rows(self, query: str) -> Sequence[Any]:
        with self.hub.engine.connect() as connection:
            return connection.execute(text(query)).all()

    def open_letters(self) -> Sequence[Any]:
        return self.rows("SELECT * FROM dead_letter WHERE state = 'open' ORDER BY id")

    def replay(self, *ids: int) -> None:
        letters = [self.office.dead_letters.get(id_) for id_ in ids]
        action = self.office.dead_letters.replay(letters, "mended", "li")
        if action.state == "requested":
            self.office.actions.approve(action.id, "wang")
        eventually(lambda: not self.rows("SELECT 1 FROM outbox"), within_s=60)

    def picture(self) -> object:
        """What must not change by a harmless replay."""
        tables = ("settlement_case", "settlement_leg", "case_answer", "case_undo")
        kept = [self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
        return kept, {code: sorted(payer.book) for code, payer in self.payers.items()}


@pytest.fixture
def beside(database_url: str, rabbitmq_url: str) -> Iterator[Beside]:
    content = a_rule_book_text()
    put_in_force(database_url, content)
    layout: Topology = broker_topology(read_rule_book(content))
    assert declare.apply(layout, rabbitmq_url).ok
    settings = Settings(
        database_url=SecretStr(database_url),
        broker_url=SecretStr(rabbitmq_url),
        person_key_secret=SecretStr(PERSON_SECRET),
        party_token_secret=SecretStr(TOKEN_SECRET),
        http_port=0,
    )
    payers: dict[str, StubPayer] = {}
    hub = bootstrap(settings, make=lambda party: payers.setdefault(party.code, StubPayer()))
    work_units = WorkUnits(hub.engine, NoTransport())
    office = open_office(work_units, hub.clock, lambda: layout, lambda: hub.payers)
    hub.start()
    yield Beside(hub, payers, office, rabbitmq_url)
    hub.stop()


def breaks_on(poison: bytes, take: Callable[[Sequence[Inbound]], list[Taken]]) -> Callable[..., list[Taken]]:
    """A desk with a bug."""

    def broken(batch: Sequence[Inbound]) -> list[Taken]:
        if any(one.body == poison for one in batch):
            raise KeyError("a bug")
        return take(batch)

    return broken


def test_a_poison_message_dies_alone_and_lives_once_mended(beside, monkeypatch):
    poison = as_bytes(a_settle_request(30_000, "S-poison"))
    with monkeypatch.context() as bug:
        bug.setattr(beside.hub.desk, "take", breaks_on(poison, beside.hub.desk.take))
        for number in range(6):
            beside.publishes(as_bytes(a_settle_request(30_000, f"S-{number}")), f"M-{number}")
            if number == 3:
                beside.publishes(poison, "M-poison", correlation_id="visit-1")
        [letter] = eventually(beside.open_letters, within_s=60)
        eventually(lambda: len(beside.rows("SELECT 1 FROM case_answer")) == 6, within_s=60)
    assert (letter.cause, letter.exchange, letter.routing_key) == ("hub.bug", in_exchange(HOSPITAL), SETTLE)
    assert (bytes(letter.body), letter.message_id) == (poison, "M-poison")
    beside.received()

    beside.replay(letter.id)

    eventually(lambda: len(beside.rows("SELECT 1 FROM case_answer")) == 7, within_s=60)
    [(correlation_id, answer)] = eventually(beside.received, within_s=60)
    assert (correlation_id, answer["settlement_no"], answer["status"]) == ("visit-1", "S-poison", "settled")
    assert len(beside.payers[BASIC].settled) == 7
    assert beside.open_letters() == []


def test_replaying_what_was_handled_changes_nothing(beside):
    """The same content died under another id, say since its sender sent it without one: the case is there already."""
    bill = as_bytes(a_settle_request(30_000, "S-1"))
    cancel = as_bytes({"institution": HOSPITAL, "settlement_no": "S-2", "cancel_no": "C-1", "reason": "r"})
    beside.publishes(bill, "M-1")
    beside.publishes(as_bytes(a_settle_request(30_000, "S-2")), "M-2")
    eventually(lambda: len(beside.rows("SELECT 1 FROM case_answer")) == 2, within_s=60)
    beside.publishes(cancel, "M-3", "settlement.cancel")
    eventually(lambda: beside.rows("SELECT 1 FROM settlement_case WHERE state = 'cancelled'"), within_s=60)
    for _ in range(2):
        beside.publishes(bill, "")
        beside.publishes(cancel, "", "settlement.cancel")
        letters = eventually(lambda: len(found := beside.open_letters()) == 2 and found, within_s=60)
        before = beside.picture()
        beside.received()

        beside.replay(*[letter.id for letter in letters])

        answers = eventually(lambda: len(found := beside.received()) == 2 and found, within_s=60)
        assert {answer["settlement_no"]: answer["status"] for _, answer in answers} == {
            "S-1": "settled",
            "S-2": "cancelled",
        }
        assert beside.picture() == before
        assert beside.open_letters() == []


def test_nobody_else_may_speak_through_a_replay(beside):
    """What a party claims of its own in headers does not change whose message a replay is."""
    forged = {"x-hub-exchange": in_exchange("H44030000002"), "x-hub-verdict": "dead", "x-hub-source-queue": SETTLE}
    bill = as_bytes(a_settle_request(30_000, "S-1", institution="H44030000002"))
    beside.publishes(bill, "", headers=forged)
    [letter] = eventually(beside.open_letters, within_s=60)
    assert letter.exchange == in_exchange(HOSPITAL)
    assert beside.office.dead_letters.show(letter.id).forecast.effect == "refused"

    beside.replay(letter.id)

    [(_, answer)] = eventually(beside.received, within_s=60)
    assert answer["error"] == "party.forbidden"
    assert beside.rows("SELECT 1 FROM settlement_case") == []
