"""Hospitals that settle, repeat themselves and cancel over both channels while things break, and what came of it all.

A hospital here does what a real one does: whoever gets no answer asks again under the same key. In the end every
settlement must have its end, every cancelled one must be undone, and the payers' own books must say what the hub says.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import text

from hub.demo.ledger import borne_as_told, borne_by_legs, wrong_sums
from sandbox.amqp import Outgoing
from sandbox.day import DayCase
from sandbox.his import CANCEL, QUERY, AmqpHospital, HospitalRequest, HttpHospital, Result, cancel, settle
from sandbox.his_book import HospitalBook
from sandbox.proof import Difference, borne_by_books, differences
from tests.support.eventually import eventually
from tests.support.hub_processes import World
from tests.support.soundness import broken

ASK_AGAIN_MAX = 200
ASK_AGAIN_S = 0.3
PATIENCE_S = 3.0
"""Longer than any answer takes while nothing is broken."""
REPEATS, CANCELS = 0.15, 0.25
_PASSING = frozenset({"no_answer", "unroutable"})
_LEGS = text(
    "SELECT c.institution, c.settlement_no, l.payer, l.state, l.amount_fen <> 0 OR l.account_fen <> 0 AS moves "
    "FROM settlement_leg l JOIN settlement_case c USING (case_id) WHERE c.purpose = 'settle'"
)
_CASES = text("SELECT settlement_no, state FROM settlement_case WHERE purpose = 'settle' AND total_fen > 0")
_LONGEST = text(
    "SELECT max(greatest(0, extract(epoch FROM coalesce(l.decided_at, c.ended_at, now()) - l.doubt_since))) "
    "FROM settlement_leg l JOIN settlement_case c USING (case_id) WHERE l.doubt_since IS NOT NULL"
)
_DOUBTS = text("SELECT count(*) FROM settlement_leg WHERE doubt_since IS NOT NULL")
_STANDS = frozenset({"approved", "cancelling", "cancel_held", "held", "in_doubt", "reversing"})
_WITH_PEOPLE = frozenset({"held", "cancel_held"})
_ENDS = frozenset({"settled", "declined", "cancelled"})


@dataclass
class Tally:
    """What came of a run."""

    cases: int = 0
    cancelled: int = 0
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    """Sent, and neither at its end nor with people."""
    doubled: list[tuple[str, ...]] = field(default_factory=list)
    """Booked more often at a payer than the hub has legs for it."""
    wrong_fen: list[Difference] = field(default_factory=list)
    """Books that disagree about a settlement which is not with people."""
    with_people: int = 0
    doubts: int = 0
    doubts_open: int = 0
    longest_doubt_s: float = 0.0
    wrong_answers: list[object] = field(default_factory=list)
    broken: dict[str, list[str]] = field(default_factory=dict)
    """What the invariants' views show, by invariant."""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong_fen or self.wrong_answers or self.broken)

    def lines(self) -> list[str]:
        """For people."""
        bound = 3 / self.cases if self.cases else 1.0
        return [
            f"cases {self.cases}, of them cancelled {self.cancelled}; answered {self.answered}",
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, wrong fen {len(self.wrong_fen)}",
            f"doubts {self.doubts}, open at the end {self.doubts_open}, longest {self.longest_doubt_s:.1f} s; "
            f"with people {self.with_people}",
            f"no failure in {self.cases} cases: the rate is below {bound:.2g} with 95 % confidence"
            if self.is_clean
            else f"FAILED: lost {self.lost[:5]} doubled {self.doubled[:5]} wrong {self.wrong_fen[:5]} "
            f"answers {self.wrong_answers[:5]} invariants {self.broken}",
        ]


@dataclass
class MixedTraffic:
    """Both channels into one world, and the ledger of what was sent."""

    world: World
    book: HospitalBook
    amqp: _MixedAmqp
    http: HttpHospital
    bills: Iterator[DayCase]
    random: Random
    sent: dict[str, DayCase] = field(default_factory=dict)
    to_be_cancelled: set[str] = field(default_factory=set)
    answered: int = 0
    junk_sent: int = 0
    wrong_answers: list[object] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def converse(self, count: int, *, over_http: bool) -> None:
        """Settle so many bills to their answer, then repeat some and cancel some."""
        with self._lock:
            bills = list(islice(self.bills, count))
            again = [bill for bill in bills if self.random.random() < REPEATS]
            undone = [bill for bill in bills if self.random.random() < CANCELS]
            self.sent.update({bill.settlement_no: bill for bill in bills})
        self._ask(bills, [settle(bill) for bill in bills], over_http=over_http)
        self._ask(again, [settle(bill) for bill in again], over_http=over_http)
        with self._lock:
            self.to_be_cancelled.update(bill.settlement_no for bill in undone)
        self._ask(undone, [cancel(bill) for bill in undone], over_http=over_http)

    def begin(self, count: int) -> list[DayCase]:
        """Send so many bills over AMQP and wait for nothing."""
        with self._lock:
            bills = list(islice(self.bills, count))
            self.sent.update({bill.settlement_no: bill for bill in bills})
        self.amqp.publish_all([settle(bill) for bill in bills])
        return bills

    def send_junk(self) -> None:
        """A message that nobody can handle: it belongs in front of people, once."""
        self.junk_sent += 1
        self.amqp.publish_junk(self.world.day.institutions[0].code)

    def round(self, count: int) -> None:
        """Over both channels at once."""
        threads = [
            threading.Thread(target=self.converse, args=(count,), kwargs={"over_http": over_http}, name="hospital")
            for over_http in (False, True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @contextmanager
    def flowing(self, count: int) -> Iterator[None]:
        """One round after the other, `count` bills each on both channels, for the length of the block."""
        stop = threading.Event()

        def go_on(over_http: bool) -> None:
            while not stop.wait(0.05):
                self.converse(count, over_http=over_http)

        threads = [threading.Thread(target=go_on, args=(over_http,), daemon=True) for over_http in (False, True)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, bills: Sequence[DayCase], requests: Sequence[HospitalRequest], *, over_http: bool) -> None:
        """Ask until there is an answer; a refusal is never right here, whatever broke."""
        left = list(requests)
        for _ in range(ASK_AGAIN_MAX):
            if not left:
                return
            run = self.http.run_day(left) if over_http else self.amqp.run_day(iter(left), patience_s=PATIENCE_S)
            results = list(run)
            self.answered += sum(result.answer is not None for result in results)
            left = [result.request for result in results if _in_vain(result)]
            self.wrong_answers += [
                (result.request.key, result.error)
                for result in results
                if result.error and not _in_vain(result) and not _is_accepted_cancel(result)
            ]
            if left:
                time.sleep(ASK_AGAIN_S)
        self.wrong_answers += [(request.key, "never answered") for request in left]

    def settle_down(self, within_s: float) -> Tally:
        """Wait until nothing moves any more; what came of everything that was sent."""
        self.world.engine.dispose()
        deadline_passed = False
        try:
            eventually(self._is_quiet, within_s=within_s)
        except AssertionError:
            deadline_passed = True
        tally = self._tally()
        tally.broken = broken(self.world.engine)
        if not deadline_passed and tally.is_clean:
            eventually(self._the_hospitals_know, within_s=90)
        return tally

    def _is_quiet(self) -> bool:
        """Every case is at its end or with people, nothing waits to be published, and the payers have no other view."""
        assert self.world.count("outbox") == 0
        tally = self._tally()
        assert (tally.lost, tally.wrong_fen) == ([], []), f"{len(tally.lost)} open, {tally.wrong_fen[:3]}"
        return True

    def _tally(self) -> Tally:
        with self.world.engine.connect() as connection:
            states: dict[str, str] = {row.settlement_no: row.state for row in connection.execute(_CASES)}
            legs = connection.execute(_LEGS).all()
            longest = connection.execute(_LONGEST).scalar_one()
            doubts = int(connection.execute(_DOUBTS).scalar_one())
        with_people = {leg.settlement_no for leg in legs if leg.state in _WITH_PEOPLE}
        return Tally(
            cases=len(self.sent),
            cancelled=len(self.to_be_cancelled),
            answered=self.answered,
            lost=[number for number in self.sent if not self._at_end(number, states, with_people)],
            doubled=self._doubled(legs),
            wrong_fen=[one for one in self._differences() if one.settlement_no not in with_people],
            with_people=len(with_people),
            doubts=doubts,
            doubts_open=sum(leg.state in ("in_doubt", "reversing") for leg in legs),
            longest_doubt_s=float(longest or 0.0),
            wrong_answers=self.wrong_answers,
        )

    def _at_end(self, number: str, states: dict[str, str], with_people: set[str]) -> bool:
        if number in with_people:
            return True
        wanted = {"cancelled"} if number in self.to_be_cancelled else _ENDS
        return states.get(number) in wanted

    def _differences(self) -> list[Difference]:
        sides = {"hub": borne_by_legs(self.world.engine), "parties": borne_by_books(self.world.sandbox.books)}
        return differences(sides)

    def _doubled(self, legs: Sequence[Any]) -> list[tuple[str, ...]]:
        ours = Counter((leg.payer, leg.institution, leg.settlement_no) for leg in legs if leg.state in _STANDS)
        theirs: Counter[tuple[str, str, str]] = Counter()
        for payer, book in self.world.sandbox.books.items():
            for entry in book.entries():
                if entry.effect_fen or entry.account_fen:
                    change = 1 if entry.operation in ("settle", "review") else -1
                    theirs[payer, entry.institution, entry.settlement_no] += change
        return [key for key, times in theirs.items() if times > max(ours[key], 0)]

    def _the_hospitals_know(self) -> bool:
        self.amqp.collect(0)
        list(self.http.refresh())
        list(self.http.run_day(self._questions()))
        told_of = {(told.institution, told.settlement_no) for told in self.book.all()}
        with_people = self._numbers_with_people()
        believed = {key: fen for key, fen in borne_by_legs(self.world.engine).items() if key[1:] in told_of}
        found = differences({"hub": believed, "hospital": borne_as_told(self.book)})
        found = [one for one in found if one.settlement_no not in with_people]
        assert found == [], found[:3]
        assert wrong_sums(self.book) == []
        return True

    def _questions(self) -> list[HospitalRequest]:
        """A hospital whose cancel was only taken note of asks what became of it."""
        return [
            HospitalRequest(
                told.institution,
                QUERY,
                str(uuid4()),
                orjson.dumps({"institution": told.institution, "settlement_no": told.settlement_no}),
            )
            for told in self.book.all()
            if told.settlement_no in self.to_be_cancelled and told.status != "cancelled"
        ]

    def _numbers_with_people(self) -> set[str]:
        with self.world.engine.connect() as connection:
            return {leg.settlement_no for leg in connection.execute(_LEGS) if leg.state in _WITH_PEOPLE}


class _MixedAmqp(AmqpHospital):
    """Can also send without waiting, and talk nonsense."""

    def publish_all(self, requests: Sequence[HospitalRequest]) -> None:
        self._line.publish([self._outgoing(request) for request in requests])

    def publish_junk(self, institution: str) -> None:
        message_id = str(uuid4())
        self._line.publish([Outgoing(f"in.{institution}", "no.such.transaction", b"{}", message_id, "nonsense")])


class _OneTry(HttpHospital):
    """Asks once; `error` then holds the HTTP status under `http`, 0 for a connection that broke."""

    def send(self, request: HospitalRequest) -> Result:
        begun = time.perf_counter()
        status, told = self._ask(request)
        latency_s = time.perf_counter() - begun
        if status == 200:
            return Result(request, latency_s, answer=told)
        return Result(request, latency_s, error={**told, "http": status})


def _in_vain(result: Result) -> bool:
    """Whether to ask again: no word, a "come back later" or an error of the hub's own."""
    if result.error is None or _is_accepted_cancel(result):
        return False
    status = result.error.get("http")
    if status is None:
        return result.error.get("error") in _PASSING
    return status in (0, 202) or status >= 500


def _is_accepted_cancel(result: Result) -> bool:
    return result.request.transaction == CANCEL and result.error is not None and result.error.get("http") == 202


@contextmanager
def mixed_traffic(world: World, broker_url: str, folder: Path, seed: int) -> Iterator[MixedTraffic]:
    """Hospitals on both channels of a world; the gateway's port is the world's."""
    with ExitStack() as stack:
        book = HospitalBook(folder / "hospital.sqlite3")
        stack.callback(book.close)
        amqp = _MixedAmqp(broker_url, [place.code for place in world.day.institutions], book)
        amqp.start()
        stack.callback(amqp.stop)
        http = _OneTry(world.hub.http_url, book, concurrency=8, wait_s=int(PATIENCE_S))
        stack.callback(http.close)
        yield MixedTraffic(world, book, amqp, http, world.bills(), Random(seed))
