"""A steady stream of settlements while something breaks, and a ledger of what the hub took upon itself.

Accepted is what the hub's side has confirmed to the sender: the broker's confirm of a message, 200 or 202 over HTTP.
Whatever was accepted must come to its end exactly once, and whatever the sender was told must be so.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import urllib3
from sqlalchemy import text

from hub.demo.ledger import borne_as_told, borne_by_legs, wrong_sums
from sandbox.amqp import Outgoing
from sandbox.day import DayCase
from sandbox.entries import Entry
from sandbox.his import AmqpHospital, HospitalRequest, settle
from sandbox.his_book import HospitalBook
from sandbox.proof import differences
from store.database import open_engine
from tests.support.eventually import eventually
from tests.support.hub_processes import WITH_HTTP, World, world

PATIENCE_S = 90.0
ASK_AGAIN_S = 0.2
"""A hospital that was told to come back does so after this."""
OUR_BUGS = (
    "answer_not_applied",
    "broker_io_failed",
    "case_not_swept",
    "case_sweep_split",
    "handler_failed_after_settling",
    "hint_listener_failed",
    "publish_impossible",
    "sweep_failed",
)
"""Log events that no fault of a server or a line excuses."""
_APPROVED_LEGS = text(
    "SELECT l.payer, c.settlement_no, count(*) FROM settlement_leg l JOIN settlement_case c USING (case_id) "
    "WHERE l.state = 'approved' AND (l.amount_fen <> 0 OR l.account_fen <> 0) GROUP BY 1, 2"
)


@dataclass
class Ledger:
    """What one stream sent and was told, by settlement number."""

    sent: list[str] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    told: Counter[int] = field(default_factory=Counter)
    """HTTP statuses, each as often as it came; 0 is a connection that broke."""
    wrong: list[object] = field(default_factory=list)
    """What the hub should never say."""

    def __str__(self) -> str:
        told = " ".join(f"{status}:{count}" for status, count in sorted(self.told.items()))
        return f"sent {len(self.sent)}, accepted {len(self.accepted)}, answered {len(self.answered)} {told}"


class Bills:
    """The same bills for all streams, each bill for one of them."""

    def __init__(self, bills: Iterator[DayCase]) -> None:
        self._bills = bills
        self._lock = threading.Lock()

    def __next__(self) -> DayCase:
        with self._lock:
            return next(self._bills)


class Stream:
    """Sends bills at a pace on threads of its own until `halt`."""

    def __init__(self, bills: Bills, per_second: float) -> None:
        self.ledger = Ledger()
        self._bills = bills
        self._gap_s = 1 / per_second
        self._stopped = threading.Event()
        self._abandoned = threading.Event()
        self._failure: BaseException | None = None

    def paced(self) -> Iterator[HospitalRequest]:
        """The requests, each when its time has come; for several threads at once."""
        while not self._stopped.wait(self._gap_s):
            bill = next(self._bills)
            self.ledger.sent.append(bill.settlement_no)
            yield settle(bill)

    def wait_for(self, *, accepted: int = 0, answered: int = 0, within_s: float = 30) -> None:
        """Until so many more than now were accepted and answered."""
        accepted += len(self.ledger.accepted) if accepted else 0
        answered += len(self.ledger.answered) if answered else 0
        eventually(
            lambda: len(self.ledger.accepted) >= accepted and len(self.ledger.answered) >= answered, within_s=within_s
        )

    def halt(self) -> None:
        """Send nothing new."""
        self._stopped.set()

    def finish(self) -> Ledger:
        """Send nothing new and wait until everything that was sent is answered."""
        self.halt()
        self.join()
        if self._failure is not None:
            raise self._failure
        assert self.ledger.wrong == []
        assert set(self.ledger.sent) == self.ledger.answered
        assert self.ledger.accepted == self.ledger.answered
        return self.ledger

    def join(self) -> None:
        raise NotImplementedError

    def guarded(self) -> None:
        """The thread's body; a failure is the test's."""
        try:
            self.run()
        except BaseException as error:
            self._failure = error
            raise

    def run(self) -> None:
        raise NotImplementedError


class _ConfirmedHospital(AmqpHospital):
    """Notes what the broker has confirmed."""

    ledger: Ledger

    def _outgoing(self, request: HospitalRequest) -> Outgoing:
        message = super()._outgoing(request)
        number = str(orjson.loads(request.body)["settlement_no"])
        message.on_confirmed = lambda: self.ledger.accepted.add(number)
        return message


class AmqpStream(Stream):
    """Hospitals that publish to their exchanges and read their queues."""

    def __init__(self, broker_url: str, town: Town, per_second: float) -> None:
        super().__init__(town.bills, per_second)
        institutions = [place.code for place in town.world.day.institutions]
        self._hospital = _ConfirmedHospital(broker_url, institutions, town.book)
        self._hospital.ledger = self.ledger
        self._hospital.start()
        self._thread = threading.Thread(target=self.guarded, name="amqp-stream", daemon=True)
        self._thread.start()

    def run(self) -> None:
        for result in self._hospital.run_day(self.paced(), patience_s=PATIENCE_S):
            if result.answer is None:
                self.ledger.wrong.append(result.error)
            else:
                self.ledger.answered.add(result.answer["settlement_no"])

    def join(self) -> None:
        self._thread.join()

    def collect(self) -> None:
        """Read answers that came later than the first."""
        self._hospital.collect(0)

    def stop(self) -> None:
        self._hospital.stop()


class HttpStream(Stream):
    """Hospitals that POST and ask again under the same key until the case is answered for good."""

    def __init__(self, url: str, town: Town, per_second: float, *, senders: int = 12) -> None:
        super().__init__(town.bills, per_second / senders)
        self._url = url
        # One request per connection, so that a proxy can repeat each by itself.
        self._headers = {"Connection": "close"} if town.http_url else {}
        self._book = town.book
        # No caller waits longer than this: an answer that does not come in time is a failure of the test.
        self._pool = urllib3.PoolManager(maxsize=senders, retries=False, timeout=urllib3.Timeout(connect=10, read=30))
        self._threads = [
            threading.Thread(target=self.guarded, name=f"http-stream-{number}", daemon=True)
            for number in range(senders)
        ]
        for thread in self._threads:
            thread.start()

    def run(self) -> None:
        for request in self.paced():
            self._to_its_end(request)

    def _to_its_end(self, request: HospitalRequest) -> None:
        number = str(orjson.loads(request.body)["settlement_no"])
        tries = 0
        while tries < PATIENCE_S / ASK_AGAIN_S:
            tries += 1
            status, answer = self._ask(request)
            self.ledger.told[status] += 1
            if status in (200, 202):
                self.ledger.accepted.add(number)
            if status == 200:
                self._book.write([answer])
                self.ledger.answered.add(number)
                if answer["final"]:
                    return
            if self._abandoned.wait(ASK_AGAIN_S):
                return
        self.ledger.wrong.append(f"{number} has no final answer")

    def _ask(self, request: HospitalRequest) -> tuple[int, dict[str, Any]]:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": request.key,
            "Prefer": "wait=2",
            "X-Party": request.institution,
            **self._headers,
        }
        url = f"{self._url}/api/v1/transactions/{request.transaction}"
        try:
            reply = self._pool.request("POST", url, body=request.body, headers=headers)
        except urllib3.exceptions.TimeoutError as error:
            self.ledger.wrong.append(f"no answer in time: {error!r}")
            return 0, {}
        except urllib3.exceptions.HTTPError:
            return 0, {}
        told = orjson.loads(reply.data)
        if reply.status not in (200, 202) and not _says_when_to_come_back(reply, told):
            self.ledger.wrong.append((reply.status, told))
        return reply.status, told

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def collect(self) -> None:
        """Nothing comes by itself over HTTP."""

    def stop(self) -> None:
        self._abandoned.set()
        self._pool.clear()


def _says_when_to_come_back(reply: urllib3.BaseHTTPResponse, told: dict[str, Any]) -> bool:
    return reply.status == 503 and "Retry-After" in reply.headers and bool(told.get("detail_zh"))


@dataclass
class Town:
    """A world with its hospitals' book, and the bills not yet used."""

    world: World
    broker_url: str
    book: HospitalBook
    bills: Bills
    http_url: str = ""
    """Where HTTP hospitals find the gateway."""

    @contextmanager
    def amqp(self, per_second: float) -> Iterator[AmqpStream]:
        """A stream over AMQP that has begun; only one at a time reads the hospitals' queues."""
        stream = AmqpStream(self.broker_url, self, per_second)
        try:
            yield stream
        finally:
            stream.halt()
            stream.stop()

    @contextmanager
    def http(self, per_second: float, *, senders: int = 12) -> Iterator[HttpStream]:
        """A stream over HTTP that has begun."""
        stream = HttpStream(self.http_url or self.world.hub.http_url, self, per_second, senders=senders)
        try:
            yield stream
        finally:
            stream.halt()
            stream.stop()

    @contextmanager
    def both(self, per_second: float) -> Iterator[tuple[AmqpStream, HttpStream]]:
        """Half of it over AMQP, half over HTTP."""
        with self.amqp(per_second / 2) as amqp, self.http(per_second / 2) as http:
            yield amqp, http

    def assert_all_is_well(self, *streams: AmqpStream | HttpStream, dead: Iterable[str] = ()) -> None:
        """Every accepted settlement came to its end once; all books agree; nothing waits; the dead are those named."""
        for stream in streams:
            stream.halt()
        ledgers = [stream.finish() for stream in streams]
        print(*ledgers, sep="; ")
        # Our own connections may have met the fault too.
        self.world.engine.dispose()
        numbers = [number for ledger in ledgers for number in ledger.accepted]
        eventually(lambda: self.world.unsettled(numbers) == 0, within_s=90)
        eventually(lambda: self.count("outbox") == 0, within_s=60)
        assert self.causes_of_death() == sorted(dead)
        self.world.assert_books_agree()
        self._assert_one_entry_per_leg()
        eventually(lambda: self._hospitals_know(streams), within_s=60)
        assert wrong_sums(self.book) == []
        assert self.world.hub.dead() == []
        assert [event for event in OUR_BUGS if self.world.hub.logged(event)] == []

    def look_at(self, database_url: str) -> None:
        """From now on look for the truth in this database."""
        self.world.engine.dispose()
        self.world.engine = open_engine(database_url, by_key=False)

    def entries(self) -> dict[tuple[str, str], Entry]:
        """All that stands in the payers' books."""
        return {
            (payer, entry.request_id): entry
            for payer, book in self.world.sandbox.books.items()
            for entry in book.entries()
        }

    def causes_of_death(self) -> list[str]:
        """Why messages were set aside, one for each."""
        with self.world.engine.connect() as connection:
            return sorted(connection.execute(text("SELECT cause FROM dead_letter")).scalars())

    def count(self, table: str) -> int:
        with self.world.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    def _assert_one_entry_per_leg(self) -> None:
        """Each payer's book holds as many settlements that moved money as the hub has approved legs, case by case."""
        approved: Counter[tuple[str, str]] = Counter()
        with self.world.engine.connect() as connection:
            for payer, number, legs in connection.execute(_APPROVED_LEGS):
                approved[payer, number] += legs
        booked = Counter(
            (payer, entry.settlement_no)
            for payer, book in self.world.sandbox.books.items()
            for entry in book.entries()
            if entry.operation == "settle" and (entry.effect_fen or entry.account_fen)
        )
        assert booked == approved

    def _hospitals_know(self, streams: Iterable[AmqpStream | HttpStream]) -> bool:
        """What hospitals were told last is what the hub believes, and all of it is final."""
        for stream in streams:
            stream.collect()
        told_of = {(told.institution, told.settlement_no) for told in self.book.all()}
        believed = {key: fen for key, fen in borne_by_legs(self.world.engine).items() if key[1:] in told_of}
        assert differences({"hub": believed, "hospital": borne_as_told(self.book)}) == []
        assert [told.settlement_no for told in self.book.all() if not told.final] == []
        return True


@contextmanager
def running_town(
    database_url: str,
    broker_url: str,
    folder: Path,
    cases: int,
    *,
    seed: int,
    hub_database_url: str = "",
    hub_broker_url: str = "",
) -> Iterator[Town]:
    """A hub of real processes, gateway included, with its parties, ready for traffic."""
    with ExitStack() as stack:
        found = stack.enter_context(
            world(
                database_url,
                broker_url,
                folder,
                cases,
                seed=seed,
                hub_database_url=hub_database_url,
                hub_broker_url=hub_broker_url,
            )
        )
        for role in WITH_HTTP:
            found.hub.start(role)
        book = HospitalBook(folder / "hospital.sqlite3")
        stack.callback(book.close)
        eventually(lambda: is_ready(found.hub.http_url), within_s=120)
        yield Town(found, broker_url, book, Bills(found.bills()))


def is_ready(http_url: str) -> bool:
    """Whether the gateway says that it can serve."""
    try:
        return urllib3.request("GET", f"{http_url}/readyz", timeout=3, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
