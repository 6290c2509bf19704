"""The hub's store on the database in memory: the same columns, keys, fences and constraints as the tables have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from operator import attrgetter
from typing import Any

from sqlalchemy.exc import IntegrityError

from hub.stores import Stores
from routing.plan import Coverage
from routing.postings import borne
from routing.states import CaseState
from schemas.errors import Conflict
from simulation import ledger
from simulation.memory import Connection, Transaction
from store import cases as sql_cases
from store.answers import StoredAnswer, StoredUndo
from store.exchanges import HOSPITAL_LEG, Exchange
from store.inbox import Received
from store.outbox import StoredMessage
from store.records import CaseRecord, LegRecord
from store.search import Known

_CASE_ONLY = ("considered", "legs", "changed")
_LEG_ONLY = ("changed", "decided")
CASE_COLUMNS = tuple(field.name for field in dataclass_fields(CaseRecord) if field.name not in _CASE_ONLY)
LEG_COLUMNS = tuple(field.name for field in dataclass_fields(LegRecord) if field.name not in _LEG_ONLY)
_case_row: Callable[[CaseRecord], tuple[Any, ...]] = attrgetter(*CASE_COLUMNS)
_leg_row: Callable[[LegRecord], tuple[Any, ...]] = attrgetter(*LEG_COLUMNS)


def _places(columns: tuple[str, ...], changed: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(columns.index(name) for name in changed)


_CASE_CHANGES = _places(CASE_COLUMNS, sql_cases._CASE_CHANGES)
_LEG_CLAIM = _places(LEG_COLUMNS, sql_cases._LEG_CLAIM)
_LEG_ANSWER = _places(LEG_COLUMNS, sql_cases._LEG_ANSWER)
CASE_STATE, CASE_VERSION = CASE_COLUMNS.index("state"), CASE_COLUMNS.index("version")
CASE_WATCH = CASE_COLUMNS.index("watch_at")
CASE_TOTAL = CASE_COLUMNS.index("total_fen")
CASE_REVISION = CASE_COLUMNS.index("revision")
LEG_STATE, LEG_VERSION = LEG_COLUMNS.index("state"), LEG_COLUMNS.index("version")
_LEG_NO = LEG_COLUMNS.index("leg_no")
_AMOUNTS = tuple(LEG_COLUMNS.index(name) for name in ("amount_fen", "account_fen", "hospital_fen"))
_LEFT = LEG_COLUMNS.index("left_fen")

CONSTRAINTS = frozenset(
    {
        "case_state_is_known",
        "case_purpose_is_known",
        "case_total_is_positive",
        "leg_state_is_known",
        "leg_amounts_not_negative",
        "leg_bears_at_most_what_was_left",
        "exchange_direction_is_known",
    }
)
"""The named checks of the tables that are held here; those of states and words hold by their types."""


def violated(name: str) -> IntegrityError:
    """The driver's error for a broken constraint."""
    return IntegrityError(name, None, Exception(name))


def check_case(row: tuple[Any, ...]) -> None:
    total = row[CASE_TOTAL]
    if not (total > 0 or (total == 0 and row[CASE_STATE] is CaseState.CANCELLED)):
        raise violated("case_total_is_positive")


def check_leg(row: tuple[Any, ...]) -> None:
    amounts = [row[place] for place in _AMOUNTS]
    if min(amounts) < 0:
        raise violated("leg_amounts_not_negative")
    if sum(amounts) > (row[_LEFT] or 0):
        raise violated("leg_bears_at_most_what_was_left")


def case_of(row: tuple[Any, ...], legs: Iterable[tuple[Any, ...]]) -> CaseRecord:
    """A record as the repository gives it."""
    case = CaseRecord(**dict(zip(CASE_COLUMNS, row, strict=True)))
    case.legs = [LegRecord(*leg) for leg in legs]
    case.answered = case.revision > 0
    for leg in case.legs:
        leg.posted = borne(leg)
    return case


class MemoryCases:
    """See `store.cases`. Its guards can be switched off, to see that the simulator would notice."""

    locking = True
    """Rows are locked when they are read for a change."""
    fenced = True
    """A change counts only for the version that was read."""
    booking = True
    """What changes is booked with the change."""

    def insert_new(self, connection: Connection, new: Sequence[CaseRecord]) -> set[str]:
        transaction = connection.statement("case.insert")
        created = set()
        for case in sorted(new, key=lambda one: (one.institution, one.case_key)):
            key = (case.institution, case.case_key)
            transaction.lock(("key", key))
            if transaction.get("keys", key) is not None:
                continue
            row = _case_row(case)
            check_case(row)
            transaction.lock(("case", case.case_id))
            transaction.put("keys", key, (case.case_id, case.request_hash))
            transaction.put("cases", case.case_id, row)
            legs = tuple(_leg_row(leg) for leg in case.legs)
            for leg in legs:
                check_leg(leg)
            transaction.put("legs", case.case_id, legs)
            created.add(case.case_id)
        return created

    def lock(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, CaseRecord]:
        transaction = connection.statement("case.lock")
        return self._locked(transaction, case_ids)

    def _locked(self, transaction: Transaction, case_ids: Iterable[str]) -> dict[str, CaseRecord]:
        found = {}
        for case_id in sorted(set(case_ids)):
            if transaction.get("cases", case_id) is not None:
                if self.locking:
                    transaction.lock(("case", case_id))
                found[case_id] = self._load(transaction, case_id)
        return found

    @staticmethod
    def _load(transaction: Transaction, case_id: str) -> CaseRecord:
        return case_of(transaction.get("cases", case_id) or (), transaction.get("legs", case_id) or ())

    def read(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, CaseRecord]:
        transaction = connection.statement("case.read")
        wanted = [case_id for case_id in dict.fromkeys(case_ids) if transaction.get("cases", case_id) is not None]
        return {case_id: self._load(transaction, case_id) for case_id in wanted}

    def save(self, connection: Connection, touched: Iterable[CaseRecord]) -> None:
        transaction = connection.statement("case.save")
        for case in touched:
            if self.booking:
                ledger.book(transaction, case)
            legs = [self._leg_to_save(leg) for leg in case.legs]
            if case.changed or any(legs):
                transaction.lock(("case", case.case_id))  # as every UPDATE does
            if any(legs):
                self._save_legs(transaction, case.case_id, legs)
            if case.changed:
                row = self._fenced(transaction.get("cases", case.case_id), _case_row(case), CASE_VERSION, _CASE_CHANGES)
                check_case(row)
                transaction.put("cases", case.case_id, row)
                case.changed = False
                case.version += 1

    @staticmethod
    def _leg_to_save(leg: LegRecord) -> tuple[tuple[Any, ...], tuple[int, ...]] | None:
        if not leg.changed:
            return None
        wanted = (_leg_row(leg), _LEG_ANSWER if leg.decided else _LEG_CLAIM)
        leg.changed = leg.decided = False
        leg.version += 1
        leg.posted, leg.effect_at = borne(leg), None
        return wanted

    def _save_legs(
        self,
        transaction: Transaction,
        case_id: str,
        changes: Sequence[tuple[tuple[Any, ...], tuple[int, ...]] | None],
    ) -> None:
        stored = list(transaction.get("legs", case_id) or ())
        for change in changes:
            if change is not None:
                row, places = change
                number = row[_LEG_NO] - 1
                stored[number] = self._fenced(stored[number], row, LEG_VERSION, places)
                check_leg(stored[number])
        transaction.put("legs", case_id, tuple(stored))

    def _fenced(
        self, stored: tuple[Any, ...] | None, row: tuple[Any, ...], version: int, places: tuple[int, ...]
    ) -> tuple[Any, ...]:
        if stored is None or (self.fenced and stored[version] != row[version]):
            raise Conflict("a row changed under our lock", code="store.version_conflict")
        merged = list(stored)
        for place in places:
            merged[place] = row[place]
        merged[version] = stored[version] + 1
        return tuple(merged)

    def find_by_key(
        self, connection: Connection, keys: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[str, str]]:
        transaction = connection.statement("case.find")
        found = ((key, transaction.get("keys", key)) for key in keys)
        return {key: row for key, row in found if row is not None}

    def lock_watched(self, connection: Connection, now: Any, limit: int) -> dict[str, CaseRecord]:
        transaction = connection.statement("case.watched")
        due = [
            (row[CASE_WATCH], case_id)
            for case_id, row in connection.database.tables["cases"].items()
            if row[CASE_WATCH] is not None and row[CASE_WATCH] <= now
        ]
        wanted = [case_id for _, case_id in sorted(due)[:limit]]
        taken = [one for one in wanted if not self.locking or transaction.try_lock(("case", one))]
        return self._locked(transaction, taken)


class MemoryExchanges:
    """See `store.exchanges`."""

    def add(self, connection: Connection, new: Sequence[Exchange]) -> None:
        if not new:
            return
        transaction = connection.statement("exchange.add")
        for exchange in new:
            connection.database.exchange_id += 1
            transaction.put("exchanges", connection.database.exchange_id, exchange)
            if exchange.direction == "out":
                transaction.put("requests", (exchange.request_id, exchange.attempt), exchange.operation)
            elif exchange.leg_no == HOSPITAL_LEG and exchange.operation in ("settle", "trial"):
                transaction.put("requests", exchange.case_id, exchange.body)

    def requests_of(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, bytes]:
        transaction = connection.statement("exchange.requests")
        found = ((case_id, transaction.get("requests", case_id)) for case_id in case_ids)
        return {case_id: body for case_id, body in found if body is not None}


class MemoryAnswers:
    """See `store.answers`. A case's answers and undo requests are kept as one tuple each."""

    def add(self, connection: Connection, new: Sequence[StoredAnswer]) -> None:
        if not new:
            return
        transaction = connection.statement("answer.add")
        for answer in new:
            given = transaction.get("answers", answer.case_id) or ()
            if any(one.revision == answer.revision for one in given):
                raise violated("case_answer_pk")
            transaction.put("answers", answer.case_id, (*given, answer))

    def latest(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, StoredAnswer]:
        ids = list(case_ids)
        if not ids:
            return {}
        transaction = connection.statement("answer.latest")
        found = ((case_id, transaction.get("answers", case_id)) for case_id in ids)
        return {case_id: max(given, key=attrgetter("revision")) for case_id, given in found if given}

    def add_undos(self, connection: Connection, new: Sequence[StoredUndo]) -> set[tuple[str, str]]:
        transaction = connection.statement("undo.add")
        added = set()
        for undo in new:
            transaction.lock(("undo", undo.case_id, undo.cancel_no))
            asked = transaction.get("undos", undo.case_id) or ()
            if all(one.cancel_no != undo.cancel_no for one in asked):
                transaction.put("undos", undo.case_id, (*asked, undo))
                added.add((undo.case_id, undo.cancel_no))
        return added

    def undos_of(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, list[StoredUndo]]:
        transaction = connection.statement("undo.read")
        found = ((case_id, transaction.get("undos", case_id)) for case_id in case_ids)
        return {case_id: list(asked) for case_id, asked in found if asked}


class MemoryInbox:
    """See `store.inbox`."""

    def take(self, connection: Connection, messages: Sequence[Received]) -> set[Received]:
        if not messages:
            return set()
        transaction = connection.statement("inbox.take")
        reused = set()
        for one in sorted(messages):
            key = (one.consumer, one.message_id)
            transaction.lock(("inbox", key))
            known = transaction.get("inbox", key)
            if known is None:
                transaction.put("inbox", key, one.content)
            elif known != one.content:
                reused.add(one)
        return reused

    def leave_a_mark(self, connection: Connection) -> None:
        """There is no standby here."""


class MemoryOutbox:
    """See `store.outbox`; the database's own clock counts here."""

    def add(
        self, connection: Connection, messages: Sequence[Any], queue_of: Callable[[str, str], str] | None = None
    ) -> list[Any]:
        if not messages:
            return []
        transaction = connection.statement("outbox.add")
        stored = []
        for message in messages:
            connection.database.outbox_id += 1
            kept = replace(message, outbox_id=connection.database.outbox_id)
            transaction.put("outbox", kept.outbox_id, (kept, connection.database.loop.now, 0.0, 0))
            stored.append(kept)
        return stored

    def delete(self, connection: Connection, ids: Iterable[int]) -> int:
        wanted = list(ids)
        if not wanted:
            return 0
        transaction = connection.statement("outbox.delete")
        there = []
        for one in sorted(wanted):
            transaction.lock(("outbox", one))
            if transaction.get("outbox", one) is not None:
                transaction.remove("outbox", one)
                there.append(one)
        return len(there)

    def lease_stale(
        self, connection: Connection, older_than_s: float, lease_s: float, limit: int
    ) -> list[StoredMessage]:
        transaction = connection.statement("outbox.lease")
        now = connection.database.loop.now
        due = [
            (id_, row)
            for id_, row in sorted(connection.database.tables["outbox"].items())
            if row[1] < now - older_than_s and row[2] <= now and transaction.try_lock(("outbox", id_))
        ][:limit]
        leased = []
        for id_, (message, created_at, _, deliveries) in due:
            lease = now + lease_s * 2 ** min(deliveries, 5)
            transaction.put("outbox", id_, (message, created_at, lease, deliveries + 1))
            leased.append(_stored(message, deliveries + 1))
        return leased


def _stored(message: Any, deliveries: int) -> StoredMessage:
    return StoredMessage(
        outbox_id=message.outbox_id,
        region=message.region,
        message_id=message.message_id,
        queue="",
        exchange=message.exchange,
        routing_key=message.routing_key,
        type=message.type,
        correlation_id=message.correlation_id,
        content_type=message.content_type,
        headers=message.headers,
        body=message.body,
        attempt=deliveries,
    )


class MemoryCoverage:
    """See `store.coverage`."""

    def find(self, connection: Connection, keys: Iterable[str]) -> dict[str, list[Coverage]]:
        transaction = connection.statement("coverage.find")
        found = ((key, transaction.get("coverage", key)) for key in keys)
        return {key: list(policies) for key, policies in found if policies}


class NobodySearches:
    """See `store.search`."""

    def add(self, connection: Connection, known: Iterable[Known]) -> None:
        """Nothing is looked for here."""


def memory_stores() -> Stores:
    """Everything on the database in memory."""
    stores: Any = Stores(
        MemoryCases(),  # type: ignore[arg-type]  # its connection is ours, not SQLAlchemy's
        MemoryExchanges(),  # type: ignore[arg-type]
        MemoryAnswers(),  # type: ignore[arg-type]
        MemoryInbox(),  # type: ignore[arg-type]
        MemoryOutbox(),  # type: ignore[arg-type]
        MemoryCoverage(),  # type: ignore[arg-type]
        NobodySearches(),  # type: ignore[arg-type]
    )
    return stores  # type: ignore[no-any-return]
