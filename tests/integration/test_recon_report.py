"""The report of a day from what is stored: bookings, runs and their breaks through every turn, seals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from hub.recon.report import Report, read_report
from routing.days import day_of
from store.database import open_engine
from tests.support.builders import BASIC, CRITICAL, HOSPITAL
from tests.support.hub_in_process import TestHub, a_hub


@pytest.fixture
def world(database_url: str) -> Iterator[TestHub]:
    with a_hub(database_url, running=False) as made:
        yield made


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url, by_key=False)
    yield made
    made.dispose()


def run(world: TestHub, party: str, day: date, *breaks: tuple[str, str, int], state: str = "done") -> int:
    """A run as matching leaves it; each break is (key, state, difference)."""
    with world.database.begin() as connection:
        connection.execute(
            text("UPDATE recon_run SET state = 'void' WHERE party = :party AND day = :day"),
            {"party": party, "day": day},
        )
        run_id: int = connection.execute(
            text("""INSERT INTO recon_run (party, scheme, day, state, switches, rulebook_version, statement_ids, totals,
                started_by, started_at, finished_at)
                VALUES (:party, 'daily', :day, :state, '{"refunds": "counted"}', 1, '{}',
                        '{"hub": [2, 0, 15000, 0, 0], "payer": [2, 0, 14990, 0, 0]}', 'li', :now, :now)
                RETURNING run_id"""),
            {"party": party, "day": day, "state": state, "now": world.clock.now()},
        ).scalar_one()
        for key, break_state, fen in breaks:
            values = {"run": run_id, "key": key, "state": break_state, "fen": fen, "day": day, "party": party}
            values["resolved_at"] = world.clock.now() if break_state == "resolved" else None
            connection.execute(
                text("""INSERT INTO recon_break (run_id, class, key, institution, payer, settlement_no, request_id,
                    reference, hub, payer_side, difference_fen, first_day, state, proposal, reason, resolved_at)
                    VALUES (:run, 'amount', :key, 'H1', :party, 'S-1', '', '', '[1, 0, 7500, 0, 0]',
                    '[1, 0, 7490, 0, 0]', :fen, :day, :state, 'people', 'why', :resolved_at)"""),
                values,
            )
    return run_id


def report(world: TestHub, engine: Engine, day: date, **limits: Any) -> Report:
    with engine.connect() as connection:
        return read_report(connection, world.hub.books.active().book, day, world.clock.now(), **limits)


def test_a_day_with_bookings_and_no_runs_is_not_closed(world: TestHub, engine: Engine) -> None:
    world.settle("S-1")
    world.settle("S-2")
    world.pump()
    today = day_of(world.clock.now())

    found = report(world, engine, today)

    assert not found.clean
    assert list(found.not_run) == [BASIC, CRITICAL]
    assert (found.totals.cases, found.totals.bills_fen) == (2, 60_000)
    assert found.totals.payers_fen + found.totals.account_fen + found.totals.cash_fen == 60_000
    advanced = {(one.payer, one.institution): one.advanced_fen for one in found.balances}
    assert advanced == {(BASIC, HOSPITAL): 30_000, (CRITICAL, HOSPITAL): 15_000}
    assert all(one.to_be_settled_fen == one.advanced_fen == one.day_fen for one in found.balances)


def test_a_break_is_counted_as_its_last_run_has_it(world: TestHub, engine: Engine) -> None:
    today = day_of(world.clock.now())
    run(world, CRITICAL, today, ("stays", "open", -10), ("solved", "resolved", -5), ("vanishes", "open", 3))
    world.clock.advance(600)
    newest = run(world, CRITICAL, today, ("stays", "waiting", -10), ("fresh", "open", 7), ("clear", "explained", 0))

    found = report(world, engine, today, breaks_max=1)

    (party,) = found.parties
    assert (party.run.run_id, party.run.voided) == (newest, 1)
    assert dict(party.states) == {"open": 1, "waiting": 1, "resolved": 1, "explained": 1, "agreed": 1}
    assert party.open_fen == -3
    assert (party.sides["payer"].net_fen, found.breaks_total, [one.key for one in found.breaks]) == (
        14_990,
        2,
        ["stays"],
    )
    assert (found.resolution.count, round(found.resolution.worst_s or 0, -1)) == (2, 600)
    (row,) = found.classes
    assert dict(row.ages) == {"0": 2}


def test_what_is_open_grows_older(world: TestHub, engine: Engine) -> None:
    day = day_of(world.clock.now())
    run(world, CRITICAL, day, ("old", "open", 1))
    ages = []
    for _ in range(3):
        ages += [age for row in report(world, engine, day).classes for age in row.ages]
        world.clock.advance(timedelta(days=2).total_seconds())

    assert ages == ["0", "2-3", "4-7"]


def test_a_late_entry_stands_on_the_day_that_it_came_to_and_on_the_day_that_it_left(
    world: TestHub, engine: Engine
) -> None:
    today = day_of(world.clock.now())
    with world.database.begin() as connection:
        connection.execute(
            text("""INSERT INTO ledger_entry (region, business_day, effective_day, institution, payer, kind, debit,
                credit, amount_fen, cause) VALUES ('440300', :later, :day, :institution, :payer, 'correction',
                'difference', 'receivable', 10, 'break/1')"""),
            {"day": today, "later": today + timedelta(days=1), "institution": HOSPITAL, "payer": CRITICAL},
        )

    left, came = report(world, engine, today), report(world, engine, today + timedelta(days=1))

    assert [(one.into, one.kind, one.amount_fen) for one in left.late_totals] == [(False, "correction", 10)]
    assert [(one.into, one.count) for one in came.late_totals] == [(True, 1)]
    assert [one.cause for one in came.late] == ["break/1"]
    (balance,) = came.balances
    assert (balance.advanced_fen, balance.to_be_settled_fen, balance.written_off_fen) == (0, -10, 10)
