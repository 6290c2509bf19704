"""Books of a day as rows: cases with their legs and ledger entries, and statements, put straight into the tables.

Each share says what the three sides have of it; one call writes hundreds of them. Amounts are whole fen.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, insert, text

from hub.books import ActiveBook
from routing.rulebook import RuleBook
from store import tables, tables_ledger, tables_recon
from tests.support.builders import HOSPITAL, REGION

DAY = date(2026, 3, 2)
NEXT_MORNING = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)
"""An hour after the statements of DAY were due."""


@dataclass(frozen=True, slots=True)
class Row:
    """A settlement or a refund on somebody's book. `apart`: days after DAY. Amounts of a refund are below zero."""

    amount: int
    account: int = 0
    apart: int = 0
    refund: bool = False
    total: int = 0


def settled(amount: int, account: int = 0, apart: int = 0, total: int = 0) -> Row:
    return Row(amount, account, apart, total=total)


def refunded(amount: int, account: int = 0, apart: int = 0, total: int = 0) -> Row:
    return Row(-amount, -account, apart, refund=True, total=-total)


@dataclass(frozen=True, slots=True)
class Share:
    """One payer's share of one case, as every side has it."""

    no: str
    payer: str
    hub: tuple[Row, ...] = ()
    theirs: tuple[Row, ...] = ()
    hospital: tuple[Row, ...] = ()
    institution: str = HOSPITAL
    undone_by: str = "cancel"
    state: str = "approved"
    leg_no: int = 1
    doubt_since: datetime | None = None
    known_by: str = "request_id"
    """What the payer's lines name: request_id, reference, settlement_no, or nothing that we know (foreign)."""

    @property
    def case_id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.institution}/{self.no}"))

    @property
    def request_id(self) -> str:
        return f"{self.case_id.replace('-', '')}-{self.leg_no}"

    @property
    def reference(self) -> str:
        return f"REF-{self.no}-{self.leg_no}"

    @property
    def key(self) -> str:
        """What a break of it is known by."""
        return f"case/{self.case_id}/{self.leg_no}"


def write_hub(connection: Connection, shares: Sequence[Share], total_fen: int = 100_000) -> None:
    """Cases, legs and ledger entries of these shares, in a database without them."""
    firsts = {share.case_id: share for share in shares}.values()
    connection.execute(insert(tables.cases), [_case(share, total_fen) for share in firsts])
    connection.execute(insert(tables.legs), [_leg(share) for share in shares])
    entries = [entry for share in shares for row in share.hub for entry in _entries(share, row)]
    if entries:
        connection.execute(insert(tables_ledger.entries), entries)


def _case(share: Share, total_fen: int) -> dict[str, Any]:
    return {
        "case_id": share.case_id,
        "region": REGION,
        "institution": share.institution,
        "settlement_no": share.no,
        "case_key": share.no,
        "purpose": "settle",
        "request_hash": "0" * 64,
        "state": "settled",
        "version": 1,
        "total_fen": total_fen,
        "rulebook_version": 1,
        "considered": [],
        "received_at": datetime(2026, 3, 2, 1, tzinfo=UTC),
        "answer_by": datetime(2026, 3, 2, 1, 0, 15, tzinfo=UTC),
        "reply_to": "",
        "correlation_id": share.no,
    }


def _leg(share: Share) -> dict[str, Any]:
    amount = max([row.amount for row in share.hub if not row.refund], default=0)
    account = max([row.account for row in share.hub if not row.refund], default=0)
    return {
        "case_id": share.case_id,
        "leg_no": share.leg_no,
        "region": REGION,
        "payer": share.payer,
        "layer": "commercial",
        "product": "p",
        "rule": "r",
        "split": 0,
        "weight": 100,
        "independent": False,
        "state": share.state,
        "version": 1,
        "left_fen": amount + account,
        "amount_fen": amount,
        "account_fen": account,
        "payer_reference": share.reference,
        "doubt_since": share.doubt_since,
    }


def _entries(share: Share, row: Row) -> Iterable[dict[str, Any]]:
    day = DAY + timedelta(days=row.apart)
    common = {
        "region": REGION,
        "business_day": day,
        "effective_day": day,
        "institution": share.institution,
        "kind": share.undone_by if row.refund else "settle",
        "case_id": share.case_id,
    }
    parts = [("receivable", row.amount), ("personal", row.account)]
    for account, fen in parts:
        if fen:
            yield common | _between(account, "patient", fen) | {"payer": share.payer, "leg_no": share.leg_no}
    if row.total:
        yield common | _between("patient", "charges", row.total) | {"payer": "", "leg_no": 0}


def _between(debit: str, credit: str, fen: int) -> dict[str, Any]:
    """An entry; below zero it goes the other way."""
    sides = (debit, credit) if fen > 0 else (credit, debit)
    return {"debit": sides[0], "credit": sides[1], "amount_fen": abs(fen)}


def line(share: Share, row: Row, known_by: str, payer: str = "") -> dict[str, Any]:
    """A line of a statement about this share."""
    named = {"settlement_no": "", "request_id": "", "reference": ""}
    match known_by:
        case "request_id":
            named["request_id"] = share.request_id
        case "reference":
            named["reference"] = share.reference
        case "settlement_no":
            named["settlement_no"] = share.no
        case _:
            named["reference"] = f"{known_by}-{share.no}"
    return named | {
        "kind": "refund" if row.refund else "settle",
        "institution": share.institution,
        "payer": payer,
        "total_fen": row.total,
        "amount_fen": row.amount,
        "account_fen": row.account,
        "cash_fen": 0,
    }


def payer_lines(shares: Iterable[Share], apart: int = 0) -> list[dict[str, Any]]:
    """What the payers' own books have of a day."""
    return [line(share, row, share.known_by) for share in shares for row in share.theirs if row.apart == apart]


def hospital_lines(shares: Iterable[Share], apart: int = 0, *, whole: bool = False) -> list[dict[str, Any]]:
    """What the hospitals' books have of a day; `whole`: about settlements, not about shares."""
    return [
        line(share, row, "settlement_no", "" if whole else share.payer)
        for share in shares
        for row in share.hospital
        if row.apart == apart
    ]


@dataclass(frozen=True, slots=True)
class Told:
    """A statement to be written."""

    party: str
    lines: Sequence[dict[str, Any]]
    scheme: str = "daily"
    apart: int = 0
    by_payer: bool = False
    form: str = "csv"


def write_statement(connection: Connection, told: Told) -> int:
    """A standing statement; it takes the place of the one before it."""
    day = DAY + timedelta(days=told.apart)
    connection.execute(
        text("UPDATE statement SET state = 'replaced' WHERE (party, scheme, day) = (:party, :scheme, :day)"),
        {"party": told.party, "scheme": told.scheme, "day": day},
    )
    values = {
        "party": told.party,
        "scheme": told.scheme,
        "day": day,
        "form": told.form,
        "source": "test",
        "sha256": "0" * 64,
        "rows": len(told.lines),
        "total_fen": sum(one["amount_fen"] for one in told.lines),
        "by_payer": int(told.by_payer),
        "state": "standing",
        "received_by": told.party,
        "received_at": NEXT_MORNING,
    }
    number = connection.execute(insert(tables_recon.statements).values(values)).inserted_primary_key
    assert number is not None
    rows = [one | {"statement_id": number[0], "line_no": index} for index, one in enumerate(told.lines, 1)]
    if rows:
        connection.execute(insert(tables_recon.statement_lines), rows)
    return int(number[0])


@dataclass(slots=True)
class OneBook:
    """The rule book in force, without a database."""

    book: RuleBook
    version: int = field(default=1)

    def active(self) -> ActiveBook:
        return ActiveBook(self.version, self.book)


@dataclass(slots=True)
class FixedClock:
    """A clock that stands."""

    at: datetime = NEXT_MORNING

    def now(self) -> datetime:
        return self.at


def breaks_of(engine: Engine, run_id: int) -> dict[str, tuple[str, str]]:
    """Class and state of each break of a run, by key."""
    query = text("SELECT key, class, state FROM recon_break WHERE run_id = :id")
    with engine.connect() as connection:
        found = connection.execute(query, {"id": run_id}).all()
    assert len({key for key, _, _ in found}) == len(found), "an item is in one class only"
    return {key: (name, state) for key, name, state in found}


def no_proposals(connection: Connection, run_id: int) -> None:
    """For runs whose breaks alone are wanted."""


def moved(row: Row, apart: int) -> Row:
    """The same row on another day's book."""
    return replace(row, apart=apart)
