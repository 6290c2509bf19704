"""The ledger on PostgreSQL: what a case's life books, on which day, and what the database refuses."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from routing.days import day_of
from routing.postings import Account, Kind
from store import ledger
from store.database import open_engine
from store.ledger import Entry
from tests.support.builders import BASIC, BASIC_RULE, CRITICAL, HOSPITAL, QUEUE_INSURER, QUEUE_RULE, REGION
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.queue_insurer import an_answer, answer, tasks
from tests.support.soundness import broken

DAY = date(2026, 3, 2)
SEAL = text(
    "INSERT INTO day_seal (business_day, entries, amount_fen, last_entry_id, digest, previous, chain, sealed_by, "
    "approved_by, sealed_at) VALUES (:day, 0, 0, 0, '', '', '', 'li', 'wang', now())"
)


@pytest.fixture
def hub(database_url: str) -> Iterator[TestHub]:
    with a_hub(database_url, running=False) as hub:
        yield hub


@pytest.fixture
def books(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, by_key=False)
    yield engine
    engine.dispose()


def _stands(books: Engine, *by: str) -> dict[tuple[str, ...], dict[Account, int]]:
    with books.connect() as connection:
        return {one.key: one.balances for one in ledger.balances(connection, by)}


def _of(books: Engine, case_id: str) -> list[tuple[Kind, Account, Account, int]]:
    with books.connect() as connection:
        found = ledger.of_case(connection, case_id)
        return [(one.kind, one.debit, one.credit, one.amount_fen) for one in found]


def test_a_settlement_is_booked_as_it_was_answered_and_its_undo_mirrors_it(hub: TestHub, books: Engine) -> None:
    case_id = hub.settle("S-1").case_id
    hub.pump()
    answer = hub.answers(case_id)[-1]
    shares = {share["payer"]: round(100 * float(share["amount"])) for share in answer["shares"]}
    stands = _stands(books, "payer")
    assert {payer: stands[payer,][Account.RECEIVABLE] for payer in shares} == shares
    whole = _stands(books)[()]
    assert sum(whole.values()) == 0
    assert whole[Account.PATIENT] == round(100 * float(answer["cash"]))
    assert -whole[Account.CHARGES] == 30_000

    hub.cancel("S-1")
    hub.pump()
    assert set(_stands(books)[()].values()) == {0}
    booked = _of(books, case_id)
    assert sorted((kind, credit, debit, fen) for kind, debit, credit, fen in booked if kind is Kind.CANCEL) == sorted(
        (Kind.CANCEL, debit, credit, fen) for kind, debit, credit, fen in booked if kind is Kind.SETTLE
    )


def test_a_trial_is_booked_nowhere(hub: TestHub, books: Engine) -> None:
    hub.trial()
    hub.pump()
    assert _stands(books) == {}


def _late(hub: TestHub, decided_at: str) -> str:
    """A case whose insurer deferred and pays after all at this moment."""
    case_id = hub.settle("S-1").case_id
    hub.pump()
    (task,) = tasks(hub)
    answer(hub, an_answer(task, "deferred", "0.00"))
    answer(hub, an_answer(task, "approved", "50.00") | {"decided_at": decided_at})
    return case_id


def _days(books: Engine, case_id: str) -> list[tuple[Kind, str, date, date]]:
    with books.connect() as connection:
        found = ledger.of_case(connection, case_id)
        return [(one.kind, one.payer, one.business_day, one.effective_day) for one in found]


def test_a_late_approval_counts_on_its_own_day(database_url: str, books: Engine) -> None:
    with a_hub(database_url, BASIC_RULE, QUEUE_RULE, running=False) as hub:
        case_id = _late(hub, "2026-03-05T00:10:00+08:00")
        own = date(2026, 3, 5)
        day = hub.case(case_id).business_day
        assert _days(books, case_id) == [
            (Kind.SETTLE, "", day, day),
            (Kind.SETTLE, BASIC, day, day),
            (Kind.LATE_APPROVAL, QUEUE_INSURER, own, own),
        ]


@pytest.mark.parametrize("year", ["2099", "1970"])
def test_a_payers_clock_that_is_wrong_books_nothing_on_days_that_are_nobodys(
    database_url: str, books: Engine, year: str
) -> None:
    with a_hub(database_url, BASIC_RULE, QUEUE_RULE, running=False) as hub:
        case_id = _late(hub, f"{year}-03-05T00:10:00+08:00")
        assert {day for _, _, *days in _days(books, case_id) for day in days} == {day_of(hub.clock.now())}


def test_what_belongs_to_a_sealed_day_counts_on_the_next_open_one(database_url: str, books: Engine) -> None:
    with a_hub(database_url, BASIC_RULE, QUEUE_RULE, running=False) as hub:
        with books.begin() as connection:
            connection.execute(SEAL, {"day": date(2030, 1, 31)})
        case_id = _late(hub, "2026-03-05T00:10:00+08:00")
        assert {day for _, _, day, _ in _days(books, case_id)} == {date(2030, 2, 1)}
        assert _days(books, case_id)[-1][-1] == date(2026, 3, 5)


def _an_entry(day: date, **changes: object) -> Entry:
    values: dict[str, object] = {
        "region": REGION,
        "business_day": day,
        "effective_day": day,
        "institution": HOSPITAL,
        "payer": CRITICAL,
        "layer": "",
        "product": "",
        "kind": Kind.CORRECTION,
        "debit": Account.RECEIVABLE,
        "credit": Account.DIFFERENCE,
        "amount_fen": 5,
        "cause": "break/1",
    }
    return Entry(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE ledger_entry SET amount_fen = 6", "only added to"),
        ("DELETE FROM ledger_entry", "only added to"),
        ("TRUNCATE ledger_entry", "only added to"),
        ("INSERT INTO day_seal SELECT * FROM day_seal; DELETE FROM day_seal", "only added to"),
    ],
)
def test_what_is_booked_stays_as_it_was_booked(books: Engine, statement: str, constraint: str) -> None:
    with books.begin() as connection:
        ledger.post(connection, [_an_entry(DAY)])
    with pytest.raises(DBAPIError, match=constraint), books.begin() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"amount_fen": 0}, "ledger_amount_is_positive"),
        ({"amount_fen": -5}, "ledger_amount_is_positive"),
        ({"credit": Account.RECEIVABLE}, "ledger_moves_between_two_accounts"),
        ({"cause": ""}, "ledger_says_why"),
        ({"leg_no": 1}, "ledger_case_has_a_leg"),
    ],
)
def test_an_entry_that_cannot_be_true_is_refused(books: Engine, changes: dict[str, object], constraint: str) -> None:
    with pytest.raises(DBAPIError, match=constraint), books.begin() as connection:
        ledger.post(connection, [_an_entry(DAY, **changes)])


def test_nobody_writes_into_a_sealed_day_not_even_past_our_own_code(books: Engine) -> None:
    with books.begin() as connection:
        connection.execute(SEAL, {"day": DAY})
        ledger.post(connection, [_an_entry(DAY)])
    copied = "region, effective_day, institution, payer, kind, debit, credit, amount_fen, cause"
    with pytest.raises(DBAPIError, match="sealed up to 2026-03-02"), books.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO ledger_entry (business_day, {copied}) SELECT '2026-03-02', {copied} FROM ledger_entry"
        )


def test_a_seal_waits_for_who_posts_and_who_posts_sees_the_seal(books: Engine) -> None:
    sealed = threading.Event()

    def seal() -> None:
        with books.begin() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('ledger'))")
            connection.execute(SEAL, {"day": DAY})
        sealed.set()

    with books.begin() as connection:
        ledger.post(connection, [_an_entry(DAY)])
        sealer = threading.Thread(target=seal)
        sealer.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        eventually(lambda: connection.exec_driver_sql(waiting).scalar() == 1)
        assert not sealed.is_set()
    sealer.join()
    with books.begin() as connection:
        ledger.post(connection, [_an_entry(DAY)])
        days = connection.exec_driver_sql("SELECT business_day FROM ledger_entry ORDER BY entry_id").scalars().all()
    assert days == [DAY, DAY + timedelta(days=1)]


def test_balances_are_grouped_and_bounded(books: Engine) -> None:
    with books.begin() as connection:
        ledger.post(
            connection,
            [
                _an_entry(DAY),
                _an_entry(DAY + timedelta(days=1), amount_fen=7),
                _an_entry(DAY, payer=BASIC, amount_fen=11),
            ],
        )
        by_day = ledger.balances(connection, ["day", "payer"])
        assert {one.key: one.balances[Account.RECEIVABLE] for one in by_day} == {
            ("2026-03-02", BASIC): 11,
            ("2026-03-02", CRITICAL): 5,
            ("2026-03-03", CRITICAL): 7,
        }
        (only,) = ledger.balances(connection, first=DAY, last=DAY, payer=CRITICAL)
        assert (only.balances[Account.RECEIVABLE], only.balances[Account.DIFFERENCE]) == (5, -5)


def test_what_stood_before_the_ledger_is_opened_in_it(hub: TestHub, books: Engine) -> None:
    """Also of a payer whose clock is wrong: what it says dates nothing."""
    wrong = {"S-3": "1970-01-01 08:00+08", "S-4": "2999-01-01 08:00+08"}
    for number in ("S-1", "S-2", *wrong):
        hub.settle(number)
        hub.pump()
    hub.cancel("S-2")
    hub.pump()
    before = _stands(books, "payer", "day")
    migration = importlib.import_module("store.migrations.versions.0011_ledger")
    with books.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("DELETE FROM ledger_entry")
        for number, moment in wrong.items():
            said = text(
                "UPDATE settlement_leg l SET decided_at = CAST(:moment AS timestamptz) FROM settlement_case c "
                "WHERE c.case_id = l.case_id AND c.settlement_no = :number"
            )
            connection.execute(said, {"moment": moment, "number": number})
        connection.exec_driver_sql(migration.STANDS)
        connection.exec_driver_sql(migration.BILLS)
    assert _stands(books, "payer", "day") == before
    assert broken(books) == {}
