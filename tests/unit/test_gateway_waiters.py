"""Waiting for a case's answer: hints wake, the poll finds what no hint told, and nobody waits past his time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from hub.gateway import waiters as module
from hub.gateway.waiters import AnswerWaiters
from schemas.errors import Unavailable
from store.answers import StoredAnswer
from tests.support.builders import MOMENT

NEVER_S = 60.0


def an_answer(case_id: str, revision: int = 1) -> StoredAnswer:
    return StoredAnswer(case_id, revision, "440300", True, b'{"status":"settled"}', MOMENT)


def anything(_answer: StoredAnswer) -> bool:
    return True


class Store:
    """Answers by case id; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, StoredAnswer] = {}
        self.asked: list[list[str]] = []
        self.was_asked = threading.Event()

    def __call__(self, case_ids: Sequence[str]) -> dict[str, StoredAnswer]:
        self.asked.append(sorted(case_ids))
        self.was_asked.set()
        return {case_id: self.answers[case_id] for case_id in case_ids if case_id in self.answers}


def run(work: Callable[[AnswerWaiters, Store], Awaitable[None]], poll_s: float = NEVER_S) -> None:
    store = Store()

    async def main() -> None:
        waiters = AnswerWaiters(store, poll_s=poll_s)
        waiters.start(asyncio.get_running_loop())
        try:
            await work(waiters, store)
        finally:
            waiters.stop(5.0)

    asyncio.run(main())


def test_a_hint_wakes_who_waits():
    async def work(waiters, store):
        store.answers["A"] = an_answer("A")
        waiting = asyncio.ensure_future(waiters.wait("A", anything, 10))
        await asyncio.sleep(0)
        waiters.hint("A")

        assert await waiting == an_answer("A")

    run(work)


def test_a_hint_that_comes_before_the_wait_is_not_lost():
    async def work(waiters, store):
        store.answers["A"] = an_answer("A")
        waiters.hint("A")

        assert await waiters.wait("A", anything, 10) == an_answer("A")

    run(work)


def test_the_poll_finds_what_no_hint_told():
    async def work(waiters, store):
        waiting = asyncio.ensure_future(waiters.wait("A", anything, 10))
        await asyncio.to_thread(store.was_asked.wait, 10)
        store.answers["A"] = an_answer("A")

        assert await waiting == an_answer("A")

    run(work, poll_s=0.01)


def test_everybody_who_waits_is_asked_for_at_once():
    async def work(waiters, store):
        store.answers |= {"A": an_answer("A"), "B": an_answer("B")}
        waiting = [asyncio.ensure_future(waiters.wait(case_id, anything, 10)) for case_id in ("A", "B", "B")]

        assert await asyncio.gather(*waiting) == [an_answer("A"), an_answer("B"), an_answer("B")]
        assert ["A", "B"] in store.asked

    run(work, poll_s=0.05)


def test_an_answer_that_is_not_wanted_wakes_nobody():
    async def work(waiters, store):
        store.answers["A"] = an_answer("A")
        waiting = asyncio.ensure_future(waiters.wait("A", lambda answer: answer.revision == 2, 10))
        await asyncio.to_thread(store.was_asked.wait, 10)
        store.answers["A"] = an_answer("A", revision=2)

        assert await waiting == an_answer("A", revision=2)

    run(work, poll_s=0.01)


@pytest.mark.parametrize("within_s", [0, 0.02])
def test_the_time_ends(within_s):
    async def work(waiters, store):
        assert await waiters.wait("A", anything, within_s) is None

    run(work)


def test_giving_up_lets_everybody_go():
    async def work(waiters, store):
        waiting = asyncio.ensure_future(waiters.wait("A", anything, 10))
        await asyncio.sleep(0)
        waiters.give_up()

        assert await waiting is None
        assert await waiters.wait("B", anything, 10) is None

    run(work)


def test_there_is_an_end_to_how_many_wait(monkeypatch):
    monkeypatch.setattr(module, "WAITING_MAX", 1)

    async def work(waiters, store):
        waiting = asyncio.ensure_future(waiters.wait("A", anything, 10))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await waiters.wait("B", anything, 10)
        waiters.give_up()
        await waiting

    run(work)


def test_a_store_that_fails_once_is_asked_again():
    class Failing(Store):
        def __call__(self, case_ids):
            if not self.asked:
                self.asked.append([])
                raise OSError("away")
            return super().__call__(case_ids)

    async def main():
        store = Failing()
        store.answers["A"] = an_answer("A")
        waiters = AnswerWaiters(store, poll_s=0.01)
        waiters.start(asyncio.get_running_loop())
        try:
            assert await waiters.wait("A", anything, 10) == an_answer("A")
        finally:
            waiters.stop(5.0)

    asyncio.run(main())
