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
    REVERSE,
    REVIEW,
    SETTLE,
    Entry,
)
from tests.support.examples import times


def settled(request_id: str = "R-1", amount_fen: int = 500, **changes: str) -> Entry:
    entry = Entry(request_id, SETTLE, APPROVED, amount_fen, amount_fen, reference="P-1", content="c", institution="H1")
    return replace(entry, **changes)  # type: ignore[arg-type]


def deferred(request_id: str = "R-1") -> Entry:
    return Entry(request_id, SETTLE, DEFERRED, content="c")


def cancel(request_id: str = "X-1", original: str = "R-1", amount_fen: int = 500) -> Entry:
    return Entry(request_id, CANCEL, CANCELLED, amount_fen, original_request_id=original, content=f"undo {original}")


def reversal(request_id: str = "X-1", original: str = "R-1") -> Entry:
    return Entry(request_id, REVERSE, CANCELLED, original_request_id=original, content=f"undo {original}")


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

    refused = book.record([cancel("X-2", original="X-1"), reversal("X-3", original="X-1")])

    assert {entry.reason_code for entry in refused} == {"unknown_original"}


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


@pytest.mark.parametrize("original", [settled(), deferred(), replace(settled(), outcome=DECLINED, effect_fen=0)])
def test_a_reversal_takes_back_whatever_stands(book: Book, original: Entry) -> None:
    (stood,) = book.record([original])

    (undone,) = book.record([reversal()])

    assert (undone.outcome, undone.effect_fen) == (CANCELLED, -stood.effect_fen)
    assert (undone.amount_fen, book.effective("R-1"), book.totals().net_fen) == (stood.effect_fen, 0, 0)


def test_a_reversal_of_what_never_came_succeeds_and_bars_it_for_ever(book: Book) -> None:
    (undone,) = book.record([reversal()])

    late = [book.record([settled()])[0] for _ in range(3)]

    assert (undone.outcome, undone.amount_fen, undone.reason_code) == (CANCELLED, 0, "nothing_booked")
    assert {(entry.outcome, entry.reason_code) for entry in late} == {(DECLINED, "cancelled_before")}
    assert book.totals().net_fen == 0


def test_every_further_undo_tells_the_amount_that_was_taken_back_at_first(book: Book) -> None:
    book.record([settled(), cancel()])

    answers = book.record([reversal("X-2"), reversal("X-2"), reversal("X-3"), cancel("X-4")])

    assert {(entry.outcome, entry.amount_fen, entry.effect_fen) for entry in answers} == {(CANCELLED, 500, 0)}
    assert book.totals().net_fen == 0


def test_a_reversed_deferral_is_not_reviewed(book: Book) -> None:
    book.record([deferred(), reversal()])

    assert book.review(ruled()) is None
    assert book.effective("R-1") == 0


def test_a_cancel_that_was_refused_does_not_withdraw_a_deferral(book: Book) -> None:
    book.record([deferred(), cancel(amount_fen=1)])

    assert book.review(ruled()) is not None


def test_a_reversal_under_the_id_of_a_refused_cancel_is_judged_anew(book: Book) -> None:
    (refused, undone, again) = book.record([settled(), cancel(amount_fen=1), reversal(), reversal()])[1:]

    assert refused.outcome == DECLINED
    assert (undone.request_id, undone.outcome, undone.amount_fen) == ("X-1", CANCELLED, 500)
    assert again == undone
    assert book.totals().net_fen == 0


def test_a_cancel_under_the_id_of_a_reversal_is_that_reversal(book: Book) -> None:
    undone, again = book.record([settled(), reversal(), cancel()])[1:]

    assert again == undone


def told(book: Book) -> tuple[str, int] | None:
    fate = book.fate("R-1")
    return None if fate is None else (fate.outcome, fate.amount_fen)


def test_an_inquiry_tells_what_became_of_a_request(book: Book) -> None:
    fates = [told(book)]
    for step in (settled(), cancel("X-1", amount_fen=1), reversal("X-2")):
        book.record([step])
        fates.append(told(book))

    assert fates == [None, (APPROVED, 500), (APPROVED, 500), (CANCELLED, 500)]


@pytest.mark.parametrize("undo", [cancel(), reversal()])
def test_an_inquiry_knows_that_a_request_was_barred(book: Book, undo: Entry) -> None:
    book.record([undo])
    before = told(book)
    book.record([settled()])

    assert before == (CANCELLED, 0)
    assert told(book) == (DECLINED, 0)


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
UNDO_IDS = st.sampled_from(["X-1", "X-2", "X-3"])
STEPS = st.one_of(
    st.builds(settled, IDS),
    st.builds(deferred, IDS),
    st.builds(cancel, UNDO_IDS, IDS, st.sampled_from([0, 499, 500, ANY_AMOUNT])),
    st.builds(reversal, UNDO_IDS, IDS),
)


def final(entry: Entry) -> bool:
    """Whether a repeat must get the same again: a refused cancel may be followed by a reversal under its id."""
    return entry.reason_code != REUSED and not (entry.operation == CANCEL and entry.outcome == DECLINED)


@given(steps=st.lists(STEPS, max_size=12))
def test_whatever_arrives_no_request_moves_more_than_once(steps: list[Entry]) -> None:
    book = Book(volatile=True)

    answers = [book.record([step])[0] for step in steps]

    assert all(book.effective(name) in (0, 500) for name in ("R-1", "R-2"))
    assert book.totals().net_fen == book.effective("R-1") + book.effective("R-2")
    for step, answer in zip(steps, answers, strict=True):
        if final(answer):
            assert book.record([step])[0] == answer


REFUSAL = replace(settled(), outcome=DECLINED, amount_fen=0, effect_fen=0, reference="")
ONE = st.one_of(
    st.sampled_from([settled(), REFUSAL, deferred()]),
    st.builds(cancel, UNDO_IDS, st.just("R-1"), st.sampled_from([0, 500, 700])),
    st.builds(reversal, UNDO_IDS, st.just("R-1")),
    st.builds(ruled, st.just(APPROVED), st.just(700)),
    st.builds(ruled, st.just(DECLINED), st.just(0)),
)


def step_in(book: Book, step: Entry) -> Entry | None:
    return book.review(step) if step.operation == REVIEW else book.record([step])[0]


@times(3)
@given(steps=st.lists(ONE, max_size=15))
def test_one_request_settled_undone_reviewed_and_repeated_in_any_order_nets_to_nothing_or_once(
    steps: list[Entry],
) -> None:
    book = Book(volatile=True)
    undone: set[int] = set()
    for step in steps:
        barred = bool(undone) or (book.find("R-1") is None and book.fate("R-1") is not None)
        answer = step_in(book, step)
        stands = book.effective("R-1")
        assert stands in (0, 500, 700)
        assert book.totals().net_fen == stands
        assert not (barred and stands), "a tombstone blocks for ever"
        assert sum(entry.effect_fen > 0 for entry in book.entries()) <= 1
        assert sum(entry.effect_fen < 0 for entry in book.entries()) <= 1
        if answer is not None and step.operation == REVERSE:
            assert answer.outcome == CANCELLED, "a reversal is never refused"
        if answer is not None and answer.outcome == CANCELLED:
            undone.add(answer.amount_fen)
        fate = book.fate("R-1")
        assert stands == (fate.amount_fen if fate is not None and fate.outcome == APPROVED else 0)
    assert len(undone) <= 1, "every undo tells the amount that was taken back at first"


@given(steps=st.lists(STEPS, max_size=12))
def test_a_book_in_memory_answers_like_one_on_disk(
    steps: list[Entry], tmp_path_factory: pytest.TempPathFactory
) -> None:
    on_disk, in_memory = Book(tmp_path_factory.mktemp("book") / "b.sqlite3"), Book(volatile=True)
    ask: Callable[[Book], list[Entry]] = lambda book: [book.record([step])[0] for step in steps]  # noqa: E731

    assert ask(on_disk) == ask(in_memory)
    assert on_disk.entries() == in_memory.entries()
    assert on_disk.totals() == in_memory.totals()
    assert [on_disk.fate(name) for name in ("R-1", "R-2")] == [in_memory.fate(name) for name in ("R-1", "R-2")]
    on_disk.close()
