"""The day's hospitals: over HTTP, or the big ones over AMQP and the rest over HTTP."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from hub.demo.stage import Stage
from sandbox.day import Place
from sandbox.his import AmqpHospital, HospitalRequest, HttpHospital, Result
from sandbox.his_book import HospitalBook

AMQP_PLACES_MAX = 60
"""Quorum queues are not for the thousand: a city's small pharmacies speak HTTP."""
HTTP_AT_LEAST_EVERY = 10
"""One institution in so many speaks HTTP also where there is a broker, so that both ways are seen."""
CONCURRENCY = 16
_DONE = object()


def with_queues(places: Sequence[Place]) -> list[Place]:
    """The institutions that get a queue where there is a broker."""
    chosen = [place for index, place in enumerate(places) if index % HTTP_AT_LEAST_EVERY != HTTP_AT_LEAST_EVERY - 1]
    return chosen[:AMQP_PLACES_MAX]


class BothWays:
    """Sends each request the way its institution speaks. `late` collects answers that come after the first."""

    def __init__(self, http: HttpHospital, amqp: AmqpHospital | None, on_amqp: frozenset[str]) -> None:
        self.http = http
        self._amqp = amqp
        self._on_amqp = on_amqp

    def run_day(self, requests: Iterable[HospitalRequest]) -> Iterator[Result]:
        """Results as they come, in no order."""
        if self._amqp is None:
            yield from self.http.run_day(requests)
            return
        by_amqp: queue.Queue[HospitalRequest | object] = queue.Queue(CONCURRENCY * 4)
        by_http: queue.Queue[HospitalRequest | object] = queue.Queue(CONCURRENCY * 4)
        results: queue.SimpleQueue[Result | Exception | None] = queue.SimpleQueue()
        senders = [
            threading.Thread(target=_run, args=(side.run_day(_until_done(waiting)), results), daemon=True)
            for side, waiting in ((self._amqp, by_amqp), (self.http, by_http))
        ]
        for sender in senders:
            sender.start()
        feeder = threading.Thread(target=self._feed, args=(requests, by_amqp, by_http), daemon=True)
        feeder.start()
        running = len(senders)
        while running:
            result = results.get()
            if result is None:
                running -= 1
            elif isinstance(result, Exception):
                raise result
            else:
                yield result

    def settle_down(self, book: HospitalBook, within_s: float) -> bool:
        """Wait for the final word on every case; False when some are still open then."""
        deadline = time.monotonic() + within_s
        while True:
            if self._amqp is not None:
                self._amqp.collect(0.2)
            for _ in self.http.refresh():
                pass
            if not book.open_cases():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)

    def _feed(
        self,
        requests: Iterable[HospitalRequest],
        by_amqp: queue.Queue[HospitalRequest | object],
        by_http: queue.Queue[HospitalRequest | object],
    ) -> None:
        for request in requests:
            (by_amqp if request.institution in self._on_amqp else by_http).put(request)
        by_amqp.put(_DONE)
        by_http.put(_DONE)


def _until_done(waiting: queue.Queue[HospitalRequest | object]) -> Iterator[HospitalRequest]:
    while isinstance(request := waiting.get(), HospitalRequest):
        yield request


def _run(results: Iterable[Result], into: queue.SimpleQueue[Result | Exception | None]) -> None:
    try:
        for result in results:
            into.put(result)
    except Exception as error:  # noqa: BLE001 - carried to the thread that reads the results, and raised there
        into.put(error)
    else:
        into.put(None)


@contextlib.contextmanager
def opened(stage: Stage, book: HospitalBook, places: Sequence[Place]) -> Iterator[BothWays]:
    """The hospitals, connected for the length of the block."""
    http = HttpHospital(stage.hub_url, book, concurrency=CONCURRENCY)
    amqp = None
    codes = [place.code for place in with_queues(places)] if stage.broker else []
    if stage.broker:
        amqp = AmqpHospital(stage.broker, codes, book)
        amqp.start()
    try:
        yield BothWays(http, amqp, frozenset(codes))
    finally:
        http.close()
        if amqp is not None:
            amqp.stop()
