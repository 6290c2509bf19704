"""Clocks that go wrong: an hour apart, jumping while cases are under way, and days that end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from routing.days import day_of
from schemas.payer import Decision, PayerTask, RawAnswer
from tests.support.builders import BASIC, StubPayer
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.hub_processes import WITH_HTTP, world
from tests.support.mixed_traffic import MixedTraffic, mixed_traffic
from tests.support.servers import PostgresServer, RabbitServer, fresh_database, fresh_vhost
from tests.support.soundness import broken

SEED = 20261125
DAY = 60
BILLS = 4
ANSWERED = 40
HOUR_S = 3600.0


@pytest.fixture
def town(
    postgres_server: PostgresServer, rabbitmq_server: RabbitServer, database_template: str, tmp_path: Path
) -> Iterator[MixedTraffic]:
    with (
        fresh_database(postgres_server, template=database_template) as database_url,
        fresh_vhost(rabbitmq_server) as broker_url,
        world(database_url, broker_url, tmp_path, DAY, seed=SEED, payer_timeout_s=1.0) as found,
    ):
        for role in WITH_HTTP:
            found.hub.start(role)
        with mixed_traffic(found, broker_url, tmp_path, SEED) as traffic:
            yield traffic


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("skewed", "then"),
    [
        ({"engine": HOUR_S, "gateway": HOUR_S, "adapters": -HOUR_S}, {"engine": -HOUR_S, "adapters": HOUR_S}),
        ({"adapters": HOUR_S, "relay": -HOUR_S}, {"adapters": -HOUR_S, "relay": HOUR_S, "gateway": -HOUR_S}),
    ],
)
def test_clocks_an_hour_apart_and_jumping_break_no_book(
    town: MixedTraffic, skewed: dict[str, float], then: dict[str, float]
) -> None:
    hub = town.world.hub
    for role, seconds in skewed.items():
        hub.set_clock(role, seconds)
    with town.flowing(BILLS):
        eventually(lambda: town.answered >= ANSWERED, within_s=120)
        hub.kill("adapters")
        hub.start("adapters")
        for role, seconds in then.items():
            hub.set_clock(role, seconds)
        eventually(lambda: town.answered >= 2 * ANSWERED, within_s=120)

    tally = town.settle_down(within_s=60)

    print(f"seed {SEED}", *tally.lines(), sep="; ")
    assert tally.is_clean
    assert tally.doubts_open == 0


@dataclass
class PayerWithAClock(StubPayer):
    """Says when it settled."""

    settled_at: datetime | None = None

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        return replace(super().decode(task, answer), decided_at=self.settled_at)


def business_day(hub: TestHub, settlement_no: str) -> date:
    with hub.database.connect() as connection:
        found: date = connection.execute(
            text("SELECT business_day FROM settlement_case WHERE settlement_no = :no"), {"no": settlement_no}
        ).scalar_one()
    return found


@pytest.mark.parametrize(
    ("settled_at", "day"),
    [
        # Midnight in China is 16:00 in UTC; the year ends with a day.
        (datetime(2025, 12, 31, 15, 59, 59, tzinfo=UTC), date(2025, 12, 31)),
        (datetime(2025, 12, 31, 16, 0, 0, tzinfo=UTC), date(2026, 1, 1)),
        (datetime(2026, 1, 1, 0, 0, 0, tzinfo=UTC), date(2026, 1, 1)),
        (datetime(2024, 2, 29, 15, 59, 59, tzinfo=UTC), date(2024, 2, 29)),
        (datetime(2024, 2, 29, 16, 0, 0, tzinfo=UTC), date(2024, 3, 1)),
    ],
)
def test_the_business_day_is_the_payers_whatever_our_clock_says(
    database_url: str, settled_at: datetime, day: date
) -> None:
    payer = PayerWithAClock(settled_at=settled_at)
    with a_hub(database_url, payers={BASIC: payer}) as hub:
        hub.clock.advance(HOUR_S)
        before = hub.settle("S-1")
        hub.answered(before.case_id)
        hub.clock.advance(30 * 24 * HOUR_S)
        after = hub.settle("S-2")
        hub.answered(after.case_id)

        assert (business_day(hub, "S-1"), business_day(hub, "S-2")) == (day, day)


def test_the_business_day_stays_when_the_case_is_undone_in_another_year(database_url: str) -> None:
    payer = PayerWithAClock(settled_at=datetime(2025, 12, 31, 15, 59, 59, tzinfo=UTC))
    with a_hub(database_url, payers={BASIC: payer}) as hub:
        taken = hub.settle("S-1")
        hub.answered(taken.case_id)
        hub.clock.advance(60 * 24 * HOUR_S)
        hub.cancel("S-1")
        hub.answered(taken.case_id, revision=2)

        assert hub.answers(taken.case_id)[-1]["status"] == "cancelled"
        assert business_day(hub, "S-1") == date(2025, 12, 31)


def test_a_payer_whose_clock_is_years_ahead_opens_no_day_that_nobody_reaches(database_url: str) -> None:
    payer = PayerWithAClock(settled_at=datetime(2099, 3, 5, tzinfo=UTC))
    with a_hub(database_url, payers={BASIC: payer}) as hub:
        taken = hub.settle("S-1")
        hub.answered(taken.case_id)

        assert business_day(hub, "S-1") == day_of(hub.clock.now())
        assert broken(hub.database) == {}
