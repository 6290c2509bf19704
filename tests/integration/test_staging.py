"""Hospitals that can only write into a table: what they write is taken once, and what became of it stands beside it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import ProgrammingError
from typer.testing import CliRunner

from hub import failpoints
from hub.bootstrap import Role, bootstrap, broker_topology
from hub.cli.app import app
from hub.failpoints import FailpointReached
from hub.inbound import Taken
from hub.incident_words import words
from hub.people.office import open_office
from hub.people.parties import Limits, Parties
from hub.settings import InvalidSettings
from hub.staging import AWAY_S, StagingPoller
from hub.watch import Watch
from routing.links import StagingTable as Polling
from schemas.errors import Unavailable
from schemas.transactions import Transaction
from store import incidents
from tests.support.builders import (
    BASIC,
    CRITICAL,
    HOSPITAL,
    OTHER_HOSPITAL,
    REGION,
    StubPayer,
    a_party,
    a_settle_request,
    lost_after_effect,
    lost_before_effect,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub
from tests.support.servers import PostgresServer
from tests.support.soundness import broken
from tests.support.staging import Table, a_polled_book, a_staging_table, write_secrets
from tests.support.visit_builders import a_discharge, a_fees_upload, a_line, an_admission

NOWHERE = "postgresql://hub@127.0.0.1:1/staging"


@pytest.fixture(scope="module")
def shared_table(postgres_server: PostgresServer) -> Iterator[Table]:
    with a_staging_table(postgres_server) as found:
        yield found


@pytest.fixture
def table(shared_table: Table) -> Table:
    """HOSPITAL's table, as the script makes it."""
    shared_table.make_anew()
    return shared_table


@pytest.fixture
def polled(database_url: str, table: Table, tmp_path: Path) -> Iterator[TestHub]:
    """A hub that runs and polls HOSPITAL's table."""
    settings = {"party_secrets": write_secrets(tmp_path, {HOSPITAL: table.url})}
    with a_hub(database_url, settings_changes=settings, **a_polled_book()) as hub:
        yield hub
        assert broken(hub.database) == {}


@pytest.fixture
def still(database_url: str) -> Iterator[TestHub]:
    """A hub that is moved by hand."""
    with a_hub(database_url, running=False, **a_polled_book()) as hub:
        yield hub


def a_poller(
    world: TestHub, url: str, party: str = HOSPITAL, take: Callable[..., list[Taken]] | None = None, **polling: Any
) -> StagingPoller:
    hub = world.hub
    chosen = take or hub.desk.take
    return StagingPoller(party, Polling(**polling), url, hub.engine, chosen, world.clock, hub.books, hub.doors)


def disable(world: TestHub, party: str, *, enabled: bool = False) -> None:
    """As `hub party disable` and `enable` do."""
    hub = world.hub
    book = hub.books.active().book
    actions = open_office(hub.work_units, hub.clock, lambda: hub.layout, lambda: hub.payers).actions
    limits = Limits(connections=1, channels=1)
    doors = Parties(hub.work_units, hub.clock, actions, book, broker_topology(book), None, limits)
    (doors.enable if enabled else doors.disable)(party, "seen in a ticket", "li")


def refusal(row: dict[str, Any]) -> tuple[str, list[str]]:
    assert row["state"] == "refused"
    said = json.loads(row["answer"])
    return row["error_code"], [one["field"] for one in said["violations"]]


def test_a_stay_goes_through_the_table_from_admission_to_settlement_and_back(polled, table):
    registered = table.write("admission.register", an_admission(), "A-1")
    assert table.answer(registered)["state"] == "admitted"
    assert table.row(registered)["final"] is True
    table.answer(table.write("fees.upload", a_fees_upload([a_line("1", 30_000)]), "F-1"))
    table.answer(table.write("discharge.register", a_discharge(), "D-1"))

    settled = table.write("settlement.settle", a_settle_request(visit=_stay()), "S-1")
    answer = table.answer(settled, revision=1)
    again = table.write("settlement.settle", a_settle_request(visit=_stay()), "S-1-again")

    assert (answer["status"], table.row(settled)["final"]) == ("settled", True)
    assert table.answer(again) == answer
    assert table.answer(table.write("case.query", _named(), "Q-1"))["case_id"] == answer["case_id"]
    cancelled = table.write("settlement.cancel", _named(cancel_no="C-1", reason="误结"), "C-1")
    assert table.answer(cancelled, revision=2)["status"] == "cancelled"
    assert table.answer(settled, revision=2)["status"] == "cancelled"
    assert polled.count("settlement_case") == 1
    eventually(lambda: polled.count("staging_due") == 0)
    figures = table.ask("SELECT status, revision, total FROM staging.staging_result WHERE id = :id", id=settled)
    assert figures == [("cancelled", 2, 300)]
    assert len(table.ask("SELECT 1 FROM staging.staging_share WHERE id = :id", id=settled)) == 2


def _stay() -> dict[str, Any]:
    return {
        "visit_no": "V-1",
        "kind": "inpatient",
        "medical_type": "21",
        "started_at": "2026-03-01T08:00:00+08:00",
        "ended_at": "2026-03-05T10:00:00+08:00",
    }


def _named(**more: str) -> dict[str, str]:
    return {"institution": HOSPITAL, "settlement_no": "S-1"} | more


def test_a_late_word_of_a_payer_becomes_the_next_revision_of_the_row(database_url, table):
    insurer = StubPayer(idempotent=False, inquiry=True, script=[lost_after_effect, *[lost_before_effect] * 3])
    with a_hub(database_url, payers={CRITICAL: insurer}, running=False, **a_polled_book()) as world:
        poll = a_poller(world, table.url)
        row = table.write("settlement.settle", a_settle_request())
        poll()
        world.handle(BASIC, world.commands()[0][1])
        world.handle(CRITICAL, world.commands()[0][1])
        world.clock.advance(16)
        world.sweep()
        poll()
        first = table.row(row)
        assert (first["state"], first["revision"], first["final"]) == ("answered", 1, False)

        world.pump()
        poll()

        assert (table.row(row)["revision"], table.row(row)["final"]) == (2, True)
        assert json.loads(table.row(row)["answer"])["status"] == "settled"
        assert world.count("staging_due") == 0
        poll.close()


@pytest.mark.parametrize("point", ["staging.after_claim", "staging.after_take", "staging.after_answer"])
def test_whoever_dies_between_taking_and_writing_back_leaves_a_row_that_is_taken_again(still, table, point):
    row = table.write("settlement.settle", a_settle_request())
    first, second = a_poller(still, table.url), a_poller(still, table.url)
    failpoints.arm(f"{point}=raise")
    try:
        if point == "staging.after_answer":
            first()
            still.pump()
        with pytest.raises(FailpointReached):
            first()
    finally:
        failpoints.arm("")
    second()
    still.pump()
    table.ask("UPDATE staging.staging_request SET claimed_at = claimed_at - interval '1 hour'")
    second()
    still.pump()
    second()

    assert json.loads(table.row(row)["answer"])["status"] == "settled"
    assert still.count("settlement_case") == 1
    assert len(still.payers[BASIC].book) == 1
    first.close()
    second.close()


def test_two_pollers_take_two_hundred_rows_exactly_once(still, table):
    ids = [table.write("settlement.settle", a_settle_request(settlement_no=f"S-{n}"), f"K-{n}") for n in range(1, 201)]
    seen: list[str] = []

    def take(batch):
        seen.extend(one.message_id for one in batch)
        return still.hub.desk.take(batch)

    pollers = [a_poller(still, table.url, take=take, batch=17) for _ in range(2)]
    begin = threading.Barrier(2)

    def run(poller: StagingPoller) -> None:
        begin.wait()
        while poller():
            pass

    threads = [threading.Thread(target=run, args=(one,)) for one in pollers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(seen) == sorted(f"K-{n}" for n in range(1, 201))
    assert still.count("settlement_case") == 200
    assert {(table.row(one)["state"], table.row(one)["attempts"]) for one in ids} == {("taken", 1)}
    for poller in pollers:
        poller.close()


def test_garbage_is_refused_in_plain_chinese_and_its_neighbours_are_taken(still, table):
    wrong = {
        table.write("settlement.settle", a_settle_request(), party=OTHER_HOSPITAL): ("staging.party", ["party"]),
        table.write("settlement.settle", a_settle_request(), party="' OR 1=1 --"): ("staging.party", ["party"]),
        table.write("catalogue.upload", {}): ("transaction.unknown", ["transaction"]),
        table.write("x" * 10_000, {}): ("transaction.unknown", ["transaction"]),
        table.write("settlement.settle", {}, "编号 1"): ("staging.message_key", ["message_key"]),
        table.write("settlement.settle", {}, ""): ("staging.message_key", ["message_key"]),
        table.write("settlement.settle", "x" * 1_100_000): ("message.too_large", ["content"]),
        table.write("settlement.settle", "not json", "G-1"): ("message.malformed", []),
        table.write("settlement.settle", "", "G-2"): ("message.malformed", []),
        table.write("settlement.settle", a_settle_request(institution=OTHER_HOSPITAL), "G-3"): ("party.forbidden", []),
        table.write("settlement.settle", a_settle_request(total="299.00"), "G-4"): ("message.invalid", ["total"]),
        table.write("case.query", _named(), "G-5"): ("case.not_found", []),
    }
    good = table.write("settlement.settle", a_settle_request(), "G-6")
    poll = a_poller(still, table.url)

    poll()

    assert {id_: refusal(table.row(id_)) for id_ in wrong} == wrong
    assert table.row(good)["case_id"] is not None
    assert still.count("settlement_case") == 1
    for id_ in wrong:
        said = table.row(id_)["error_text_zh"]
        assert said[0] > "一", said
        assert all(f"{field}：" in said for field in wrong[id_][1])
    poll.close()


def test_a_table_that_lets_everything_in_is_survived(still, table):
    for column in ("party", "transaction", "message_key", "content", "created_at"):
        table.ask(f"ALTER TABLE staging.staging_request ALTER {column} DROP NOT NULL")
    for party in (None, HOSPITAL):
        table.ask(
            "INSERT INTO staging.staging_request (party, transaction, message_key, content, created_at) "
            "VALUES (:party, 'settlement.settle', 'K', NULL, NULL)",
            party=party,
        )
    poll = a_poller(still, table.url)

    poll()

    codes = table.ask("SELECT error_code FROM staging.staging_request ORDER BY id")
    assert [code for (code,) in codes] == ["staging.party", "staging.content"]
    poll.close()


def test_a_row_that_names_another_hospitals_case_learns_nothing_of_it(still, table):
    taken = still.send(Transaction.SETTLE, a_settle_request(institution=OTHER_HOSPITAL), party=OTHER_HOSPITAL)
    still.pump()
    assert still.answers(taken.case_id)
    table.ask(
        "INSERT INTO staging.staging_request (party, transaction, message_key, content, state, case_id, claimed_at) "
        "VALUES (:party, 'settlement.settle', 'K', '{}', 'taken', CAST(:case_id AS uuid), now() - interval '1 hour')",
        party=HOSPITAL,
        case_id=taken.case_id,
    )
    poll = a_poller(still, table.url)

    poll()

    assert table.ask("SELECT state, answer FROM staging.staging_request") == [("taken", None)]
    poll.close()


def test_other_content_under_a_used_number_is_a_conflict(still, table):
    poll = a_poller(still, table.url)
    first = table.write("settlement.settle", a_settle_request(), "K-1")
    second = table.write("settlement.settle", a_settle_request(40_000), "K-2")

    poll()
    third = table.write("settlement.settle", a_settle_request(settlement_no="S-2"), "K-1")
    poll()

    assert table.row(first)["state"] == "taken"
    assert refusal(table.row(second))[0] == "case.conflict"
    assert refusal(table.row(third))[0] == "message.id_reused"
    poll.close()


def test_who_is_shut_out_is_neither_heard_nor_answered(still, table):
    poll = a_poller(still, table.url)
    before = table.write("settlement.settle", a_settle_request(), "K-1")
    poll()
    disable(still, HOSPITAL)
    after = table.write("settlement.settle", a_settle_request(settlement_no="S-2"), "K-2")
    still.pump()

    poll()

    assert (table.row(before)["state"], table.row(before)["answer"]) == ("taken", None)
    assert (table.row(after)["state"], table.row(after)["attempts"]) == ("new", 0)
    assert still.count("settlement_case") == 1
    disable(still, HOSPITAL, enabled=True)
    poll()
    assert table.row(before)["state"] == "answered"
    assert table.row(after)["state"] == "taken"
    poll.close()


def test_an_engine_alone_knows_who_is_shut_out(still, table, tmp_path):
    """Only a gateway reads the doors on a schedule of its own; polling must not depend on one in the same process."""
    disable(still, HOSPITAL)
    row = table.write("settlement.settle", a_settle_request())
    secrets = write_secrets(tmp_path, {HOSPITAL: table.url})
    settings = still.hub.settings.model_copy(update={"party_secrets": secrets})
    engine = bootstrap(settings, frozenset({Role.ENGINE}), clock=still.clock, make=lambda _: StubPayer())
    engine.start()
    try:
        eventually(lambda: engine.doors.is_shut(HOSPITAL))
        assert (table.row(row)["state"], table.row(row)["attempts"]) == ("new", 0)
        disable(still, HOSPITAL, enabled=True)
        eventually(lambda: table.row(row)["case_id"])
    finally:
        engine.stop()


def test_what_the_hub_cannot_store_now_is_taken_again(still, table):
    row = table.write("settlement.settle", a_settle_request())
    away = a_poller(still, table.url, take=lambda batch: [Taken(error=Unavailable("no database")) for _ in batch])

    away()

    assert (table.row(row)["state"], table.row(row)["attempts"]) == ("new", 0)
    away.close()


def test_a_row_that_fails_by_our_own_fault_is_refused_in_the_end_and_spoils_nobody(still, table):
    def take(batch):
        if any(one.message_id == "K-1" for one in batch):
            raise ZeroDivisionError
        return still.hub.desk.take(batch)

    bad = table.write("settlement.settle", a_settle_request(), "K-1")
    good = table.write("settlement.settle", a_settle_request(settlement_no="S-2"), "K-2")
    poll = a_poller(still, table.url, take=take)
    poll()
    assert table.row(bad)["state"] == "taken"
    table.ask("UPDATE staging.staging_request SET claimed_at = claimed_at - interval '1 hour', attempts = 4")
    poll()

    assert refusal(table.row(bad))[0] == "hub.error"
    assert table.row(good)["case_id"] is not None
    poll.close()


def test_a_database_that_is_away_stops_nothing_else_and_is_an_incident_while_it_lasts(still, table):
    away, here = a_poller(still, NOWHERE, party=HOSPITAL), a_poller(still, table.url)
    watch = Watch(still.hub.engine, still.clock, gone_s=1.0)
    row = table.write("settlement.settle", a_settle_request())

    assert away() == 0
    assert _open(still) == []
    still.clock.advance(AWAY_S + 1)
    away()
    here()

    assert _open(still) == ["staging.unreachable"]
    assert table.row(row)["case_id"] is not None
    with still.database.connect() as connection:
        found = incidents.listed(connection)[0]
    assert words(found.kind, found.subject, found.facts).command == f"hub staging show {HOSPITAL}"
    for _ in range(12):
        still.clock.advance(5)
        watch()
    assert _open(still) == []
    away.close()
    here.close()


def test_a_lost_line_is_made_anew(polled, table):
    table.answer(table.write("settlement.settle", a_settle_request(), "K-1"), revision=1)

    table.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hub-staging' "
              "AND datname = current_database()")  # fmt: skip

    second = table.write("settlement.settle", a_settle_request(settlement_no="S-2"), "K-2")
    assert table.answer(second, revision=1)["status"] == "settled"


def test_rows_that_wait_too_long_are_an_incident(still, table):
    table.write("settlement.settle", a_settle_request())
    table.ask("UPDATE staging.staging_request SET created_at = now() - interval '10 minutes'")
    busy = a_poller(still, table.url, take=lambda batch: [Taken(error=Unavailable("no database")) for _ in batch])

    busy()

    assert _open(still) == ["staging.waiting"]
    busy.close()


def _open(world: TestHub) -> list[str]:
    with world.database.connect() as connection:
        return [one.kind for one in incidents.listed(connection)]


def test_a_basic_system_writes_for_the_hospitals_of_its_region(database_url, table):
    basic = a_party(BASIC, "basic", region=REGION, link="staging", staging={})
    with a_hub(database_url, running=False, parties=[basic]) as world:
        poll = a_poller(world, table.url, party=BASIC)
        row = table.write("settlement.settle", a_settle_request(), party=BASIC)
        poll()
        world.pump()
        poll()

        assert table.row(row)["state"] == "answered"
        poll.close()


def test_two_parties_may_not_have_one_database(database_url, tmp_path):
    institutions = a_polled_book()["institutions"]
    institutions[1] |= {"link": "staging", "staging": {}}
    settings = {"party_secrets": write_secrets(tmp_path, {HOSPITAL: NOWHERE, OTHER_HOSPITAL: NOWHERE})}

    with (
        pytest.raises(InvalidSettings, match="each party needs its own"),
        a_hub(database_url, running=False, settings_changes=settings, institutions=institutions),
    ):
        pass


def test_the_command_line_shows_what_lies_in_the_table(still, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table.write("settlement.settle", a_settle_request())
    environment = {
        "HUB_DATABASE_URL": still.database.url.render_as_string(hide_password=False).replace("+psycopg2", ""),
        "HUB_PERSON_KEY_SECRET": PERSON_SECRET,
        "HUB_PARTY_SECRETS": write_secrets(tmp_path, {HOSPITAL: table.url}),
    }

    done = CliRunner().invoke(app, ["staging", "show", "--json"], env=environment)
    lost = CliRunner().invoke(
        app, ["staging", "show"], env=environment | {"HUB_PARTY_SECRETS": write_secrets(tmp_path, {HOSPITAL: NOWHERE})}
    )

    assert json.loads(done.stdout)["tables"][0]["rows"] == {"new": 1}
    assert (lost.exit_code, f"{HOSPITAL}: cannot be used: OperationalError" in lost.stdout) == (1, True)


def test_the_two_roles_of_the_script_suffice(still, table):
    """The sender cannot write what is the hub's, and the hub can do all it must."""
    hub_url = table.url + ("&" if "?" in table.url else "?") + "options=-crole%3Dstaging_hub"
    row = table.write("settlement.settle", a_settle_request())
    with pytest.raises(ProgrammingError, match="permission denied"):
        table.ask("SET ROLE staging_sender; UPDATE staging.staging_request SET state = 'answered'")
    poll = a_poller(still, hub_url)

    poll()
    still.pump()
    poll()

    assert table.row(row)["state"] == "answered"
    poll.close()
