"""Figures from the totals of sealed days are those that every entry, read one by one, comes to."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from sqlalchemy import Connection, Engine, insert, text

from routing.postings import Account, Kind
from store import fund_figures, fund_totals, seal_checks
from store.database import open_engine
from store.fund_totals import last_whole_month, whole_months
from store.ledger import GROUPINGS
from store.tables_ledger import entries
from tests.support.builders import BASIC, CRITICAL, HOSPITAL
from tests.support.seeds import chance_of, seeds

FIRST = date(2026, 1, 20)
DAYS = 130
"""Five months, the first and the last of them cut."""
SEAL = text(
    "INSERT INTO day_seal (business_day, entries, amount_fen, last_entry_id, digest, previous, chain, sealed_by, "
    "approved_by, sealed_at) VALUES (:day, 0, 0, 0, '', '', '', 'li', 'wang', now())"
)
MOVES = (
    (Kind.SETTLE, Account.RECEIVABLE, Account.PATIENT),
    (Kind.SETTLE, Account.PERSONAL, Account.PATIENT),
    (Kind.CANCEL, Account.PATIENT, Account.RECEIVABLE),
    (Kind.CORRECTION, Account.DIFFERENCE, Account.RECEIVABLE),
    (Kind.DEDUCTION, Account.DEDUCTED, Account.RECEIVABLE),
    (Kind.PAYMENT, Account.IN_TRANSIT, Account.RECEIVABLE),
    (Kind.CONFIRMATION, Account.BANK, Account.IN_TRANSIT),
    (Kind.REPAYMENT, Account.RECEIVABLE, Account.IN_TRANSIT),
)


@pytest.fixture
def books(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, by_key=False)
    yield engine
    engine.dispose()


def book(connection: Connection, chance: random.Random, day: date, count: int) -> None:
    """Entries of a day; audits and payments are about one before it."""
    rows = []
    for _ in range(count):
        kind, debit, credit = chance.choice(MOVES)
        advancing = kind in (Kind.SETTLE, Kind.CANCEL)
        row = {"kind": kind.value, "debit": debit.value, "credit": credit.value, "cause": "claim/1"}
        row |= {
            "amount_fen": chance.choice((100, 200, chance.randrange(1, 9_999))),
            "business_day": day,
            "effective_day": day,
        }
        row |= {"about_day": None if advancing else day - timedelta(days=chance.randrange(60))}
        row |= {"institution": chance.choice((HOSPITAL, "H-2")), "payer": chance.choice((BASIC, CRITICAL, ""))}
        row |= {"region": chance.choice(("440300", "440100")), "layer": "basic", "product": chance.choice("pq")}
        rows.append(row)
    connection.execute(insert(entries), rows)


def compare(connection: Connection, chance: random.Random) -> None:
    """Any figure, of any period, by anything."""
    by = chance.sample([*GROUPINGS], chance.randrange(3))
    ends = [FIRST + timedelta(days=chance.randrange(-20, DAYS + 20)) for _ in range(2)]
    ends += [chance.choice(ends).replace(day=1), last_whole_month(chance.choice(ends))]
    first, last = sorted(chance.sample(ends, 2))
    asked = {"first": chance.choice((first, None)), "last": chance.choice((last, None))}
    asked |= {"payer": chance.choice((None, CRITICAL)), "with_account": chance.choice(((), (BASIC,)))}

    told = fund_figures.standing(connection, by, **asked)

    assert told == fund_figures.standing(connection, by, **asked, from_entries=True), (by, asked)


@pytest.mark.parametrize("seed", seeds(20261122, soak=20))
def test_the_totals_of_sealed_days_are_what_their_entries_come_to(books: Engine, seed: int | None) -> None:
    chance = chance_of(seed)
    with books.begin() as connection:
        for number in range(DAYS):
            day = FIRST + timedelta(days=number)
            if chance.random() < 0.8:
                book(connection, chance, day, chance.randrange(1, 6))
            if number % 5 == 0 or chance.random() < 0.3:
                connection.execute(SEAL, {"day": day})
            if chance.random() < 0.3:
                fund_totals.catch_up(connection)
                compare(connection, chance)
        for _ in range(60):
            compare(connection, chance)
        assert fund_totals.up_to(connection).months == date(2026, 4, 30)
        assert list(fund_totals.wrong(connection)) == []


def test_a_day_that_is_added_up_while_a_figure_is_read_counts_once(books: Engine) -> None:
    chance = chance_of(3)
    with books.begin() as connection:
        for number in range(70):
            book(connection, chance, FIRST + timedelta(days=number), 2)
            connection.execute(SEAL, {"day": FIRST + timedelta(days=number)})
            if number == 30:
                before = fund_totals.catch_up(connection)
        whole = fund_figures.standing(connection, from_entries=True)
        fund_totals.catch_up(connection)
        sides, values = fund_totals.sides(before, None, None, by_day=False)
        told = connection.execute(text(f"SELECT sum(fen) FROM ({sides}) AS s WHERE account = 'bank'"), values)

    assert int(told.scalar_one()) == whole[0].settled_fen


def test_totals_that_were_changed_are_found_and_added_up_anew(books: Engine) -> None:
    chance = chance_of(7)
    with books.begin() as connection:
        for number in range(40):
            book(connection, chance, FIRST + timedelta(days=number), 3)
        connection.execute(SEAL, {"day": FIRST + timedelta(days=39)})
        fund_totals.catch_up(connection)
        whole = fund_figures.standing(connection)
        connection.execute(text("UPDATE ledger_total SET fen = fen + 1 WHERE span = 'month' AND booked = '2026-01-01'"))
        connection.execute(text("DELETE FROM ledger_total WHERE span = 'day' AND booked = '2026-02-25'"))

        found = {one.subject for one in fund_totals.wrong(connection)}
        told = {one.subject for one in seal_checks.faults(connection)}
        late = {one.subject for one in fund_totals.wrong(connection, date(2026, 2, 1))}
        fund_totals.add_up_anew(connection)

        assert found == {"totals/2026-01", "totals/2026-02", "totals/2026-02-25"}
        assert found <= told, "hub verify and the watch say so too"
        assert late == {"totals/2026-02", "totals/2026-02-25"}
        assert list(fund_totals.wrong(connection)) == []
        assert fund_figures.standing(connection) == whole


def test_totals_that_are_added_while_somebody_asks_count_once(books: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, known = chance_of(9), []
    with books.begin() as connection:
        for number in range(75):
            book(connection, chance, FIRST + timedelta(days=number), 2)
            if number in (20, 74):
                connection.execute(SEAL, {"day": FIRST + timedelta(days=number)})
                known.append(fund_totals.catch_up(connection))
        monkeypatch.setattr(fund_totals, "up_to", lambda _: known[0])

        for by in ((), ("day",)):
            assert fund_figures.standing(connection, by) == fund_figures.standing(connection, by, from_entries=True)


@pytest.mark.parametrize(
    ("first", "last", "months"),
    [
        ("2026-01-01", "2026-02-28", ("2026-01-01", "2026-02-01")),
        ("2026-01-02", "2026-02-27", ("2026-02-01", "2026-01-01")),
        ("2025-12-31", "2026-01-31", ("2026-01-01", "2026-01-01")),
        ("2024-01-30", "2024-02-29", ("2024-02-01", "2024-02-01")),
    ],
)
def test_whole_months_of_a_period(first: str, last: str, months: tuple[str, str]) -> None:
    found = whole_months(date.fromisoformat(first), date.fromisoformat(last))

    assert found == tuple(map(date.fromisoformat, months))
