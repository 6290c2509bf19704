"""Seals and signatures: made once, in order, and every row that changed afterwards is found."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from hub.clock import SystemClock
from hub.people.recon import seal_problems
from hub.recon.remedies import book_in_force, propose
from hub.recon.seal_books import NO_STATEMENT, NOT_BOOKED, day_books
from hub.recon.seal_watch import SealWatch
from routing.postings import Account, Kind
from schemas.errors import Conflict, Unavailable
from schemas.statement import BreakClass
from store import actions, breaks, incidents, ledger, rulebooks, seal_checks, seals, signing
from store.actions import ActionState
from store.database import open_engine
from store.ledger import Entry
from tests.support.builders import BASIC, CRITICAL, HOSPITAL, REGION, a_rule_book_text
from tests.support.recon_breaks import a_break, a_run, a_statement, once

MONDAY = date(2026, 3, 2)
TUESDAY = MONDAY + timedelta(days=1)
NOW = datetime(2026, 3, 5, 1, tzinfo=UTC)


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        rulebooks.activate(connection, rulebooks.add(connection, "test", a_rule_book_text()), NOW - timedelta(days=9))
    yield engine
    engine.dispose()


def an_entry(day: date, amount_fen: int = 7_500, **changes) -> Entry:
    values = {
        "region": REGION,
        "business_day": day,
        "effective_day": day,
        "institution": HOSPITAL,
        "payer": CRITICAL,
        "layer": "critical_illness",
        "product": "critical",
        "kind": Kind.SETTLE,
        "debit": Account.RECEIVABLE,
        "credit": Account.PATIENT,
        "amount_fen": amount_fen,
        "cause": "by hand",
    }
    return Entry(**values | changes)


def posted(database: Engine, *new: Entry) -> None:
    with database.begin() as connection:
        ledger.post(connection, new)


def a_signed_run(connection: Connection, day: date) -> int:
    """Over CRITICAL's statement of two lines, with a break that was left open; trailed like an operator's."""
    run_id = a_run(connection, CRITICAL, day, [a_statement(connection, CRITICAL, day, 7_500, 8_000)])
    a_break(connection, run_id, BreakClass.AMOUNT, payer_side=once(8_000), payer=CRITICAL)
    digest = signing.sign(connection, run_id, by="li", approver="wang", now=NOW)
    trailed(connection, "recon.sign_off", seals.run_subject(run_id), f"signed off, digest {digest}")
    return run_id


def sealed(connection: Connection, day: date) -> seals.Seal:
    made = seals.take(connection, day, by="li", approver="wang", reason="all agree", now=NOW)
    trailed(connection, "recon.seal", seals.day_subject(day), f"sealed, chain {made.chain}")
    return made


def trailed(connection: Connection, kind: str, subject: str, outcome: str) -> None:
    asked = actions.add(connection, kind, subject, {}, reason="r", by="li", now=NOW)
    actions.decide(connection, asked.id, ActionState.EXECUTED, by="wang", outcome=outcome, now=NOW)


def two_sealed_days(database: Engine) -> int:
    """Monday with a signed run, and Tuesday; the run."""
    posted(database, an_entry(MONDAY), an_entry(MONDAY, 8_000), an_entry(TUESDAY, about_day=MONDAY))
    with database.begin() as connection:
        run_id = a_signed_run(connection, MONDAY)
        sealed(connection, MONDAY)
        sealed(connection, TUESDAY)
    return run_id


def faults(connection: Connection, last: int | None = None) -> list[str]:
    return [f"{one.subject}: {one.detail}" for one in seal_checks.faults(connection, last)]


TAMPERING = [
    (
        "UPDATE ledger_entry SET amount_fen = 7501 WHERE entry_id = 1",
        "day/2026-03-02: entries 1 to 9999: 2 rows, 15500",
    ),
    (
        "UPDATE ledger_entry SET cause = 'by nobody' WHERE entry_id = 1",
        "day/2026-03-02: entries 1 to 9999: 2 rows, and",
    ),
    ("UPDATE ledger_entry SET about_day = NULL", "day/2026-03-03: entries 1 to 9999: 1 row, and not the same"),
    ("DELETE FROM ledger_entry WHERE entry_id = 2", "day/2026-03-02: entries 1 to 9999: 2 rows then, 1 now"),
    ("UPDATE ledger_entry SET business_day = business_day + 1 WHERE entry_id = 1", "day/2026-03-02: entries 1 to 9999"),
    (
        "INSERT INTO ledger_entry (region, business_day, effective_day, institution, kind, debit, credit, amount_fen, "
        "cause) VALUES ('440300', '2026-03-03', '2026-03-03', 'H', 'settle', 'bank', 'in_transit', 1, 'c')",
        "day/2026-03-03: entries 1 to 9999: 1 row then, 2 now",
    ),
    (
        "INSERT INTO ledger_entry (region, business_day, effective_day, institution, kind, debit, credit, amount_fen, "
        "cause) VALUES ('440300', '2026-02-01', '2026-03-03', 'H', 'settle', 'bank', 'in_transit', 1, 'c')",
        "day/2026-02-01: 1 entry on a day without a seal",
    ),
    ("UPDATE day_seal SET sealed_by = 'zhao' WHERE business_day = '2026-03-02'", "the seal's own row was changed"),
    (
        "UPDATE day_seal SET chain = repeat('0', 64) WHERE business_day = '2026-03-02'",
        "day/2026-03-03: the seal before",
    ),
    ("DELETE FROM day_seal WHERE business_day = '2026-03-02'", "day/2026-03-03: the seal before it was changed or"),
    ("DELETE FROM day_seal WHERE business_day = '2026-03-03'", "day/2026-03-03: it was sealed, and its seal is gone"),
    ("DELETE FROM seal_part WHERE subject = 'day/2026-03-03'", "day/2026-03-03: the parts of its digest were changed"),
    (
        "UPDATE statement_line SET amount_fen = 7501 WHERE line_no = 1",
        "lines of statement 1 1 to 9999: 2 rows, 15500 f",
    ),
    ("DELETE FROM statement_line WHERE line_no = 2", "lines of statement 1 1 to 9999: 2 rows then, 1 now"),
    ("UPDATE statement SET sha256 = repeat('1', 64)", "run/1: statements 1 to 9999: 1 row, and not the same"),
    ("UPDATE recon_break SET resolution = 'paid'", "run/1: breaks 1 to 9999: 1 row, and not the same"),
    ("DELETE FROM recon_break", "run/1: breaks 1 to 9999: 1 row then, 0 now"),
    ("UPDATE recon_run SET totals = '{\"a\": 1}'", "run/1: its own row: 1 row, and not the same"),
    ("UPDATE recon_run SET digest = repeat('1', 64)", "day/2026-03-02: run/1 is not the run any more"),
    ("UPDATE recon_run SET state = 'done'", "run/1: it was signed off, and its row is gone or says otherwise"),
    ("DELETE FROM recon_run", "run/1: it was signed off, and its row is gone or says otherwise"),
    ("DELETE FROM seal_part WHERE subject = 'run/1'", "run/1: its digest or the parts of it were changed"),
]


def test_every_row_that_is_changed_removed_or_added_is_found(database):
    assert two_sealed_days(database) == 1

    missed = []
    with database.connect() as connection:
        assert faults(connection) == []
        connection.rollback()
        for statement, expected in TAMPERING:
            with connection.begin() as change:
                # Whoever owns the database gets past the triggers.
                connection.execute(text("SET LOCAL session_replication_role = replica"))
                connection.execute(text(statement))
                found = faults(connection)
                if not any(expected in one for one in found):
                    missed.append((statement, found))
                change.rollback()

    assert missed == []


def test_what_is_sealed_while_somebody_verifies_is_not_missed(database, monkeypatch):
    posted(database, an_entry(MONDAY), an_entry(TUESDAY))
    with database.begin() as connection:
        sealed(connection, MONDAY)
    read = seals.day_parts

    def meanwhile(connection: Connection, day: date) -> list[seals.Part]:
        with database.begin() as another:
            a_signed_run(another, TUESDAY)
            sealed(another, TUESDAY)
        return read(connection, day)

    monkeypatch.setattr(seal_checks, "day_parts", meanwhile)
    with database.connect() as connection:
        assert faults(connection) == []


def test_the_watch_tells_of_it_and_says_when_it_is_over(database):
    two_sealed_days(database)
    watch = SealWatch(database, SystemClock(), "host/1")

    def told() -> list[str]:
        with database.connect() as connection:
            return [one.kind for one in incidents.listed(connection)]

    with capture_logs() as logged:
        assert (watch(), told()) == (0, [])
    with database.connect() as connection:
        chain = seals.listed(connection, 1)[0].chain
    assert [(one["day"], one["chain"], one["holds"]) for one in logged if one["event"] == "newest_seal"] == [
        (str(TUESDAY), chain, True)
    ]
    with database.begin() as connection:
        connection.execute(text("UPDATE statement SET sha256 = repeat('1', 64)"))
    assert (watch(), told()) == (0, []), "it is not due again"
    assert len(watch.look()) == 1
    assert told() == ["invariant.broken"]
    with database.begin() as connection:
        connection.execute(text("UPDATE statement SET sha256 = repeat('0', 64)"))
    assert (watch.look(), told()) == ([], [])


def test_a_chain_that_is_kept_elsewhere_tells_of_a_seal_that_was_written_anew_in_every_place(database):
    two_sealed_days(database)
    with database.connect() as connection:
        kept = {one.business_day: one.chain for one in seals.listed(connection)}
        assert list(seal_checks.unexpected(connection, kept)) == []
    with database.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM day_seal WHERE business_day = :day"), {"day": TUESDAY})
        connection.execute(text("DELETE FROM seal_part WHERE subject = :day"), {"day": seals.day_subject(TUESDAY)})
        connection.execute(text("DELETE FROM operator_action WHERE subject = :day"), {"day": f"day/{TUESDAY}"})
        connection.execute(text("UPDATE ledger_entry SET amount_fen = 1 WHERE business_day = :day"), {"day": TUESDAY})
        anew = sealed(connection, TUESDAY)
        assert faults(connection) == [], "whoever owns the database leaves no trace in it"

        found = [str(one.subject) for one in seal_checks.unexpected(connection, kept)]
        gone = [one.detail for one in seal_checks.unexpected(connection, {date(2026, 3, 4): "ab" * 32})]

    assert found == [f"day/{TUESDAY}"]
    assert gone == ["it is not sealed, and a chain of it is kept elsewhere"]
    assert anew.chain != kept[TUESDAY]


def test_a_session_says_the_same_whatever_its_settings(database):
    two_sealed_days(database)

    with database.connect() as connection:
        connection.execute(
            text("SET timezone = 'America/New_York'; SET datestyle = 'ISO, DMY'; SET bytea_output = 'escape'")
        )

        assert faults(connection) == faults(connection, last=1) == []


def test_a_seal_cannot_be_broken_by_accident(database):
    run_id = two_sealed_days(database)
    with database.begin() as connection:
        propose(connection, run_id)
        breaks.follow(connection, NOW)
        assert faults(connection) == []

    for statement in (
        "UPDATE day_seal SET reason = 'x'",
        "DELETE FROM seal_part",
        "UPDATE ledger_entry SET cause = 'x'",
    ):
        with pytest.raises(DBAPIError), database.begin() as connection:
            connection.execute(text(statement))


def test_what_is_booked_for_a_sealed_day_counts_on_the_next_and_the_seal_holds(database):
    two_sealed_days(database)

    posted(database, an_entry(MONDAY, 100))

    with database.connect() as connection:
        days = connection.execute(text("SELECT business_day FROM ledger_entry ORDER BY entry_id DESC LIMIT 1"))
        assert days.scalar_one() == TUESDAY + timedelta(days=1)
        assert faults(connection) == []


def test_a_day_is_sealed_in_its_turn_whatever_was_done_since_it_was_looked_at(database):
    posted(database, an_entry(TUESDAY))
    with database.begin() as connection:
        sealed(connection, TUESDAY)
    posted(database, an_entry(TUESDAY))

    for day in (MONDAY, TUESDAY, TUESDAY + timedelta(days=2)):
        with pytest.raises(Conflict), database.begin() as connection:
            seals.take(connection, day, by="li", approver="wang", reason="at once", now=NOW)

    with database.connect() as connection:
        assert faults(connection) == []


def test_parts_come_out_the_same_however_a_day_grew_while_it_was_read(database):
    posted(database, *(an_entry(MONDAY, fen) for fen in range(1, 26)))
    with database.begin() as connection:
        before = seals.day_parts(connection, MONDAY)
        early = [replace(before[0], rows=20, digest="of then")]
        grew = seals._settled(connection, MONDAY, early, 20, 20)
        one_was_late = seals._settled(connection, MONDAY, early, 21, 21)

    assert grew == one_was_late == before


def test_who_posts_without_a_pause_is_waited_for_only_shortly(database):
    posted(database, an_entry(MONDAY))
    holding, done = threading.Event(), threading.Event()

    def post() -> None:
        with database.begin() as connection:
            ledger.post(connection, [an_entry(MONDAY)])
            holding.set()
            done.wait(60)

    poster = threading.Thread(target=post)
    poster.start()
    holding.wait(60)
    try:
        with pytest.raises(Unavailable), database.begin() as connection:
            sealed(connection, MONDAY)
    finally:
        done.set()
        poster.join()

    with database.begin() as connection:
        assert sealed(connection, MONDAY).entries == 2
        assert faults(connection) == []


def problems(database: Engine, day: date, **exceptions: str) -> list[str]:
    with database.connect() as connection:
        return seal_problems(connection, day, exceptions, NOW)


def test_days_are_sealed_in_order_when_everybodys_books_were_signed(database):
    posted(database, an_entry(MONDAY), an_entry(MONDAY, payer=BASIC, layer="basic"), an_entry(TUESDAY))

    assert problems(database, TUESDAY) == ["2026-03-02 comes before it and is not sealed"]
    assert problems(database, MONDAY) == ["BASIC-440300/daily was not compared", "CICI/daily was not compared"]
    with database.begin() as connection:
        run_id = a_signed_run(connection, MONDAY)
        a_run(connection, BASIC, MONDAY)
    assert problems(database, MONDAY) == [f"BASIC-440300/daily is not signed off, its run {run_id + 1} is done"]
    assert problems(database, MONDAY, **{"BASIC-440300/daily": "their books are down"}) == []
    with database.begin() as connection:
        sealed(connection, MONDAY)
    assert problems(database, MONDAY) == ["it is sealed already, as is every day up to 2026-03-02"]
    assert problems(database, date(2026, 3, 5)) == ["the day is not over"]
    assert problems(database, date(2026, 3, 4)) == ["2026-03-03 comes before it and is not sealed"]


def with_schemes(database: Engine, *parties: str) -> None:
    """Their schemes are declared from now on."""
    content = a_rule_book_text(reconciliation=[{"party": party} for party in parties])
    with database.begin() as connection:
        version = rulebooks.add(connection, "declared", content)
        rulebooks.activate(connection, version, NOW - timedelta(days=8))


def test_a_day_without_entries_needs_a_reason_or_the_books_that_were_agreed(database):
    nobody = "it was compared with nobody's books: if none are to be had, leave out nobody"
    assert problems(database, MONDAY) == [nobody]
    assert problems(database, MONDAY, nobody="the hub was not open") == []
    assert problems(database, MONDAY, nobdy="the hub was not open") == [nobody, "there is no nobdy to leave out"]

    with_schemes(database, CRITICAL, HOSPITAL)

    missing = [f"{CRITICAL}/daily was not compared", f"{HOSPITAL}/daily was not compared"]
    assert problems(database, MONDAY, nobody="the hub was not open") == missing
    with database.begin() as connection:
        a_signed_run(connection, MONDAY)
    assert problems(database, MONDAY, **{f"{HOSPITAL}/daily": "closed on Mondays"}) == []


def test_a_seal_keeps_with_whose_books_the_day_was_compared_and_with_whose_not(database):
    posted(database, an_entry(MONDAY), an_entry(MONDAY, payer="GONE"))
    with database.begin() as connection:
        run_id = a_signed_run(connection, MONDAY)
    assert problems(database, MONDAY) == ["GONE/daily is in our books and not in the rule book"]

    with database.begin() as connection:
        left_out = {"GONE/daily": "it was merged"}
        made = day_books(connection, book_in_force(connection), MONDAY, left_out, NOW)
        seals.take(connection, MONDAY, by="li", approver="wang", reason="", now=NOW, books=made.as_dict())

    with database.connect() as connection:
        (seal,) = seals.listed(connection)
        assert seal.books == {
            "compared": {f"{CRITICAL}/daily": run_id},
            "left_out": left_out,
            "not_compared": {f"{BASIC}/daily": NOT_BOOKED, f"{HOSPITAL}/daily": NO_STATEMENT},
        }
        assert faults(connection) == []
        connection.rollback()
        with connection.begin() as change:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(text("UPDATE day_seal SET books = books - 'not_compared'"))
            assert faults(connection) == [f"day/{MONDAY}: the seal's own row was changed"]
            change.rollback()
    other = {"compared": {f"{CRITICAL}/daily": run_id + 1}, "left_out": {}, "not_compared": {}}
    with pytest.raises(Conflict, match="at this moment"), database.begin() as connection:
        seals.take(connection, MONDAY, by="li", approver="wang", reason="", now=NOW, books=other)


def test_what_is_booked_after_a_signature_is_told_before_the_day_is_sealed(database):
    posted(database, an_entry(MONDAY))
    with database.begin() as connection:
        a_signed_run(connection, MONDAY)
    posted(database, an_entry(MONDAY, 100))

    assert problems(database, MONDAY) == ["run 1 was signed off before 1 entry of its day came"]
    assert problems(database, MONDAY, **{f"{CRITICAL}/daily": "seen to on Tuesday"}) == []


def test_to_an_institution_a_settlement_is_on_the_day_of_its_case(database):
    posted(database, an_entry(MONDAY))
    with database.begin() as connection:
        run_id = a_run(connection, HOSPITAL, MONDAY)
        run = signing.lock(connection, run_id)
        assert run is not None
        undone = {"kind": Kind.CANCEL, "debit": Account.PATIENT, "credit": Account.RECEIVABLE}
        ledger.post(connection, [an_entry(TUESDAY, effective_day=MONDAY)])
        others = signing.newer_entries(connection, run)
        ledger.post(connection, [an_entry(MONDAY, effective_day=TUESDAY)])
        after_midnight = signing.newer_entries(connection, run)
        ledger.post(connection, [an_entry(TUESDAY, effective_day=MONDAY, **undone)])

        assert (others, after_midnight, signing.newer_entries(connection, run)) == (0, 1, 2)
