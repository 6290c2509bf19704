"""A party's user on a real broker: what it may do, and everything that it may not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)
from pydantic import SecretStr
from typer.testing import CliRunner

from hub.bootstrap import ALL_ROLES, Role, bootstrap, broker_topology
from hub.broker import declare
from hub.broker.admin import BrokerAdmin, Rights, vhost_of
from hub.broker.topology import ANSWERS, DEAD, INTAKE, UNROUTED, Topology, in_exchange, out_queue
from hub.cli.app import app
from hub.clock import SystemClock
from hub.people.actions import Actions
from hub.people.office import NoTransport
from hub.people.parties import Limits, Parties
from hub.settings import Settings
from hub.work import WorkUnits
from routing.rulebook import RuleBook
from routing.rulebook_file import read_rule_book
from schemas.errors import Conflict, InvalidMessage
from store.database import open_engine
from tests.support.builders import (
    BASIC_RULE,
    HOSPITAL,
    OTHER_HOSPITAL,
    QUEUE_INSURER,
    QUEUE_RULE,
    REGION,
    StubPayer,
    a_rule_book_text,
    a_settle_request,
    as_bytes,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import PERSON_SECRET
from tests.support.rule_books import put_in_force
from tests.support.servers import fresh_database, fresh_vhost, with_user

NAME_SECRET = "a secret that no party has 01234567"
SETTLE = "settlement.settle"
ME, OTHER, INSURER = HOSPITAL, OTHER_HOSPITAL, QUEUE_INSURER
PASSWORD = "the hospital's own password"
LIMITS = Limits(connections=2, channels=5)
REFUSED, NOT_FOUND, PRECONDITION = 403, 404, 406


@dataclass
class Edge:
    """A vhost of parties with its declarations, and who lets them in."""

    url: str
    database_url: str
    layout: Topology
    admin: BrokerAdmin
    parties: Parties
    parties_of: Callable[[RuleBook], Parties]
    """The same doors under another rule book."""

    def queue(self, plain: str) -> str:
        return self.layout.on_broker(plain)

    def as_party(self, code: str, password: str) -> pika.BlockingConnection:
        return pika.BlockingConnection(pika.URLParameters(with_user(self.url, code, password)))

    def waiting(self, plain: str) -> int:
        """Messages in a queue, as the hub's own user sees it."""
        return int(
            self.ours(lambda channel: channel.queue_declare(self.queue(plain), passive=True)).method.message_count
        )

    def taken(self, plain: str) -> Any:
        """(method, properties, body) of the next message in a queue, now gone from it."""
        return self.ours(lambda channel: channel.basic_get(self.queue(plain), auto_ack=True))

    def put(self, plain: str, body: bytes) -> None:
        self.ours(lambda channel: channel.basic_publish("out", plain, body))

    def ours(self, action: Callable[[BlockingChannel], Any]) -> Any:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            return action(channel)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def edge(rabbitmq_server, postgres_server, database_template) -> Iterator[Edge]:
    """A vhost with a rule book's declarations; its users are removed afterwards."""
    book = read_rule_book(_book())
    layout = broker_topology(book, NAME_SECRET)
    with fresh_vhost(rabbitmq_server) as url, fresh_database(postgres_server, database_template) as database_url:
        assert declare.apply(layout, url).ok
        put_in_force(database_url, _book())
        engine, clock = open_engine(database_url, pool_size=2), SystemClock()
        work_units = WorkUnits(engine, NoTransport())
        admin = BrokerAdmin(rabbitmq_server.management_url(), vhost_of(url))

        def parties_of(book: RuleBook) -> Parties:
            actions, topology = Actions(work_units, clock), broker_topology(book, NAME_SECRET)
            return Parties(work_units, clock, actions, book, topology, admin, LIMITS)

        found = Edge(url, database_url, layout, admin, parties_of(book), parties_of)
        found.parties.add(OTHER, "goes live", "li", PASSWORD)
        yield found
        engine.dispose()
        for code in (ME, OTHER):
            rabbitmq_server.delete_user(code)
    rabbitmq_server.unmanage()


@pytest.fixture
def me(edge: Edge) -> Iterator[pika.BlockingConnection]:
    """A connection of the hospital under test."""
    if not edge.parties.show(ME).enabled:
        edge.parties.enable(ME, "another test", "li")
    edge.parties.add(ME, "goes live", "li", PASSWORD)
    connection = edge.as_party(ME, PASSWORD)
    yield connection
    with contextlib.suppress(AMQPError):
        connection.close()
    edge.ours(lambda channel: [channel.queue_purge(edge.queue(plain)) for plain in _TOUCHED])


_TOUCHED = (INTAKE, UNROUTED, out_queue(ME), out_queue(OTHER))


def _book() -> str:
    places = [{"code": code, "name": "一院", "region": REGION, "amqp": True} for code in (ME, OTHER)]
    return a_rule_book_text(BASIC_RULE, QUEUE_RULE, institutions=places)


def _refusal(connection: pika.BlockingConnection, action: Callable[[BlockingChannel], object]) -> int:
    """The broker's code for refusing; 0 when it let it happen."""
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        action(channel)
    except ChannelClosedByBroker as refusal:
        return refusal.reply_code
    channel.close()
    return 0


def test_a_party_sends_to_its_exchange_and_reads_its_queue(edge, me):
    edge.put(out_queue(ME), b"an answer")

    sent = _refusal(me, lambda channel: channel.basic_publish(in_exchange(ME), SETTLE, b"{}", mandatory=True))
    read = me.channel().basic_get(edge.queue(out_queue(ME)), auto_ack=True)

    assert (sent, read[2]) == (0, b"an answer")
    assert edge.taken(INTAKE)[0].exchange == in_exchange(ME)


def test_a_bill_goes_in_and_its_answer_comes_out_with_nothing_but_the_partys_own_user(edge, me):
    settings = Settings(
        database_url=SecretStr(edge.database_url),
        broker_url=SecretStr(edge.url),
        queue_name_secret=SecretStr(NAME_SECRET),
        person_key_secret=SecretStr(PERSON_SECRET),
    )
    hub = bootstrap(settings, ALL_ROLES - {Role.GATEWAY}, make=lambda _: StubPayer())
    hub.start()
    try:
        bill = pika.BasicProperties(message_id="B-1", correlation_id="B-1", user_id=ME, delivery_mode=2)
        me.channel().basic_publish(in_exchange(ME), SETTLE, as_bytes(a_settle_request()), bill)

        reading = me.channel()
        answer = eventually(lambda: reading.basic_get(edge.queue(out_queue(ME)), auto_ack=True)[2], within_s=60)
    finally:
        hub.stop()

    assert (json.loads(answer)["status"], json.loads(answer)["settlement_no"]) == ("settled", "S-1")


def test_what_a_party_misspells_is_kept_for_people(edge, me):
    assert _refusal(me, lambda channel: channel.basic_publish(in_exchange(ME), "settlement.setle", b"{}")) == 0

    assert edge.taken(UNROUTED)[0].routing_key == "settlement.setle"


# Each is tried with the names that a party cannot know, as if it had learnt them, and with the plain ones.
_ON_QUEUES = {
    "get": lambda channel, queue: channel.basic_get(queue),
    "consume": lambda channel, queue: channel.basic_consume(queue, lambda *_: None),
    "purge": lambda channel, queue: channel.queue_purge(queue),
    "delete": lambda channel, queue: channel.queue_delete(queue),
    "bind": lambda channel, queue: channel.queue_bind(queue, in_exchange(ME), "tap"),
    "unbind": lambda channel, queue: channel.queue_unbind(queue, in_exchange(OTHER), SETTLE),
}
_QUEUES = (out_queue(OTHER), out_queue(INSURER), INTAKE, ANSWERS, DEAD, UNROUTED, "retry.1s.a")


@pytest.mark.parametrize("what", _ON_QUEUES)
def test_a_party_touches_no_queue_of_another(edge, me, what):
    edge.put(out_queue(OTHER), b"for somebody else")
    codes = {
        (plain, known): _refusal(me, lambda channel, name=name: _ON_QUEUES[what](channel, name))
        for plain in _QUEUES
        for known, name in ((True, edge.queue(plain)), (False, plain))
    }

    assert {code for (_, known), code in codes.items() if known} == {REFUSED}
    # RabbitMQ looks for the queue after it has looked at the rights.
    assert {code for (_, known), code in codes.items() if not known} <= {REFUSED, NOT_FOUND}
    assert edge.waiting(out_queue(OTHER)) == 1


@pytest.mark.parametrize("plain", _QUEUES)
def test_a_party_cannot_count_what_waits_for_others(edge, me, plain):
    declared = _refusal(me, lambda channel: channel.queue_declare(plain, passive=True))

    assert declared == NOT_FOUND


def test_only_a_name_that_cannot_be_guessed_hides_a_count(edge, me):
    """Why the names are as they are: the broker answers whoever knows one. Newer brokers may refuse."""
    told = _refusal(me, lambda channel: channel.queue_declare(edge.queue(out_queue(OTHER)), passive=True))

    assert told in (0, REFUSED)
    assert edge.queue(out_queue(OTHER)).removeprefix(edge.queue(out_queue(ME))[:-16]) != out_queue(OTHER)


_FOREIGN = ("", in_exchange(OTHER), in_exchange(INSURER), "out", "cmd", "evt", "retry", "back", "dead", "unrouted",
            "amq.direct", "amq.topic", "amq.fanout", "amq.headers", "amq.match")  # fmt: skip


@pytest.mark.parametrize("exchange", _FOREIGN)
def test_a_party_publishes_nowhere_else(edge, me, exchange):
    """The empty name is the default exchange, which reaches every queue whose name one knows."""
    key = edge.queue(INTAKE) if exchange == "" else SETTLE

    assert _refusal(me, lambda channel: channel.basic_publish(exchange, key, b"forged", mandatory=True)) == REFUSED
    assert edge.waiting(INTAKE) == 0


_CONFIGURING = {
    "a queue of its own": lambda channel, edge: channel.queue_declare("mine"),
    "a queue named by the server": lambda channel, edge: channel.queue_declare("", exclusive=True),
    "its own queue anew": lambda channel, edge: channel.queue_declare(edge.queue(out_queue(ME)), durable=True),
    "its own queue's end": lambda channel, edge: channel.queue_delete(edge.queue(out_queue(ME))),
    "an exchange": lambda channel, edge: channel.exchange_declare("mine"),
    "its own exchange's end": lambda channel, edge: channel.exchange_delete(in_exchange(ME)),
    "a tap on its own exchange": lambda channel, edge: channel.queue_bind(
        edge.queue(out_queue(ME)), in_exchange(ME), "x"
    ),
    "a tap on another's": lambda channel, edge: channel.exchange_bind(in_exchange(ME), in_exchange(OTHER), SETTLE),
}


@pytest.mark.parametrize("what", _CONFIGURING)
def test_a_party_arranges_nothing(edge, me, what):
    assert _refusal(me, lambda channel: _CONFIGURING[what](channel, edge)) == REFUSED


def test_a_party_cannot_speak_in_anothers_name(edge, me):
    forged = pika.BasicProperties(user_id=OTHER)

    assert _refusal(me, lambda channel: channel.basic_publish(in_exchange(ME), SETTLE, b"{}", forged)) == PRECONDITION
    assert edge.waiting(INTAKE) == 0


def test_headers_and_reply_addresses_that_a_party_makes_up_move_nothing(edge, me):
    """`CC` would be a second way out; what remains is text that the hub does not believe."""
    death = [{"queue": edge.queue(INTAKE), "reason": "expired", "exchange": in_exchange(OTHER), "count": 9}]
    forged = pika.BasicProperties(
        reply_to=edge.queue(out_queue(OTHER)),
        headers={"x-death": death, "CC": [edge.queue(out_queue(OTHER))], "BCC": [out_queue(OTHER)]},
    )

    assert _refusal(me, lambda channel: channel.basic_publish(in_exchange(ME), SETTLE, b"{}", forged)) == 0

    method, _, _ = edge.taken(INTAKE)
    assert (method.exchange, method.routing_key) == (in_exchange(ME), SETTLE)
    assert edge.waiting(out_queue(OTHER)) == 0


def test_a_party_enters_no_other_vhost(edge, me, rabbitmq_url):
    with pytest.raises((ProbableAccessDeniedError, ConnectionClosedByBroker)):
        pika.BlockingConnection(pika.URLParameters(with_user(rabbitmq_url, ME, PASSWORD)))


def test_a_party_has_so_many_channels_and_connections_and_no_more(edge, me):
    channels = [me.channel() for _ in range(LIMITS.channels)]
    assert all(channel.is_open for channel in channels)

    with pytest.raises((ConnectionClosedByBroker, ChannelClosedByBroker)):
        me.channel()

    held = [edge.as_party(ME, PASSWORD) for _ in range(LIMITS.connections)]
    with pytest.raises((AMQPConnectionError, ConnectionClosedByBroker)):
        edge.as_party(ME, PASSWORD)
    for connection in held:
        connection.close()


def test_a_new_password_voids_the_old_one_and_its_connections(edge, me):
    view, password = edge.parties.rotate(ME, "the yearly change", "li")

    eventually(lambda: not _alive(me))
    with pytest.raises(ProbableAuthenticationError):
        edge.as_party(ME, PASSWORD)
    again = edge.as_party(ME, password)
    assert (again.is_open, view.token_generation) == (True, 1)
    again.close()


def test_who_is_disabled_is_out_and_loses_nothing(edge, me):
    edge.put(out_queue(ME), b"while away")

    shut = edge.parties.disable(ME, "its password was seen", "li")

    eventually(lambda: not _alive(me))
    with pytest.raises((ProbableAccessDeniedError, ConnectionClosedByBroker)):
        edge.as_party(ME, PASSWORD)
    assert (shut.enabled, shut.differences, edge.waiting(out_queue(ME))) == (False, (), 1)
    with pytest.raises(Conflict):
        edge.parties.add(ME, "by mistake", "li")

    edge.parties.enable(ME, "its new password is set", "li")

    back = edge.as_party(ME, PASSWORD)
    assert back.channel().basic_get(edge.queue(out_queue(ME)), auto_ack=True)[2] == b"while away"
    back.close()


def test_adding_again_changes_nothing_and_mends_what_somebody_changed(edge, me):
    edge.admin.allow(ME, Rights(".*", ".*", ".*"))
    assert edge.parties.show(ME).differences

    view, password = edge.parties.add(ME, "put right", "li")

    assert (password, view.differences) == ("", ())
    assert me.is_open
    edge.as_party(ME, PASSWORD).close()


def test_who_leaves_the_rule_book_is_named_and_can_still_be_shut_out(edge, me):
    book = read_rule_book(a_rule_book_text(BASIC_RULE, QUEUE_RULE))  # ME is in it, OTHER speaks HTTP only
    without = read_rule_book(a_rule_book_text(BASIC_RULE, QUEUE_RULE, institutions=[]))
    later, at_last = edge.parties_of(book), edge.parties_of(without)

    assert later.show(OTHER).differences == (f"other rights on the broker than it should have: hub party add {OTHER}",)
    assert later.add(OTHER, "speaks HTTP from now on", "li")[0].user.rights is None
    assert {one.code for one in at_last.listed() if one.kind == "gone"} == {ME, OTHER}
    assert "hub party disable" in at_last.show(ME).differences[0]
    with pytest.raises(InvalidMessage):
        at_last.rotate(ME, "by mistake", "li")
    assert at_last.disable(ME, "left us", "li").user.rights is None

    edge.parties.add(OTHER, "as before", "li")


def test_every_change_is_on_record(edge, me):
    edge.parties.disable(ME, "its password was seen", "wang")

    shut, *_ = edge.parties._actions.listed(subject=f"party/{ME}")

    assert (shut.kind, shut.requested_by, shut.reason) == ("party.disable", "wang", "its password was seen")


def test_a_user_that_is_no_partys_is_left_alone(edge, rabbitmq_server, rabbitmq_url):
    """An account of the same name that may enter another vhost belongs to somebody else."""
    rabbitmq_server.add_user(INSURER, "somebody else's")
    rabbitmq_server.set_permissions(INSURER, vhost_of(rabbitmq_url), "", "", ".*")

    with pytest.raises(Conflict):
        edge.parties.add(INSURER, "goes live", "li", "a password of sixteen")

    rabbitmq_server.delete_user(INSURER)


@pytest.mark.parametrize("code", ["H99999999999", "NOBODY"])
def test_only_who_is_in_the_rule_book_is_let_in(edge, code):
    with pytest.raises(InvalidMessage):
        edge.parties.add(code, "goes live", "li")


@pytest.fixture
def command(edge: Edge, rabbitmq_server, tmp_path, monkeypatch) -> Callable[..., Any]:
    """`hub party …` on this broker and database: what it says, as text or JSON. Nobody is disabled at first."""
    edge.parties.enable(ME, "another test", "li")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HUB_DATABASE_URL": edge.database_url,
        "HUB_BROKER_URL": edge.url,
        "HUB_BROKER_ADMIN_URL": rabbitmq_server.management_url(),
        "HUB_QUEUE_NAME_SECRET": NAME_SECRET,
        "HUB_PERSON_KEY_SECRET": PERSON_SECRET,
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, exit_code: int = 0) -> Any:
        done = CliRunner().invoke(app, ["party", *arguments])
        assert done.exit_code == exit_code, done.output
        return json.loads(done.stdout) if "--json" in arguments else done.output

    return run


def test_the_commands_give_a_party_what_it_needs_and_take_it_away(edge, command, rabbitmq_server):
    rabbitmq_server.delete_user(ME)
    why = ("--reason", "goes live", "--by", "li")

    assert f"would create the broker user {ME}" in command("add", ME, "--show")
    added = command("add", ME, *why, "--json")
    again = command("add", ME, *why)
    rotated = command("rotate", ME, *why, "--json")

    assert (added["broker"]["reads"], added["broker"]["writes"]) == (edge.queue(out_queue(ME)), in_exchange(ME))
    assert "password" not in again
    assert rotated["password"] != added["password"]
    edge.as_party(ME, rotated["password"]).close()
    assert "is shut out" in command("disable", ME, *why)
    assert f"{ME} (institution) is shut out" in command("show", ME)
    assert [one["enabled"] for one in command("list", "--json")["parties"] if one["party"] == ME] == [False]
    assert "may come in" in command("enable", ME, *why)


def test_a_password_may_be_given_in_a_file(edge, command, tmp_path):
    (tmp_path / "password").write_text("chosen by somebody else\n")
    (tmp_path / "weak").write_text("short\n")
    why = ("--reason", "goes live", "--by", "li")

    command("add", ME, *why, "--password-file", str(tmp_path / "password"))
    refused = command("add", ME, *why, "--password-file", str(tmp_path / "weak"), exit_code=1)

    edge.as_party(ME, "chosen by somebody else").close()
    assert "16 printable" in refused


@pytest.mark.parametrize("missing", ["HUB_BROKER_ADMIN_URL", "HUB_QUEUE_NAME_SECRET"])
def test_nobody_is_let_in_by_halves(command, missing, monkeypatch):
    monkeypatch.delenv(missing)

    assert missing in command("add", ME, "--reason", "goes live", "--by", "li", exit_code=2)


@pytest.mark.parametrize("given", [("--by", "li"), ("--reason", "goes live"), ("--reason", "goes live", "--by", "Li")])
def test_who_and_why_must_be_said(command, given):
    assert command("disable", ME, *given, exit_code=1 if "--by" in given and "li" in given else 2)


def _alive(connection: pika.BlockingConnection) -> bool:
    try:
        connection.process_data_events()
    except (AMQPConnectionError, OSError):
        return False
    return connection.is_open
