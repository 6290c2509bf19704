"""Every cell of docs/transactions.md: each transaction comes in by each way that is claimed and is answered.

One hub with RabbitMQ; by each way one whole life of a hospital is lived, and each cell is a test of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.bootstrap import broker_topology
from hub.broker import declare
from hub.gateway.national.table import HANDLERS
from hub.imports.job import Outcome
from routing.rulebook import RuleBook
from routing.rulebook_file import read_rule_book
from schemas.base import read_message
from schemas.transactions import SPECS, Channel, Transaction
from tests.support import servers
from tests.support.builders import HOSPITAL, QUEUE_INSURER, a_rule_book_text
from tests.support.eventually import eventually
from tests.support.every_transaction import (
    INSTITUTIONS,
    MASTER_ROWS,
    PARTIES,
    RECORDING_HOSPITAL,
    RULES,
    Said,
    a_life,
    a_life_in,
    a_waiting_bill,
    an_answer,
    by_the_basic_system,
    upload,
)
from tests.support.fund_days import seal
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub
from tests.support.national_his import insured
from tests.support.national_life import SEALED_DAY, national_outputs
from tests.support.staging import Table, a_staging_table, write_secrets
from tests.support.ways_in import (
    ByQueue,
    Way,
    at_the_broker,
    by_file,
    by_http,
    by_message_file,
    by_soap,
    by_table,
)

CELLS = [(name, channel) for name, spec in SPECS.items() for channel in Channel if channel in spec.channels]


def cells(*channels: Channel) -> list[Any]:
    """The claimed cells of some columns, as parameters."""
    return [pytest.param(*cell, id="-".join(cell)) for cell in CELLS if cell[1] in channels]


@dataclass
class Lives:
    """The hub, and what came of one life by each way; a way is walked when its first cell is asked for."""

    world: TestHub
    book: RuleBook
    database_url: str
    queue: ByQueue
    tables: Mapping[str, Table]
    folder: Path
    _answers: dict[Channel, dict[Transaction, bytes]] = field(default_factory=dict)

    def answer(self, transaction: Transaction, channel: Channel) -> bytes:
        """The last answer to this transaction in the life that was lived by this way."""
        if channel not in self._answers:
            # A life that breaks off is not begun again: what came before it stands.
            self._answers[channel] = {}
            self._live(channel, self._answers[channel])
        return self._answers[channel][transaction]

    def _live(self, channel: Channel, answers: dict[Transaction, bytes]) -> None:
        say = self._way(channel)
        life = a_life_in(channel) if channel in (Channel.STAGING, Channel.FILE) else a_life(channel.name)
        for said in life:
            answers[said.transaction] = say(by_the_basic_system(said) if channel is Channel.FILE else said)
        if channel in SPECS[Transaction.CLAIM_ANSWER].channels:
            case_id = self._waiting_case(channel)
            _, task = self.queue.read(QUEUE_INSURER)
            say(an_answer(orjson.loads(task)))
            final = eventually(lambda: [one for one in self.world.answers(case_id) if one["final"]], 60)[-1]
            answers[Transaction.CLAIM_ANSWER] = orjson.dumps(final)

    def _way(self, channel: Channel) -> Way:
        hub, port = self.world.hub, self.world.hub.gateway.port
        match channel:
            case Channel.HTTP:
                return by_http(port)
            case Channel.SOAP:
                return by_soap(port)
            case Channel.STAGING:
                return by_table(self.tables)
            case Channel.FILE:
                return by_message_file(hub, self.world.clock, self.folder)
            case _:
                return self.queue

    def _waiting_case(self, channel: Channel) -> str:
        said = a_waiting_bill(channel.name)
        taken = self.world.send(said.transaction, said.message, party=said.party)
        assert taken.error is None, taken.error
        return taken.case_id

    @cached_property
    def files(self) -> dict[Transaction, Outcome]:
        """What became of a file of each kind of master data."""
        bring = by_file(self.database_url, self.book, PERSON_SECRET.encode(), self.folder)
        return {
            name: bring(Said(name, upload("FILE", row, sender), sender)) for name, (row, sender) in MASTER_ROWS.items()
        }

    @cached_property
    def national(self) -> dict[str, dict[str, Any]]:
        """What each number of the national interface answered."""
        insured(self.world)
        seal(self.world, SEALED_DAY)
        return national_outputs(self.world.hub.gateway.port)


@pytest.fixture(scope="module")
def lives(
    postgres_server: servers.PostgresServer,
    database_template: str,
    rabbitmq_server: servers.RabbitServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lives]:
    book = read_rule_book(a_rule_book_text(*RULES, parties=PARTIES, institutions=INSTITUTIONS))
    folder = tmp_path_factory.mktemp("files")
    with (
        servers.fresh_database(postgres_server, database_template) as database_url,
        servers.fresh_vhost(rabbitmq_server) as broker_url,
        a_staging_table(postgres_server) as table,
        a_staging_table(postgres_server) as other_table,
    ):
        assert declare.apply(broker_topology(book), broker_url).ok
        tables = {HOSPITAL: table, RECORDING_HOSPITAL: other_table}
        secrets = write_secrets(folder, {party: one.url for party, one in tables.items()})
        with (
            a_hub(
                database_url,
                *RULES,
                parties=PARTIES,
                institutions=INSTITUTIONS,
                settings_changes={"broker_url": broker_url, "party_secrets": secrets},
            ) as world,
            at_the_broker(broker_url) as queue,
        ):
            yield Lives(world, book, database_url, queue, tables, folder)


@pytest.mark.parametrize(("transaction", "channel"), cells(Channel.HTTP, Channel.AMQP, Channel.STAGING))
def test_a_message_is_answered_in_its_type(lives: Lives, transaction: Transaction, channel: Channel) -> None:
    answer = lives.answer(transaction, channel)

    expected = SPECS[transaction].answer
    if expected is None:
        assert orjson.loads(answer)["shares"][-1]["amount"] == "50.00"
    else:
        read_message(expected, answer)


@pytest.mark.parametrize(("transaction", "channel"), cells(Channel.SOAP))
def test_an_operation_answers_what_its_schema_says(lives: Lives, transaction: Transaction, channel: Channel) -> None:
    assert lives.answer(transaction, channel)  # checked against the schema where it was read


@pytest.mark.parametrize(("transaction", "channel"), cells(Channel.FILE))
def test_a_file_is_taken(lives: Lives, transaction: Transaction, channel: Channel) -> None:
    if transaction in MASTER_ROWS:
        outcome = lives.files[transaction]
        assert (outcome.rows, outcome.problem_count, outcome.applied is not None) == (1, 0, True)
    else:
        read_message(SPECS[transaction].answer, lives.answer(transaction, channel))


@pytest.mark.parametrize("infno", sorted(HANDLERS))
def test_a_number_of_the_national_interface_is_answered(lives: Lives, infno: str) -> None:
    assert isinstance(lives.national[infno], dict)


def test_every_number_that_is_claimed_is_served() -> None:
    claimed = {number for name, channel in CELLS if channel is Channel.NATIONAL for number in SPECS[name].infnos}

    assert claimed <= HANDLERS.keys()
