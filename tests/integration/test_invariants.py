"""Each invariant's view is empty after ordinary work, and complains, alone, about the one row that was spoilt."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from store import invariants
from store.database import open_engine
from store.invariants import INVARIANTS
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    COINSURED_RULE,
    COMMERCIAL_RULE,
    CRITICAL,
    CRITICAL_RULE,
    StubPayer,
    babbles,
    declines,
    defers,
    lost_after_effect,
    lost_before_effect,
    pays,
    pays_too_much,
    unreachable,
)
from tests.support.hub_in_process import a_hub
from tests.support.soundness import broken, broken_in
from tests.support.used_again import Shelf

MIGRATIONS = [
    importlib.import_module(f"store.migrations.versions.{name}")
    for name in ("0003_watch_and_invariants", "0005_visits_and_notices", "0006_hosted_products", "0015_ledger_views")
]


@pytest.fixture
def reports(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, by_key=False)
    yield engine
    engine.dispose()


def test_the_migration_creates_the_views_that_are_declared() -> None:
    created = {view: sql for migration in MIGRATIONS for view, sql in migration.VIEWS.items()}
    assert {one.view: one.sql for one in INVARIANTS} == created


def test_every_rule_has_its_own_code_and_view() -> None:
    assert [one.code for one in INVARIANTS] == [*(f"I{number:02d}" for number in range(1, 14)), "I18", "I20", "I21"]
    assert all(one.view.startswith(f"invariant_{one.code.lower()}_") for one in INVARIANTS)
    assert [invariants.find(which).code for which in ("I03", "i3", "invariant_i03_money_adds_up")] == ["I03"] * 3
    assert invariants.find("I14") is None


@pytest.mark.parametrize("trouble", [lost_after_effect, lost_before_effect, babbles, unreachable, declines, defers])
@pytest.mark.parametrize("payer", [BASIC, CRITICAL])
def test_after_ordinary_work_every_view_is_empty(database_url: str, reports: Engine, payer: str, trouble) -> None:
    with a_hub(
        database_url,
        BASIC_RULE,
        CRITICAL_RULE,
        COINSURED_RULE,
        COMMERCIAL_RULE,
        payers={payer: StubPayer(script=[trouble])},
        running=False,
    ) as hub:
        hub.cover()
        for number in ("S-1", "S-2"):
            hub.settle(number)
        hub.pump()
        assert broken(reports) == {}
        hub.cancel("S-1")
        hub.pump()
        hub.clock.advance(20)
        hub.sweep()
        hub.pump()
        hub.cancel("S-2")

        assert broken(reports) == {}


def test_a_held_answer_and_a_doubt_for_people_break_nothing(database_url: str, reports: Engine) -> None:
    payers = {CRITICAL: StubPayer(idempotent=False, script=[pays_too_much, lost_after_effect])}
    with a_hub(database_url, payers=payers, running=False) as hub:
        for number in ("S-1", "S-2"):
            hub.settle(number)
            hub.pump()

        assert broken(reports) == {}


@pytest.mark.parametrize("can", [{}, {"inquiry": True}, {"reversal": True}, {"inquiry": True, "reversal": True}])
@pytest.mark.parametrize("trouble", [lost_after_effect, lost_before_effect])
def test_whatever_ends_a_doubt_every_view_is_empty(database_url: str, reports: Engine, trouble, can) -> None:
    payers = {CRITICAL: StubPayer(idempotent=False, script=[trouble, trouble], **can)}
    with a_hub(database_url, payers=payers, running=False) as hub:
        for number in ("S-1", "S-2"):
            hub.settle(number)
            hub.pump()
        hub.cancel("S-2")
        for _ in range(12):
            hub.clock.advance(60)
            hub.sweep()
            hub.pump()
            assert broken(reports) == {}


def test_a_reversal_that_comes_first_leaves_every_view_empty(database_url: str, reports: Engine) -> None:
    with a_hub(database_url, running=False) as hub:
        hub.reverse("S-1")
        hub.settle("S-1")
        hub.reverse("S-1")
        hub.pump()

        assert broken(reports) == {}


@pytest.fixture(scope="module")
def worked(shelf: Shelf) -> Iterator[Engine]:
    """What a hub leaves that has settled S-1, in which the critical-illness payer declined, and undone S-2."""
    payers = {CRITICAL: StubPayer(script=[declines, pays, pays])}
    with shelf.database() as url:
        with a_hub(url, payers=payers, running=False) as hub:
            hub.settle("S-1")
            hub.pump()
            hub.settle("S-2")
            hub.pump()
            hub.cancel("S-2")
            hub.pump()
        engine = open_engine(url, by_key=False)
        assert broken(engine) == {}
        yield engine
        engine.dispose()


@pytest.fixture
def spoilt(worked: Engine) -> Iterator[Connection]:
    """A transaction in that database, of which nothing remains."""
    with worked.connect() as connection:
        yield connection
        connection.rollback()


OF_S1 = "case_id = (SELECT case_id FROM settlement_case WHERE settlement_no = 'S-1')"
OF_S2 = "case_id = (SELECT case_id FROM settlement_case WHERE settlement_no = 'S-2')"
COPIED = "region, case_id, leg_no, party, direction, operation, request_id, attempt, body, at, outcome"
SPOILT = [
    ("I01", f"UPDATE settlement_case SET case_key = 'S-1-again' WHERE {OF_S1}"),
    ("I01 I04", f"UPDATE settlement_case SET purpose = 'trial' WHERE {OF_S1}"),
    ("I02", f"DELETE FROM exchange WHERE {OF_S1} AND leg_no = 1 AND direction = 'in'"),
    ("I02", f"DELETE FROM exchange WHERE {OF_S2} AND leg_no = 2 AND direction = 'in' AND outcome = 'cancelled'"),
    (
        "I02",
        f"INSERT INTO exchange ({COPIED}) SELECT {COPIED} FROM exchange "
        f"WHERE {OF_S2} AND leg_no = 2 AND direction = 'out' AND operation = 'settle'",
    ),
    ("I03 I04", f"UPDATE settlement_leg SET amount_fen = amount_fen - 1 WHERE {OF_S1} AND leg_no = 1"),
    ("I03", f"UPDATE settlement_leg SET basic = jsonb_set(basic, '{{cash_fen}}', '1') WHERE {OF_S1} AND leg_no = 1"),
    (
        "I03",
        "UPDATE case_answer SET body = convert_to(jsonb_set(convert_from(body, 'UTF8')::jsonb, '{cash}', '\"0.01\"')"
        f"::text, 'UTF8') WHERE {OF_S1}",
    ),
    ("I04", f"UPDATE settlement_leg SET amount_fen = 1 WHERE {OF_S1} AND leg_no = 2"),
    (
        "I04",
        "INSERT INTO ledger_entry (region, business_day, effective_day, institution, kind, debit, credit, amount_fen, "
        "case_id, leg_no) SELECT region, business_day, effective_day, institution, kind, debit, credit, 1, case_id, "
        f"leg_no FROM ledger_entry WHERE {OF_S1} AND leg_no = 0",
    ),
    (
        "I04",
        "SET LOCAL session_replication_role = replica; "
        f"DELETE FROM ledger_entry WHERE {OF_S1} AND leg_no = 1 AND debit = 'receivable'",
    ),
    (
        "I04",
        "SET LOCAL session_replication_role = replica; "
        f"UPDATE ledger_entry SET amount_fen = amount_fen + 1 WHERE {OF_S2} AND leg_no = 1 AND kind = 'cancel'",
    ),
    ("I06", f"UPDATE exchange SET outcome = 'approved' WHERE {OF_S1} AND leg_no = 2 AND direction = 'in'"),
    (
        "I07",
        f"INSERT INTO exchange ({COPIED}) SELECT {COPIED.replace('request_id', 'request_id || chr(50)')} "
        f"FROM exchange WHERE {OF_S1} AND leg_no = 1 AND direction = 'out'",
    ),
    ("I07", f"UPDATE settlement_leg SET state = 'deferred', doubt_since = now() WHERE {OF_S1} AND leg_no = 2"),
    ("I08", f"DELETE FROM exchange WHERE {OF_S1} AND leg_no = 1 AND direction = 'out'"),
    ("I09", f"UPDATE settlement_leg SET state = 'in_doubt' WHERE {OF_S1} AND leg_no = 2"),
    ("I09", f"UPDATE settlement_case SET ended_at = NULL WHERE {OF_S1}"),
    ("I09", f"UPDATE settlement_case SET version = 0 WHERE {OF_S1}"),
    ("I09", f"UPDATE settlement_leg SET leg_no = 3 WHERE {OF_S1} AND leg_no = 2; "
            f"UPDATE exchange SET leg_no = 3, request_id = left(request_id, 33) || '3' WHERE {OF_S1} AND leg_no = 2"),
    ("I10", f"DELETE FROM case_answer WHERE {OF_S2} AND revision = 1"),
    (
        "I10",
        "UPDATE case_answer SET body = convert_to(jsonb_set(convert_from(body, 'UTF8')::jsonb, '{settlement_no}', "
        f"'\"S-2\"')::text, 'UTF8') WHERE {OF_S1}",
    ),
    (
        "I11",
        "INSERT INTO case_undo (case_id, cancel_no, region, reason, reply_to, correlation_id, asked_at) "
        f"SELECT case_id, 'C-9', region, 'r', 'out:H', 'M', now() FROM settlement_case WHERE {OF_S1}",
    ),
    ("I13", "DELETE FROM inbox WHERE message_id = 'M-1'"),
    ("I18", f"UPDATE settlement_case SET business_day = business_day + 1 WHERE {OF_S1}"),
    ("I18", f"UPDATE settlement_case SET business_day = NULL WHERE {OF_S1}"),
]  # fmt: skip


@pytest.mark.parametrize(("codes", "spoil"), SPOILT)
def test_one_spoilt_row_is_seen_by_its_view_alone(spoilt: Connection, codes: str, spoil: str) -> None:
    assert spoilt.exec_driver_sql(spoil).rowcount > 0

    assert list(broken_in(spoilt)) == codes.split()
    recent = datetime.now(UTC) - timedelta(hours=1)
    assert list(broken_in(spoilt, recent)) == codes.split()


@pytest.mark.parametrize(("also", "seen"), [("", []), (", watch_at = now()", ["I09"])])
def test_only_what_is_recent_or_open_is_looked_at(spoilt: Connection, also: str, seen: list[str]) -> None:
    spoilt.exec_driver_sql(f"UPDATE settlement_case SET ended_at = NULL{also} WHERE {OF_S1}")
    later = datetime.now(UTC) + timedelta(minutes=1)

    assert list(broken_in(spoilt)) == ["I09"]
    assert list(broken_in(spoilt, later)) == seen


UNSEEN = "state = 'open', ended_at = NULL, watch_at = now(), received_at = now() - interval '10 minutes'"


@pytest.mark.parametrize(
    "spoil",
    [
        # A final answer was given, so what counts is what was said since; there was nothing, so that answer's moment.
        f"UPDATE case_answer SET answered_at = now() - interval '9 minutes' WHERE {OF_S1}; "
        f"UPDATE exchange SET at = at - interval '9 minutes'; UPDATE settlement_case SET {UNSEEN} WHERE {OF_S1}",
        f"UPDATE settlement_case SET state = 'open', watch_at = NULL WHERE {OF_S1}",
    ],
)
def test_a_case_that_nobody_will_ever_look_at_is_seen(spoilt: Connection, spoil: str) -> None:
    spoilt.exec_driver_sql(spoil)

    assert list(broken_in(spoilt)) == ["I05"]


def test_a_case_on_the_list_is_not_unseen(spoilt: Connection) -> None:
    spoilt.exec_driver_sql(
        f"UPDATE case_answer SET answered_at = now() - interval '9 minutes' WHERE {OF_S1}; "
        f"UPDATE exchange SET at = at - interval '9 minutes'; UPDATE settlement_case SET {UNSEEN} WHERE {OF_S1};"
        "INSERT INTO incident (kind, subject, opened_at, seen_at) "
        f"SELECT 'case.overdue', 'case/' || case_id, now(), now() FROM settlement_case WHERE {OF_S1}"
    )

    assert broken_in(spoilt) == {}


def test_no_answer_when_one_was_due_is_seen(database_url: str, reports: Engine) -> None:
    with a_hub(database_url, running=False) as hub:
        hub.settle()
        with hub.database.begin() as connection:
            connection.exec_driver_sql("UPDATE settlement_case SET answer_by = now() - interval '1 minute'")

        assert list(broken(reports)) == ["I05"]


LETTER = (
    "INSERT INTO dead_letter (source_queue, exchange, routing_key, message_id, cause, body, attempt, state, "
    "resolved_at, resolved_by, resolution, replay_message_id) VALUES ('q', 'e', 'k', 'M-1', 'c', '', 1, {0})"
)


@pytest.mark.parametrize(
    ("letter", "sound"),
    [
        ("'open', NULL, '', '', ''", True),
        ("'replayed', now(), 'lin', 'mended', 'M-2'", True),
        ("'discarded', now(), 'lin', 'a test message', ''", True),
        ("'open', now(), '', '', ''", False),
        ("'replayed', now(), 'lin', 'mended', ''", False),
        ("'replayed', NULL, 'lin', 'mended', 'M-2'", False),
        ("'discarded', now(), '', '', ''", False),
    ],
)
def test_a_dead_letter_is_accounted_for(spoilt: Connection, letter: str, sound: bool) -> None:
    spoilt.exec_driver_sql(LETTER.format(letter))

    assert list(broken_in(spoilt)) == ([] if sound else ["I12"])


@pytest.mark.parametrize(("queue", "seen"), [("", True), ("payer.CICI", True), ("out.H44030000001", False)])
def test_a_message_that_never_leaves_is_seen(spoilt: Connection, queue: str, seen: bool) -> None:
    spoilt.exec_driver_sql(
        "INSERT INTO outbox (region, message_id, queue, exchange, routing_key, body, created_at, available_at) "
        f"VALUES ('', 'M-1', '{queue}', 'e', 'k', '', now() - interval '1 hour', now() - interval '1 hour')"
    )

    assert list(broken_in(spoilt)) == (["I13"] if seen else [])


def test_a_tombstone_has_no_parts(spoilt: Connection) -> None:
    spoilt.execute(
        text(
            "UPDATE settlement_leg SET amount_fen = 0, account_fen = 0, hospital_fen = 0, basic = NULL; "
            "UPDATE settlement_case SET total_fen = 0 WHERE state = 'cancelled'"
        )
    )

    assert any("reversed before it came" in detail for detail in broken_in(spoilt)["I11"])


def test_a_person_who_decided_is_evidence(spoilt: Connection) -> None:
    spoilt.exec_driver_sql(f"DELETE FROM exchange WHERE {OF_S1} AND leg_no = 1 AND direction = 'in'")
    spoilt.exec_driver_sql(
        "INSERT INTO operator_action (kind, subject, reason, requested_by, state, decided_by) "
        f"SELECT 'doubt.approve', 'leg/' || case_id || '/1', 'read from its portal', 'lin', 'executed', 'wang' "
        f"FROM settlement_case WHERE {OF_S1}"
    )

    assert broken_in(spoilt) == {}


def test_every_view_reads_only(worked: Engine) -> None:
    with worked.connect() as connection:
        invariants.prepare(connection, 1.0)

        with pytest.raises(Exception, match="read-only"):
            connection.exec_driver_sql("DELETE FROM incident")
