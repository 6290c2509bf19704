"""What is open and should not be is on the list once, with its reason, and leaves it when it is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from hub.incident_words import KINDS, words
from hub.watch import GONE_S, LATE_S, WATCH_PAUSE_S, Verifier, Watch
from store import incidents, invariants
from store.database import open_engine
from store.incidents import DETECTORS, Incident
from tests.support.builders import (
    BASIC,
    CRITICAL,
    StubPayer,
    lost_after_effect,
    pays_too_much,
    when,
)
from tests.support.hub_in_process import MovableClock, TestHub, a_hub


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


def open_now(engine: Engine) -> dict[str, Incident]:
    """Subject -> open incident."""
    with engine.connect() as connection:
        return {f"{one.kind} {one.subject}": one for one in incidents.listed(connection)}


def ever(engine: Engine) -> list[Incident]:
    with engine.connect() as connection:
        return incidents.listed(connection, recovered=True)


def do(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)


def look(watch: Watch, clock: MovableClock, times: int = 1, every_s: float = WATCH_PAUSE_S) -> None:
    for _ in range(times):
        clock.advance(every_s)
        watch()


def go_away(watch: Watch, clock: MovableClock) -> None:
    """Long enough for what is gone to count as over."""
    look(watch, clock, times=int((GONE_S + incidents.REFRESH_S) / WATCH_PAUSE_S) + 2)


@pytest.fixture
def in_doubt(database_url: str) -> Iterator[TestHub]:
    """A hub whose critical-illness payer cannot be asked what became of a claim whose answer was lost."""
    payers = {CRITICAL: StubPayer(idempotent=False, script=[lost_after_effect])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        hub.settle()
        hub.pump()
        hub.clock.advance(20)
        hub.sweep()
        hub.pump()
        yield hub


def test_a_case_that_does_not_end_is_on_the_list_with_its_reason(in_doubt: TestHub) -> None:
    watch = Watch(in_doubt.database, in_doubt.clock)
    in_doubt.clock.advance(70)
    watch()
    early = list(open_now(in_doubt.database))
    look(watch, in_doubt.clock, every_s=50)

    found = open_now(in_doubt.database)
    case_id = next(iter(found.values())).facts["case_id"]
    assert early == [f"leg.in_doubt leg/{case_id}/2"]
    assert sorted(found) == [f"case.overdue case/{case_id}", f"leg.in_doubt leg/{case_id}/2"]
    overdue = found[f"case.overdue case/{case_id}"]
    said = words(overdue.kind, overdue.subject, overdue.facts)
    assert "leg 2 CICI may have been heard and gave no usable answer" in said.summary
    assert said.next_step.startswith("needs you")
    assert said.command == f"hub doubt show {case_id}/2"
    assert overdue.facts["payer"] == CRITICAL


def test_an_overdue_case_recovers_when_it_ends(database_url: str) -> None:
    released = threading.Event()
    with a_hub(database_url, payers={BASIC: StubPayer(script=[when(released)])}, running=False) as hub:
        case_id = hub.settle().case_id
        watch = Watch(hub.database, hub.clock)
        hub.clock.advance(130)
        watch()
        assert [one.facts["payer"] for one in open_now(hub.database).values()] == [BASIC]

        released.set()
        hub.pump()
        assert hub.answers(case_id)[-1]["final"]
        look(watch, hub.clock)
        assert len(open_now(hub.database)) == 1
        go_away(watch, hub.clock)

        assert open_now(hub.database) == {}
        assert [one.recovered_at is None for one in ever(hub.database)] == [False]


def test_a_case_that_ended_long_ago_and_is_being_undone_now_is_not_overdue(database_url: str) -> None:
    with a_hub(database_url, running=False) as hub:
        hub.settle()
        hub.pump()
        hub.clock.advance(86_400)
        hub.cancel(received_at=hub.clock.now())
        watch = Watch(hub.database, hub.clock)
        look(watch, hub.clock)
        assert open_now(hub.database) == {}

        look(watch, hub.clock, times=5, every_s=30)

        assert [one.kind for one in open_now(hub.database).values()] == ["case.overdue"]


def test_a_contradictory_answer_and_a_refused_undo_need_people(database_url: str) -> None:
    with a_hub(database_url, payers={CRITICAL: StubPayer(script=[pays_too_much])}, running=False) as hub:
        hub.settle()
        hub.pump()
        hub.settle("S-2")
        hub.pump()
        do(hub.database, "UPDATE settlement_leg SET state = 'cancel_held' WHERE leg_no = 1 AND state = 'approved' "
           "AND case_id = (SELECT case_id FROM settlement_case WHERE settlement_no = 'S-2')")  # fmt: skip
        do(hub.database, "UPDATE settlement_case SET state = 'cancelling', watch_at = now()")
        Watch(hub.database, hub.clock)()

        kinds = sorted(one.kind for one in open_now(hub.database).values())

    assert kinds == ["leg.held", "undo.held"]


HEALTH = "INSERT INTO payer_health (party, process, breaker, since, failures, last_error, updated_at) VALUES "


def test_a_payer_is_down_once_however_many_processes_say_so(database: Engine, clock: MovableClock) -> None:
    for process in (
        "'CICI', 'a', 'open'",
        "'CICI', 'b', 'half_open'",
        "'CICI', 'c', 'closed'",
        "'PINGHE', 'a', 'closed'",
    ):
        do(database, f"{HEALTH} ({process}, now(), 5, 'timeout', now())")
    watch = Watch(database, clock)
    watch()

    (down,) = open_now(database).values()
    assert (down.kind, down.subject) == ("payer.down", "payer/CICI")
    assert (down.facts["processes"], down.facts["processes_open"]) == (3, 2)


def test_what_a_dead_process_thought_of_a_payer_is_forgotten(database: Engine, clock: MovableClock) -> None:
    do(database, HEALTH + "('CICI', 'a', 'open', now(), 5, '', now() - interval '10 minutes')")

    Watch(database, clock)()

    assert open_now(database) == {}


LETTER = (
    "INSERT INTO dead_letter (source_queue, exchange, routing_key, message_id, cause, body, attempt, state) "
    "SELECT 'q', 'e', 'k', 'M-' || n, 'message.malformed', '', 1, {state} FROM generate_series(1, 30) AS n"
)


def test_everything_else_that_needs_people_is_found(database: Engine, clock: MovableClock) -> None:
    do(database, LETTER.format(state="'open'"))
    do(database, "INSERT INTO payer_switch (party, stopped, reason, changed_by) VALUES ('CICI', true, 'r', 'lin'), "
       "('PINGHE', false, 'r', 'lin')")  # fmt: skip
    do(database, "INSERT INTO operator_action (kind, subject, reason, requested_by, requested_at, state) VALUES "
       "('dlq.replay', 'dead_letter/1', 'r', 'lin', now() - interval '20 minutes', 'requested'), "
       "('dlq.replay', 'dead_letter/2', 'r', 'lin', now(), 'requested')")  # fmt: skip
    do(database, "INSERT INTO outbox (region, message_id, queue, exchange, routing_key, body, created_at, "
       "available_at) SELECT '', 'M-' || n, q, 'e', 'k', '', now() - interval '1 minute', now() - interval '1 minute' "
       "FROM generate_series(1, 3) AS n, unnest(ARRAY['', 'payer.CICI', 'out.H44030000001']) AS q")  # fmt: skip
    do(database, "INSERT INTO outbox (region, message_id, queue, exchange, routing_key, body, available_at) VALUES "
       "('', 'later', 'payer.BASIC', 'e', 'k', '', now() + interval '1 minute')")  # fmt: skip

    Watch(database, clock)()

    found = open_now(database)
    assert sorted(found) == [
        "action.waiting action/1",
        "dead_letter.open dead_letters/message.malformed",
        "outbox.stuck outbox/broker",
        "outbox.stuck outbox/payer.CICI",
        "payer.stopped payer/CICI",
    ]
    assert found["dead_letter.open dead_letters/message.malformed"].facts["count"] == 30
    for one in found.values():
        said = words(one.kind, one.subject, one.facts)
        assert said.next_step
        assert said.summary != f"{one.kind}: {one.subject}"


def test_what_comes_and_goes_is_one_incident(database: Engine, clock: MovableClock) -> None:
    watch = Watch(database, clock)
    stop, release = ("INSERT INTO payer_switch VALUES ('CICI', true, 'r', 'lin')", "DELETE FROM payer_switch")
    for _ in range(4):
        do(database, stop)
        look(watch, clock, times=3)
        do(database, release)
        look(watch, clock, times=3)
    assert len(ever(database)) == 1

    go_away(watch, clock)
    do(database, stop)
    look(watch, clock)

    assert [one.recovered_at is None for one in ever(database)] == [True, False]


def test_a_watch_that_was_away_tells_so_and_ends_nothing_it_has_not_watched(
    database: Engine, clock: MovableClock
) -> None:
    watch = Watch(database, clock)
    do(database, "INSERT INTO payer_switch VALUES ('CICI', true, 'r', 'lin')")
    look(watch, clock)
    do(database, "DELETE FROM payer_switch")
    clock.advance(LATE_S + 60)
    watch()

    assert {one.kind for one in open_now(database).values()} == {"payer.stopped", "watch.late"}
    go_away(watch, clock)
    assert open_now(database) == {}


def test_of_two_watchers_one_makes_the_pass(in_doubt: TestHub) -> None:
    in_doubt.clock.advance(200)
    watches = [Watch(in_doubt.database, in_doubt.clock) for _ in range(4)]
    together = threading.Barrier(len(watches))

    def one_pass(watch: Watch) -> int:
        together.wait(60)
        return watch()

    for _ in range(5):
        with ThreadPoolExecutor(len(watches)) as pool:
            list(pool.map(one_pass, watches))
        in_doubt.clock.advance(WATCH_PAUSE_S)

    assert sorted(one.kind for one in ever(in_doubt.database)) == ["case.overdue", "leg.in_doubt"]
    with in_doubt.database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM alert")).scalar_one() == 2


def test_a_broken_invariant_is_one_incident_until_it_holds_again(in_doubt: TestHub) -> None:
    verifier = Verifier(in_doubt.database, in_doubt.clock, interval_s=300, window_s=3600)
    do(in_doubt.database, "UPDATE settlement_leg SET version = 9, amount_fen = 1 WHERE leg_no = 2")
    assert (verifier(), verifier()) == (1, 0)
    # Long after, when newer cases are looked at and this one is at its end, it is still known.
    do(in_doubt.database, "UPDATE settlement_case SET watch_at = NULL, received_at = received_at - interval '1 day'")
    in_doubt.clock.advance(86_400)
    verifier()

    broken = open_now(in_doubt.database)["invariant.broken view/invariant_i04_amounts_only_with_effect"]
    assert (broken.kind, broken.subject) == ("invariant.broken", "view/invariant_i04_amounts_only_with_effect")
    assert "still bears 1 fen" in words(broken.kind, broken.subject, broken.facts).summary
    do(in_doubt.database, "UPDATE settlement_leg SET amount_fen = 0 WHERE leg_no = 2")
    in_doubt.clock.advance(301)
    verifier()
    assert broken.subject not in {one.subject for one in open_now(in_doubt.database).values()}


def test_a_broken_dead_letter_is_known_until_it_is_mended(database: Engine, clock: MovableClock) -> None:
    do(database, LETTER.format(state="'replayed'"))
    verifier = Verifier(database, clock, interval_s=300, window_s=3600)
    counts = []
    for state in ("replayed", "replayed", "open"):
        do(database, f"UPDATE dead_letter SET state = '{state}'")
        counts.append(verifier())
        clock.advance(86_400)

    assert counts == [1, 1, 0]
    assert open_now(database) == {}


def test_a_scheduled_look_has_an_end(in_doubt: TestHub) -> None:
    do(in_doubt.database, HISTORY.replace("1 day", "1 minute").replace("100000", "3000"))
    long_ago = in_doubt.clock.now() - timedelta(days=1)

    with in_doubt.database.connect() as connection:
        newest = invariants.newest(connection, 1_000, long_ago)
        assert invariants.newest(connection, 1_000_000, long_ago) == long_ago
        since = {"since": newest}
        looked = connection.execute(text("SELECT count(*) FROM settlement_case WHERE received_at > :since"), since)
        assert looked.scalar_one() <= 1_000


def test_a_view_that_cannot_be_read_is_told_too(in_doubt: TestHub) -> None:
    do(in_doubt.database, "DROP VIEW invariant_i04_amounts_only_with_effect")
    verifier = Verifier(in_doubt.database, in_doubt.clock, interval_s=300, window_s=3600)

    assert verifier() == 0

    (unchecked,) = open_now(in_doubt.database).values()
    assert (unchecked.kind, unchecked.facts["code"]) == ("invariant.unchecked", "I04")


HISTORY = """
    INSERT INTO settlement_case (case_id, region, institution, settlement_no, case_key, purpose, request_hash, state,
        version, revision, total_fen, rulebook_version, considered, received_at, answer_by, reply_to, correlation_id,
        ended_at)
    SELECT gen_random_uuid(), 'r', 'H', 'N-' || n, 'N-' || n, 'settle', '', 'settled', 2, 1, 100, 1, '[]',
        now() - interval '1 day', now(), 'out:H', 'm', now() FROM generate_series(1, 100000) AS n;
    INSERT INTO dead_letter (source_queue, exchange, routing_key, message_id, cause, body, attempt, state)
    SELECT 'q', 'e', 'k', 'M-' || n, 'c', '', 1, 'discarded' FROM generate_series(1, 20000) AS n;
    INSERT INTO operator_action (kind, subject, reason, requested_by, state)
    SELECT 'k', 's', 'r', 'lin', 'executed' FROM generate_series(1, 20000) AS n;
"""


def pages_read(engine: Engine, kind: str, clock: MovableClock) -> int:
    """Pages that the statement of this kind touches."""
    statement = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + DETECTORS[kind]
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 60000")
        plan = connection.execute(text(statement), incidents.thresholds(clock.now(), 120.0)).scalar_one()
    return int(plan[0]["Plan"]["Shared Hit Blocks"]) + int(plan[0]["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("statistics", [False, True])
def test_a_pass_costs_what_is_open_not_what_is_stored(in_doubt: TestHub, statistics: bool) -> None:
    in_doubt.clock.advance(200)
    with in_doubt.database.begin() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 60000")
        connection.exec_driver_sql(HISTORY)
    if statistics:
        do(in_doubt.database, "ANALYZE")

    pages = {kind: pages_read(in_doubt.database, kind, in_doubt.clock) for kind in DETECTORS}

    # 100,000 cases are more than 1,500 pages, their smallest index more than 300.
    assert max(pages.values()) < 60, pages


def test_the_list_knows_every_kind(database_url: str) -> None:
    assert set(DETECTORS) < set(KINDS)
