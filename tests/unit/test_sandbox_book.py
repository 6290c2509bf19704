"""A party's book: one entry per request, cancels that meet their originals, nothing lost by closing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.book import Book
from sandbox.entries import (
    ANY_AMOUNT,
    APPROVED,
    CANCEL,
    CANCELLED,
    DECLINED,
    DEFERRED,
    REUSED,
    REVIEW,
    SETTLE,
    Entry,
)


def settled(request_id: str = "R-1", amount_fen: int = 500, **changes: str) -> Entry:
    entry = Entry(request_id, SETTLE, APPROVED, amount_fen, amount_fen, reference="P-1", content="c", institution="H1")
    return replace(entry, **changes)  # type: ignore[arg-type]


def deferred(request_id: str = "R-1") -> Entry:
    return Entry(request_id, SETTLE, DEFERRED, content="c")


def cancel(request_id: str = "X-1", original: str = "R-1", amount_fen: int = 500) -> Entry:
    return Entry(request_id, CANCEL, CANCELLED, amount_fen, original_request_id=original)


def ruled(outcome: str = APPROVED, amount_fen: int = 700) -> Entry:
    return Entry("", REVIEW, outcome, amount_fen, original_request_id="R-1")


@pytest.fixture(params=["file", "memory"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Book]:
    opened = Book(volatile=True) if request.param == "memory" else Book(tmp_path / "book.sqlite3")
    yield opened
    opened.close()


def test_a_repeat_gets_the_first_entry(book: Book) -> None:
    (first,) = book.record([settled()])

    (again,) = book.record([settled(reference="P-2")])

    assert again == first
    assert book.totals().net_fen == 500


def test_a_repeat_in_the_same_batch_gets_the_first_entry_too(book: Book) -> None:
    first, again = book.record([settled(), settled(reference="P-2")])

    assert again == first
    assert book.totals().entries == 1


def test_an_id_with_other_content_is_refused_and_not_booked(book: Book) -> None:
    book.record([settled()])

    (other,) = book.record([settled(amount_fen=900, content="other")])

    assert (other.outcome, other.reason_code, other.amount_fen) == (DECLINED, REUSED, 0)
    assert book.totals().entries == 1


def test_a_cancel_takes_back_what_was_paid(book: Book) -> None:
    book.record([settled()])

    (undone,) = book.record([cancel()])

    assert (undone.outcome, undone.amount_fen, undone.effect_fen) == (CANCELLED, 500, -500)
    assert (book.effective("R-1"), book.totals().net_fen) == (0, 0)


def test_a_second_cancel_under_another_id_takes_nothing_more(book: Book) -> None:
    book.record([settled(), cancel()])

    (second,) = book.record([cancel("X-2")])

    assert (second.outcome, second.effect_fen, second.reason_code) == (CANCELLED, 0, "already_cancelled")
    assert book.totals().net_fen == 0


def test_a_refused_cancel_does_not_hide_the_one_that_worked(book: Book) -> None:
    book.record([settled(), cancel("X-1", amount_fen=1), cancel("X-2")])

    (third,) = book.record([cancel("X-3")])

    assert third.reason_code == "already_cancelled"
    assert book.totals().net_fen == 0


def test_a_cancel_of_an_unknown_request_bars_it(book: Book) -> None:
    (refused,) = book.record([cancel()])

    (late,) = book.record([settled()])

    assert (refused.outcome, refused.reason_code) == (DECLINED, "unknown_original")
    assert (late.outcome, late.reason_code, late.effect_fen) == (DECLINED, "cancelled_before", 0)


def test_a_cancel_of_another_amount_is_refused(book: Book) -> None:
    book.record([settled()])

    (refused,) = book.record([cancel(amount_fen=499)])

    assert (refused.outcome, refused.reason_code) == (DECLINED, "amount_differs")
    assert book.effective("R-1") == 500


def test_a_cancel_may_leave_the_amount_to_the_party(book: Book) -> None:
    book.record([settled()])

    (undone,) = book.record([cancel(amount_fen=ANY_AMOUNT)])

    assert undone.amount_fen == 500


def test_a_refusal_cannot_be_cancelled(book: Book) -> None:
    book.record([replace(settled(), outcome=DECLINED, amount_fen=0, effect_fen=0)])

    (refused,) = book.record([cancel(amount_fen=0)])

    assert refused.reason_code == "nothing_to_cancel"


def test_a_cancel_is_no_original(book: Book) -> None:
    book.record([settled(), cancel()])

    (refused,) = book.record([cancel("X-2", original="X-1")])

    assert refused.reason_code == "unknown_original"


def test_a_review_decides_a_deferral_once(book: Book) -> None:
    book.record([deferred()])

    decided = book.review(ruled())

    assert decided is not None
    assert (decided.request_id, decided.outcome, decided.amount_fen) == ("R-1", APPROVED, 700)
    assert book.review(ruled(DECLINED, 0)) is None
    assert book.record([deferred()]) == [decided]
    assert (book.effective("R-1"), book.totals().net_fen) == (700, 700)


def test_what_a_review_approved_can_be_cancelled(book: Book) -> None:
    book.record([deferred()])
    book.review(ruled())

    (undone,) = book.record([cancel(amount_fen=700)])

    assert undone.effect_fen == -700
    assert book.totals().net_fen == 0


def test_a_cancelled_deferral_is_not_reviewed(book: Book) -> None:
    book.record([deferred(), cancel(amount_fen=0)])

    assert book.review(ruled()) is None


def test_entries_come_in_pages(book: Book) -> None:
    book.record([settled(f"R-{number}") for number in range(5)])

    assert [entry.request_id for entry in book.entries(limit=2, offset=3)] == ["R-3", "R-4"]
    assert len(book.entries()) == 5


def test_a_closed_book_still_knows_what_it_knew(tmp_path: Path) -> None:
    first = Book(tmp_path / "book.sqlite3")
    first.record([settled(), cancel()])
    first.close()

    again = Book(tmp_path / "book.sqlite3")

    assert [entry.request_id for entry in again.entries()] == ["R-1", "X-1"]
    assert again.effective("R-1") == 0
    again.close()


def test_entries_that_wait_together_share_commits(tmp_path: Path) -> None:
    book = Book(tmp_path / "book.sqlite3")

    async def together() -> list[Entry]:
        return await asyncio.gather(*(book.recorded(settled(f"R-{number}")) for number in range(200)))

    answers = asyncio.run(together())
    book.close()

    assert [answer.request_id for answer in answers] == [f"R-{number}" for number in range(200)]


IDS = st.sampled_from(["R-1", "R-2"])
STEPS = st.one_of(
    st.builds(settled, IDS),
    st.builds(deferred, IDS),
    st.builds(cancel, st.sampled_from(["X-1", "X-2", "X-3"]), IDS, st.sampled_from([0, 499, 500, ANY_AMOUNT])),
)


@given(steps=st.lists(STEPS, max_size=12))
def test_whatever_arrives_no_request_moves_more_than_once(steps: list[Entry]) -> None:
    book = Book(volatile=True)

    answers = [book.record([step])[0] for step in steps]

    assert all(book.effective(name) in (0, 500) for name in ("R-1", "R-2"))
    assert book.totals().net_fen == book.effective("R-1") + book.effective("R-2")
    for step, answer in zip(steps, answers, strict=True):
        if answer.reason_code != REUSED:
            assert book.record([step])[0] == answer


@given(steps=st.lists(STEPS, max_size=12))
def test_a_book_in_memory_answers_like_one_on_disk(
    steps: list[Entry], tmp_path_factory: pytest.TempPathFactory
) -> None:
    on_disk, in_memory = Book(tmp_path_factory.mktemp("book") / "b.sqlite3"), Book(volatile=True)
    ask: Callable[[Book], list[Entry]] = lambda book: [book.record([step])[0] for step in steps]  # noqa: E731

    assert ask(on_disk) == ask(in_memory)
    assert on_disk.entries() == in_memory.entries()
    assert on_disk.totals() == in_memory.totals()
    on_disk.close()
