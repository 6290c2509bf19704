"""What is written comes back as it was; duplicates, stale writers and impossible rows are refused by the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from routing.states import CaseEvent, CaseState, LegEvent, LegState
from schemas.errors import Conflict
from schemas.payer import Operation
from store import answers, cases, coverage, exchanges, inbox, rulebooks
from store.answers import StoredAnswer, StoredUndo
from store.coverage import CoverageRow, person_key
from store.database import alembic_config, database_is_away, open_engine, upgrade
from store.exchanges import Exchange
from store.inbox import Received
from store.records import CaseRecord, basic_from_json, basic_to_json
from tests.support.builders import HOSPITAL, MOMENT, REGION, a_basic_decision, a_case, a_leg

BYTES = bytes(range(256))


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def numbered(number: int, **changes) -> CaseRecord:
    return a_case(
        a_leg(1),
        a_leg(2),
        case_id=f"01890000-0000-7000-8000-{number:012d}",
        settlement_no=changes.pop("settlement_no", f"S-{number}"),
        **changes,
    )


def stored(database: Engine, *new: CaseRecord) -> set[str]:
    with database.begin() as connection:
        return cases.insert_new(connection, new)


def read(database: Engine, case_id: str) -> CaseRecord:
    with database.connect() as connection:
        return cases.read(connection, [case_id])[case_id]


def test_the_migrations_make_exactly_the_declared_tables(empty_database_url):
    upgrade(empty_database_url)

    command.check(alembic_config(empty_database_url))


def test_the_migrations_go_back_to_nothing_and_forth_again(empty_database_url):
    upgrade(empty_database_url)
    command.downgrade(alembic_config(empty_database_url), "base")
    upgrade(empty_database_url)

    command.check(alembic_config(empty_database_url))


def test_a_case_comes_back_as_it_was_stored(database):
    case = numbered(1, received_at=datetime(2026, 3, 2, 1, 15, 0, 123456, tzinfo=UTC), purpose=Operation.TRIAL)
    case.legs[1].policy_no, case.legs[1].independent, case.legs[1].split = "保单-1", True, 2

    assert stored(database, case) == {case.case_id}

    found = read(database, case.case_id)
    found.considered = case.considered
    assert found == case
    with database.connect() as connection:
        assert cases.considered(connection, case.case_id) == case.considered


def test_every_change_of_a_case_and_its_legs_is_written(database):
    case = numbered(1)
    stored(database, case)
    with database.begin() as connection:
        held = cases.lock(connection, [case.case_id])[case.case_id]
        first, second = held.legs
        first.apply(LegEvent.CLAIM)
        first.left_fen, first.attempts, first.claimed_at = 30_000, 1, MOMENT
        second.apply(LegEvent.DEFER, reason_code="time_up")
        held.overdue = True
        held.watch(None)
        cases.save(connection, [held])
    with database.begin() as connection:
        held = cases.lock(connection, [case.case_id])[case.case_id]
        held.legs[0].record(a_basic_decision(30_000, 18_000, 1_000, 501), LegEvent.APPROVE, MOMENT)
        held.apply(CaseEvent.COMPLETE)
        held.business_day, held.ended_at, held.revision = date(2026, 3, 2), MOMENT, 1
        cases.save(connection, [held])

    found = read(database, case.case_id)
    first, second = found.legs
    assert (found.state, found.overdue, found.watch_at, found.version) == (CaseState.SETTLED, True, None, 2)
    assert (found.business_day, found.ended_at, found.revision) == (date(2026, 3, 2), MOMENT, 1)
    assert (first.state, first.version, first.attempts, first.claimed_at) == (LegState.APPROVED, 2, 1, MOMENT)
    assert (first.amount_fen, first.account_fen, first.hospital_fen, first.left_fen) == (18_000, 1_000, 501, 30_000)
    assert basic_from_json(first.basic) == a_basic_decision(30_000, 18_000, 1_000, 501).basic
    assert (second.state, second.reason_code, second.version) == (LegState.DEFERRED, "time_up", 1)


def test_the_adjudication_survives_its_column():
    basic = a_basic_decision(100, 60).basic

    assert basic_from_json(basic_to_json(basic)) == basic


def test_numbers_used_twice_in_a_batch_or_before_are_stored_once(database):
    first, twin, other = numbered(1), numbered(2, settlement_no="S-1"), numbered(3)

    assert stored(database, first, twin, other) == {first.case_id, other.case_id}
    assert stored(database, numbered(4, settlement_no="S-1"), numbered(5)) == {numbered(5).case_id}
    with database.connect() as connection:
        found = cases.find_by_key(connection, [(HOSPITAL, "S-1"), (HOSPITAL, "S-5"), (HOSPITAL, "S-9")])
        legs = connection.exec_driver_sql("SELECT count(*) FROM settlement_leg").scalar_one()
    assert {key: value[0] for key, value in found.items()} == {
        (HOSPITAL, "S-1"): first.case_id,
        (HOSPITAL, "S-5"): numbered(5).case_id,
    }
    assert legs == 6


def test_the_same_number_of_another_institution_is_another_case(database):
    assert len(stored(database, numbered(1), numbered(2, settlement_no="S-1", institution="H44030000002"))) == 2


def test_batches_with_the_same_numbers_in_other_orders_do_not_deadlock(database):
    """Each holds the first of its numbers while it takes the rest."""
    both = threading.Barrier(2)
    created: list[set[str]] = []

    def insert(order: range, offset: int) -> None:
        new = [numbered(offset + number, settlement_no=f"S-{number}") for number in order]
        both.wait()
        created.extend(stored(database, *new) for _ in range(5))

    threads = [
        threading.Thread(target=insert, args=(order, offset))
        for order, offset in ((range(300), 0), (range(299, -1, -1), 1000))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(created) == 10
    assert sum(map(len, created)) == 300


def test_a_row_that_changed_under_the_lock_is_a_conflict(database):
    case = numbered(1)
    stored(database, case)
    stale, fresh = read(database, case.case_id), read(database, case.case_id)
    with database.begin() as connection:
        fresh.watch(None)
        cases.save(connection, [fresh])

    stale.watch(MOMENT)
    with pytest.raises(Conflict) as refusal, database.begin() as connection:
        cases.save(connection, [stale])
    assert refusal.value.code == "store.version_conflict"


def test_a_leg_that_changed_under_the_lock_is_a_conflict_and_nothing_is_written(database):
    case = numbered(1)
    stored(database, case)
    stale, fresh = read(database, case.case_id), read(database, case.case_id)
    with database.begin() as connection:
        fresh.legs[0].apply(LegEvent.CLAIM)
        cases.save(connection, [fresh])

    stale.legs[0].apply(LegEvent.DEFER)
    stale.legs[1].apply(LegEvent.DEFER)
    with pytest.raises(Conflict), database.begin() as connection:
        cases.save(connection, [stale])
    assert [leg.state for leg in read(database, case.case_id).legs] == [LegState.CLAIMED, LegState.PLANNED]


def test_what_did_not_change_is_not_written(database):
    case = numbered(1)
    stored(database, case)
    found = read(database, case.case_id)
    with database.begin() as connection:
        cases.save(connection, [found])

    assert read(database, case.case_id).version == 0


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("UPDATE settlement_leg SET amount_fen = 1 WHERE leg_no = 1", "leg_bears_at_most_what_was_left"),
        (
            "UPDATE settlement_leg SET left_fen = 100, amount_fen = 60, account_fen = 30, hospital_fen = 11",
            "leg_bears_at_most_what_was_left",
        ),
        ("UPDATE settlement_leg SET left_fen = 100, amount_fen = -1", "leg_amounts_not_negative"),
        ("UPDATE settlement_leg SET left_fen = 100, amount_fen = 2, account_fen = -1", "leg_amounts_not_negative"),
        ("UPDATE settlement_leg SET state = 'paid'", "leg_state_is_known"),
        ("UPDATE settlement_case SET state = 'paid'", "case_state_is_known"),
        ("UPDATE settlement_case SET purpose = 'cancel'", "case_purpose_is_known"),
        ("UPDATE settlement_case SET total_fen = 0", "case_total_is_positive"),
        ("UPDATE settlement_case SET case_key = 'S-2' WHERE case_key = 'S-1'", "one_case_per_settlement_number"),
    ],
)
def test_the_database_refuses_what_cannot_be(database, change, constraint):
    stored(database, numbered(1), numbered(2))

    with pytest.raises(IntegrityError) as refusal, database.begin() as connection:
        connection.exec_driver_sql(change)
    assert constraint in str(refusal.value)


def test_a_watched_case_is_found_when_its_time_has_come_and_nobody_holds_it(database):
    early, late, ended = numbered(1), numbered(2, watch_at=MOMENT + timedelta(hours=1)), numbered(3, watch_at=None)
    stored(database, early, late, ended)
    now = MOMENT + timedelta(minutes=1)
    with database.begin() as one, database.begin() as other:
        assert set(cases.lock_watched(one, now, 10)) == {early.case_id}
        assert cases.lock_watched(other, now, 10) == {}


def test_answers_keep_every_byte_and_the_latest_is_found(database):
    case = numbered(1)
    new = [StoredAnswer(case.case_id, revision, REGION, revision == 2, BYTES * revision, MOMENT) for revision in (1, 2)]
    with database.begin() as connection:
        answers.add(connection, new)

    with database.connect() as connection:
        assert answers.history(connection, case.case_id) == new
        assert answers.latest(connection, [case.case_id, numbered(9).case_id]) == {case.case_id: new[1]}
        assert answers.latest(connection, []) == {}


def test_exchanges_keep_every_byte_in_their_order(database):
    case_id = numbered(1).case_id
    new = [
        Exchange(
            region=REGION,
            case_id=case_id,
            leg_no=leg_no,
            party="P",
            direction=direction,
            operation="settle",
            request_id="r",
            attempt=1,
            body=body,
            at=MOMENT,
            outcome="批准",
        )
        for leg_no, direction, body in ((0, "in", BYTES), (1, "out", b""), (1, "in", b"\0"))
    ]
    with database.begin() as connection:
        exchanges.add(connection, new)

    with database.connect() as connection:
        assert exchanges.of_case(connection, case_id) == new
        assert exchanges.requests_of(connection, [case_id]) == {case_id: BYTES}


def test_an_undo_request_is_kept_once(database):
    undo = StoredUndo(numbered(1).case_id, "C-1", REGION, "退费", f"out:{HOSPITAL}", "M-1", MOMENT)
    with database.begin() as connection:
        assert answers.add_undos(connection, [undo]) == {(undo.case_id, "C-1")}
        assert answers.add_undos(connection, [undo]) == set()
        assert answers.undos_of(connection, [undo.case_id]) == {undo.case_id: [undo]}


def test_a_message_may_come_again_and_its_id_may_not_come_with_another(database):
    one, other = Received("A", "1", REGION, "settle:x"), Received("A", "1", REGION, "settle:y")
    of_another = Received("B", "1", REGION, "settle:y")
    with database.begin() as connection:
        together = inbox.take(connection, [one, one, of_another])
        later = inbox.take(connection, [one, other, Received("A", "2", REGION, "settle:y")])

    assert (together, later) == (set(), {other})
    with database.connect() as connection:
        assert inbox.take(connection, []) == set()


def test_coverage_is_found_by_a_key_that_is_not_the_number(database):
    key = person_key(b"secret", "01", "110101199903071239")
    row = CoverageRow(key, "city", "P-1", REGION, date(2020, 1, 1), None)
    ended = CoverageRow(key, "city", "P-0", REGION, date(2019, 1, 1), date(2019, 12, 31))
    with database.begin() as connection:
        assert coverage.add(connection, [row, ended, row]) == 2
        assert coverage.add(connection, [row]) == 0
        found = coverage.find(connection, [key, key, "nobody"])

    assert [(one.policy_no, one.valid_from, one.valid_until) for one in found[key]] == [
        ("P-0", date(2019, 1, 1), date(2019, 12, 31)),
        ("P-1", date(2020, 1, 1), None),
    ]
    assert "nobody" not in found
    assert (
        len({key, person_key(b"other", "01", "110101199903071239"), person_key(b"secret", "90", "110101199903071239")})
        == 3
    )


def test_a_rule_book_is_active_from_its_moment_and_the_older_one_may_come_back(database):
    with database.begin() as connection:
        one, two = (rulebooks.add(connection, "t", text) for text in ("one", "two"))
        assert rulebooks.add(connection, "again", "one") == one
        assert rulebooks.active(connection, MOMENT) is None
        rulebooks.activate(connection, one, MOMENT)
        rulebooks.activate(connection, two, MOMENT + timedelta(hours=1))
        in_force = [rulebooks.active(connection, MOMENT + timedelta(hours=hours)).version for hours in (0, 1, 2)]
        rulebooks.activate(connection, one, MOMENT + timedelta(hours=3))
        back = rulebooks.active(connection, MOMENT + timedelta(hours=3))
        before = rulebooks.active(connection, MOMENT + timedelta(hours=2))

    assert in_force == [one, two, two]
    assert (back.version, back.content, before.version) == (one, "one", two)


def keep_answer(database: Engine, before: Callable[[Connection], object]) -> None:
    """Keep an answer in a transaction to which `before` happens first."""
    with database.begin() as connection:
        before(connection)
        answers.add(connection, [StoredAnswer(numbered(1).case_id, 1, REGION, True, b"x", MOMENT)])


def test_a_connection_that_was_cut_before_a_copy_means_that_the_database_is_away(database):
    def cut_it(connection: Connection) -> None:
        mine = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with database.begin() as other:
            other.exec_driver_sql("SELECT pg_terminate_backend(%s)", (mine,))

    with pytest.raises(SQLAlchemyError) as cut:
        keep_answer(database, cut_it)

    assert database_is_away(cut.value)
    keep_answer(database, lambda connection: connection.exec_driver_sql("SELECT 1"))


def test_a_copy_that_waits_too_long_means_that_the_database_is_away(database):
    with database.begin() as holder:
        holder.exec_driver_sql("LOCK TABLE case_answer")
        with pytest.raises(SQLAlchemyError) as refusal:
            keep_answer(database, lambda connection: connection.exec_driver_sql("SET LOCAL lock_timeout = 50"))

    assert database_is_away(refusal.value)


def test_planning_the_version_in_force_for_later_leaves_it_in_force(database):
    with database.begin() as connection:
        version = rulebooks.add(connection, "t", "one")
        rulebooks.activate(connection, version, MOMENT)
        rulebooks.activate(connection, version, MOMENT + timedelta(days=1))
        now = rulebooks.active(connection, MOMENT + timedelta(hours=1))

    assert now is not None
    assert now.version == version
