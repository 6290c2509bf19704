"""The ledger: entries are only ever added, in the transaction of the effect that they book. Whole fen.

No entry goes to a sealed day. Whoever posts holds a lock that all posters share and that a seal takes for itself, until
the transaction ends: after a seal nobody is left who still believes the day to be open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import Connection, text

from routing.days import day_of
from routing.postings import Account, Kind, postings
from schemas.payer import Operation
from store.copying import copy_objects
from store.driver import Prepared
from store.records import CaseRecord
from store.tables_ledger import entries


@dataclass(frozen=True, slots=True)
class Entry:
    """One row to be: a transfer between two accounts. `business_day` is the earliest day that it may count on."""

    region: str
    business_day: date
    effective_day: date
    institution: str
    payer: str
    layer: str
    product: str
    kind: Kind
    debit: Account
    credit: Account
    amount_fen: int
    case_id: str | None = None
    leg_no: int | None = None
    about_day: date | None = None
    cause: str = ""


_COLUMNS = tuple(Entry.__dataclass_fields__)
_OPEN_FROM = Prepared("SELECT open_from, today FROM ledger_open()")


def open_from(connection: Connection) -> tuple[date | None, date]:
    """(first day that is not sealed, today in China Standard Time); None when no day is sealed.

    Takes the posters' lock: until the transaction ends no further day is sealed.
    """
    ((first, today),) = _OPEN_FROM.rows(connection)
    return first, today


def post_cases(connection: Connection, touched: Iterable[CaseRecord]) -> None:
    """Book what changed in these cases, before they are written back (`store.cases.save`). Trials are no business."""
    made = [(case, postings(case)) for case in touched if case.purpose is Operation.SETTLE]
    if not any(found for _, found in made):
        return
    first_open, today = open_from(connection)
    rows = []
    for case, found in made:
        for one in found:
            leg = case.leg(one.leg_no) if one.leg_no else None
            effective = day_of(one.effective_at) if one.effective_at else today
            rows.append(
                Entry(
                    region=case.region,
                    business_day=one.business_day or effective,
                    effective_day=effective,
                    institution=case.institution,
                    payer=leg.payer if leg else "",
                    layer=leg.layer.value if leg else "",
                    product=leg.product if leg else "",
                    kind=one.kind,
                    debit=one.debit,
                    credit=one.credit,
                    amount_fen=one.amount_fen,
                    case_id=case.case_id,
                    leg_no=one.leg_no,
                )
            )
    _add(connection, rows, first_open)


def post(connection: Connection, new: Sequence[Entry]) -> None:
    """Add entries; those of sealed days count on the first day that is open."""
    if new:
        _add(connection, new, open_from(connection)[0])


def _add(connection: Connection, new: Sequence[Entry], first_open: date | None) -> None:
    def on_an_open_day(entry: Entry) -> Entry:
        if first_open is None or entry.business_day >= first_open:
            return entry
        return replace(entry, business_day=first_open)

    copy_objects(connection, entries, _COLUMNS, map(on_an_open_day, new))


@dataclass(frozen=True, slots=True)
class Balance:
    """What stands on the accounts, debit less credit, whole fen. The key is what was asked to group by."""

    key: tuple[str, ...]
    cases: int
    balances: dict[Account, int]


GROUPINGS = {
    "institution": "institution",
    "payer": "payer",
    "region": "region",
    "product": "product",
    "layer": "layer",
    "day": "business_day::text",
}
"""What balances can be grouped by."""


def balances(
    connection: Connection,
    by: Sequence[str] = (),
    *,
    first: date | None = None,
    last: date | None = None,
    institution: str | None = None,
    payer: str | None = None,
    region: str | None = None,
) -> list[Balance]:
    """Balances of every account, grouped by some of GROUPINGS, ordered by the groups. `cases`: bills that stand."""
    keys = [GROUPINGS[one] for one in by]
    names = "".join(f"{key} AS k{index}, " for index, key in enumerate(keys))
    group = "".join(f"k{index}, " for index in range(len(keys)))
    rows = connection.execute(
        text(f"""
        SELECT {group} account, sum(fen), coalesce(sum(bills), 0) FROM (
            SELECT {names} debit AS account, sum(amount_fen) AS fen,
                count(*) FILTER (WHERE leg_no = 0 AND debit = 'patient') AS bills
            FROM ledger_entry {_WHERE} GROUP BY {group} debit
            UNION ALL
            SELECT {names} credit, -sum(amount_fen), -count(*) FILTER (WHERE leg_no = 0 AND credit = 'patient')
            FROM ledger_entry {_WHERE} GROUP BY {group} credit
        ) AS sides GROUP BY {group} account ORDER BY {group} account"""),
        {"first": first, "last": last, "institution": institution, "payer": payer, "region": region},
    )
    found: dict[tuple[str, ...], Balance] = {}
    for *key, account, fen, bills in rows:
        balance = found.setdefault(tuple(key), Balance(tuple(key), 0, dict.fromkeys(Account, 0)))
        balance.balances[Account(account)] = int(fen)
        if Account(account) is Account.PATIENT:
            found[tuple(key)] = Balance(tuple(key), int(bills), balance.balances)
    return list(found.values())


_WHERE = """WHERE (CAST(:first AS date) IS NULL OR business_day >= :first)
              AND (CAST(:last AS date) IS NULL OR business_day <= :last)
              AND (CAST(:institution AS text) IS NULL OR institution = :institution)
              AND (CAST(:payer AS text) IS NULL OR payer = :payer)
              AND (CAST(:region AS text) IS NULL OR region = :region)"""


@dataclass(frozen=True, slots=True)
class Posted:
    """An entry as it stands."""

    entry_id: int
    business_day: date
    effective_day: date
    payer: str
    kind: Kind
    debit: Account
    credit: Account
    amount_fen: int
    leg_no: int | None
    cause: str
    posted_at: datetime


_OF_CASE = text(
    "SELECT entry_id, business_day, effective_day, payer, kind, debit, credit, amount_fen, leg_no, cause, posted_at "
    "FROM ledger_entry WHERE case_id = CAST(:case AS uuid) ORDER BY entry_id"
)


def of_case(connection: Connection, case_id: str) -> list[Posted]:
    """Everything that was booked of a case, oldest first."""
    return [
        Posted(**{**row._asdict(), "kind": Kind(row.kind), "debit": Account(row.debit), "credit": Account(row.credit)})
        for row in connection.execute(_OF_CASE, {"case": case_id})
    ]
