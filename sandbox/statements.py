"""A party's statement of one day out of its true books, and the ways in which a statement goes wrong on purpose.

Days are days of China Standard Time, by the moment at which the party itself decided.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, TypeAdapter

from sandbox import entries
from sandbox.book import Book
from sandbox.clock import CHINA
from sandbox.entries import Entry
from sandbox.his_book import HospitalBook, Movement
from schemas.base import Value
from schemas.statement import BreakClass, LineKind, Statement, StatementLine

Refunds = Literal["rows", "left_out", "netted"]
"""How refunds are kept: as rows of their own; not at all when settlement and refund are of the same day; or such a pair
as one row of 0."""
_OUR_REQUEST = re.compile(r"[0-9a-f]{32}-[0-9]{1,3}", re.ASCII)
_NOBODYS_FEN = 123_45


def lines_of(book: Book, day: date, *, refunds: Refunds = "rows") -> list[StatementLine]:
    """What a payer has in its books of a day, in the order in which it was written."""
    return _as_kept(_of_day(book.entries(), day), refunds)


def hospital_lines_of(book: HospitalBook, institution: str, day: date) -> list[StatementLine]:
    """What an institution has in its day book: whole settlements, what was added to them later, what was taken back."""
    return [_moved(institution, one) for one in book.movements(institution, day)]


def statement_of(party: str, day: date, lines: Sequence[StatementLine], scheme: str = "daily") -> Statement:
    """Lines with the count and the total that their sender declares."""
    return Statement(
        party=party,
        scheme=scheme,
        day=day,
        count=len(lines),
        total=sum(one.amount for one in lines),
        lines=tuple(lines),
    )


def line_json(line: StatementLine) -> dict[str, Any]:
    """A line as it is sent: empty fields left out."""
    return line.model_dump(mode="json", exclude_none=True)


def _of_day(written: Sequence[Entry], day: date) -> list[StatementLine]:
    originals = {entry.request_id.removesuffix(":review"): entry for entry in written if _stands(entry)}
    moved = (entry for entry in written if entry.outcome in (entries.APPROVED, entries.CANCELLED))
    return [line for entry in moved if day_of(entry) == day for line in _lines(entry, originals)]


def day_of(entry: Entry) -> date:
    """The day in China on which a party decided."""
    return datetime.fromisoformat(entry.decided_at).astimezone(CHINA).date()


def _stands(entry: Entry) -> bool:
    return entry.outcome == entries.APPROVED and entry.operation not in entries.UNDO


def _lines(entry: Entry, originals: dict[str, Entry]) -> Iterator[StatementLine]:
    if _stands(entry):
        yield _line(entry, entry, LineKind.SETTLE, entry.effect_fen, entry.account_fen)
    elif entry.outcome == entries.CANCELLED and not entry.reason_code:
        # With a reason it moved nothing: it had been undone before, or was never booked.
        original = originals.get(entry.original_request_id)
        if original is not None:
            yield _line(original, entry, LineKind.REFUND, entry.effect_fen, entry.account_fen)


def _line(of: Entry, moved: Entry, kind: LineKind, amount_fen: int, account_fen: int) -> StatementLine:
    """`of` is the settlement, `moved` the entry that books or takes back."""
    request_id = of.request_id.removesuffix(":review")
    total = _bill_fen(of)
    return StatementLine(
        kind=kind,
        institution=of.institution,
        settlement_no=of.settlement_no or None,
        # A dialect has numbers of its own: what is not ours would be taken for an unknown request.
        request_id=request_id if _OUR_REQUEST.fullmatch(request_id) else None,
        reference=of.reference or None,
        total=total if kind is LineKind.SETTLE else -total,
        amount=amount_fen,
        account=account_fen,
        at=datetime.fromisoformat(moved.decided_at),
    )


def _bill_fen(entry: Entry) -> int:
    """The whole bill, which only a basic system keeps."""
    detail = orjson.loads(entry.detail) if entry.detail.startswith("{") else {}
    return int(detail.get("amounts", {}).get("medfee_sumamt", 0))


def _moved(institution: str, one: Movement) -> StatementLine:
    taken_back = min(one.total_fen, one.amount_fen, one.account_fen) < 0
    return StatementLine(
        kind=LineKind.REFUND if taken_back else LineKind.SETTLE,
        institution=institution,
        settlement_no=one.settlement_no,
        total=one.total_fen,
        amount=one.amount_fen,
        account=one.account_fen,
        cash=one.cash_fen,
        at=datetime.fromisoformat(one.at),
    )


def _as_kept(lines: list[StatementLine], refunds: Refunds) -> list[StatementLine]:
    if refunds == "rows":
        return lines
    settled = {key_of(line) for line in lines if line.kind is LineKind.SETTLE}
    undone = {key_of(line) for line in lines if line.kind is LineKind.REFUND} & settled
    if refunds == "left_out":
        return [line for line in lines if key_of(line) not in undone]
    nothing = {"amount": 0, "account": 0}
    return [
        line.model_copy(update=nothing) if key_of(line) in undone else line
        for line in lines
        if key_of(line) not in undone or line.kind is LineKind.SETTLE
    ]


def key_of(line: StatementLine) -> tuple[str, str, str]:
    """(institution, what it is known by, payer): the same for a settlement and its refund."""
    return line.institution, line.settlement_no or line.request_id or line.reference or "", line.payer or ""


class FaultKind(StrEnum):
    """What is wrong with a statement; the books behind it are right."""

    ROW_MISSING = "row_missing"
    ROW_TWICE = "row_twice"
    WRONG_FEN = "wrong_fen"
    """One fen too much."""
    LATE_ROW = "late_row"
    """It stands in the next day's statement instead."""
    REFUND_MISSING = "refund_missing"
    NETTED = "netted"
    """Settlement and refund of one day as one row of 0."""
    STRANGER = "stranger"
    """A settlement that nobody ever asked for."""


class StatementFault(Value):
    """A fault of one day's statement, done to `count` settlements that are drawn by the seed."""

    kind: FaultKind
    day: date
    count: Annotated[int, Field(ge=1, le=1000)] = 1


SCRIPT = TypeAdapter(tuple[StatementFault, ...])
REFUNDS: TypeAdapter[Refunds] = TypeAdapter(Refunds)


@dataclass(frozen=True, slots=True)
class Injected:
    """One settlement that was spoiled: where, how, and what reconciliation must call it.

    `day` is that of the statement which is wrong. A late row is only what it is once the next day's statement has come:
    until then it is missing, which `before` says.
    """

    party: str
    day: date
    kind: FaultKind
    institution: str
    settlement_no: str
    payer: str
    found_as: BreakClass
    before: BreakClass | None = None


class StatementDesk:
    """Writes one party's statements; `missing` is what a row that it lacks is called. Not thread-safe.

    The same script spoils the same rows however often a statement is asked for. Without a script the statement is true.
    """

    def __init__(self, party: str, missing: BreakClass = BreakClass.MISSING_AT_INSURER, seed: int = 1) -> None:
        self.party = party
        self._missing = missing
        self._seed = seed
        self._script: tuple[StatementFault, ...] = ()
        self._injected: dict[tuple[date, FaultKind, tuple[str, str, str]], Injected] = {}

    def set_faults(self, script: Iterable[StatementFault]) -> None:
        """Spoil statements from now on; an empty script: send what the books say. What was done stays on record."""
        self._script = tuple(script)

    def injected(self) -> list[Injected]:
        """Everything that was done to statements that were asked for."""
        return list(self._injected.values())

    def lines(
        self, true: Sequence[StatementLine], day_before: Sequence[StatementLine], day: date
    ) -> list[StatementLine]:
        """The statement of `day`, whose true rows are `true`; late rows come out of the day before's."""
        victims = self._victims(true, day)
        return [*self._come_late(day_before, day), *self._spoiled(true, victims), *self._strangers(true, day)]

    def _spoiled(
        self, true: Sequence[StatementLine], victims: dict[tuple[str, str, str], FaultKind]
    ) -> Iterator[StatementLine]:
        for line in true:
            yield from _spoil(line, victims.get(key_of(line)))

    def _victims(self, true: Sequence[StatementLine], day: date) -> dict[tuple[str, str, str], FaultKind]:
        """By settlement what happens to it; nothing happens twice to one."""
        refunded = {key_of(line) for line in true if line.kind is LineKind.REFUND}
        settled = {key_of(line) for line in true if line.kind is LineKind.SETTLE and line.amount > 0}
        taken: dict[tuple[str, str, str], FaultKind] = {}
        for fault in self._script:
            if fault.day != day or fault.kind is FaultKind.STRANGER:
                continue
            pools = {FaultKind.REFUND_MISSING: refunded, FaultKind.NETTED: refunded & settled}
            pool = pools.get(fault.kind, settled - refunded) - taken.keys()
            for key in sorted(pool, key=lambda key: self._lot(fault.kind, key))[: fault.count]:
                taken[key] = fault.kind
                self._note(fault, key)
        return taken

    def _come_late(self, day_before: Sequence[StatementLine], day: date) -> Iterator[StatementLine]:
        late = {
            key
            for key, kind in self._victims(day_before, day - timedelta(days=1)).items()
            if kind is FaultKind.LATE_ROW
        }
        yield from (line for line in day_before if key_of(line) in late)

    def _strangers(self, true: Sequence[StatementLine], day: date) -> Iterator[StatementLine]:
        for fault in self._script:
            if fault.day == day and fault.kind is FaultKind.STRANGER and true:
                for number in range(1, fault.count + 1):
                    line = _stranger(true[0], f"NOBODY-{day:%Y%m%d}-{number}")
                    self._note(fault, key_of(line))
                    yield line

    def _note(self, fault: StatementFault, key: tuple[str, str, str]) -> None:
        found_as, before = _called(fault.kind, self._missing)
        one = Injected(self.party, fault.day, fault.kind, *key, found_as, before)
        self._injected.setdefault((fault.day, fault.kind, key), one)

    def _lot(self, kind: FaultKind, key: tuple[str, str, str]) -> bytes:
        return blake2b(f"{self._seed}/{self.party}/{kind}/{key}".encode(), digest_size=8).digest()


def _spoil(line: StatementLine, kind: FaultKind | None) -> Iterator[StatementLine]:
    if kind in (FaultKind.ROW_MISSING, FaultKind.LATE_ROW):
        return
    if kind is FaultKind.REFUND_MISSING and line.kind is LineKind.REFUND:
        return
    if kind is FaultKind.NETTED:
        if line.kind is LineKind.SETTLE:
            yield line.model_copy(update={"total": 0, "amount": 0, "account": 0, "cash": 0})
        return
    yield line.model_copy(update={"amount": line.amount + 1}) if kind is FaultKind.WRONG_FEN else line
    if kind is FaultKind.ROW_TWICE:
        yield line


def _stranger(like: StatementLine, number: str) -> StatementLine:
    return like.model_copy(
        update={
            "kind": LineKind.SETTLE,
            "settlement_no": number,
            "request_id": None,
            "reference": number,
            "total": _NOBODYS_FEN,
            "amount": _NOBODYS_FEN,
            "account": 0,
            "cash": 0,
        }
    )


def _called(kind: FaultKind, missing: BreakClass) -> tuple[BreakClass, BreakClass | None]:
    names = {
        FaultKind.ROW_TWICE: BreakClass.DUPLICATE,
        FaultKind.WRONG_FEN: BreakClass.AMOUNT,
        FaultKind.REFUND_MISSING: BreakClass.STATUS,
        FaultKind.NETTED: BreakClass.REFUND_AS_TWO_ROWS,
        FaultKind.STRANGER: BreakClass.MISSING_AT_HUB,
    }
    if kind is FaultKind.LATE_ROW:
        return BreakClass.LATE_CUT_OFF, missing
    return names.get(kind, missing), None


def spoiled(injected: Injected) -> dict[str, str]:
    """For JSON."""
    plain = {name: str(getattr(injected, name) or "") for name in Injected.__dataclass_fields__}
    return plain | {"day": injected.day.isoformat()}
