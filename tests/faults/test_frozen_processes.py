"""A process stands still for longer than anybody waits for it, another one takes over, and then it wakes up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from sandbox import parties
from sandbox.faults import Fault, FaultKind
from tests.support.eventually import eventually
from tests.support.freeze import frozen
from tests.support.hub_processes import WITH_HTTP, World, world
from tests.support.mixed_traffic import MixedTraffic, mixed_traffic
from tests.support.servers import PostgresServer, RabbitServer, fresh_database, fresh_vhost

SEED = 20261124
DAY = 60
PAYER_TIMEOUT_S = 2.0
ANSWER_AFTER_S = 1.0
BILLS = 4
ANSWERED_MEANWHILE = 60


@pytest.fixture
def town(
    postgres_server: PostgresServer, rabbitmq_server: RabbitServer, database_template: str, tmp_path: Path
) -> Iterator[MixedTraffic]:
    with (
        fresh_database(postgres_server, template=database_template) as database_url,
        fresh_vhost(rabbitmq_server) as broker_url,
        world(database_url, broker_url, tmp_path, DAY, seed=SEED, payer_timeout_s=PAYER_TIMEOUT_S) as found,
    ):
        for role in WITH_HTTP:
            found.hub.start(role)
        with mixed_traffic(found, broker_url, tmp_path, SEED) as traffic:
            yield traffic


def counted(world: World, where: str) -> int:
    with world.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM settlement_leg WHERE {where}")).scalar_one())


def pid_of(world: World, name: str) -> int:
    pid = world.hub.running[name].pid
    assert pid is not None
    return pid


@pytest.mark.timeout(600)
def test_what_a_sleeper_writes_late_changes_nothing_that_was_decided(town: MixedTraffic) -> None:
    """Calls are in flight when the process that made them freezes; the broker gives its commands to another."""
    found = town.world
    late = Fault(kind=FaultKind.LATE, seconds=ANSWER_AFTER_S)
    found.sandbox.set_faults(parties.BASIC, [late])
    bills = town.begin(BILLS)
    eventually(lambda: counted(found, "state = 'claimed'") > 0, within_s=90)
    claimed = counted(found, "state = 'claimed'")

    with frozen(pid_of(found, "adapters")):
        found.sandbox.set_faults(parties.BASIC, [])
        found.hub.start("adapters", name="adapters-2")
        # The broker misses the sleeper's heartbeats and hands its commands on.
        eventually(lambda: found.unsettled([bill.settlement_no for bill in bills]) == 0, within_s=90)
        before = decided(found)

    # The sleeper wakes with the answers that lay in its sockets, and stores them.
    town.converse(BILLS, over_http=True)
    tally = town.settle_down(within_s=60)
    print(*tally.lines(), sep="; ")
    assert claimed > 0
    assert tally.is_clean
    assert before.items() <= decided(found).items()
    assert found.hub.dead() == []


def decided(world: World) -> dict[tuple[str, int], tuple[str, int, int]]:
    """Every leg that is decided: what was decided."""
    with world.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT case_id, leg_no, state, coalesce(amount_fen, 0), coalesce(account_fen, 0) FROM settlement_leg "
                "WHERE state IN ('approved', 'declined', 'not_needed')"
            )
        )
        return {(str(row[0]), row[1]): (row[2], row[3], row[4]) for row in rows}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", ["engine", "relay", "gateway"])
def test_a_frozen_process_delays_its_work_and_loses_none(town: MixedTraffic, role: str) -> None:
    """The hospitals go on sending meanwhile; a second engine takes what they send, and what the first one held."""
    found = town.world
    if role == "engine":
        found.hub.start("engine", name="engine-2")

    with town.flowing(BILLS):
        eventually(lambda: town.answered >= BILLS, within_s=90)
        with frozen(pid_of(found, role)):
            before = town.answered
            eventually(lambda: town.answered >= before + ANSWERED_MEANWHILE, within_s=90)

    tally = town.settle_down(within_s=60)
    print(*tally.lines(), sep="; ")
    assert tally.is_clean
    assert tally.doubts_open == 0
    assert found.hub.dead() == []
