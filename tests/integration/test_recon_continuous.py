"""Continuous reconciliation: what would be tomorrow's break ends today, without people where the payer can be asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from hub.recon import continuous
from hub.recon.continuous import Continuous, Means
from hub.recon.continuous_due import due_now
from hub.recon.pulling import Pulling
from hub.recon.pulling_patience import Patience
from hub.recon.remedies import propose
from hub.recon.runs import Runs
from hub.watch import Watch
from routing.days import CHINA_STANDARD_TIME, day_of
from routing.schemes import Scheme
from routing.states import CaseState, LegState
from sandbox.parties import BASIC as SANDBOX_BASIC
from sandbox.parties import CRITICAL_ILLNESS
from sandbox.parties import REGION as SANDBOX_REGION
from sandbox.rules import rule_book
from sandbox.server import CastSettings, Sandbox
from sandbox.statements import FaultKind as Wrong
from sandbox.statements import StatementFault
from schemas.errors import Unavailable
from schemas.statement import StatementLine
from schemas.transactions import Transaction
from store import incidents, payers, recon_watch, signing
from store.database import open_engine
from store.incidents import Incident
from tests.support.builders import (
    BASIC,
    CRITICAL,
    HOSPITAL,
    Behaviour,
    StubPayer,
    babbles,
    defers,
    finds_nothing,
    lost_after_effect,
    pays_too_much,
    unreachable,
)
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.sandbox_builders import cases

DAY_S = 86_400.0
PULLED = {"party": CRITICAL, "statement": "pulled"}
_IN_TRANSACTION = text("""
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'""")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CastSettings(volatile=True)) as started:
        yield started


@dataclass
class Asked:
    """Stands for the runs and for fetching; remembers what was wanted of it."""

    runs: list[tuple[str, date]] = field(default_factory=list)
    pulls: list[tuple[str, date]] = field(default_factory=list)
    lines: list[StatementLine] = field(default_factory=list)
    refuses: bool = False
    tries: list[int] = field(default_factory=list)
    looks_at: Engine | None = None
    in_transaction: list[int] = field(default_factory=list)

    def run(self, party: str, _scheme: str, day: date, by: str) -> None:
        assert by == "hub"
        self.runs.append((party, day))

    def pull(self, party: str, _scheme: str, day: date, _by: str, patience: Patience) -> None:
        self.pulls.append((party, day))
        self.tries.append(patience.tries_max)
        if self.looks_at is not None:
            with self.looks_at.connect() as connection:
                self.in_transaction.append(connection.execute(_IN_TRANSACTION).scalar_one())
        if self.refuses:
            raise Unavailable("closed")

    def lines_of(self, _scheme: Scheme, _day: date, _patience: Patience) -> Iterable[StatementLine]:
        if self.refuses:
            raise Unavailable("closed")
        return iter(self.lines)


class World:
    """A hub moved by hand, and its continuous reconciliation."""

    def __init__(self, hub: TestHub, url: str) -> None:
        self.hub = hub
        self.asked = Asked()
        self.engine = open_engine(url, by_key=False)
        inside = hub.hub
        self.means = Means(
            self.engine, inside.work_units, inside.books, hub.clock, inside.payers, self.asked, self.asked,
            self.asked.lines_of,
        )  # fmt: skip
        self.continuous = Continuous(self.means, every_s=3600.0)

    def make_pass(self) -> continuous.Passed:
        passed = self.continuous.make_pass()
        self.hub.pump()
        return passed

    def open_now(self, kind: str) -> list[Incident]:
        with self.hub.database.connect() as connection:
            return incidents.listed(connection, kind=kind)

    def today(self) -> date:
        return day_of(self.hub.clock.now())


@contextmanager
def a_world(database_url: str, payer: StubPayer | None = None, **book: Any) -> Iterator[World]:
    payers = {CRITICAL: payer} if payer else {}
    with a_hub(database_url, payers=payers, running=False, **book) as hub:
        world = World(hub, database_url)
        try:
            yield world
        finally:
            world.engine.dispose()


def given_up(world: World) -> str:
    """A settlement whose payer booked it, was not heard, and could not be reached until nobody asked it any more."""
    payer = world.hub.payers[CRITICAL]
    payer.script = [lost_after_effect]
    case_id: str = world.hub.settle().case_id
    payer.script += [unreachable] * 200
    world.hub.pump()
    for _ in range(60):
        if world.hub.case(case_id).leg(2).next_at is None:
            break
        world.hub.let_pass(3600.0)
    leg = world.hub.case(case_id).leg(2)
    assert (leg.state, leg.next_at) == (LegState.IN_DOUBT, None)
    payer.script = []
    return case_id


def test_a_payer_of_which_a_day_has_nothing_but_a_doubt_is_compared(database_url: str) -> None:
    """Its books may hold the share that ours do not: that is what comparing is for."""
    with a_world(database_url) as world:
        day = day_of(world.hub.clock.now())
        given_up(world)
        world.hub.clock.advance(DAY_S)
        books = world.hub.hub.books

        due = due_now(world.engine, books.active().book, world.hub.clock.now())

        assert (CRITICAL, day) in {(one.scheme.party, one.day) for one in due.runs}
        runs = Runs(world.engine, books, world.hub.clock, propose)
        assert CRITICAL in {scheme.party for scheme in runs.due(day)}
        with world.engine.connect() as connection:
            assert CRITICAL in signing.active_parties(connection, day, ())


def an_inquirer() -> StubPayer:
    return StubPayer(idempotent=False, inquiry=True)


def test_a_lost_answer_that_nobody_asks_about_any_more_is_found_without_people(database_url: str) -> None:
    with a_world(database_url, an_inquirer()) as world:
        case_id = given_up(world)
        since = world.hub.case(case_id).leg(2).doubt_since
        world.hub.let_pass(3 * DAY_S)
        assert world.hub.case(case_id).leg(2).state is LegState.IN_DOUBT

        assert world.make_pass().asked == 1

        case = world.hub.case(case_id)
        assert (case.state, case.leg(2).state, case.leg(2).amount_fen) == (CaseState.SETTLED, LegState.APPROVED, 7_500)
        assert case.leg(2).doubt_since == since
        assert world.hub.answers(case_id)[-1]["final"]
        assert world.hub.payers[CRITICAL].net_fen == 7_500
        assert world.make_pass().asked == 0


def test_one_that_never_came_is_found_not_to_have_come_in_two_passes(database_url: str) -> None:
    with a_world(database_url, an_inquirer()) as world:
        case_id = given_up(world)
        world.hub.payers[CRITICAL].book.clear()
        world.hub.let_pass(3 * DAY_S)

        for _ in range(2):
            world.make_pass()
            world.hub.clock.advance(3600.0)

        assert world.hub.case(case_id).leg(2).state is LegState.DEFERRED


def test_while_the_payer_stays_away_it_is_asked_once_a_pass_and_people_still_hear(database_url: str) -> None:
    with a_world(database_url, an_inquirer()) as world:
        case_id = given_up(world)
        payer = world.hub.payers[CRITICAL]
        world.hub.let_pass(3 * DAY_S)
        payer.script = [unreachable] * 50
        before = len(payer.calls)

        for _ in range(3):
            world.make_pass()
            world.hub.clock.advance(3600.0)

        assert len(payer.calls) - before == 3
        assert world.hub.case(case_id).leg(2).next_at is None
        Watch(world.hub.database, world.hub.clock, pause_s=0.0)()
        (incident,) = world.open_now("leg.in_doubt")
        assert incident.facts["next_at"] is None


@pytest.mark.parametrize("stopped", [CRITICAL, "*"])
def test_a_payer_that_is_stopped_is_left_in_peace(database_url: str, stopped: str) -> None:
    with a_world(database_url, an_inquirer()) as world:
        resting(world, 3000.0)
        with world.hub.database.begin() as connection:
            connection.execute(
                text("INSERT INTO payer_switch VALUES (:party, true, 'r', 'li', now())"), {"party": stopped}
            )
        calls = len(world.hub.payers[CRITICAL].calls)

        assert world.make_pass().asked == 0
        assert len(world.hub.payers[CRITICAL].calls) == calls


def test_what_no_interface_can_end_is_left_to_people(database_url: str) -> None:
    with a_world(database_url, StubPayer(idempotent=False)) as world:
        world.hub.payers[CRITICAL].script = [lost_after_effect]
        world.hub.settle()
        world.hub.pump()
        world.hub.let_pass(3600.0)

        assert world.make_pass().asked == 0


def resting(world: World, rest_s: float) -> str:
    """A settlement that is in doubt, and whose next inquiry is due in `rest_s` seconds."""
    world.hub.payers[CRITICAL].script = [lost_after_effect]
    case_id: str = world.hub.settle().case_id
    for _ in range(2):
        for payer, body in world.hub.commands():
            world.hub.handle(payer, body)
    world.hub.clock.advance(90.0)
    next_at = world.hub.clock.now() + timedelta(seconds=rest_s)
    with world.hub.database.begin() as connection:
        connection.execute(text("UPDATE settlement_leg SET next_at = :at WHERE leg_no = 2"), {"at": next_at})
    assert world.hub.case(case_id).leg(2).state is LegState.IN_DOUBT
    return case_id


def test_a_doubt_that_would_rest_for_an_hour_is_asked_about_at_once(database_url: str) -> None:
    with a_world(database_url, an_inquirer()) as world:
        case_id = resting(world, 3000.0)

        assert world.make_pass().asked == 1
        assert world.hub.case(case_id).leg(2).state is LegState.APPROVED


def test_a_payer_that_is_being_asked_is_not_asked_twice(database_url: str) -> None:
    with a_world(database_url, an_inquirer()) as world:
        resting(world, 3.0)

        assert world.make_pass().asked == 0


# -------------------------------------------------------------------------------------------------- the running day


def noon_tomorrow(world: World) -> None:
    """Far from midnight, whenever the test runs."""
    now = world.hub.clock.now().astimezone(CHINA_STANDARD_TIME)
    noon = (now + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
    world.hub.clock.advance((noon - now).total_seconds())


@contextmanager
def a_day(database_url: str, **scheme: Any) -> Iterator[World]:
    """A payer that tells its books, and one settlement of 75.00 with it, ten minutes old."""
    payer = StubPayer()
    payer.capabilities = replace(payer.capabilities, statements=True)
    with a_world(database_url, payer, reconciliation=[PULLED | scheme]) as world:
        noon_tomorrow(world)
        world.hub.settle()
        world.hub.pump()
        world.hub.clock.advance(600.0)
        world.asked.lines = [a_line(world)]
        yield world


def a_line(world: World, **changes: Any) -> StatementLine:
    """The payer's line of the settlement."""
    with world.hub.database.connect() as connection:
        case_id = connection.execute(text("SELECT CAST(case_id AS text) FROM settlement_case")).scalar_one()
    leg = world.hub.case(case_id).leg(2)
    values = {"institution": HOSPITAL, "request_id": leg.request_id, "reference": leg.payer_reference, "amount": 7_500}
    return StatementLine(**values | changes)


def differences(world: World) -> dict[str, int]:
    """What the open incident counts."""
    found = world.open_now("recon.difference")
    return dict(found[0].facts["counts"]) if found else {}


def test_books_that_agree_are_no_incident(database_url: str) -> None:
    with a_day(database_url) as world:
        assert world.make_pass().differences == 0
        assert differences(world) == {}


DIFFERENT: list[tuple[list[dict[str, Any]], dict[str, int]]] = [
    ([{"amount": 7_490}], {"amount": 1}),
    ([{}, {}], {"amount": 1}),
    ([{}, {"kind": "refund", "amount": -7_500}], {"amount": 1}),
    ([{}, {"request_id": "0" * 32 + "-2", "reference": "X"}], {"missing_at_hub": 1}),
    ([], {"missing_at_payer": 1}),
    ([{"request_id": None, "amount": 1}], {"amount": 1}),
    ([{}, {"request_id": None, "reference": "X", "settlement_no": "UNHEARD-OF"}], {"missing_at_hub": 1}),
    ([{}, {"request_id": None, "reference": "X", "settlement_no": "S-1"}], {}),
    ([{}, {"request_id": None, "reference": "X"}], {}),
    ([{"request_id": None}], {}),
]


def test_what_differs_is_one_incident_until_it_agrees(database_url: str) -> None:
    with a_day(database_url) as world:
        for lines, counts in DIFFERENT:
            world.asked.lines = [a_line(world, **line) for line in lines]
            world.make_pass()
            assert differences(world) == counts
            world.hub.clock.advance(60.0)


def test_what_moved_a_moment_ago_is_looked_at_next_time(database_url: str) -> None:
    with a_day(database_url) as world:
        world.hub.settle("S-2")
        world.hub.pump()

        assert world.make_pass().differences == 0
        world.hub.clock.advance(3600.0)
        assert world.make_pass().differences == 1


def test_amounts_that_hold_the_personal_account_are_understood(database_url: str) -> None:
    with a_day(database_url, account="in_fund") as world:
        for amount, account, differences in ((7_500, 1_000, 0), (7_500, 0, 0), (8_500, 1_000, 1)):
            world.asked.lines = [a_line(world, amount=amount, account=account)]

            assert world.make_pass().differences == differences


def test_what_the_payer_has_and_we_miss_is_asked_about_however_young(database_url: str) -> None:
    payer = an_inquirer()
    payer.capabilities = replace(payer.capabilities, statements=True)
    with a_world(database_url, payer, reconciliation=[PULLED]) as world:
        case_id = resting(world, 3000.0)
        with world.hub.database.begin() as connection:
            connection.execute(
                text("UPDATE settlement_leg SET doubt_since = :now WHERE leg_no = 2"), {"now": world.hub.clock.now()}
            )
        assert world.make_pass().asked == 0

        world.asked.lines = [a_line(world, reference="K-1")]
        world.make_pass()

        assert world.hub.case(case_id).leg(2).state is LegState.APPROVED
        assert differences(world) == {}


def by_hand(request_id: str) -> dict[str, Any]:
    """What the payer's people make of it: 75.00 are paid."""
    answer = {"outcome": "approved", "amount": 7_500, "reference": f"REF-{request_id[-8:]}"}
    return {"amount_fen": 7_500, "answer": json.dumps(answer).encode()}


@pytest.mark.parametrize(
    ("first", "state"), [(pays_too_much, LegState.HELD), (defers, LegState.DEFERRED)], ids=["contradicts", "defers"]
)
def test_what_was_set_aside_is_asked_about_when_the_payers_books_have_it(
    database_url: str, first: Behaviour, state: LegState
) -> None:
    payer = an_inquirer()
    payer.capabilities = replace(payer.capabilities, statements=True)
    with a_world(database_url, payer, reconciliation=[PULLED]) as world:
        payer.script = [first]
        case_id = world.hub.settle().case_id
        world.hub.pump()
        world.hub.let_pass(600.0)
        calls = len(payer.calls)
        assert world.hub.case(case_id).leg(2).state is state
        world.make_pass()
        assert len(payer.calls) == calls

        leg = world.hub.case(case_id).leg(2)
        payer.book[leg.request_id] = replace(payer.book[leg.request_id], **by_hand(leg.request_id))
        world.asked.lines = [a_line(world, reference="K-1")]
        payer.script = [unreachable]
        world.make_pass()
        assert world.hub.case(case_id).leg(2).state is state
        world.make_pass()

        case = world.hub.case(case_id)
        assert (case.state, case.leg(2).state, case.leg(2).amount_fen) == (CaseState.SETTLED, LegState.APPROVED, 7_500)
        assert world.hub.answers(case_id)[-1]["final"]
        assert len(payer.calls) == calls + 2


def test_what_contradicts_itself_again_stays_with_people(database_url: str) -> None:
    payer = an_inquirer()
    payer.capabilities = replace(payer.capabilities, statements=True)
    with a_world(database_url, payer, reconciliation=[PULLED]) as world:
        payer.script = [pays_too_much]
        case_id = world.hub.settle().case_id
        world.hub.pump()
        world.asked.lines = [a_line(world, reference="K-1")]

        for behaviour in (pays_too_much, babbles, finds_nothing):
            payer.script = [behaviour]
            world.make_pass()

        assert world.hub.case(case_id).leg(2).state is LegState.HELD


def test_a_payer_that_does_not_tell_keeps_nobody_else_waiting(database_url: str) -> None:
    with a_day(database_url) as world:
        world.asked.refuses = True
        world.hub.clock.advance(2 * DAY_S)

        world.make_pass()

        assert {party for party, _ in world.asked.runs} == {BASIC, CRITICAL}


# ------------------------------------------------------------------------------------------------ days that are due


def test_a_day_that_is_due_is_compared_and_a_missing_statement_is_told_of(database_url: str) -> None:
    with a_day(database_url) as world:
        day = world.today()
        world.asked.refuses = True
        world.make_pass()
        assert world.asked.runs == []

        world.hub.clock.advance(DAY_S)
        world.make_pass()

        assert sorted(world.asked.runs) == [(BASIC, day), (CRITICAL, day)]
        assert world.asked.pulls == [(CRITICAL, day)]
        (late,) = world.open_now("recon.statement_late")
        assert (late.subject, late.facts["error"]) == (f"recon/{CRITICAL}/daily/{day}", "service.unavailable")

        world.asked.refuses = False
        world.make_pass()
        assert world.open_now("recon.statement_late") == []


def test_a_payer_that_is_down_costs_one_question_a_pass_whatever_is_missing(database_url: str) -> None:
    with a_day(database_url) as world:
        world.hub.clock.advance(DAY_S)
        world.hub.settle("S-2")
        world.hub.pump()
        world.hub.clock.advance(2 * DAY_S)
        world.asked.refuses = True
        world.asked.looks_at = world.hub.database

        world.make_pass()

        assert len(world.asked.pulls) == 1
        assert world.asked.in_transaction == [0]
        late = world.open_now("recon.statement_late")
        assert sorted(one.facts["error"] for one in late) == ["service.unavailable", "statement.payer_away"]
        assert sorted(one.facts["asked"] for one in late) == [False, True]
        with world.hub.database.connect() as connection:
            (told,) = recon_watch.late_of(connection, date.fromisoformat(late[0].facts["day"]))
        assert (told["payer"], told["pulled"], told["error"]) == (CRITICAL, True, late[0].facts["error"])
        world.hub.clock.advance(3600.0)
        world.make_pass()
        assert len({day for _, day in world.asked.pulls}) == 2


def test_a_payer_that_nobody_can_call_is_asked_once_to_see_whether_it_is_back(database_url: str) -> None:
    with a_day(database_url) as world:
        world.hub.clock.advance(DAY_S)
        now = world.hub.clock.now()
        health = {"party": CRITICAL, "process": "p/1", "breaker": "open", "failures": 9, "last_error": "x",
                  "retries_held": 0}  # fmt: skip
        with world.hub.database.begin() as connection:
            payers.tell(connection, [health], now, now - timedelta(days=1))

        world.make_pass()

        assert world.asked.tries == [1]
        world.hub.clock.advance(DAY_S)
        world.make_pass()
        assert world.asked.tries == [1, 4]


def test_a_statement_that_came_by_itself_ends_the_waiting_for_it_within_a_minute(database_url: str) -> None:
    with a_day(database_url) as world:
        day = world.today()
        world.asked.refuses = True
        world.hub.clock.advance(DAY_S)
        world.make_pass()
        assert len(world.open_now("recon.statement_late")) == 1

        with world.hub.database.begin() as connection:
            connection.execute(
                text("""INSERT INTO statement (party, scheme, day, form, source, sha256, rows, total_fen, by_payer,
                    state, received_by, received_at)
                    VALUES (:party, 'daily', :day, 'csv', 'f', '', 0, 0, 0, 'standing', 'li', :now)"""),
                {"party": CRITICAL, "day": day, "now": world.hub.clock.now()},
            )
            continuous.tell(connection, world.hub.clock.now())

        assert world.open_now("recon.statement_late") == []


def test_runs_with_open_breaks_and_runs_that_failed_are_incidents_while_they_stand(database_url: str) -> None:
    with a_world(database_url) as world:
        values = {"day": world.today(), "now": world.hub.clock.now()}
        with world.hub.database.begin() as connection:
            run_ids = (
                connection.execute(
                    text("""INSERT INTO recon_run (party, scheme, day, state, switches, rulebook_version, statement_ids,
                    started_by, started_at, failure)
                    SELECT party, 'daily', :day, state, '{}', 1, '{}', 'li', :now, '' FROM (VALUES ('CICI', 'done'),
                    ('ANKANG', 'failed')) AS made(party, state) RETURNING run_id"""),
                    values,
                )
                .scalars()
                .all()
            )
            connection.execute(
                text("""INSERT INTO recon_break (run_id, class, key, institution, payer, settlement_no, request_id,
                    reference, difference_fen, first_day, state, proposal, reason)
                    SELECT :run, 'amount', key, 'H1', 'CICI', '', '', '', 1, :day, state, 'people', ''
                    FROM (VALUES ('a', 'open'), ('b', 'waiting'), ('c', 'explained')) AS made(key, state)"""),
                values | {"run": run_ids[0]},
            )

        world.continuous()

        (found,) = world.open_now("recon.breaks_open")
        assert (found.facts["open"], found.facts["waiting"], found.facts["classes"]) == (1, 1, {"amount": 2})
        assert [one.facts["payer"] for one in world.open_now("recon.run_failed")] == ["ANKANG"]
        with world.hub.database.begin() as connection:
            connection.execute(
                text("UPDATE recon_run SET state = CASE state WHEN 'done' THEN 'signed_off' ELSE 'void' END")
            )
        world.hub.clock.advance(60.0)
        world.continuous()
        assert world.open_now("recon.breaks_open") == world.open_now("recon.run_failed") == []


def test_a_break_that_waited_for_its_remedy_is_resolved_when_the_effect_is_there(database_url: str) -> None:
    with a_world(database_url, an_inquirer()) as world:
        case_id = resting(world, 3000.0)
        values = {"day": world.today(), "now": world.hub.clock.now(), "case": case_id}
        with world.hub.database.begin() as connection:
            connection.execute(
                text("""WITH made AS (INSERT INTO recon_run (party, scheme, day, state, switches, rulebook_version,
                    statement_ids, started_by, started_at) VALUES ('CICI', 'daily', :day, 'done', '{}', 1, '{}', 'li',
                    :now) RETURNING run_id)
                    INSERT INTO recon_break (run_id, class, key, case_id, leg_no, institution, payer, settlement_no,
                        request_id, reference, difference_fen, first_day, state, proposal, reason, remedy)
                    SELECT run_id, 'missing_at_hub', 'k', CAST(:case AS uuid), 2, 'H1', 'CICI', '', '', '', 1, :day,
                        'waiting', 'inquire', '', 'inquire' FROM made"""),
                values,
            )
        world.continuous()
        assert world.open_now("recon.breaks_open")[0].facts["waiting"] == 1
        world.hub.pump()

        world.hub.clock.advance(60.0)
        world.continuous()

        assert world.open_now("recon.breaks_open") == []


def test_of_many_processes_one_makes_the_pass(database_url: str) -> None:
    with a_world(database_url) as world:
        another = Continuous(world.means, every_s=3600.0)

        assert [world.continuous(), another(), world.continuous()] == [1, 0, 0]
        world.hub.clock.advance(3600.0)
        with recon_watch.only_one(world.hub.database, continuous.PASS) as mine:
            assert mine
            assert another() == 0
        assert another() == 1


def test_a_hub_reconciles_by_itself_unless_it_is_told_not_to(database_url: str) -> None:
    with a_world(database_url) as world:
        assert "recon" in {sweep._name for sweep in world.hub.hub.sweeps}
    with a_hub(database_url, running=False, settings_changes={"recon_every_s": 0.0}) as quiet:
        assert "recon" not in {sweep._name for sweep in quiet.hub.sweeps}


# -------------------------------------------------------------------------------------------- with everything real


def test_real_payers_are_asked_compared_and_their_day_closed_without_people(
    database_url: str, sandbox: Sandbox
) -> None:
    bills = [one for one in cases(60) if one.visit_kind == "inpatient"][:4]
    book = rule_book(sandbox.endpoints(), [], valid_from=date(2026, 1, 1))
    codes = sorted({bill.institution for bill in bills})
    book["institutions"] = [{"code": code, "name": code, "region": SANDBOX_REGION} for code in codes]
    book["reconciliation"] = [{"party": code, "statement": "pulled"} for code in (SANDBOX_BASIC, CRITICAL_ILLNESS)]
    engine = open_engine(database_url, by_key=False)
    with a_hub(database_url, running=False, **book) as hub:
        for bill in bills:
            hub.send(Transaction.SETTLE, bill.body, party=bill.institution)
        hub.pump()
        inside, day = hub.hub, day_of(hub.clock.now())
        pulling = Pulling(engine, inside.books, hub.clock, inside.payers.__getitem__, sleep=lambda _: None)
        runs = Runs(engine, inside.books, hub.clock, propose)
        means = Means(engine, inside.work_units, inside.books, hub.clock, inside.payers, runs, pulling,
                      pulling.glance, margin=timedelta(0))  # fmt: skip
        recon = Continuous(means, every_s=3600.0)

        assert recon.make_pass().differences == 0
        wrong = StatementFault(kind=Wrong.WRONG_FEN, day=day)
        sandbox.cast.apps[CRITICAL_ILLNESS].statements.set_faults([wrong])
        assert recon.make_pass().differences == 1

        hub.clock.advance(2 * DAY_S)
        passed = recon.make_pass()

        assert passed.runs >= 2
        with engine.connect() as connection:
            states = connection.execute(
                text("SELECT party, state, counts FROM recon_run WHERE day = :day AND state <> 'void'"), {"day": day}
            ).all()
            found = [one.facts["classes"] for one in incidents.listed(connection, kind="recon.breaks_open")]
        assert {one.party: one.state for one in states} == {SANDBOX_BASIC: "done", CRITICAL_ILLNESS: "done"}
        assert found == [{"amount": 1}]
    engine.dispose()
