"""From coroutines into threads: batches without waiting for company, and an end to every wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager

import pytest

from hub.gateway import batched
from hub.gateway.batched import BatchedCalls
from schemas.errors import OutcomeUnknown, Unavailable


class Doubler:
    """Doubles numbers, once it is let; remembers its batches."""

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, batch: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(batch))
        self.begun.set()
        assert self.may_go.wait(10)
        return [ValueError("thirteen") if one == 13 else 2 * one for one in batch]


def run(work: Callable[[BatchedCalls[int, int], Doubler], Awaitable[None]], **options: object) -> None:
    """Run a coroutine against a pool of one worker."""
    double = Doubler()

    async def main() -> None:
        pool = BatchedCalls[int, int]("test", double, **({"batch_max": 10, "workers": 1} | options))
        pool.start(asyncio.get_running_loop())
        try:
            await work(pool, double)
        finally:
            double.may_go.set()
            pool.stop(5.0)

    asyncio.run(main())


@contextmanager
def refusing(error: type[Exception]):
    with pytest.raises(error):
        yield


async def begun(double: Doubler) -> None:
    await asyncio.to_thread(double.begun.wait, 10)


def test_what_arrives_while_a_batch_is_under_way_is_the_next_batch():
    async def work(pool, double):
        first = asyncio.ensure_future(pool(1, 10))
        await begun(double)
        rest = [asyncio.ensure_future(pool(number, 10)) for number in (2, 3, 4)]
        await asyncio.sleep(0)
        double.may_go.set()

        assert [await first, *[await one for one in rest]] == [2, 4, 6, 8]
        assert double.batches == [[1], [2, 3, 4]]

    run(work)


def test_a_batch_has_a_largest_size():
    async def work(pool, double):
        calls = [asyncio.ensure_future(pool(number, 10)) for number in range(7)]
        await begun(double)
        double.may_go.set()
        await asyncio.gather(*calls)

        assert max(len(batch) for batch in double.batches) <= 3

    run(work, batch_max=3)


def test_an_error_reaches_only_its_own_call():
    async def work(pool, double):
        double.may_go.set()
        results = await asyncio.gather(pool(13, 10), pool(1, 10), return_exceptions=True)

        assert isinstance(results[0], ValueError)
        assert results[1] == 2

    run(work)


def test_what_was_not_begun_in_time_has_no_effect():
    async def work(pool, double):
        first = asyncio.ensure_future(pool(1, 10))
        await begun(double)
        with refusing(Unavailable):
            await pool(2, 0.01)
        double.may_go.set()
        await first

        assert double.batches == [[1]]

    run(work, has_effects=True)


def test_what_was_begun_and_not_ended_in_time_is_unknown():
    async def work(pool, double):
        with refusing(OutcomeUnknown):
            await pool(1, 0.05)

    run(work, has_effects=True)


def test_a_reading_call_that_takes_too_long_is_only_unavailable():
    async def work(pool, double):
        with refusing(Unavailable):
            await pool(1, 0.05)

    run(work)


def test_there_is_an_end_to_waiting(monkeypatch):
    monkeypatch.setattr(batched, "PENDING_MAX", 2)

    async def work(pool, double):
        calls = [asyncio.ensure_future(pool(1, 10))]
        await begun(double)
        calls += [asyncio.ensure_future(pool(number, 10)) for number in (2, 3)]
        await asyncio.sleep(0)
        with refusing(Unavailable):
            await pool(4, 10)
        double.may_go.set()

        assert await asyncio.gather(*calls) == [2, 4, 6]

    run(work)
