"""A hospital's information system as a client of the hub, over HTTP or AMQP, at any concurrency.

Both clients send requests, collect answers, write them to the hospitals' book before they believe them, and ask again
under the same key when they were left without an answer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import uuid4

import orjson
import urllib3

from sandbox.amqp import Incoming, Line, Outgoing
from sandbox.day import DayCase
from sandbox.his_book import HospitalBook, Told

SETTLE, TRIAL, CANCEL, QUERY = "settlement.settle", "settlement.trial", "settlement.cancel", "case.query"
ATTEMPTS_MAX = 12
PAUSE_S = 0.25
PAUSE_S_MAX = 2.0
_BATCH_MAX = 500


@dataclass(frozen=True, slots=True)
class HospitalRequest:
    """One message of a hospital. `key` is its Idempotency-Key or message_id: the same in every repeat."""

    institution: str
    transaction: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a request: the combined answer (parsed JSON), or the problem in `error`."""

    request: HospitalRequest
    latency_s: float
    answer: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    attempts: int = 1


def settle(case: DayCase, transaction: str = SETTLE) -> HospitalRequest:
    """The request that settles (or tries) a case of the day."""
    return HospitalRequest(case.institution, transaction, f"{case.institution}-{case.settlement_no}", case.body)


def cancel(case: DayCase, number: int = 1) -> HospitalRequest:
    """The request that cancels a case of the day."""
    key = f"{case.institution}-{case.settlement_no}-C{number}"
    return HospitalRequest(case.institution, CANCEL, key, case.cancel_body(number))


class HttpHospital:
    """Hospitals that speak HTTP: POST, wait for the answer, ask again under the same key while there is none.

    `tokens` by institution are sent as bearer tokens; without one the X-Party header says who speaks.
    """

    def __init__(
        self,
        hub_url: str,
        book: HospitalBook,
        *,
        concurrency: int = 16,
        wait_s: int = 20,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        self._hub = hub_url.rstrip("/")
        self._book = book
        self._concurrency = concurrency
        self._wait_s = wait_s
        self._tokens = tokens or {}
        timeout = urllib3.Timeout(connect=2.0, read=wait_s + 15.0)
        self._pool = urllib3.PoolManager(maxsize=concurrency, block=True, retries=False, timeout=timeout)

    def run_day(self, requests: Iterable[HospitalRequest]) -> Iterator[Result]:
        """Send all, at most `concurrency` at a time; results as they come, each in the book before it is given."""
        waiting = iter(requests)
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="hospital") as workers:
            running: set[Future[Result]] = {
                workers.submit(self.send, request) for request in islice(waiting, self._concurrency)
            }
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {workers.submit(self.send, request) for request in islice(waiting, len(done))}
                yield from self._kept([future.result() for future in done])

    def send(self, request: HospitalRequest) -> Result:
        """One request to its end; not yet in the book."""
        begun = time.perf_counter()
        problem: dict[str, Any] | None = None
        pause_s = PAUSE_S
        for attempt in range(1, ATTEMPTS_MAX + 1):
            status, told = self._ask(request)
            latency_s = time.perf_counter() - begun
            if status == 200:
                return Result(request, latency_s, answer=told, attempts=attempt)
            problem = told
            if 400 <= status < 500 and status not in (408, 425, 429):
                break
            # Accepted and not yet answered (202), or the hub is away: the same key makes asking again harmless.
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S_MAX)
        return Result(request, time.perf_counter() - begun, error=problem, attempts=attempt)

    def refresh(self) -> Iterator[Result]:
        """Ask for the newest answer of every case that was not final; results are in the book."""
        return self.run_day([_question(told) for told in self._book.open_cases()])

    def close(self) -> None:
        """Drop the connections."""
        self._pool.clear()

    def _ask(self, request: HospitalRequest) -> tuple[int, dict[str, Any]]:
        try:
            answer = self._pool.request(
                "POST",
                f"{self._hub}/api/v1/transactions/{request.transaction}",
                body=request.body,
                headers=self._headers(request),
            )
            told = orjson.loads(answer.data)
        except urllib3.exceptions.HTTPError as error:
            return 0, {"error": "hub.unreachable", "cause": type(error).__name__}
        except orjson.JSONDecodeError:
            return 0, {"error": "hub.unreadable", "status": answer.status}
        return answer.status, told

    def _headers(self, request: HospitalRequest) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": request.key,
            "Prefer": f"wait={self._wait_s}",
            "X-Party": request.institution,
        }
        if token := self._tokens.get(request.institution):
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _kept(self, results: Sequence[Result]) -> Sequence[Result]:
        _keep(self._book, results)
        return results


class AmqpHospital:
    """Hospitals that speak AMQP: publish to `in.<institution>`, read answers from `out.<institution>`.

    One connection serves all `institutions`; its user must be allowed to do so. Late answers (a higher revision of a
    case that was answered before) go into the book whenever they come.
    """

    def __init__(
        self, broker_url: str, institutions: Sequence[str], book: HospitalBook, *, code: str = "HIS", window: int = 256
    ) -> None:
        self._book = book
        self._window = threading.Semaphore(window)
        self._waiting: dict[str, tuple[HospitalRequest, float]] = {}
        self._arrived: queue.SimpleQueue[Incoming | str] = queue.SimpleQueue()
        """Deliveries, and keys of requests that the broker could not route."""
        queues = [f"out.{institution}" for institution in institutions]
        self._line = Line(broker_url, code, queues, self._note, prefetch=1000)

    def start(self, within_s: float = 15.0) -> None:
        """Connect; TimeoutError when the broker cannot be reached in time."""
        self._line.start()
        if not self._line.wait_ready(within_s):
            raise TimeoutError("the broker did not answer")

    def stop(self) -> None:
        """Disconnect; answers not yet in the book stay with the broker."""
        self._line.stop()

    def run_day(self, requests: Iterable[HospitalRequest], *, patience_s: float = 60.0) -> Iterator[Result]:
        """Send all, at most `window` unanswered; results as they come, each in the book before it is given.

        Whoever has no answer `patience_s` after the last one that came gets `error` no_answer.
        """
        sent = threading.Event()
        sender = threading.Thread(target=self._send_all, args=(requests, sent), name="hospital-sender", daemon=True)
        sender.start()
        last = time.monotonic()
        while not sent.is_set() or self._waiting:
            results = self.collect(0.2)
            if results:
                last = time.monotonic()
                yield from results
            elif self._waiting and time.monotonic() - last > patience_s:
                yield from self._given_up()
        sender.join()

    def collect(self, wait_s: float) -> list[Result]:
        """What has arrived, in the book and acknowledged; waits up to `wait_s` for the first."""
        arrived = self._take(wait_s)
        deliveries = [one for one in arrived if isinstance(one, Incoming)]
        answers = [_parsed(incoming.body) for incoming in deliveries]
        self._book.write(answer for answer in answers if _is_answer(answer) and answer["status"] != "trial")
        if deliveries:
            self._line.ack_all(deliveries)
        results = [self._result(one.correlation_id, answer) for one, answer in zip(deliveries, answers, strict=True)]
        results += [self._result(one, {"error": "unroutable"}) for one in arrived if isinstance(one, str)]
        return [result for result in results if result is not None]

    def _send_all(self, requests: Iterable[HospitalRequest], sent: threading.Event) -> None:
        try:
            for request in requests:
                self._window.acquire()
                self._waiting[request.key] = (request, time.perf_counter())
                self._line.publish([self._outgoing(request)])
        finally:
            sent.set()

    def _outgoing(self, request: HospitalRequest) -> Outgoing:
        return Outgoing(
            exchange=f"in.{request.institution}",
            routing_key=request.transaction,
            body=request.body,
            message_id=request.key,
            type=request.transaction,
            correlation_id=request.key,
            on_returned=lambda: self._arrived.put(request.key),
        )

    def _note(self, batch: Sequence[Incoming]) -> None:
        for incoming in batch:
            self._arrived.put(incoming)

    def _take(self, wait_s: float) -> list[Incoming | str]:
        found: list[Incoming | str] = []
        try:
            found.append(self._arrived.get(timeout=wait_s))
            while len(found) < _BATCH_MAX:
                found.append(self._arrived.get_nowait())
        except queue.Empty:
            pass
        return found

    def _result(self, key: str, told: dict[str, Any]) -> Result | None:
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return None
        self._window.release()
        request, begun = waiting
        latency_s = time.perf_counter() - begun
        if _is_answer(told):
            return Result(request, latency_s, answer=told)
        return Result(request, latency_s, error=told)

    def _given_up(self) -> list[Result]:
        gone = [self._result(key, {"error": "no_answer"}) for key in list(self._waiting)]
        return [result for result in gone if result is not None]


def _question(told: Told) -> HospitalRequest:
    # A key of its own each time: a repeat of an earlier question would rightly get the earlier answer.
    body = orjson.dumps({"institution": told.institution, "settlement_no": told.settlement_no})
    return HospitalRequest(told.institution, QUERY, str(uuid4()), body)


def _keep(book: HospitalBook, results: Sequence[Result]) -> None:
    answers = [result.answer for result in results if result.answer is not None]
    book.write(answer for answer in answers if _is_answer(answer) and answer["status"] != "trial")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {"error": "unreadable"}
    return told if isinstance(told, dict) else {"error": "unreadable"}


def _is_answer(told: dict[str, Any]) -> bool:
    return "revision" in told and "shares" in told
