"""A hub inside the test's own process on a real database, with stub payers: run by itself or moved by hand."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
from pydantic import SecretStr
from sqlalchemy import Engine, text

from adapters.registry import make_adapter
from hub.bootstrap import Hub, bootstrap
from hub.inbound import Inbound, Taken
from hub.ports import PayerAdapter
from hub.settings import Settings
from hub.sweeps import CaseSweep
from schemas.payer import PartySettings
from schemas.transactions import Transaction
from store import answers, cases, coverage
from store.coverage import CoverageRow
from store.database import open_engine
from store.records import CaseRecord
from tests.support.builders import (
    COMMERCIAL_PRODUCT,
    HOSPITAL,
    REGION,
    StubPayer,
    a_rule_book_text,
    a_settle_request,
    an_id_card,
    as_bytes,
)
from tests.support.eventually import eventually
from tests.support.rule_books import put_in_force

PERSON_SECRET = "a secret of thirty-two characters"
TOKEN_SECRET = "another secret of thirty-two characters"
OPERATOR_SECRET = "a third secret, thirty-two characters"


class MovableClock:
    """The system's time, set forward by what the test says."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


@dataclass
class FakeDelivery:
    """A message in a handler's hands; `verdict` is what became of it."""

    body: bytes
    queue: str = ""
    exchange: str = ""
    routing_key: str = ""
    message_id: str = "D-1"
    type: str = ""
    correlation_id: str = ""
    reply_to: str = ""
    user_id: str = ""
    content_type: str = "application/json"
    attempt: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    verdict: Any = None
    _done: threading.Event = field(default_factory=threading.Event)

    def settle(self, verdict: Any) -> None:
        if self.verdict is None:
            self.verdict = verdict
        self._done.set()

    @property
    def settled(self) -> bool:
        return self._done.is_set()

    def wait(self, within_s: float = 60.0) -> Any:
        assert self._done.wait(within_s), "the delivery was not settled"
        return self.verdict


@dataclass
class TestHub:
    """A hub with its payers and its database, as a test drives it."""

    __test__ = False

    hub: Hub
    payers: dict[str, StubPayer]
    database: Engine
    clock: MovableClock
    sent: int = 0

    def send(self, transaction: Transaction, message: Mapping[str, Any] | bytes, **changes: Any) -> Taken:
        """Hand one message of a party to the desk."""
        return self.hub.desk.take([self.inbound(transaction, message, **changes)])[0]

    def inbound(self, transaction: Transaction, message: Mapping[str, Any] | bytes, **changes: Any) -> Inbound:
        """A message as the channels hand it over."""
        self.sent += 1
        party = changes.pop("party", HOSPITAL)
        values: dict[str, Any] = {
            "transaction": transaction,
            "party": party,
            "message_id": f"M-{self.sent}",
            "body": message if isinstance(message, bytes) else as_bytes(message),
            "reply_to": f"out:{party}",
            "received_at": self.clock.now(),
        }
        return Inbound(**values | changes)

    def settle(self, settlement_no: str = "S-1", total_fen: int = 30_000, **changes: Any) -> Taken:
        return self.send(Transaction.SETTLE, a_settle_request(total_fen, settlement_no, **changes))

    def trial(self) -> Taken:
        return self.send(Transaction.TRIAL, a_settle_request())

    def cancel(self, settlement_no: str = "S-1", cancel_no: str = "C-1", **changes: Any) -> Taken:
        message = {"institution": HOSPITAL, "settlement_no": settlement_no, "cancel_no": cancel_no, "reason": "r"}
        return self.send(Transaction.CANCEL, message, **changes)

    def reverse(self, settlement_no: str = "S-1", reverse_no: str = "R-1", **changes: Any) -> Taken:
        message = {"institution": HOSPITAL, "settlement_no": settlement_no, "reverse_no": reverse_no, "reason": "r"}
        return self.send(Transaction.REVERSE, message, **changes)

    def query(self, settlement_no: str = "S-1") -> Taken:
        return self.send(Transaction.QUERY, {"institution": HOSPITAL, "settlement_no": settlement_no})

    def cover(self, product: str = COMMERCIAL_PRODUCT, policy_no: str = "POL-1") -> None:
        """Give the patient of `a_settle_request` a policy."""
        key = coverage.person_key(PERSON_SECRET.encode(), "01", an_id_card())
        with self.database.begin() as connection:
            coverage.add(connection, [CoverageRow(key, product, policy_no, REGION, date(2020, 1, 1), None)])

    def case(self, case_id: str) -> CaseRecord:
        with self.database.connect() as connection:
            return cases.read(connection, [case_id])[case_id]

    def answers(self, case_id: str) -> list[dict[str, Any]]:
        """Every revision of the combined answer, oldest first."""
        with self.database.connect() as connection:
            return [orjson.loads(one.body) for one in answers.history(connection, case_id)]

    def answered(self, case_id: str, revision: int = 1, within_s: float = 60.0) -> dict[str, Any]:
        """The answer of this revision, waited for."""
        return eventually(lambda: self.answers(case_id)[revision - 1 :], within_s)[0]

    def sweep(self) -> int:
        """One pass of the case sweep."""
        return CaseSweep(self.hub.work_units, self.clock)()

    def let_pass(self, *seconds: float) -> None:
        """Let time pass, piece by piece; each time the sweep looks and what it finds is done."""
        for piece in seconds:
            self.clock.advance(piece)
            self.sweep()
            self.pump()

    def outbox(self, queue: str) -> list[dict[str, Any]]:
        """The bodies that wait in a queue of the embedded broker, oldest first."""
        with self.database.connect() as connection:
            rows = connection.execute(
                text("SELECT body FROM outbox WHERE queue = :queue ORDER BY id"), {"queue": queue}
            )
            return [orjson.loads(bytes(row.body)) for row in rows]

    def count(self, table: str) -> int:
        with self.database.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    def commands(self) -> list[tuple[str, bytes]]:
        """Take the leg commands out of the outbox: (payer, body) each."""
        with self.database.begin() as connection:
            rows = connection.execute(text("DELETE FROM outbox WHERE queue LIKE 'payer.%' RETURNING id, queue, body"))
            return [(row.queue.removeprefix("payer."), bytes(row.body)) for row in sorted(rows, key=lambda row: row.id)]

    def handle(self, payer: str, *bodies: bytes) -> list[Any]:
        """Give commands to the leg handler as one batch; their verdicts."""
        assert self.hub.legs is not None
        deliveries = [FakeDelivery(body, queue=f"payer.{payer}", message_id=f"D-{n}") for n, body in enumerate(bodies)]
        self.hub.legs.handler(payer)(deliveries)
        return [delivery.wait() for delivery in deliveries]

    def pump(self, *, chance: random.Random | None = None, turns_max: int = 100) -> None:
        """Deliver leg commands until none is left; with `chance`, shuffled and some of them twice or thrice.

        A command that is to come again comes again at once, with the clock set forward by its delay.
        """
        kept: list[tuple[str, bytes]] = []
        for _ in range(turns_max):
            waiting = kept + self.commands()
            if not waiting:
                return
            if chance is not None:
                waiting += [one for one in waiting for _ in range(chance.randrange(3))]
                chance.shuffle(waiting)
            kept, delay_s = [], 0.0
            for payer, body in waiting:
                verdict = self.handle(payer, body)[0]
                if verdict.kind.value == "retry":
                    kept.append((payer, body))
                    delay_s = max(delay_s, verdict.delay_s)
            self.clock.advance(delay_s)
        raise AssertionError("the commands do not come to an end")


@contextmanager
def a_hub(
    database_url: str,
    *rules: Mapping[str, Any],
    payers: Mapping[str, StubPayer] | None = None,
    running: bool = True,
    parties: Sequence[Mapping[str, Any]] = (),
    products: Sequence[Mapping[str, Any]] = (),
    settings_changes: Mapping[str, Any] | None = None,
    **book: Any,
) -> Iterator[TestHub]:
    """A hub with the rule book of these rules; with `running` its dispatcher and sweeps work by themselves.

    `book` replaces parts of the rule book, `settings_changes` settings.
    """
    database = open_engine(database_url, application="test")
    clock = MovableClock()
    put_in_force(database, a_rule_book_text(*rules, parties=parties, products=list(products), **book))
    known = dict(payers or {})

    def make(settings: PartySettings) -> PayerAdapter:
        if settings.adapter == "stub":
            return known.setdefault(settings.code, StubPayer())
        return make_adapter(settings)

    settings = Settings(
        database_url=SecretStr(database_url),
        person_key_secret=SecretStr(PERSON_SECRET),
        http_port=0,
        party_token_secret=SecretStr(TOKEN_SECRET),
        operator_token_secret=SecretStr(OPERATOR_SECRET),
        **settings_changes or {},
    )
    hub = bootstrap(settings, clock=clock, make=make)
    for payer in hub.payers.values():
        # Its breaker and its budget live through the hours that a test lets pass.
        payer.gate._monotonic = lambda: clock.now().timestamp()
    if running:
        hub.start()
    try:
        yield TestHub(hub, known, database, clock)
    finally:
        if running:
            hub.stop()
        else:
            _stop_unstarted(hub)
        database.dispose()


def _stop_unstarted(hub: Hub) -> None:
    if hub.legs is not None:
        hub.legs.stop(5.0)
    hub.transport.close()
    hub.engine.dispose()
