"""The schema moves from 0001 to the newest while transactions run: nobody waits long, nobody fails, nothing changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from sqlalchemy import Engine, text

from routing.states import CaseState, LegState
from store import cases
from store.database import open_engine, schema_revisions, upgrade
from tests.support.command_line import hub
from tests.support.eventually import eventually

FIRST_LEG_STATES = [state for state in LegState if state not in (LegState.REVERSING, LegState.REVERSED)]
"""Those that 0001 knew."""
ROWS = 3_000
_CASES = text("""
INSERT INTO settlement_case (case_id, region, institution, settlement_no, case_key, purpose, request_hash, state,
    version, revision, total_fen, rulebook_version, considered, received_at, answer_by, watch_at, reply_to,
    correlation_id)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, '440300', 'H44030000001', 'S-' || n, 'S-' || n,
    'settle', repeat('0', 64), (CAST(:states AS text[]))[1 + n % :count], 1, n % 2, 30000, 1, '[]',
    now() - interval '1 day', now() - interval '1 day' + interval '15 s',
    CASE WHEN n % 3 = 0 THEN now() END, 'out:H44030000001', 'M-' || n
FROM generate_series(1, :rows) AS n""")
_LEGS = text("""
INSERT INTO settlement_leg (case_id, leg_no, region, payer, layer, product, rule, split, weight, independent, state,
    version, left_fen, amount_fen)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 1, '440300', 'BASIC-440300', 'basic', 'p',
    'basic', 0, 100, false, (CAST(:states AS text[]))[1 + n % :count], 1, 30000, n % 100
FROM generate_series(1, :rows) AS n""")
_SUMS = text("SELECT state, count(*), sum(amount_fen) FROM settlement_leg GROUP BY state ORDER BY state")
_LIKE_THE_HUB = text(
    "UPDATE settlement_leg l SET version = l.version + 1 FROM settlement_case c "
    "WHERE c.case_id = l.case_id AND c.settlement_no = :number"
)
_NEW_CASE = text("""
INSERT INTO settlement_case (case_id, region, institution, settlement_no, case_key, purpose, request_hash, state,
    version, total_fen, rulebook_version, considered, received_at, answer_by, reply_to, correlation_id)
VALUES (gen_random_uuid(), '440300', 'H44030000001', :number, :number, 'settle', repeat('0', 64), 'open', 1, 100, 1,
    '[]', now(), now(), 'out:H44030000001', :number)""")
_WAITING = text(
    "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE NOT granted AND application_name = 'hub-migration'"
)
_UNCHECKED = text("SELECT conname FROM pg_constraint WHERE contype = 'c' AND NOT convalidated ORDER BY conname")


@pytest.fixture
def old_database(empty_database_url: str) -> Iterator[Engine]:
    """At 0001, with cases and legs of every state."""
    upgrade(empty_database_url, "0001")
    engine = open_engine(empty_database_url, application="old-code")
    with engine.begin() as connection:
        for statement, states in ((_CASES, list(CaseState)), (_LEGS, FIRST_LEG_STATES)):
            values = {"states": [state.value for state in states], "count": len(states), "rows": ROWS}
            connection.execute(statement, values)
    yield engine
    engine.dispose()


@dataclass
class OldCode:
    """Works on the old tables as the hub does, with the hub's own deadlines; an error is a failed request."""

    engine: Engine
    done: int = 0
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def working(self) -> Iterator[None]:
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                self._step()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _step(self) -> None:
        try:
            with self.engine.begin() as connection:
                connection.execute(_NEW_CASE, {"number": f"N-{self.done}"})
                connection.execute(_LIKE_THE_HUB, {"number": f"S-{1 + self.done % ROWS}"})
            self.done += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            self.failures.append(str(error))


def waits_for_a_table(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.execute(_WAITING).scalar_one())


def test_old_code_works_on_while_the_schema_moves(old_database: Engine, empty_database_url: str) -> None:
    """One transaction stays open on the very rows for a while: the migration steps aside until it has ended."""
    with old_database.connect() as connection:
        before = connection.execute(_SUMS).all()
    old = OldCode(old_database)
    moving = threading.Thread(target=upgrade, args=(empty_database_url,))

    with old.working():
        with old_database.begin() as held:
            held.execute(_LIKE_THE_HUB, {"number": f"S-{ROWS}"})
            moving.start()
            eventually(lambda: waits_for_a_table(old_database), within_s=90)
            done = old.done
            eventually(lambda: old.done > done + 10, within_s=90)
            assert moving.is_alive()
        moving.join(60)
        done = old.done
        eventually(lambda: old.done > done + 10, within_s=90)

    assert old.failures == []
    assert schema_revisions(old_database)[0] == schema_revisions(old_database)[1] != "0001"
    with old_database.connect() as connection:
        assert connection.execute(_SUMS).all() == before
        assert connection.execute(_UNCHECKED).scalars().all() == []


def test_checks_of_stored_rows_lock_nobody_out(old_database: Engine, empty_database_url: str) -> None:
    """Rows are checked under a lock that an open writer does not even notice."""
    upgrade(empty_database_url, "0003")
    with old_database.connect() as connection:
        assert connection.execute(_UNCHECKED).scalars().all() == ["case_total_is_positive", "leg_state_is_known"]

    with old_database.begin() as held:
        held.execute(_LIKE_THE_HUB, {"number": "S-1"})
        upgrade(empty_database_url, "0004")
        held.execute(_LIKE_THE_HUB, {"number": "S-2"})

    with old_database.connect() as connection:
        assert connection.execute(_UNCHECKED).scalars().all() == []


def test_new_code_reads_what_old_code_wrote(old_database: Engine, empty_database_url: str) -> None:
    upgrade(empty_database_url)

    with old_database.connect() as connection:
        ids = connection.execute(text("SELECT case_id::text FROM settlement_case")).scalars().all()
        found = cases.read(connection, ids)

    assert {case.state for case in found.values()} == set(CaseState)
    assert {leg.state for case in found.values() for leg in case.legs} == set(FIRST_LEG_STATES)
    assert {leg.doubt_since for case in found.values() for leg in case.legs} == {None}


def _upgrade(folder: Path, url: str) -> CompletedProcess[str]:
    return hub(folder, "db", "upgrade", HUB_DATABASE_URL=url, HUB_PERSON_KEY_SECRET="x" * 32)


def test_two_upgrades_at_once_are_one(empty_database_url: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as both:
        done = list(both.map(lambda _: _upgrade(tmp_path, empty_database_url), range(2)))

    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    engine = open_engine(empty_database_url)
    present, wanted = schema_revisions(engine)
    engine.dispose()
    assert present == wanted
