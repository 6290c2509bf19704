"""Payers are asked side by side; one that is down costs one day's patience and holds up nobody."""

from __future__ import annotations

import threading
from datetime import date

import pytest

from hub.recon.continuous_payers import turned
from hub.recon.pulling_patience import BooksChanged, NotAsked, NoWord, Patience, TimeUp
from hub.recon.pulling_together import Wanted, pull_all, side_by_side
from schemas.errors import Conflict, OutcomeUnknown, Unavailable

DAYS = [date(2026, 3, day) for day in range(2, 9)]
EVER = Patience()
MEET_S = 30.0


class Books:
    """Payers that answer, or raise, and a record of who was asked for what."""

    def __init__(self, **answers) -> None:
        self.answers = answers
        self.asked: list[tuple[str, date, int]] = []

    def pull(self, party, _scheme, day, _by, patience=EVER):
        self.asked.append((party, day, patience.tries_max))
        answer = self.answers.get(party)
        if callable(answer):
            answer = answer(day)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def days(self, party: str) -> list[date]:
        return [day for code, day, _ in self.asked if code == party]


def all_of(books: Books, *parties: str, **how):
    wanted = [Wanted(party, "daily", day) for party in parties for day in DAYS]
    return list(pull_all(books, wanted, "li", EVER, **how))


@pytest.mark.parametrize("error", [Unavailable("no route"), OutcomeUnknown("no answer in time")])
def test_who_is_not_heard_about_one_day_is_not_asked_for_the_others(error):
    books = Books(DOWN=error, UP="a statement")

    found = all_of(books, "DOWN", "UP")

    assert books.days("DOWN") == DAYS[:1]
    assert books.days("UP") == DAYS
    assert len(found) == 2 * len(DAYS)
    left_out = [one for one in found if not one.asked]
    assert [one.wanted.day for one in left_out] == DAYS[1:]
    assert {one.error.code for one in left_out} == {"statement.payer_away"}
    assert sum(one.answer is not None for one in found) == len(DAYS)


@pytest.mark.parametrize(
    "error", [Conflict("signed off"), BooksChanged("changed"), NoWord("no usable word"), TimeUp("too much")]
)
def test_who_answers_however_badly_is_asked_for_the_next_day(error):
    books = Books(UP=error)

    all_of(books, "UP")

    assert books.days("UP") == DAYS


def test_a_payer_whose_breaker_is_open_is_asked_once_and_in_full_when_it_is_back():
    books = Books(DOWN=Unavailable("no route"), BACK="a statement")

    all_of(books, "DOWN", "BACK", down={"DOWN", "BACK"})

    assert [tries for code, _, tries in books.asked if code == "DOWN"] == [1]
    assert [tries for code, _, tries in books.asked if code == "BACK"] == [1] + [EVER.tries_max] * (len(DAYS) - 1)


def test_payers_are_asked_side_by_side_and_one_payers_days_one_after_the_other():
    together = threading.Barrier(3)
    inside: dict[str, int] = {}

    def meets(party: str):
        def answer(_day: date) -> str:
            inside[party] = inside.get(party, 0) + 1
            assert inside[party] == 1
            together.wait(MEET_S)
            inside[party] -= 1
            return "a statement"

        return answer

    books = Books(**{party: meets(party) for party in ("A", "B", "C")})

    assert all(one.answer for one in all_of(books, "A", "B", "C", at_once=3))


def test_never_more_at_a_time_than_wanted():
    most, now, lock = [0], [0], threading.Lock()

    def answer(_day: date) -> str:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        with lock:
            now[0] -= 1
        return "a statement"

    all_of(Books(**dict.fromkeys("ABCDEF", answer)), *"ABCDEF", at_once=2)

    assert most[0] <= 2


def test_what_a_task_raises_is_raised_where_its_items_are_read():
    def broken():
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), side_by_side([broken], 2) as given:
        list(given)


def test_the_others_end_with_the_item_that_they_are_at():
    ended = threading.Event()

    def endless():
        try:
            while True:
                yield 1
        finally:
            ended.set()

    with side_by_side([endless], 1) as given:
        assert next(given) == 1

    assert ended.wait(MEET_S)


def test_when_the_time_is_up_nothing_more_is_asked():
    moment = [0.0]
    patience = Patience(until=100.0, monotonic=lambda: moment[0])
    assert patience.timeout_s() == 30.0
    moment[0] = 90.0
    assert patience.timeout_s() == 10.0
    moment[0] = 100.0
    with pytest.raises(TimeUp):
        patience.timeout_s()
    assert Patience().timeout_s() == 30.0


def test_not_asked_is_told_with_what_was_not_heard():
    (first, second, *_) = all_of(Books(DOWN=OutcomeUnknown("no answer")), "DOWN")

    assert first.asked
    assert isinstance(second.error, NotAsked)
    assert "outcome.unknown" in str(second.error)


def test_each_turn_begins_with_another_day_so_that_none_is_kept_waiting_for_ever():
    assert {turned(DAYS, turn)[0] for turn in range(len(DAYS))} == set(DAYS)
    assert all(sorted(turned(DAYS, turn)) == DAYS for turn in range(20))
    assert turned([], 3) == []
