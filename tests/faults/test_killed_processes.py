"""A process of the hub is killed with SIGKILL between every two steps of a case; the parties' books are the witness.

For each point: the role that passes it is started armed, a few cases are sent, the process dies in the middle of them,
a new one takes its place. Then every case must have its answer, nothing may lie about, and hub, payers and hospital
must agree on every fen.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest

from hub.demo.ledger import borne_as_told, borne_by_legs, wrong_sums
from sandbox.day import DayCase
from sandbox.his import AmqpHospital, HospitalRequest, cancel, settle
from sandbox.his_book import HospitalBook
from sandbox.proof import differences
from tests.support.eventually import eventually
from tests.support.hub_processes import ROLES, World, world
from tests.support.servers import PostgresServer, RabbitServer, fresh_database, fresh_vhost

SEED = 20261121
CASES_PER_POINT = 10

SETTLE_POINTS = [
    ("engine", "intake.before_commit"),
    ("engine", "intake.after_commit"),
    ("engine", "intake.after_publish"),
    ("adapters", "claim.before_commit"),
    ("adapters", "claim.after_commit"),
    ("adapters", "call.before_send"),
    ("adapters", "call.after_answer"),
    ("adapters", "apply.before_commit"),
    ("adapters", "apply.after_commit"),
    ("adapters", "apply.after_publish"),
    ("engine", "apply.before_commit"),
    ("engine", "apply.after_commit"),
    ("engine", "apply.after_publish"),
]
UNDO_POINTS = [
    ("engine", "undo.before_commit"),
    ("engine", "undo.after_commit"),
    ("engine", "undo.after_publish"),
    ("adapters", "claim.after_commit"),
    ("adapters", "call.after_answer"),
    ("adapters", "apply.after_commit"),
]


@dataclass
class Town:
    """The world with a hospital that speaks to it, and the bills not yet used."""

    world: World
    hospital: AmqpHospital
    book: HospitalBook
    bills: Iterator[DayCase]
    _errors: list[object] = field(default_factory=list)

    def send(self, requests: list[HospitalRequest]) -> None:
        """Send and wait until every one has its answer."""
        results = list(self.hospital.run_day(iter(requests), patience_s=45))
        assert [result.error for result in results if result.error] == []
        assert len(results) == len(requests)

    def dies_at(self, role: str, point: str, requests: list[HospitalRequest]) -> None:
        """Send while `role` is armed to die at the first passing of `point`, and put a new process in its place."""
        hub = self.world.hub
        hub.stop(role)
        victim = hub.start(role, failpoints=f"{point}=kill@1")
        sending = threading.Thread(target=self._send_quietly, args=(requests,), name="hospital")
        sending.start()
        victim.join(30)
        assert victim.exitcode == -signal.SIGKILL, f"{role} never came to {point}"
        hub.start(role)
        sending.join(60)
        assert self._errors == []

    def _send_quietly(self, requests: list[HospitalRequest]) -> None:
        self._errors = [result.error for result in self.hospital.run_day(iter(requests), patience_s=45) if result.error]

    def assert_all_agree(self) -> None:
        """Hub, payers and hospital, to the fen; nothing waits and nothing died."""
        self.world.assert_nothing_lies_about()
        self.world.assert_books_agree()
        eventually(self._the_hospital_knows, within_s=10)
        assert wrong_sums(self.book) == []

    def _the_hospital_knows(self) -> bool:
        self.hospital.collect(0)
        sides = {"hub": borne_by_legs(self.world.engine), "hospital": borne_as_told(self.book)}
        assert differences(sides) == []
        return True


@pytest.fixture(scope="module")
def town(
    postgres_server: PostgresServer,
    rabbitmq_server: RabbitServer,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    folder: Path = tmp_path_factory.mktemp("town")
    cases = CASES_PER_POINT * (len(SETTLE_POINTS) + len(UNDO_POINTS))
    with (
        fresh_database(postgres_server, template=database_template) as database_url,
        fresh_vhost(rabbitmq_server) as broker_url,
        world(database_url, broker_url, folder, cases, seed=SEED) as found,
    ):
        print(f"seed {SEED}")
        for role in ROLES:
            found.hub.start(role)
        book = HospitalBook(folder / "hospital.sqlite3")
        hospital = AmqpHospital(broker_url, [place.code for place in found.day.institutions], book)
        hospital.start()
        try:
            yield Town(found, hospital, book, iter(found.day))
        finally:
            hospital.stop()
            book.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("role", "point"), SETTLE_POINTS)
def test_a_kill_while_settling_loses_and_doubles_nothing(town: Town, role: str, point: str) -> None:
    bills = list(islice(town.bills, CASES_PER_POINT))

    town.dies_at(role, point, [settle(bill) for bill in bills])

    assert town.world.unsettled([bill.settlement_no for bill in bills]) == 0
    town.assert_all_agree()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("role", "point"), UNDO_POINTS)
def test_a_kill_while_undoing_leaves_every_book_at_zero(town: Town, role: str, point: str) -> None:
    bills = list(islice(town.bills, CASES_PER_POINT))
    town.send([settle(bill) for bill in bills])

    town.dies_at(role, point, [cancel(bill) for bill in bills])

    town.assert_all_agree()
    borne = borne_by_legs(town.world.engine)
    assert [key for key in borne if key[2] in {bill.settlement_no for bill in bills}] == []
